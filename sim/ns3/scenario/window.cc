#include "sim/ns3/scenario/window.h"

#include <algorithm>
#include <functional>

#include "sim/ns3/scenario/scenarios.h"

namespace qpip::sim {
namespace {

constexpr std::array<Limit, kLimits> kAllLimits = {
    Limit::kCore,   Limit::kDmaRead, Limit::kDmaWrite,       Limit::kLinkOut,
    Limit::kLinkIn, Limit::kHost,    Limit::kTransmitBuffers};

/// More of them have their counters added up only.
constexpr size_t kMostNicsListed = 64;

/// "sender core": how people say it.
std::string Said(const std::string& who, Limit limit) {
  std::string name = LimitName(limit);
  std::replace(name.begin(), name.end(), '_', ' ');
  return who + " " + name;
}

}  // namespace

const char* LimitName(Limit limit) {
  static constexpr const char* kNames[kLimits] = {
      "core", "dma_read", "dma_write", "link_out", "link_in", "host", "transmit_buffers"};
  return kNames[static_cast<size_t>(limit)];
}

void MeasuredWindow::Name(size_t host, std::string role) { roles_[host] = std::move(role); }

void MeasuredWindow::Begin(uint64_t at_ns) {
  if (begun_) return;
  begun_ = true;
  before_ = At(at_ns);
  for (Host& host : world_.hosts()) host.device->core().MarkDoorbellDepth();
}

void MeasuredWindow::End(uint64_t at_ns) {
  ended_ = true;
  after_ = At(at_ns);
}

MeasuredWindow::HostMoment MeasuredWindow::Of(const Host& host) const {
  const CoreTotals& core = host.device->totals();
  const HostTotals& programs = host.processor();
  HostMoment out;
  const auto put = [&out](Limit limit, uint64_t ps) {
    out.busy_ps[static_cast<size_t>(limit)] = ps;
  };
  put(Limit::kCore, core.core_busy_ps);
  put(Limit::kDmaRead, core.dma_read_ps);
  put(Limit::kDmaWrite, core.dma_write_ps);
  put(Limit::kLinkOut, host.device->link()->busy_ns * 1000);
  put(Limit::kLinkIn, core.link_receive_ps);
  put(Limit::kTransmitBuffers, host.device->core().TransmitBuffersPs());
  out.work_ps = qpip::sim::HostWorkPs(host, core, programs);
  // Where the stack has a processor of its own, each of the two is a limit by itself.
  put(Limit::kHost, world_.model().core_runs_programs ? out.work_ps : programs.WorkPs());
  out.frames = host.device->link()->frames;
  const NicCore& nic = host.device->core();
  for (uint32_t i = 0; i < abi::kNicCounterCount; ++i) {
    out.counters[i] = nic.counter(static_cast<abi::NicCounter>(i));
  }
  for (uint32_t i = 0; i < abi::kDropReasonCount; ++i) {
    out.counters[abi::kNicCounterCount + i] = nic.drops(static_cast<abi::DropReason>(i));
  }
  return out;
}

MeasuredWindow::Moment MeasuredWindow::At(uint64_t at_ns) const {
  Moment out;
  out.at_ns = at_ns;
  out.hosts.reserve(world_.hosts().size());
  for (Host& host : world_.hosts()) {
    out.hosts.push_back(Of(host));
    NicCore& core = host.device->core();
    out.lost += host.device->link()->lost;
    out.nic_blocked_ns += host.device->link()->blocked_ns;
    out.doorbell_overflows += host.device->totals().doorbell_overflows;
    out.retransmissions += core.counter(abi::NicCounter::kTcpRetransmissions);
  }
  QpipFabric& fabric = world_.fabric();
  for (uint32_t i = 0; i < fabric.switches(); ++i) {
    Switch& one = fabric.switch_at(i);
    out.switch_drops += one.dropped;
    out.switch_marks += one.marked;
    for (uint32_t port = 0; port < one.ports(); ++port) {
      if (one.output(port) != nullptr) out.switch_blocked_ns += one.output(port)->blocked_ns;
    }
  }
  return out;
}

double MeasuredWindow::Utilisation(size_t host, Limit limit) const {
  const auto index = static_cast<size_t>(limit);
  const uint64_t ps = after_.hosts[host].busy_ps[index] - before_.hosts[host].busy_ps[index];
  const double servers = limit == Limit::kTransmitBuffers ? world_.model().transmit_buffers : 1;
  const double span = us() * 1e6 * servers;
  return span > 0 ? static_cast<double>(ps) / span : 0;
}

uint64_t MeasuredWindow::HostWorkPs(size_t host) const {
  return after_.hosts[host].work_ps - before_.hosts[host].work_ps;
}

double MeasuredWindow::HostUtilisation(size_t host) const {
  return us() > 0 ? static_cast<double>(HostWorkPs(host)) / (us() * 1e6) : 0;
}

void MeasuredWindow::AddMetrics(ScenarioResult* result, const std::string& prefix) {
  if (!begun_) Begin();
  if (!ended_) End();
  result->Add(prefix + "setup_us", static_cast<double>(start_ns()) / 1000);
  result->Add(prefix + "duration_us", us());
  AddUtilisations(result, prefix);
  AddBottleneck(result, prefix);
  AddNetwork(result, prefix);
  AddCounters(result, prefix);
  const bool first = result->window_end_ns == 0;
  result->window_start_ns = first ? start_ns() : std::min(result->window_start_ns, start_ns());
  result->window_end_ns = std::max(result->window_end_ns, end_ns());
}

void MeasuredWindow::AddUtilisations(ScenarioResult* result, const std::string& prefix) const {
  for (const auto& [host, role] : roles_) {
    for (const Limit limit : kAllLimits) {
      const double share = limit == Limit::kHost ? HostUtilisation(host) : Utilisation(host, limit);
      result->Add(prefix + role + "_" + LimitName(limit) + "_utilisation", share);
    }
    result->Add(prefix + role + "_frames",
                static_cast<double>(after_.hosts[host].frames - before_.hosts[host].frames));
  }
  if (!roles_.empty()) return;
  for (const Limit limit : kAllLimits) {
    double most = 0;
    for (size_t host = 0; host < after_.hosts.size(); ++host) {
      most =
          std::max(most, limit == Limit::kHost ? HostUtilisation(host) : Utilisation(host, limit));
    }
    result->Add(prefix + "max_" + LimitName(limit) + "_utilisation", most);
  }
}

/// Buffers are taken for as long as whatever they wait for lasts: they are the bottleneck only
/// where nothing else is.
void MeasuredWindow::AddBottleneck(ScenarioResult* result, const std::string& prefix) const {
  std::string name = "none";
  double most = 0;
  for (const bool buffers : {false, true}) {
    if (buffers && most >= kFull) break;
    for (size_t host = 0; host < after_.hosts.size(); ++host) {
      for (const Limit limit : kAllLimits) {
        if ((limit == Limit::kTransmitBuffers) != buffers) continue;
        const double share = Utilisation(host, limit);
        if (share <= most) continue;
        most = share;
        const auto role = roles_.find(host);
        if (share < kFull) continue;
        name = Said(role != roles_.end() ? role->second : "host " + std::to_string(host), limit);
      }
    }
  }
  result->Say(prefix + "bottleneck", name);
  result->Add(prefix + "bottleneck_utilisation", most);
}

void MeasuredWindow::AddNetwork(ScenarioResult* result, const std::string& prefix) const {
  const auto add = [&](const char* name, uint64_t after, uint64_t before) {
    result->Add(prefix + name, static_cast<double>(after - before));
  };
  uint64_t frames = 0, drops = 0, deepest = 0;
  std::array<uint64_t, abi::kDropReasonCount> by_reason = {};
  for (size_t host = 0; host < after_.hosts.size(); ++host) {
    frames += after_.hosts[host].frames - before_.hosts[host].frames;
    deepest = std::max<uint64_t>(deepest, world_.host(host).device->core().deepest_doorbells());
    const auto counted = Counted(host);
    for (uint32_t reason = 1; reason < abi::kDropReasonCount; ++reason) {
      by_reason[reason] += counted[abi::kNicCounterCount + reason];
    }
  }
  std::map<std::string, uint64_t> reasons;
  for (uint32_t reason = 1; reason < abi::kDropReasonCount; ++reason) {
    if (by_reason[reason] != 0) reasons[abi::DropReasonName(reason)] = by_reason[reason];
    drops += by_reason[reason];
  }
  result->Add(prefix + "frames", static_cast<double>(frames));
  add("frames_lost", after_.lost, before_.lost);
  add("switch_drops", after_.switch_drops, before_.switch_drops);
  add("switch_marks", after_.switch_marks, before_.switch_marks);
  add("retransmissions", after_.retransmissions, before_.retransmissions);
  result->Add(prefix + "drops", static_cast<double>(drops));
  add("doorbell_overflows", after_.doorbell_overflows, before_.doorbell_overflows);
  result->Add(prefix + "doorbell_depth_max", static_cast<double>(deepest));
  const auto add_us = [&](const char* name, uint64_t after, uint64_t before) {
    result->Add(prefix + name, static_cast<double>(after - before) / 1000);
  };
  add_us("nic_back_pressure_us", after_.nic_blocked_ns, before_.nic_blocked_ns);
  add_us("switch_back_pressure_us", after_.switch_blocked_ns, before_.switch_blocked_ns);
  result->details[prefix + "drops"] = reasons;
}

std::array<uint64_t, abi::kCounterWords> MeasuredWindow::Counted(size_t host) const {
  std::array<uint64_t, abi::kCounterWords> out;
  for (uint32_t i = 0; i < abi::kCounterWords; ++i) {
    out[i] = after_.hosts[host].counters[i] - before_.hosts[host].counters[i];
  }
  return out;
}

/// Every counter of the NICs that has counted in the window: all NICs together, and each where
/// there are few.
void MeasuredWindow::AddCounters(ScenarioResult* result, const std::string& prefix) const {
  const auto named = [](const std::array<uint64_t, abi::kCounterWords>& counted) {
    nlohmann::json out = nlohmann::json::object();
    for (uint32_t i = 0; i < abi::kCounterWords; ++i) {
      if (counted[i] == 0) continue;
      const bool drop = i >= abi::kNicCounterCount;
      out[drop ? std::string("drop.") + abi::DropReasonName(i - abi::kNicCounterCount)
               : abi::CounterName(i)] = counted[i];
    }
    return out;
  };
  std::array<uint64_t, abi::kCounterWords> sum = {};
  nlohmann::json each = nlohmann::json::array();
  for (size_t host = 0; host < after_.hosts.size(); ++host) {
    const auto counted = Counted(host);
    std::transform(sum.begin(), sum.end(), counted.begin(), sum.begin(), std::plus<>());
    if (after_.hosts.size() <= kMostNicsListed) each.push_back(named(counted));
  }
  result->details[prefix + "counters"] = named(sum);
  if (!each.empty()) result->details[prefix + "nics"] = std::move(each);
}

std::vector<MetricSpec> WindowMetrics(const std::vector<std::string>& roles,
                                      const std::string& prefix) {
  std::vector<MetricSpec> out = {
      {prefix + "setup_us", "virtual time before the measured window: connections are made"},
      {prefix + "duration_us", "length of the measured window"}};
  static constexpr const char* kMeanings[kLimits] = {
      "core busy",
      "engine that reads host memory busy",
      "engine that writes host memory busy",
      "line out of the NIC busy, framing included",
      "line towards the NIC busy, framing included",
      "host processor at work: posts, fruitful polls, interrupts, a stack that runs there",
      "transmit buffers taken, of all there are"};
  for (const std::string& role : roles) {
    for (const Limit limit : kAllLimits) {
      out.push_back({prefix + role + "_" + LimitName(limit) + "_utilisation",
                     kMeanings[static_cast<size_t>(limit)]});
    }
    out.push_back({prefix + role + "_frames", "frames its NIC sent"});
  }
  if (roles.empty()) {
    for (const Limit limit : kAllLimits) {
      out.push_back(
          {prefix + "max_" + LimitName(limit) + "_utilisation",
           std::string(kMeanings[static_cast<size_t>(limit)]) + ", at the host where it is most"});
    }
  }
  const std::vector<MetricSpec> network = {
      {prefix + "bottleneck", "busiest resource, when busy for 90% of the window; else none", true},
      {prefix + "bottleneck_utilisation", "of the busiest resource, whichever it is"},
      {prefix + "frames", "frames that all NICs sent"},
      {prefix + "frames_lost", "of them lost by the parameter loss"},
      {prefix + "switch_drops", "frames that found too much before a switch's output"},
      {prefix + "switch_marks", "frames that switches marked with Congestion Experienced"},
      {prefix + "retransmissions", "segments that TCP sent again"},
      {prefix + "drops", "frames that NICs dropped; reasons in the JSON's details"},
      {prefix + "doorbell_overflows", "doorbells that found their FIFO full"},
      {prefix + "doorbell_depth_max", "most doorbells that waited in one FIFO"},
      {prefix + "nic_back_pressure_us", "time frames of NICs waited for room at the next hop"},
      {prefix + "switch_back_pressure_us", "time frames in switches waited for room downstream"}};
  out.insert(out.end(), network.begin(), network.end());
  return out;
}

}  // namespace qpip::sim
