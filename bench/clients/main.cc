// clients: one echo server and many client processes, QPIP beside the kernel's sockets in one run.
#include <algorithm>
#include <boost/program_options.hpp>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "bench/clients/crowd.h"

namespace qpip::bench {
namespace {

namespace po = boost::program_options;
using nlohmann::json;
using std::chrono::milliseconds;

struct Options {
  std::string clients;
  std::string settings;
  uint32_t bytes = 0;
  uint32_t rounds = 0;
  uint32_t milliseconds = 0;
  bool as_json = false;
  std::vector<uint32_t> counts;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Series {
  std::string name;
  std::vector<Sample> samples;

  template <typename Member>
  std::vector<double> All(Member member) const {
    std::vector<double> values;
    for (const Sample& sample : samples) values.push_back(sample.*member);
    return values;
  }
  json ToJson() const {
    json rounds = json::array();
    for (const Sample& sample : samples) {
      rounds.push_back({{"echoes_a_second", sample.echoes_a_second},
                        {"cpu_us_an_echo", sample.cpu_us},
                        {"least_share", sample.least_share}});
    }
    const auto rates = All(&Sample::echoes_a_second);
    return {{"contender", name},
            {"rounds", rounds},
            {"median_echoes_a_second", Median(rates)},
            {"least_echoes_a_second", *std::min_element(rates.begin(), rates.end())},
            {"median_cpu_us_an_echo", Median(All(&Sample::cpu_us))}};
  }
};

void Print(uint32_t clients, const std::vector<Series>& all) {
  for (const Series& series : all) {
    const auto rates = series.All(&Sample::echoes_a_second);
    const auto shares = series.All(&Sample::least_share);
    printf("%7u  %-8s %9.0f  (%.0f .. %.0f)  %8.1f us  %6.2f (%.2f at worst)\n", clients,
           series.name.c_str(), Median(rates), *std::min_element(rates.begin(), rates.end()),
           *std::max_element(rates.begin(), rates.end()), Median(series.All(&Sample::cpu_us)),
           Median(shares), *std::min_element(shares.begin(), shares.end()));
  }
  // Of the same round: what disturbs one disturbs the other.
  std::vector<double> ratios;
  for (size_t i = 0; i < all[0].samples.size(); ++i) {
    ratios.push_back(all[0].samples[i].echoes_a_second / all[1].samples[i].echoes_a_second);
  }
  printf("%7s  %s / %s: %.2f  (%.2f .. %.2f)\n", "", all[0].name.c_str(), all[1].name.c_str(),
         Median(ratios), *std::min_element(ratios.begin(), ratios.end()),
         *std::max_element(ratios.begin(), ratios.end()));
  fflush(stdout);
}

json Run(const Options& options) {
  std::vector<std::unique_ptr<Crowd>> crowds;
  crowds.push_back(QpipCrowd("shm", options.settings));
  crowds.push_back(KernelCrowd());
  if (!options.as_json) {
    printf("clients  contender echoes/s  (least .. most)  CPU an echo  least share, of %u rounds\n",
           options.rounds);
  }
  json results = json::array();
  for (const uint32_t clients : options.counts) {
    std::vector<Series> all;
    for (const auto& crowd : crowds) all.push_back({.name = crowd->name(), .samples = {}});
    for (uint32_t round = 0; round < options.rounds; ++round) {
      for (size_t i = 0; i < crowds.size(); ++i) {
        const size_t which = (i + round) % crowds.size();
        all[which].samples.push_back(Measure(*crowds[which], clients, options.bytes,
                                             milliseconds(options.milliseconds / 4),
                                             milliseconds(options.milliseconds)));
      }
    }
    if (!options.as_json) Print(clients, all);
    json contenders = json::array();
    for (const Series& series : all) contenders.push_back(series.ToJson());
    results.push_back({{"clients", clients}, {"contenders", contenders}});
  }
  return {{"bytes", options.bytes}, {"milliseconds", options.milliseconds}, {"results", results}};
}

std::vector<uint32_t> ParseCounts(const std::string& text) {
  std::vector<uint32_t> counts;
  std::istringstream numbers(text);
  for (std::string number; std::getline(numbers, number, ',');) {
    unsigned value = 0;
    char rest = 0;
    if (sscanf(number.c_str(), "%u%c", &value, &rest) != 1 || value < 1 || value > kMostClients) {
      throw po::error("--clients: want numbers from 1 to " + std::to_string(kMostClients) +
                      ", as in 1,4,16");
    }
    counts.push_back(value);
  }
  if (counts.empty()) throw po::error("--clients is empty");
  return counts;
}

/// Answers false when there is nothing more to do. Throws po::error.
bool Parse(int argc, char** argv, Options* options) {
  po::options_description description("Options");
  description.add_options()("help", "show this text and stop")(
      "json", po::bool_switch(&options->as_json), "print all rounds as JSON")(
      "clients", po::value(&options->clients)->default_value("1,4,16,62"),
      "numbers of client processes, comma-separated")(
      "bytes", po::value(&options->bytes)->default_value(64), "a message, 1 to 448")(
      "rounds", po::value(&options->rounds)->default_value(5), "1 to 100")(
      "milliseconds", po::value(&options->milliseconds)->default_value(1000),
      "measured a round, 10 to 600000")("settings",
                                        po::value(&options->settings)->default_value(""),
                                        "more for the URI of QPIP's NICs, as in '&spin_us=0'");
  po::variables_map values;
  po::store(po::command_line_parser(argc, argv).options(description).positional({}).run(), values);
  po::notify(values);
  if (values.count("help") != 0) {
    std::cout << "Usage: qpip-clients [options]\n\nOne echo server and many client processes that "
                 "wait: QPIP over shm: and the kernel's\nsockets on ::1 in turn. Nothing is "
                 "pinned.\n\n"
              << description;
    return false;
  }
  options->counts = ParseCounts(options->clients);
  if (options->bytes < 1 || options->bytes > 448) throw po::error("--bytes is out of range");
  if (options->rounds < 1 || options->rounds > 100) throw po::error("--rounds is out of range");
  if (options->milliseconds < 10 || options->milliseconds > 600000) {
    throw po::error("--milliseconds is out of range");
  }
  return true;
}

int Main(int argc, char** argv) {
  Options options;
  try {
    if (!Parse(argc, argv, &options)) return 0;
  } catch (const po::error& error) {
    fprintf(stderr, "qpip-clients: %s (see --help)\n", error.what());
    return 2;
  }
  try {
    const json result = Run(options);
    if (options.as_json) std::cout << result.dump(2) << "\n";
    return 0;
  } catch (const std::exception& error) {
    fprintf(stderr, "qpip-clients: %s\n", error.what());
    return 1;
  }
}

}  // namespace
}  // namespace qpip::bench

int main(int argc, char** argv) { return qpip::bench::Main(argc, argv); }
