#include <algorithm>
#include <cerrno>
#include <cmath>

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

namespace {

/// By nearest rank.
template <typename Number>
void AddSortedPercentiles(const std::string& name, std::vector<Number>* samples_us,
                          ScenarioResult* result) {
  if (samples_us->empty()) return;
  std::sort(samples_us->begin(), samples_us->end());
  const auto at = [samples_us](double share) {
    // The least that so many are not above; less a rounding error of the product.
    const double rank = std::ceil(share * static_cast<double>(samples_us->size()) - 1e-9);
    return static_cast<double>((*samples_us)[static_cast<size_t>(std::max(rank, 1.0)) - 1]);
  };
  result->Add(name + "_p50_us", at(0.5));
  result->Add(name + "_p90_us", at(0.9));
  result->Add(name + "_p99_us", at(0.99));
  result->Add(name + "_max_us", at(1));
}

}  // namespace

void AddPercentiles(const std::string& name, std::vector<float>* samples_us,
                    ScenarioResult* result) {
  AddSortedPercentiles(name, samples_us, result);
}

void AddPercentiles(const std::string& name, std::vector<double>* samples_us,
                    ScenarioResult* result) {
  AddSortedPercentiles(name, samples_us, result);
}

std::vector<MetricSpec> PercentileMetrics(const std::string& name, const std::string& what) {
  return {{name + "_p50_us", "median of the " + what},
          {name + "_p90_us", "90th percentile of the " + what},
          {name + "_p99_us", "99th percentile of the " + what},
          {name + "_max_us", "longest of the " + what}};
}

void Append(std::vector<MetricSpec>* to, const std::vector<MetricSpec>& more) {
  to->insert(to->end(), more.begin(), more.end());
}

}  // namespace qpip::sim
