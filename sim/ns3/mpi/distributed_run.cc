#include "sim/ns3/mpi/distributed_run.h"

#include <mpi.h>
#include <ns3/global-value.h>
#include <ns3/string.h>

#include "sim/ns3/mpi/rank_exchange.h"
#include "sim/ns3/mpi/rank_simulator.h"

namespace qpip::sim {

DistributedRun::DistributedRun(int* argc, char*** argv) {
  MPI_Init(argc, argv);
  RankExchange::Open();
  ns3::GlobalValue::Bind("SimulatorImplementationType",
                         ns3::StringValue(RankSimulator::GetTypeId().GetName()));
}

DistributedRun::~DistributedRun() {
  RankExchange::Close();
  MPI_Finalize();
}

uint32_t DistributedRun::rank() { return RankExchange::Get().rank(); }
uint32_t DistributedRun::ranks() { return RankExchange::Get().ranks(); }

}  // namespace qpip::sim
