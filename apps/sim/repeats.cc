#include "apps/sim/repeats.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <set>

namespace qpip::apps {
namespace {

using nlohmann::json;

constexpr double kWideShare = 0.1;  ///< half an interval, of the mean

/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014.
uint64_t SplitMix64(uint64_t* state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

json Numbers(const sim::ScenarioResult& result) {
  json out = json::object();
  for (const auto& [name, value] : result.metrics) out[name] = value;
  return out;
}

json Words(const sim::ScenarioResult& result) {
  json out = json::object();
  for (const auto& [name, word] : result.words) out[name] = word;
  return out;
}

/// "sender core", or "sender core (7 of 10)" when the runs do not agree.
std::string MostFrequent(const std::vector<std::string>& words) {
  std::map<std::string, size_t> counts;
  for (const std::string& word : words) ++counts[word];
  const auto most =
      std::max_element(counts.begin(), counts.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  if (counts.size() == 1) return most->first;
  return most->first + " (" + std::to_string(most->second) + " of " + std::to_string(words.size()) +
         ")";
}

/// Of a metric by its name's end, whatever it is of ("read_frames_lost"): the sum.
double SumOf(const json& metrics, const std::string& ending) {
  double sum = 0;
  for (const auto& [name, value] : metrics.items()) {
    if (name == ending || name.ends_with("_" + ending)) sum += value.get<double>();
  }
  return sum;
}

/// The metric that a scenario is run for: the first.
std::string MainMetric(const json& statistics) {
  for (const char* name : {"throughput_MB_per_s", "rtt_mean_us", "write_throughput_MB_per_s"}) {
    if (statistics.contains(name)) return name;
  }
  return "";
}

}  // namespace

std::vector<uint64_t> DerivedSeeds(uint64_t seed, uint32_t count) {
  std::vector<uint64_t> out = {seed};
  std::set<uint64_t> known = {seed};
  uint64_t state = seed;
  while (out.size() < count) {
    const uint64_t next = SplitMix64(&state) >> 11;  // 53 bits: a JSON number holds them
    if (known.insert(next).second) out.push_back(next);
  }
  return out;
}

Estimate Summarise(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t count = values.size();
  const auto n = static_cast<double>(count);
  Estimate out;
  out.min = values.front();
  out.max = values.back();
  out.median = (values[(count - 1) / 2] + values[count / 2]) / 2;
  // A sum of equal numbers may round: a metric that no seed changes is exact.
  out.mean = out.min == out.max ? out.min : std::accumulate(values.begin(), values.end(), 0.0) / n;
  out.ci95_low = out.ci95_high = out.mean;
  if (count < 2 || out.min == out.max) return out;
  double squares = 0;
  for (const double value : values) squares += (value - out.mean) * (value - out.mean);
  const double error = std::sqrt(squares / (n - 1) / n);
  const double t = boost::math::quantile(boost::math::students_t(n - 1), 0.975);
  out.ci95_low -= t * error;
  out.ci95_high += t * error;
  return out;
}

const std::vector<std::string>& StatisticNames() {
  static const std::vector<std::string> names = {"median", "ci95_low", "ci95_high", "min", "max"};
  return names;
}

json Together(const std::vector<RepeatedRun>& runs) {
  if (runs.size() == 1) {
    return {{"metrics", Numbers(runs[0].result)}, {"words", Words(runs[0].result)}};
  }
  std::map<std::string, std::vector<double>> values;
  std::map<std::string, std::vector<std::string>> words;
  json listed = json::array();
  for (const RepeatedRun& run : runs) {
    for (const auto& [name, value] : run.result.metrics) values[name].push_back(value);
    for (const auto& [name, word] : run.result.words) words[name].push_back(word);
    listed.push_back(
        {{"seed", run.seed}, {"metrics", Numbers(run.result)}, {"words", Words(run.result)}});
  }
  json out = {{"metrics", json::object()},
              {"words", json::object()},
              {"statistics", json::object()},
              {"runs", std::move(listed)}};
  for (auto& [name, numbers] : values) {
    const Estimate estimate = Summarise(numbers);
    out["metrics"][name] = estimate.mean;
    out["statistics"][name] = {{"median", estimate.median},
                               {"ci95_low", estimate.ci95_low},
                               {"ci95_high", estimate.ci95_high},
                               {"min", estimate.min},
                               {"max", estimate.max}};
  }
  for (const auto& [name, said] : words) out["words"][name] = MostFrequent(said);
  return out;
}

std::vector<Warning> Warnings(const json& result, uint32_t repeats) {
  std::vector<Warning> out;
  const json& metrics = result["metrics"];
  const double lost = SumOf(metrics, "frames_lost");
  const double missing = lost + SumOf(metrics, "switch_drops");
  char text[320];
  if (missing > 0 && result["parameters"].value("protocol.reassembly", 0.0) == 0) {
    std::snprintf(text, sizeof(text),
                  "%.4g frames were lost, and this profile's TCP holds nothing that comes behind a "
                  "gap (protocol.reassembly is 0, as in 2002): all of that is sent again, often "
                  "after a time-out; for "
                  "today's TCP add +modern-tcp to the profile",
                  missing);
    out.push_back({Warning::Kind::kTcpWithoutReassembly, text});
  }
  if (lost > 0 && repeats == 1) {
    out.push_back({Warning::Kind::kOneSeed,
                   "which frames were lost, one seed decides: --repeat 10 shows how far the result "
                   "depends on it"});
  }
  if (!result.contains("statistics")) return out;
  const std::string name = MainMetric(result["statistics"]);
  if (name.empty()) return out;
  const double mean = metrics[name].get<double>();
  const json& statistic = result["statistics"][name];
  const double half =
      (statistic["ci95_high"].get<double>() - statistic["ci95_low"].get<double>()) / 2;
  if (mean > 0 && half > kWideShare * mean) {
    std::snprintf(text, sizeof(text),
                  "after %u seeds %s is %.4g give or take %.4g (95%%; from %.4g to %.4g): repeat "
                  "more, or run longer, before comparing it",
                  repeats, name.c_str(), mean, half, statistic["min"].get<double>(),
                  statistic["max"].get<double>());
    out.push_back({Warning::Kind::kWideInterval, text});
  }
  return out;
}

}  // namespace qpip::apps
