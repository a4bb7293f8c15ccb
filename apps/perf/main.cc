// qpip-perf: latency and bandwidth of RDMA work requests (after perftest).
#include <cmath>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/common/command_line.h"
#include "apps/common/connection.h"
#include "apps/common/json_output.h"
#include "apps/common/measurement.h"
#include "apps/common/nic_options.h"
#include "apps/common/nic_watch.h"
#include "apps/common/stop.h"
#include "apps/perf/perf_client.h"
#include "apps/perf/perf_server.h"

namespace qpip::apps {
namespace {

namespace po = boost::program_options;

constexpr char kName[] = "qpip-perf";
constexpr uint64_t kMaxCount = 1'000'000'000;
constexpr uint32_t kMaxBytesByDefault = 1u << 23;  // that -a goes up to, as perftest's
constexpr double kMaxTimeoutSeconds = 1e6;
/// Of the server, whom the next client waits for as long as the last one is there.
constexpr std::chrono::seconds kKeepalive{10};
constexpr double kMega = 1e6;
constexpr double kGiga = 1e9;

CommandLine MakeCommandLine() {
  CommandLine command_line(
      {.name = kName,
       .summary = "latency and bandwidth of RDMA work requests (after perftest)",
       .usage =
           "  qpip-perf -s [options]                     serve\n"
           "  qpip-perf [options] OPERATION ADDRESS      measure write, read, send or atomic\n",
       .notes =
           "Latencies of write and send are one way: half of the time until the server's own has\n"
           "come back. Those of read and atomic (fetch-add) end with the completion. A write's\n"
           "coming is seen in memory, so both ends poll it whatever is chosen. Percentiles are by\n"
           "nearest rank. With --bandwidth as many messages as --depth are under way. Both ends\n"
           "have buffers for all of these. With --verify every byte is written and compared, by\n"
           "whoever gets it, and the time includes that; results of atomic are compared always.\n"
           "The server serves one client after the other until it is interrupted. One whose\n"
           "machine has vanished is noticed by keep-alives: asked after 10 s of silence, nine\n"
           "times 10 s apart, unless --nic says otherwise (keepalive_idle_s and its kin).\n",
       .examples = "  qpip-perf -s --poll --nic shm:lab &\n"
                   "  qpip-perf --poll --nic shm:lab write fd00::1\n"
                   "  qpip-perf --poll --nic shm:lab -a --bandwidth read fd00::1\n"
                   "  qpip-perf --nic shm:lab -l 4K --verify --histogram --json send fd00::1\n"});
  AddNicOptions(command_line);
  command_line.Options().add_options()("server,s", "be the server")(
      "port,p", po::value<std::string>()->default_value("18515")->value_name("PORT"),
      "server's port, 1 to 65535")("bandwidth,b", "bandwidth (default: latency)")(
      "length,l", po::value<std::string>()->value_name("BYTES"),
      "bytes of a message, suffix K, M or G (default: 8 for latency, 64K for bandwidth; "
      "atomic: always 8)")("all-sizes,a",
                           "sizes 1, 2, 4, ... up to --length (default 8M), each by itself")(
      "count,n", po::value<std::string>()->default_value("1000")->value_name("COUNT"), "messages")(
      "warm-up", po::value<std::string>()->default_value("100")->value_name("COUNT"),
      "messages before those that are measured")(
      "depth", po::value<std::string>()->default_value("64")->value_name("COUNT"),
      "bandwidth: messages under way, 1 to 1024")(
      "histogram", "also how many messages took how long")("verify", "compare every byte")(
      "crc", po::value<std::string>()->value_name("on|off"),
      "CRCs of RDMA frames: off only when both ends say so "
      "(default: off where the wire is trusted)")(
      "timeout", po::value<std::string>()->default_value("10")->value_name("SECONDS"),
      "client: a test that stands still for so long is given up (0: never)")(
      "once", "server: exit when the first client has gone");
  AddPatienceOption(command_line);
  AddWaitOptions(command_line);
  AddStatisticsOption(command_line);
  command_line.Positional("operation-and-address", 2);
  return command_line;
}

PerfSettings GetSettings(const CommandLine& command_line) {
  PerfSettings settings;
  settings.mode = GetWaitMode(command_line);
  settings.timeout = ToNanoseconds(command_line.Seconds("timeout", kMaxTimeoutSeconds));
  if (command_line.Has("crc")) {
    const std::string crc = command_line.String("crc");
    if (crc != "on" && crc != "off") {
      throw UsageError("option --crc: '" + crc + "': give on or off");
    }
    settings.crc = crc == "on";
  }
  return settings;
}

const char* ToString(Measure measure) {
  return measure == Measure::kLatency ? "latency" : "bandwidth";
}

/// What the server prints as it goes.
PerfServerEvents Tell(const CommandLine& command_line) {
  const bool json = command_line.json();
  PerfServerEvents events;
  events.on_listening = [json](const Endpoint& where) {
    if (json) {
      PrintJsonLine({{"listening", where.ToString()}});
    } else {
      std::cout << "listening on " << where.ToString() << std::endl;
    }
  };
  events.on_client = [json](const Endpoint& client, const Plan& plan) {
    if (json) {
      PrintJsonLine({{"client", client.ToString()},
                     {"operation", ToString(plan.operation)},
                     {"measure", ToString(plan.measure)},
                     {"length", plan.bytes}});
    } else {
      std::cout << ToString(plan.operation) << ", " << ToString(plan.measure) << ", " << plan.bytes
                << (plan.bytes == 1 ? " byte" : " bytes") << ": " << client.ToString() << std::endl;
    }
  };
  events.on_failure = [](const std::string& what) { PrintErrorLine(kName, what); };
  return events;
}

int RunServer(const CommandLine& command_line) {
  if (!command_line.Strings("operation-and-address").empty()) {
    throw UsageError("-s takes no operation: command line: the client says what is measured");
  }
  PerfServerOptions options;
  options.port = ParsePort(command_line.String("port"), "option --port");
  options.once = command_line.Flag("once");
  options.settings = GetSettings(command_line);
  // Time between tests, or of a client that does nothing, is the client's affair.
  options.settings.timeout = std::chrono::nanoseconds(0);
  if (!HasParameter(command_line.String("nic"), "keepalive_idle_s")) {
    options.settings.keepalive = kKeepalive;
  }
  StopToken stop;
  StopOnSignals(stop);
  const auto serve = [&](Nic& nic) {
    const PerfServerCounts counts = ServePerf(nic, options, stop, Tell(command_line));
    nlohmann::json json = {{"clients", counts.clients}, {"failed", counts.failed}};
    if (!command_line.json()) {
      std::cout << "served " << counts.clients << " clients, " << counts.failed << " failed"
                << std::endl;
    }
    ReportStatistics(command_line, nic, &json);
    if (command_line.json()) PrintJsonLine(json);
    return options.once && counts.failed > 0 ? kExitFailed : kExitOk;
  };
  return WithNic(kName, NicUri(command_line, NicRole::kServer), NicRole::kServer, stop, serve);
}

double PerSecond(double amount, double seconds) { return seconds > 0 ? amount / seconds : 0; }
double CpuPerMessage(const PerfResult& result) {
  return PerSecond(result.cpu_seconds * kMega, static_cast<double>(result.messages));
}
const char* LatencyOf(Operation operation) {
  const bool both_ways = operation == Operation::kWrite || operation == Operation::kSend;
  return both_ways ? "one way" : "until complete";
}

nlohmann::json ToJson(const Nic& nic, const PerfOptions& options, const PerfResult& result) {
  const Plan& plan = options.plan;
  const bool latency = plan.measure == Measure::kLatency;
  nlohmann::json json = {{"operation", ToString(plan.operation)},
                         {"measure", ToString(plan.measure)},
                         {"mode", ToString(options.settings.mode)},
                         {"address", AddressToString(nic.address())},
                         {"peer", options.peer.ToString()},
                         {"crc", result.agreement.crc},
                         {"verified", plan.verify && result.failure.empty()},
                         {"length", plan.bytes},
                         {"depth", plan.depth},
                         {"warm_up", options.warm_up},
                         {"messages", result.messages},
                         {"bytes", result.bytes},
                         {"seconds", result.seconds},
                         {"cpu_us_per_message", CpuPerMessage(result)}};
  if (latency) {
    nlohmann::json times = result.latency;
    times.erase("count");
    json.update(times);
    json["latency"] = LatencyOf(plan.operation);
  } else {
    json["gb_per_second"] = PerSecond(static_cast<double>(result.bytes) / kGiga, result.seconds);
    json["messages_per_second"] = PerSecond(static_cast<double>(result.messages), result.seconds);
  }
  if (!result.failure.empty()) json["error"] = result.failure;
  return json;
}

void PrintHead(const PerfOptions& options, const PerfResult& result) {
  const Plan& plan = options.plan;
  const bool latency = plan.measure == Measure::kLatency;
  std::cout << "RDMA " << ToString(plan.operation) << ", "
            << (latency ? std::string("latency ") + LatencyOf(plan.operation)
                        : "bandwidth, depth " + std::to_string(plan.depth))
            << ", with " << options.peer.ToString() << ", CRCs "
            << (result.agreement.crc ? "on" : "off") << (plan.verify ? ", every byte compared" : "")
            << "\n"
            << (latency
                    ? "     bytes  messages     min us  median us     p99 us   p99.9 us     max us"
                    : "     bytes  messages       GB/s  million messages/s  CPU us a message")
            << std::endl;
}

void PrintText(const PerfOptions& options, const PerfResult& result) {
  std::cout << std::setw(10) << options.plan.bytes << std::setw(10) << result.messages
            << std::fixed;
  if (options.plan.measure == Measure::kLatency) {
    const LatencyRecorder::Summary& l = result.latency;
    for (const double us : {l.min_us, l.median_us, l.p99_us, l.p99_9_us, l.max_us}) {
      std::cout << std::setprecision(2) << std::setw(11) << us;
    }
  } else {
    std::cout << std::setprecision(3) << std::setw(11)
              << PerSecond(static_cast<double>(result.bytes) / kGiga, result.seconds)
              << std::setw(20)
              << PerSecond(static_cast<double>(result.messages) / kMega, result.seconds)
              << std::setw(18) << CpuPerMessage(result);
  }
  std::cout << std::endl;
}

/// `first`: with a head.
void MeasureOne(Nic& nic, const CommandLine& command_line, const PerfOptions& options, bool first,
                const StopToken& stop) {
  const PerfResult result = MeasurePerf(nic, options, stop);
  const bool latency = options.plan.measure == Measure::kLatency;
  ReportMeasurement(command_line, nic, ToJson(nic, options, result),
                    latency ? &result.histogram : nullptr, [&] {
                      if (first) PrintHead(options, result);
                      PrintText(options, result);
                    });
  if (!result.failure.empty()) throw Failure(result.failure + From(nic));
}

/// The sizes that are measured.
std::vector<uint32_t> Sizes(const CommandLine& command_line, const Plan& plan) {
  if (plan.operation == Operation::kAtomic) {
    if (command_line.Has("length") || command_line.Flag("all-sizes")) {
      throw UsageError("atomic is always of 8 bytes: command line: leave out --length and -a");
    }
    return {kAtomicBytes};
  }
  const bool all = command_line.Flag("all-sizes");
  uint32_t most = all ? kMaxBytesByDefault : plan.measure == Measure::kLatency ? 8u : 1u << 16;
  if (command_line.Has("length")) {
    most = static_cast<uint32_t>(command_line.Number("length", 1, kMaxPerfBytes));
  }
  return all ? SizesUpTo(most) : std::vector<uint32_t>{most};
}

Operation ParseOperation(const std::string& text) {
  for (const Operation operation : kOperations) {
    if (text == ToString(operation)) return operation;
  }
  throw UsageError("'" + text +
                   "' is no operation: command line: give write, read, send or atomic");
}

PerfOptions GetOptions(const CommandLine& command_line) {
  const std::vector<std::string> words = command_line.Strings("operation-and-address");
  if (words.size() != 2) {
    throw UsageError(
        "no test: command line: give write, read, send or atomic and the server's "
        "ADDRESS, or -s to be the server");
  }
  PerfOptions options;
  options.plan.operation = ParseOperation(words[0]);
  options.peer = ParsePeer(words[1], ParsePort(command_line.String("port"), "option --port"));
  options.plan.measure = command_line.Flag("bandwidth") ? Measure::kBandwidth : Measure::kLatency;
  options.plan.verify = command_line.Flag("verify");
  options.plan.depth = options.plan.measure == Measure::kLatency
                           ? 1
                           : static_cast<uint32_t>(command_line.Number("depth", 1, kMaxPerfDepth));
  options.warm_up = command_line.Number("warm-up", 0, kMaxCount);
  options.plan.rounds = options.warm_up + command_line.Number("count", 1, kMaxCount);
  options.settings = GetSettings(command_line);
  options.patience = GetPatience(command_line);
  return options;
}

int RunClient(const CommandLine& command_line) {
  PerfOptions options = GetOptions(command_line);
  const std::vector<uint32_t> sizes = Sizes(command_line, options.plan);
  options.plan.bytes = sizes.back();
  if (BufferBytes(options.plan) > kMaxPerfMemory) {
    throw UsageError("over 2 GiB of buffers: command line: a smaller --length or --depth");
  }
  StopToken stop;
  StopOnSignals(stop);
  return WithNic(kName, NicUri(command_line, NicRole::kClient), NicRole::kClient, stop,
                 [&](Nic& nic) {
                   MeasureSizes(sizes, stop, [&](uint32_t bytes) {
                     options.plan.bytes = bytes;
                     MeasureOne(nic, command_line, options, bytes == sizes.front(), stop);
                   });
                   return kExitOk;
                 });
}

}  // namespace
}  // namespace qpip::apps

int main(int argc, char** argv) {
  using namespace qpip::apps;
  return ServeOrMeasure(kName, MakeCommandLine, argc, argv, RunServer, RunClient);
}
