#include <cerrno>

#include "sim/ns3/scenario/scenarios.h"

namespace qpip::sim {

WorldOptions CommonOptions(const ScenarioArguments& arguments) {
  WorldOptions options;
  options.topology = ParseTopology(arguments.Text("topology"));
  options.loss = arguments.Number("loss");
  options.seed = arguments.Count("seed");
  return options;
}

void RequirePosted(int error) {
  if (error != 0) throw Error(error, "a post failed");
}

void RequireNotStopped() {
  if (StopRequested()) throw Error(EINTR, "interrupted before there was anything to measure");
}

uint64_t HostWorkPs(const Host& host, const CoreTotals& core, const HostTotals& programs) {
  return programs.WorkPs() + (host.device->model().core_on_host ? core.core_busy_ps : 0);
}

void AddUtilisation(ScenarioResult* result, const std::string& who, const Host& host,
                    const CoreTotals& before, const HostTotals& host_before, uint64_t start_ns,
                    uint64_t end_ns) {
  const CoreTotals& now = host.device->totals();
  const double span = static_cast<double>(end_ns - start_ns) * 1000.0;
  const auto share = [&](uint64_t after, uint64_t earlier) {
    return static_cast<double>(after - earlier) / span;
  };
  result->Add(who + "_core_utilisation", share(now.core_busy_ps, before.core_busy_ps));
  result->Add(who + "_dma_read_utilisation", share(now.dma_read_ps, before.dma_read_ps));
  result->Add(who + "_dma_write_utilisation", share(now.dma_write_ps, before.dma_write_ps));
  result->Add(who + "_host_utilisation", share(HostWorkPs(host, now, host.processor()),
                                               HostWorkPs(host, before, host_before)));
}

}  // namespace qpip::sim
