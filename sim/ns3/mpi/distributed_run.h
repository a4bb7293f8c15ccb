// One simulation on several processes (ranks), which mpirun starts.
//
//     int main(int argc, char** argv) {
//       qpip::sim::DistributedRun run(&argc, &argv);
//       ns3::Time::SetResolution(ns3::Time::PS);
//       auto fabric = ns3::CreateObject<QpipFabric>();
//       RemoteLinks cut(PeekPointer(fabric));                // remote_links.h
//       fabric->SetPartition(DistributedRun::rank(), &cut);
//       ...                                                  // the same fabric on every rank
//       ns3::Simulator::Run();                               // on every rank
//       ns3::Simulator::Destroy();
//     }
//
// Programs run on fibres (QpipProgram, Context::Spawn): a call that blocks outside of them drives
// the simulator, which only all ranks can together. What is destroyed after Simulator::Destroy
// needs no simulator.
#pragma once

#include <cstdint>

namespace qpip::sim {

/// Starts and ends MPI around a program's use of the simulator. Make one first thing in main.
class DistributedRun {
 public:
  /// Initialises MPI and chooses the simulator that keeps ranks in step (rank_simulator.h).
  DistributedRun(int* argc, char*** argv);
  /// Ranks that are still simulating are told, and their Simulator::Run throws.
  ~DistributedRun();
  DistributedRun(const DistributedRun&) = delete;
  DistributedRun& operator=(const DistributedRun&) = delete;

  static uint32_t rank();
  static uint32_t ranks();
};

}  // namespace qpip::sim
