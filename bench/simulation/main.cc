// Wall time of a simulated packet: QPIP's NICs beside ns-3's own TCP, in one run.
#include <algorithm>
#include <boost/program_options.hpp>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/simulation/pairs.h"

namespace qpip::bench {
namespace {

namespace po = boost::program_options;

constexpr uint64_t kBytes =
    64u << 20;  // all pairs together, so that every case takes about as long
constexpr uint32_t kMessage = 16384;
constexpr uint32_t kMtu = 1500;
constexpr double kBitsPerSecond = 2e9;

struct Series {
  std::vector<double> us_per_packet;
  PairsResult last;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

PairsOptions CaseOptions(uint32_t pairs) {
  PairsOptions options;
  options.pairs = pairs;
  options.bytes = kBytes / pairs / kMessage * kMessage;
  options.message = kMessage;
  options.mtu = kMtu;
  options.bits_per_s = kBitsPerSecond;
  return options;
}

void Measure(Series* series, const PairsResult& result) {
  series->us_per_packet.push_back(result.wall_seconds * 1e6 / static_cast<double>(result.packets));
  series->last = result;
}

nlohmann::json ToJson(uint32_t pairs, const char* contender, const Series& series) {
  const auto [least, most] =
      std::minmax_element(series.us_per_packet.begin(), series.us_per_packet.end());
  return {{"pairs", pairs},
          {"contender", contender},
          {"us_per_packet",
           {{"median", Median(series.us_per_packet)}, {"min", *least}, {"max", *most}}},
          {"packets", series.last.packets},
          {"events", series.last.events},
          {"build_seconds", series.last.build_seconds}};
}

int Main(int argc, char** argv) {
  po::options_description options("Options");
  options.add_options()("help,h", "show this text")("json", "print all as JSON")(
      "rounds", po::value<int>()->default_value(3), "rounds, contenders alternating")(
      "pairs",
      po::value<std::vector<uint32_t>>()->multitoken()->default_value({1, 64, 256}, "1 64 256"),
      "numbers of pairs");
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, options), values);
  po::notify(values);
  if (values.count("help") != 0) {
    std::cout
        << "Usage: sim_speed [options]\n\nWall time of a simulated packet (data or ACK), QPIP "
           "NICs beside ns-3's own TCP:\n64 MiB in 16 KiB messages over MTU 1500 and 2 Gb/s, "
           "split over so many pairs of hosts.\n\n"
        << options;
    return 0;
  }
  const int rounds = std::max(values["rounds"].as<int>(), 1);
  nlohmann::json rows = nlohmann::json::array();
  std::vector<double> qpip_medians;
  std::vector<double> ns3_medians;
  if (values.count("json") == 0) {
    std::printf("%6s  %28s  %28s  %5s  %s\n", "pairs", "QPIP us/packet (min .. max)",
                "ns-3 TCP us/packet", "ratio", "events/packet");
  }
  for (const uint32_t pairs : values["pairs"].as<std::vector<uint32_t>>()) {
    Series qpip;
    Series ns3;
    for (int round = 0; round < rounds; ++round) {
      Measure(&qpip, RunQpipPairs(CaseOptions(pairs)));
      Measure(&ns3, RunNs3Pairs(CaseOptions(pairs)));
    }
    rows.push_back(ToJson(pairs, "qpip", qpip));
    rows.push_back(ToJson(pairs, "ns3-tcp", ns3));
    const nlohmann::json& q = rows[rows.size() - 2]["us_per_packet"];
    const nlohmann::json& n = rows[rows.size() - 1]["us_per_packet"];
    qpip_medians.push_back(q["median"]);
    ns3_medians.push_back(n["median"]);
    if (values.count("json") != 0) continue;
    std::printf("%6u  %8.2f (%6.2f .. %6.2f)  %12.2f (%5.2f .. %5.2f)  %5.2f  %.1f, %.1f\n", pairs,
                q["median"].get<double>(), q["min"].get<double>(), q["max"].get<double>(),
                n["median"].get<double>(), n["min"].get<double>(), n["max"].get<double>(),
                qpip_medians.back() / ns3_medians.back(),
                static_cast<double>(qpip.last.events) / static_cast<double>(qpip.last.packets),
                static_cast<double>(ns3.last.events) / static_cast<double>(ns3.last.packets));
    std::fflush(stdout);
  }
  const auto growth = [](const std::vector<double>& medians) {
    return medians.back() / medians.front();
  };
  if (values.count("json") != 0) {
    std::cout << nlohmann::json{{"cases", rows},
                                {"growth",
                                 {{"qpip", growth(qpip_medians)}, {"ns3", growth(ns3_medians)}}}}
                     .dump(1)
              << '\n';
  } else {
    std::printf("from the first case to the last: QPIP x%.2f, ns-3 TCP x%.2f\n",
                growth(qpip_medians), growth(ns3_medians));
  }
  return 0;
}

}  // namespace
}  // namespace qpip::bench

int main(int argc, char** argv) {
  try {
    return qpip::bench::Main(argc, argv);
  } catch (const boost::program_options::error& error) {
    std::cerr << "sim_speed: " << error.what() << "; --help shows the options\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "sim_speed: " << error.what() << '\n';
    return 1;
  }
}
