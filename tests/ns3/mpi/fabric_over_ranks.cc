// One fat tree on as many ranks as mpirun starts: every host sends messages to some others and
// checks what it receives. Each rank writes what its hosts saw, a line a host, to OUT.RANK;
// compare_ranks.sh compares the lines of runs with different ranks.
#include <ns3/double.h>
#include <ns3/error-model.h>
#include <ns3/object-factory.h>
#include <ns3/simulator.h>

#include <boost/program_options.hpp>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "sending_host.h"
#include "sim/ns3/helper/fat_tree.h"
#include "sim/ns3/model/fibre.h"
#include "sim/ns3/model/radix_scheduler.h"
#include "sim/ns3/mpi/remote_links.h"

namespace qpip::sim {
namespace {

namespace po = boost::program_options;

struct Options {
  Plan plan;
  std::string out;
  uint32_t cable_ns = 0;
  double loss = 0;
  int leave = -1;
};

po::options_description Describe(Options* options) {
  po::options_description described("fabric_over_ranks [options] --out FILE");
  described.add_options()("help", "this text")("out", po::value(&options->out)->required(),
                                               "what hosts saw is written to FILE.RANK")(
      "nics", po::value(&options->plan.nics)->default_value(16), "hosts")(
      "peers", po::value(&options->plan.peers)->default_value(4), "hosts that each sends to")(
      "bytes", po::value(&options->plan.bytes)->default_value(65536), "of a message")(
      "messages", po::value(&options->plan.messages)->default_value(4), "to each peer")(
      "cable-ns", po::value(&options->cable_ns)->default_value(10000),
      "delay of every cable, at least 1: how far ranks run without asking each other")(
      "loss", po::value(&options->loss)->default_value(0),
      "probability that a frame is lost on its way out of a NIC")(
      "leave", po::value(&options->leave)->default_value(-1),
      "rank that ends instead of simulating, to see what becomes of the others")(
      "phantom", po::bool_switch(&options->plan.phantom), "messages without content");
  return described;
}

/// The fabric and the hosts that are this rank's.
class Part {
 public:
  explicit Part(const Options& options)
      : options_(options), fabric_(ns3::CreateObject<QpipFabric>()), cut_(PeekPointer(fabric_)) {
    Profile profile = Profile::Load("lanai9-hardware-checksum");
    profile.Set("link.delay_us", options.cable_ns / 1000.0, "the command line");
    model_ = std::make_shared<const NicModel>(profile);
    fabric_->SetPartition(DistributedRun::rank(), &cut_);
    std::vector<FatTreeNic> nics;
    for (uint32_t i = 0; i < options.plan.nics; ++i) nics.push_back({MakeNic(i), AddressOf(i)});
    BuildFatTree(*fabric_, nics, *model_, DistributedRun::ranks());
    for (auto& host : hosts_) {
      Context::Spawn("host", [&host] { RunHost(*host); });
    }
  }

  /// Returns whether all hosts did what they should.
  bool Report(double wall) const {
    std::ofstream out(options_.out + "." + std::to_string(DistributedRun::rank()));
    bool all_done = true;
    uint64_t frames = 0;
    for (const auto& host : hosts_) {
      out << host->Line() << '\n';
      all_done &= host->done();
      frames += host->frames();
    }
    if (!out.flush()) throw std::runtime_error("cannot write " + options_.out);
    std::printf(
        "rank %u of %u: %zu hosts, %llu frames, %llu events, %llu messages to others, %.3f s\n",
        DistributedRun::rank(), DistributedRun::ranks(), hosts_.size(),
        static_cast<unsigned long long>(frames),
        static_cast<unsigned long long>(ns3::Simulator::GetEventCount()),
        static_cast<unsigned long long>(cut_.messages_sent), wall);
    return all_done;
  }

 private:
  /// nullptr for another rank's.
  ns3::Ptr<QpipNetDevice> MakeNic(uint32_t index) {
    const uint32_t rank = FatTreeRank(index, options_.plan.nics, DistributedRun::ranks());
    if (rank != DistributedRun::rank()) return nullptr;
    auto device = ns3::CreateObject<QpipNetDevice>();
    device->SetModel(model_, "lanai9-hardware-checksum");
    uint8_t address[16];
    std::memcpy(address, AddressOf(index).bytes, sizeof(address));
    device->SetIpv6(ns3::Ipv6Address(address));
    device->max_queue_pairs = 2 * options_.plan.peers;
    if (options_.loss > 0) {
      auto losses = ns3::CreateObject<ns3::RateErrorModel>();
      losses->SetUnit(ns3::RateErrorModel::ERROR_UNIT_PACKET);
      losses->SetRate(options_.loss);
      device->SetSendErrorModel(losses);
    }
    device->AssignStreams(int64_t{3} * index);
    ns3::CreateObject<ns3::Node>(rank)->AddDevice(device);
    hosts_.push_back(std::make_unique<SendingHost>(options_.plan, index, device));
    return device;
  }
  static void RunHost(SendingHost& host) {
    try {
      host.Run();
    } catch (const std::exception& error) {
      std::cerr << "rank " << DistributedRun::rank() << ": " << error.what() << '\n';
    }
  }

  const Options& options_;
  ns3::Ptr<QpipFabric> fabric_;
  RemoteLinks cut_;
  std::shared_ptr<const NicModel> model_;
  std::vector<std::unique_ptr<SendingHost>> hosts_;
};

bool Run(const Options& options) {
  ns3::Time::SetResolution(ns3::Time::PS);
  ns3::ObjectFactory scheduler;
  scheduler.SetTypeId(RadixScheduler::GetTypeId());
  ns3::Simulator::SetScheduler(scheduler);
  if (options.leave == static_cast<int>(DistributedRun::rank())) return true;
  Part part(options);
  const auto start = std::chrono::steady_clock::now();
  ns3::Simulator::Run();
  const double wall =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const bool good = part.Report(wall);
  // Before the hosts: what their NICs then do concerns nobody else.
  ns3::Simulator::Destroy();
  return good;
}

}  // namespace
}  // namespace qpip::sim

int main(int argc, char** argv) {
  qpip::sim::DistributedRun run(&argc, &argv);
  try {
    qpip::sim::Options options;
    const auto described = Describe(&options);
    boost::program_options::variables_map values;
    store(parse_command_line(argc, argv, described), values);
    if (values.count("help") != 0) {
      std::cout << described;
      return 0;
    }
    notify(values);
    return Run(options) ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << "fabric_over_ranks: " << error.what() << '\n';
    return 1;
  }
}
