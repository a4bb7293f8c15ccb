// A simulated installation: hosts with QPIP NICs on a fabric, and programs that run on them.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "qpip/qpip.h"
#include "sim/ns3/model/fibre.h"
#include "sim/ns3/model/profile.h"
#include "sim/ns3/model/qpip_net_device.h"
#include "sim/ns3/model/virtual_time.h"
#include "sim/ns3/world/watch.h"

namespace qpip::sim {

enum class Topology : uint8_t {
  kCable,    ///< two NICs
  kPairs,    ///< cables between the first and second, third and fourth, ...
  kSwitch,   ///< one crossbar
  kFatTree,  ///< three levels of k-port switches, the smallest even k with room for all
};
/// "cable", "pairs", "switch", "fat-tree". Throws std::invalid_argument, naming the choices.
Topology ParseTopology(const std::string& name);

struct WorldOptions {
  uint32_t nics = 2;
  Topology topology = Topology::kSwitch;
  uint32_t queue_pairs = 16;         ///< of each NIC
  uint32_t rdma_queue_pairs = 0;     ///< of those
  uint32_t completion_queues = 0;    ///< of each NIC; 0: two a queue pair
  uint32_t regions = 0;              ///< of each NIC; 0: two a queue pair, at least 16
  uint32_t send_depth_log2 = 7;      ///< largest send queue
  uint32_t wqe_cache_bytes = 512;    ///< SRAM a work queue, see fw::NicConfig
  double loss = 0;                   ///< probability that a frame is lost on its way out of a NIC
  double corruption = 0;             ///< probability that a frame arrives with a bit flipped
  uint64_t seed = 1;                 ///< of everything random
  uint64_t poll_ahead_ns = 1000000;  ///< see host_port.h; each program here polls one NIC
};

class World;

/// Sees every World of the process while it is set, e.g. to attach observers to its NICs.
class WorldWatcher {
 public:
  virtual ~WorldWatcher() = default;
  virtual void OnBuilt(World& world) = 0;  ///< the NICs are joined, none is open
  virtual void OnEnd(World& world) = 0;    ///< nothing happens after this
};
/// Not owned; nullptr: none. Returns the one before.
WorldWatcher* SetWorldWatcher(WorldWatcher* watcher);

/// A host: its NIC, opened.
struct Host {
  ns3::Ptr<ns3::Node> node;
  ns3::Ptr<QpipNetDevice> device;
  std::shared_ptr<Nic> nic;
  std::unique_ptr<ProtectionDomain> pd;

  in6_addr address() const { return nic->address(); }
  HostTotals& processor() const { return device->host().totals; }
};

/// One at a time in a process: ns-3's simulator is global. Destroying it ends the simulation.
class World {
 public:
  /// Throws ProfileError for an incomplete profile, std::invalid_argument for impossible options.
  World(const Profile& profile, const WorldOptions& options);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  std::vector<Host>& hosts() { return hosts_; }
  Host& host(size_t index) { return hosts_.at(index); }
  const NicModel& model() const { return *model_; }
  QpipFabric& fabric() { return *fabric_; }

  /// Starts a program on a fibre.
  void Start(std::string name, std::function<void()> program);
  /// Runs until every program has ended. Rethrows what one of them threw; throws Error ETIMEDOUT
  /// that says what waits for what when virtual time passes and nothing is done in it (watch.h).
  void Run();

 private:
  struct Program {
    std::string name;
    std::shared_ptr<Context> context;
  };
  void Build(const WorldOptions& options);
  uint64_t Work() const;
  std::string WhatWaits() const;

  WorldWatcher* const watcher_;
  std::shared_ptr<const NicModel> model_;
  ns3::Ptr<QpipFabric> fabric_;
  std::vector<Host> hosts_;
  std::unique_ptr<Watch> watch_;
  std::vector<Program> programs_;
  Context* waiting_ = nullptr;  ///< in Run
  uint32_t running_ = 0;        ///< programs that have not ended
  std::exception_ptr error_;    ///< of the first that failed
};

}  // namespace qpip::sim
