// connects: how long many connections take that are opened at once.
//
// Two NICs of this process on one fabric, each run by its core thread and by whoever waits. All
// queue pairs of the server are offered before the first connect; the clock stops when the last
// connection is up at both ends.
#include <unistd.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <chrono>
#include <cstdio>
#include <future>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "qpip/qpip.h"

namespace {

namespace po = boost::program_options;
using nlohmann::json;
using namespace qpip;
using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr uint16_t kPort = 7;

struct Options {
  std::string scheme;
  uint32_t connections = 0;
  uint32_t threads = 0;
  uint32_t rounds = 0;
  bool as_json = false;
};

/// One NIC and its queue pairs.
class Node {
 public:
  Node(const std::string& fabric, const char* address, uint32_t connections)
      : nic(Nic::Open(fabric + "?address=" + address +
                      "&max_qps=" + std::to_string(std::max(connections, 1024u)))),
        pd_(nic->AllocatePd()),
        cq_(nic->CreateCq(2 * connections)) {
    const QpOptions options{
        .send_cq = cq_.get(), .recv_cq = cq_.get(), .send_depth = 1, .recv_depth = 1};
    for (uint32_t i = 0; i < connections; ++i) qps.push_back(nic->CreateQp(*pd_, options));
  }
  std::shared_ptr<Nic> nic;

 private:
  std::unique_ptr<ProtectionDomain> pd_;
  std::unique_ptr<CompletionQueue> cq_;

 public:
  std::vector<std::unique_ptr<QueuePair>> qps;
};

/// Starts a thread's share of the connects, then waits for them.
void ConnectShare(Node& client, const Endpoint& server, uint32_t first, uint32_t threads) {
  for (uint32_t i = first; i < client.qps.size(); i += threads) client.qps[i]->StartConnect(server);
  for (uint32_t i = first; i < client.qps.size(); i += threads) {
    if (!client.qps[i]->WaitConnected(seconds(60))) throw Error(ETIMEDOUT, "connecting takes long");
  }
}

struct Round {
  double milliseconds = 0;
  uint64_t time_outs = 0;
  uint64_t syns_put_off = 0;
};

Round Measure(const Options& options, uint32_t number) {
  const std::string fabric =
      options.scheme + ":connects-" + std::to_string(getpid()) + "-" + std::to_string(number);
  Node server(fabric, "fd00::1", options.connections);
  Node client(fabric, "fd00::2", options.connections);
  const auto listener = server.nic->Listen(kPort, 64);
  for (const auto& qp : server.qps) listener->Offer(*qp);
  const Endpoint to{server.nic->address(), kPort};
  std::vector<std::future<void>> shares;
  const auto begin = Clock::now();
  shares.push_back(std::async(std::launch::async, [&] {
    for (uint32_t i = 0; i < options.connections; ++i) {
      if (listener->Accept(seconds(60)) == nullptr) throw Error(ETIMEDOUT, "accepting takes long");
    }
  }));
  for (uint32_t i = 0; i < options.threads; ++i) {
    shares.push_back(
        std::async(std::launch::async, [&, i] { ConnectShare(client, to, i, options.threads); }));
  }
  for (std::future<void>& share : shares) share.get();
  const std::chrono::duration<double, std::milli> took = Clock::now() - begin;
  Round round{.milliseconds = took.count()};
  for (Node* node : {&server, &client}) {
    auto counters = node->nic->Counters();
    round.time_outs += counters["tcp_retransmission_timeouts"];
    round.syns_put_off += counters["syns_put_off"];
  }
  return round;
}

json Run(const Options& options) {
  json rounds = json::array();
  std::vector<double> times;
  uint64_t time_outs = 0;
  for (uint32_t i = 0; i < options.rounds; ++i) {
    const Round round = Measure(options, i);
    times.push_back(round.milliseconds);
    time_outs += round.time_outs;
    rounds.push_back({{"ms", round.milliseconds},
                      {"time_outs", round.time_outs},
                      {"syns_put_off", round.syns_put_off}});
  }
  std::sort(times.begin(), times.end());
  return {{"connections", options.connections},
          {"threads", options.threads},
          {"fabric", options.scheme},
          {"median_ms", times[times.size() / 2]},
          {"least_ms", times.front()},
          {"most_ms", times.back()},
          {"time_outs", time_outs},
          {"rounds", rounds}};
}

void Print(const json& result) {
  printf("%u connects at once from %u thread%s over %s, until the last is up at both ends\n",
         result.at("connections").get<uint32_t>(), result.at("threads").get<uint32_t>(),
         result.at("threads") == 1 ? "" : "s", result.at("fabric").get<std::string>().c_str());
  printf("median of %zu rounds %.1f ms (%.1f .. %.1f), %llu retransmission time-outs\n",
         result.at("rounds").size(), result.at("median_ms").get<double>(),
         result.at("least_ms").get<double>(), result.at("most_ms").get<double>(),
         static_cast<unsigned long long>(result.at("time_outs").get<uint64_t>()));
}

/// Answers false when there is nothing more to do. Throws po::error.
bool Parse(int argc, char** argv, Options* options) {
  po::options_description description("Options");
  description.add_options()("help", "show this text and stop")(
      "json", po::bool_switch(&options->as_json), "print the result as JSON")(
      "connections", po::value(&options->connections)->default_value(1000),
      "connects at once, 1 to 16384")("threads", po::value(&options->threads)->default_value(1),
                                      "that connect, 1 to --connections")(
      "rounds", po::value(&options->rounds)->default_value(7), "1 to 1000")(
      "fabric", po::value(&options->scheme)->default_value("shm"), "shm or mem");
  po::variables_map values;
  po::store(po::command_line_parser(argc, argv).options(description).positional({}).run(), values);
  po::notify(values);
  if (values.count("help") != 0) {
    std::cout << "Usage: qpip-connects [options]\n\nHow long many connections take that are opened "
                 "at once, between two NICs of this process.\n\n"
              << description;
    return false;
  }
  if (options->connections < 1 || options->connections > 16384)
    throw po::error("--connections is out of range");
  if (options->threads < 1 || options->threads > options->connections)
    throw po::error("--threads is out of range");
  if (options->rounds < 1 || options->rounds > 1000) throw po::error("--rounds is out of range");
  if (options->scheme != "shm" && options->scheme != "mem")
    throw po::error("--fabric is neither shm nor mem");
  return true;
}

int Main(int argc, char** argv) {
  Options options;
  try {
    if (!Parse(argc, argv, &options)) return 0;
  } catch (const po::error& error) {
    fprintf(stderr, "qpip-connects: %s (see --help)\n", error.what());
    return 2;
  }
  try {
    const json result = Run(options);
    if (options.as_json) {
      std::cout << result.dump(2) << "\n";
    } else {
      Print(result);
    }
    return 0;
  } catch (const std::exception& error) {
    fprintf(stderr, "qpip-connects: %s\n", error.what());
    return 1;
  }
}

}  // namespace

int main(int argc, char** argv) { return Main(argc, argv); }
