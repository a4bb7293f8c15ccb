// qpip-ping: round trips over TCP and UDP queue pairs.
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/common/command_line.h"
#include "apps/common/connection.h"
#include "apps/common/json_output.h"
#include "apps/common/measurement.h"
#include "apps/common/nic_options.h"
#include "apps/common/nic_watch.h"
#include "apps/common/stop.h"
#include "apps/ping/echo_server.h"
#include "apps/ping/ping_client.h"

namespace qpip::apps {
namespace {

namespace po = boost::program_options;

constexpr char kName[] = "qpip-ping";
constexpr uint64_t kMaxCount = 100'000'000;
constexpr uint64_t kMaxBytes = 1u << 20;
constexpr uint32_t kMaxBytesByDefault = 1u << 16;  // that a server echoes, and -a goes up to
constexpr double kMinTimeoutSeconds = 1e-6;
constexpr double kMaxTimeoutSeconds = 3600;
constexpr double kMaxIdleSeconds = 1e6;

CommandLine MakeCommandLine() {
  CommandLine command_line(
      {.name = kName,
       .summary = "round trips of N-byte messages over TCP or UDP queue pairs",
       .usage = "  qpip-ping -s [options]                    echo messages, TCP and UDP\n"
                "  qpip-ping [-u] [options] ADDRESS           measure round trips\n",
       .notes =
           "The server serves up to 255 TCP clients at a time, and any number of UDP ones, until\n"
           "it is interrupted. The client prints minimum, median, 99th percentile and maximum in\n"
           "microseconds, and the CPU time (user and system, this process) for each message sent\n"
           "or received; --json has percentiles up to 99.99 too. Interrupted, it prints what it\n"
           "has. With -a it measures sizes from 1 byte on, each twice the last; interrupted "
           "before\n"
           "the last, its status is 1.\n",
       .examples = "  qpip-ping -s --nic shm:lab &\n"
                   "  qpip-ping --nic shm:lab -n 10000 -l 64 fd00::1\n"
                   "  qpip-ping --nic shm:lab -u --poll --json fd00::1\n"
                   "  qpip-ping --nic shm:lab -a --warm-up 100 --histogram fd00::1\n"});
  AddNicOptions(command_line);
  command_line.Options().add_options()("server,s", "be the server")(
      "udp,u", "UDP queue pairs; server: UDP only")(
      "port,p", po::value<std::string>()->default_value("7")->value_name("PORT"),
      "server's port, 1 to 65535")(
      "count,n", po::value<std::string>()->default_value("1000")->value_name("COUNT"),
      "round trips")("warm-up", po::value<std::string>()->default_value("0")->value_name("COUNT"),
                     "round trips before those that are measured")(
      "all-sizes,a", "sizes 1, 2, 4, ... up to --length (default 64K), COUNT round trips each")(
      "histogram", "also how many round trips took how long")(
      "length,l", po::value<std::string>()->value_name("BYTES"),
      "bytes of a message, suffix K or M (client: default 1; server: longest that is "
      "echoed, default 64K)")(
      "timeout", po::value<std::string>()->default_value("1")->value_name("SECONDS"),
      "UDP: an echo that takes longer is lost; TCP: the connection is given up, but not before 10 "
      "s")("once", "server: exit when the first TCP client has gone")(
      "idle", po::value<std::string>()->value_name("SECONDS"),
      "server: a TCP client that sends nothing for so long is hung up (default 300; 0: never)");
  AddPatienceOption(command_line);
  AddKeepaliveOption(command_line);
  AddWaitOptions(command_line);
  AddStatisticsOption(command_line);
  command_line.Positional("server-address", 1);
  return command_line;
}

int Serve(Nic& nic, const CommandLine& command_line, const EchoOptions& options,
          const StopToken& stop) {
  EchoServer server(nic, options);
  const std::string where = Endpoint{nic.address(), options.port}.ToString();
  if (command_line.json()) {
    PrintJsonLine({{"listening", where}});
  } else {
    std::cout << "listening on " << where << (options.udp_only ? " (UDP)" : " (TCP and UDP)")
              << std::endl;
  }
  server.Run(stop);
  const EchoCounts& counts = server.counts();
  nlohmann::json json = {
      {"clients", counts.clients}, {"messages", counts.messages}, {"bytes", counts.bytes}};
  if (!command_line.json()) {
    std::cout << "echoed " << counts.messages << " messages, " << counts.bytes << " bytes, "
              << counts.clients << " TCP clients" << std::endl;
  }
  ReportStatistics(command_line, nic, &json);
  if (command_line.json()) PrintJsonLine(json);
  return kExitOk;
}

int RunServer(const CommandLine& command_line) {
  EchoOptions options;
  options.port = ParsePort(command_line.String("port"), "option --port");
  if (command_line.Has("length")) {
    options.max_bytes = static_cast<uint32_t>(command_line.Number("length", 1, kMaxBytes));
  }
  options.udp_only = command_line.Flag("udp");
  options.once = command_line.Flag("once");
  options.mode = GetWaitMode(command_line);
  options.keepalive = GetKeepalive(command_line);
  if (command_line.Has("idle")) {
    options.idle = ToNanoseconds(command_line.Seconds("idle", kMaxIdleSeconds));
  }
  if (!command_line.Strings("server-address").empty()) {
    throw UsageError("-s takes no address: command line: name the server's own with --address");
  }
  StopToken stop;
  StopOnSignals(stop);
  return WithNic(kName, NicUri(command_line, NicRole::kServer), NicRole::kServer, stop,
                 [&](Nic& nic) { return Serve(nic, command_line, options, stop); });
}

/// CPU time of this process for one message, sent or received, microseconds.
double CpuPerMessage(const PingResult& result) {
  const auto messages = static_cast<double>(result.sent + result.received);
  return messages == 0 ? 0 : result.cpu_seconds * 1e6 / messages;
}

nlohmann::json ToJson(const Nic& nic, const PingOptions& options, const PingResult& result) {
  nlohmann::json json = result.latency;
  json.erase("count");
  json.update({{"transport", options.type == QpType::kUdp ? "udp" : "tcp"},
               {"mode", ToString(options.mode)},
               {"address", AddressToString(nic.address())},
               {"peer", options.peer.ToString()},
               {"bytes", options.bytes},
               {"sent", result.sent},
               {"received", result.received},
               {"lost", result.sent - result.received},
               {"warm_up", options.warm_up},
               {"seconds", result.seconds},
               {"cpu_us_per_message", CpuPerMessage(result)}});
  if (!result.failure.empty()) json["error"] = result.failure;
  return json;
}

void PrintText(const PingOptions& options, const PingResult& result) {
  const LatencyRecorder::Summary& l = result.latency;
  std::cout << (options.type == QpType::kUdp ? "UDP" : "TCP") << " round trips with "
            << options.peer.ToString() << ", " << options.bytes
            << (options.bytes == 1 ? " byte: " : " bytes: ") << result.sent << " sent, "
            << result.received << " received, " << result.sent - result.received << " lost\n"
            << std::fixed << std::setprecision(2) << "rtt min/median/p99/max = " << l.min_us << "/"
            << l.median_us << "/" << l.p99_us << "/" << l.max_us << " us, CPU "
            << CpuPerMessage(result) << " us a message" << std::endl;
}

int Measure(Nic& nic, const CommandLine& command_line, const PingOptions& options,
            const StopToken& stop) {
  PingClient client(nic, options, stop);
  const PingResult result = client.Run();
  if (result.received > 0) {
    ReportMeasurement(command_line, nic, ToJson(nic, options, result), &result.histogram,
                      [&] { PrintText(options, result); });
  }
  if (!result.failure.empty()) throw Failure(result.failure + From(nic));
  if (result.received > 0) return kExitOk;
  if (stop.requested()) throw Interrupted("interrupted: before the first echo");
  throw Failure("no echo of " + std::to_string(result.sent) + " messages: " +
                options.peer.ToString() + ": is a qpip-ping -s running there?" + From(nic));
}

/// One size after the other, each on a connection of its own, until one ends or is interrupted.
int MeasureAll(Nic& nic, const CommandLine& command_line, PingOptions options,
               const StopToken& stop) {
  uint32_t most = options.bytes;
  if (!command_line.Has("length")) {
    most = options.type == QpType::kUdp ? std::min(kMaxBytesByDefault, nic.max_datagram())
                                        : kMaxBytesByDefault;
  }
  MeasureSizes(SizesUpTo(most), stop, [&](uint32_t bytes) {
    options.bytes = bytes;
    Measure(nic, command_line, options, stop);
  });
  return kExitOk;
}

int RunClient(const CommandLine& command_line) {
  const std::vector<std::string> addresses = command_line.Strings("server-address");
  if (addresses.empty()) {
    throw UsageError("no server: command line: give its ADDRESS, or -s to be one");
  }
  PingOptions options;
  options.type = command_line.Flag("udp") ? QpType::kUdp : QpType::kTcp;
  options.peer =
      ParsePeer(addresses.front(), ParsePort(command_line.String("port"), "option --port"));
  options.count = command_line.Number("count", 1, kMaxCount);
  options.warm_up = command_line.Number("warm-up", 0, kMaxCount);
  if (command_line.Has("length")) {
    options.bytes = static_cast<uint32_t>(command_line.Number("length", 1, kMaxBytes));
  }
  options.mode = GetWaitMode(command_line);
  double timeout_seconds = command_line.Seconds("timeout", kMaxTimeoutSeconds, kMinTimeoutSeconds);
  // TCP repairs losses by itself, which takes a few retransmission time-outs.
  if (options.type == QpType::kTcp) timeout_seconds = std::max(timeout_seconds, 10.0);
  options.timeout = ToNanoseconds(timeout_seconds);
  options.patience = GetPatience(command_line);

  StopToken stop;
  StopOnSignals(stop);
  return WithNic(
      kName, NicUri(command_line, NicRole::kClient), NicRole::kClient, stop, [&](Nic& nic) {
        return command_line.Flag("all-sizes") ? MeasureAll(nic, command_line, options, stop)
                                              : Measure(nic, command_line, options, stop);
      });
}

}  // namespace
}  // namespace qpip::apps

int main(int argc, char** argv) {
  using namespace qpip::apps;
  return ServeOrMeasure(kName, MakeCommandLine, argc, argv, RunServer, RunClient);
}
