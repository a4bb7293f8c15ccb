// compare: QPIP beside the kernel's sockets and UCX, in the same run on the same machine; between
// two network namespaces QPIP beside the kernel's sockets, theirs through a tunnel, and UCX.
#include <unistd.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "bench/comparison/contender.h"
#include "bench/comparison/report.h"

namespace qpip::bench {
namespace {

namespace po = boost::program_options;

struct Options {
  int rounds = 7;
  bool quick = false;
  uint64_t share = 1;
  bool json = false;
  std::string cores;
  std::string contenders;
  std::string cases;
  std::string hosts;
  std::string tunnel;
  std::string ucx_server;
  std::string query;
  int timeout_seconds = 60;
};

struct BadUsage : std::runtime_error {
  using std::runtime_error::runtime_error;
};

constexpr char kHelp[] =
    "Usage: compare [options]\n\n"
    "Measures 1-byte round trips and the throughput of messages of 64 B to 1 MiB between two "
    "pinned\n"
    "processes: QPIP over shm:, the kernel's sockets on ::1, and UCX over shared memory. "
    "Contenders\n"
    "alternate within each round. Exit status: 0 fine, 1 a contender failed, 2 bad usage.\n\n"
    "Examples:\n"
    "  compare --quick\n"
    "  compare --contenders qpip-poll,kernel-poll --cases tcp-rtt,tcp-65536 --json\n"
    "  compare --hosts blue@fd01::1,green@fd01::2    (bench/hosts makes such namespaces)\n\n";

std::vector<Case> AllCases(uint64_t share) {
  std::vector<Case> cases;
  for (const Transport transport : {Transport::kTcp, Transport::kUdp}) {
    cases.push_back({.name = transport == Transport::kTcp ? "tcp-rtt" : "udp-rtt",
                     .pattern = Pattern::kRoundTrip,
                     .transport = transport,
                     .bytes = 1,
                     .messages = std::max<uint64_t>(30000 / share, 1),
                     .warm_up = std::max<uint64_t>(2000 / share, 1)});
  }
  // As many bytes in flight for all of the large sizes as a second-level cache holds; a 1 MiB
  // message needs more than one outstanding to overlap.
  struct Size {
    uint32_t bytes;
    uint32_t window;
    uint64_t messages;
  };
  for (const Size& size : {Size{64, 256, 1000000}, Size{16384, 64, 64000}, Size{65536, 16, 20000},
                           Size{1 << 20, 4, 1500}}) {
    cases.push_back({.name = "tcp-" + std::to_string(size.bytes),
                     .pattern = Pattern::kThroughput,
                     .transport = Transport::kTcp,
                     .bytes = size.bytes,
                     .messages = std::max<uint64_t>(size.messages / share, 1),
                     .warm_up = std::max<uint64_t>(2 * size.window, size.messages / share / 20),
                     .window = size.window});
  }
  return cases;
}

/// A namespace for each side, and the address it has there.
struct Hosts {
  std::string server_netns;
  std::string client_netns;
  Addresses addresses;
};

Hosts ParseHosts(const std::string& text) {
  Hosts hosts;
  const size_t comma = text.find(',');
  const auto side = [&](const std::string& one, std::string* netns, std::string* address) {
    const size_t at = one.find('@');
    if (at == 0 || at == std::string::npos || at + 1 == one.size()) {
      throw BadUsage("--hosts: want NETNS@ADDRESS,NETNS@ADDRESS, the server's first");
    }
    *netns = one.substr(0, at);
    *address = one.substr(at + 1);
  };
  side(text.substr(0, comma), &hosts.server_netns, &hosts.addresses.server);
  side(comma == std::string::npos ? "" : text.substr(comma + 1), &hosts.client_netns,
       &hosts.addresses.client);
  return hosts;
}

std::vector<std::unique_ptr<Contender>> ContendersBetween(const Addresses& addresses,
                                                          const Options& options) {
  std::vector<std::unique_ptr<Contender>> all = QpipHostContenders(addresses, options.query);
  const auto add = [&](std::vector<std::unique_ptr<Contender>> more) {
    for (auto& contender : more) all.push_back(std::move(contender));
  };
  add(KernelContenders(addresses));
  if (!options.tunnel.empty()) {
    const size_t comma = options.tunnel.find(',');
    if (comma == std::string::npos) throw BadUsage("--tunnel: want ADDRESS,ADDRESS");
    add(TunnelContenders({options.tunnel.substr(0, comma), options.tunnel.substr(comma + 1)}));
  }
  if (!options.ucx_server.empty()) {
    const size_t percent = options.ucx_server.find('%');
    if (percent == std::string::npos) throw BadUsage("--ucx: want IPV4%DEVICE");
    add(UcxTcpContenders(options.ucx_server.substr(0, percent),
                         options.ucx_server.substr(percent + 1)));
  }
  return all;
}

std::vector<std::unique_ptr<Contender>> AllContenders() {
  std::vector<std::unique_ptr<Contender>> all = QpipContenders();
  for (auto& contender : KernelContenders()) all.push_back(std::move(contender));
  for (auto& contender : UcxContenders()) all.push_back(std::move(contender));
  return all;
}

/// Splits "a,b"; every name must be in `known`. Empty text selects all.
std::set<std::string> Select(const std::string& text, const std::vector<std::string>& known,
                             const char* option) {
  if (text.empty()) return {known.begin(), known.end()};
  std::set<std::string> selected;
  std::istringstream names(text);
  for (std::string name; std::getline(names, name, ',');) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      std::string message = std::string(option) + ": no '" + name + "'; there are:";
      for (const std::string& one : known) message += " " + one;
      throw BadUsage(message);
    }
    selected.insert(name);
  }
  return selected;
}

Pinning ParseCores(const std::string& text) {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  Pinning pinning{0, cores > 1 ? 1 : 0};
  if (text.empty()) return pinning;
  char rest = 0;
  if (sscanf(text.c_str(), "%d,%d%c", &pinning.server_core, &pinning.client_core, &rest) != 2 ||
      pinning.server_core < 0 || pinning.server_core >= cores || pinning.client_core < 0 ||
      pinning.client_core >= cores) {
    throw BadUsage("--cores: want SERVER,CLIENT, each 0 to " + std::to_string(cores - 1));
  }
  return pinning;
}

/// Runs all rounds; each round starts with another contender. A series that fails is not run again.
void RunRounds(std::vector<Series>& all, const Pinning& pinning, const Options& options) {
  const bool progress = isatty(STDERR_FILENO) != 0;
  for (int round = 0; round < options.rounds; ++round) {
    for (size_t i = 0; i < all.size(); ++i) {
      Series& series = all[(i + static_cast<size_t>(round)) % all.size()];
      if (!series.error.empty()) continue;
      if (progress) {
        fprintf(stderr, "\r\033[Kround %d of %d: %s %s", round + 1, options.rounds,
                series.which->name.c_str(), series.contender->name().c_str());
      }
      try {
        series.samples.push_back(series.contender->Measure(
            *series.which, pinning, std::chrono::seconds(options.timeout_seconds)));
      } catch (const std::exception& error) {
        series.error = error.what();
        series.samples.clear();
      }
    }
  }
  if (progress) fprintf(stderr, "\r\033[K");
}

int Compare(const Options& options) {
  Pinning pinning = ParseCores(options.cores);
  Hosts hosts;
  if (!options.hosts.empty()) {
    hosts = ParseHosts(options.hosts);
    pinning.server_netns = hosts.server_netns;
    pinning.client_netns = hosts.client_netns;
  }
  const std::vector<Case> cases = AllCases(options.quick ? 10 * options.share : options.share);
  const auto contenders =
      options.hosts.empty() ? AllContenders() : ContendersBetween(hosts.addresses, options);
  std::vector<std::string> case_names;
  std::vector<std::string> contender_names;
  for (const Case& which : cases) case_names.push_back(which.name);
  for (const auto& contender : contenders) contender_names.push_back(contender->name());
  const auto selected_cases = Select(options.cases, case_names, "--cases");
  const auto selected = Select(options.contenders, contender_names, "--contenders");
  const bool ucx = std::any_of(selected.begin(), selected.end(),
                               [](const std::string& name) { return name.starts_with("ucx-"); });
  if (ucx && !UcxAvailable()) {
    fprintf(stderr,
            "compare: ucx_perftest is not in PATH: run tools/setup (package ucx-utils), or leave "
            "UCX out with --contenders\n");
    return 1;
  }

  std::vector<Series> all;
  for (const Case& which : cases) {
    for (const auto& contender : contenders) {
      if (selected_cases.contains(which.name) && selected.contains(contender->name()) &&
          contender->Supports(which)) {
        all.push_back({contender.get(), &which, {}, {}});
      }
    }
  }
  RunRounds(all, pinning, options);

  if (options.json) {
    std::cout << FormatJson(all, pinning, options.rounds).dump(2) << "\n";
  } else {
    std::cout << FormatText(all, pinning, options.rounds);
  }
  int status = 0;
  for (const Series& series : all) {
    if (series.error.empty()) continue;
    fprintf(stderr, "compare: %s %s: %s\n", series.contender->name().c_str(),
            series.which->name.c_str(), series.error.c_str());
    status = 1;
  }
  return status;
}

int Main(int argc, char** argv) {
  Options options;
  po::options_description description("Options");
  description.add_options()("help", "show this text and stop")(
      "json", po::bool_switch(&options.json), "print all rounds as JSON")(
      "rounds", po::value(&options.rounds)->default_value(7), "rounds, at least 1")(
      "quick", po::bool_switch(&options.quick), "a tenth of the messages")(
      "share", po::value(&options.share)->default_value(1), "one in so many of the messages")(
      "cores", po::value(&options.cores), "SERVER,CLIENT: where to pin (default 0,1)")(
      "contenders", po::value(&options.contenders), "comma-separated; default all")(
      "cases", po::value(&options.cases), "comma-separated; default all")(
      "hosts", po::value(&options.hosts),
      "NETNS@ADDRESS,NETNS@ADDRESS: server and client in network namespaces, QPIP over udp: and "
      "wg: "
      "(needs root)")("tunnel", po::value(&options.tunnel),
                      "ADDRESS,ADDRESS: with --hosts, kernel sockets at these too")(
      "ucx", po::value(&options.ucx_server),
      "IPV4%DEVICE: with --hosts, UCX over TCP to this server too")(
      "query", po::value(&options.query),
      "with --hosts, further parameters of QPIP's URIs: '&delay_us=1000&loss=0.001'")(
      "timeout", po::value(&options.timeout_seconds)->default_value(60),
      "seconds one run may last");
  try {
    po::variables_map values;
    po::store(po::command_line_parser(argc, argv).options(description).positional({}).run(),
              values);
    po::notify(values);
    if (values.count("help") != 0) {
      std::cout << kHelp << description;
      return 0;
    }
    if (options.rounds < 1 || options.timeout_seconds < 1 || options.share < 1) {
      throw BadUsage("--rounds, --share and --timeout must be at least 1");
    }
    return Compare(options);
  } catch (const po::error& error) {
    fprintf(stderr, "compare: %s (see --help)\n", error.what());
  } catch (const BadUsage& error) {
    fprintf(stderr, "compare: %s\n", error.what());
  } catch (const std::exception& error) {
    fprintf(stderr, "compare: %s\n", error.what());
    return 1;
  }
  return 2;
}

}  // namespace
}  // namespace qpip::bench

int main(int argc, char** argv) { return qpip::bench::Main(argc, argv); }
