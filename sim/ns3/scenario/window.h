// The part of a run that is measured: behind the set-up, until the work is done.
//
// Everything a scenario reports of NICs, hosts and fabric is the difference between the two ends of
// a window, so that connections being made and closed are not in it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "nic_fw/abi/counters.h"
#include "sim/ns3/model/host_port.h"
#include "sim/ns3/scenario/scenario.h"
#include "sim/ns3/world/world.h"

namespace qpip::sim {

/// What can limit a host: one server each, but for the transmit buffers.
enum class Limit : uint8_t {
  kCore,
  kDmaRead,
  kDmaWrite,
  kLinkOut,
  kLinkIn,
  kHost,             ///< its processor: programs, and the stack where it shares it
  kTransmitBuffers,  ///< all of them taken
};
inline constexpr size_t kLimits = 7;
/// "core", "dma_read", "dma_write", "link_out", "link_in", "host", "transmit_buffers"
const char* LimitName(Limit limit);

/// From this utilisation on a resource is called the bottleneck.
inline constexpr double kFull = 0.9;

/// Declare after the World. One thread, as the simulation is.
class MeasuredWindow {
 public:
  explicit MeasuredWindow(World& world) : world_(world) {}

  /// Calls a host by a name of its own in metrics ("sender"); otherwise only the greatest
  /// utilisation of all hosts is reported.
  void Name(size_t host, std::string role);
  /// The window begins; of several programs that call it when a barrier lets them pass, the first
  /// counts.
  void Begin() { Begin(HostNowNs()); }
  void Begin(uint64_t at_ns);
  /// The window ends; the last call counts.
  void End() { End(HostNowNs()); }
  void End(uint64_t at_ns);
  bool begun() const { return begun_; }

  uint64_t start_ns() const { return before_.at_ns; }
  uint64_t end_ns() const { return after_.at_ns; }
  double us() const { return static_cast<double>(end_ns() - start_ns()) / 1000; }

  /// Processor time of a host, as HostWorkPs.
  uint64_t HostWorkPs(size_t host) const;

  /// Adds setup_us, duration_us, utilisations, the bottleneck and what the network saw, each name
  /// behind `prefix`. Ends the window if nobody has.
  void AddMetrics(ScenarioResult* result, const std::string& prefix = "");

 private:
  struct HostMoment {
    std::array<uint64_t, kLimits> busy_ps = {};
    uint64_t work_ps = 0;
    uint64_t frames = 0;
    std::array<uint64_t, abi::kCounterWords> counters = {};  ///< as kQueryCounters has them
  };
  struct Moment {
    uint64_t at_ns = 0;
    std::vector<HostMoment> hosts;
    uint64_t lost = 0;
    uint64_t retransmissions = 0;
    uint64_t doorbell_overflows = 0;
    uint64_t nic_blocked_ns = 0;
    uint64_t switch_blocked_ns = 0;
    uint64_t switch_drops = 0;
    uint64_t switch_marks = 0;
  };
  Moment At(uint64_t at_ns) const;
  HostMoment Of(const Host& host) const;
  double Utilisation(size_t host, Limit limit) const;
  double HostUtilisation(size_t host) const;
  void AddUtilisations(ScenarioResult* result, const std::string& prefix) const;
  void AddBottleneck(ScenarioResult* result, const std::string& prefix) const;
  void AddNetwork(ScenarioResult* result, const std::string& prefix) const;
  void AddCounters(ScenarioResult* result, const std::string& prefix) const;
  std::array<uint64_t, abi::kCounterWords> Counted(size_t host) const;

  World& world_;
  std::map<size_t, std::string> roles_;
  bool begun_ = false;
  bool ended_ = false;
  Moment before_;
  Moment after_;
};

/// What AddMetrics adds, for the scenario's list.
std::vector<MetricSpec> WindowMetrics(const std::vector<std::string>& roles,
                                      const std::string& prefix = "");

}  // namespace qpip::sim
