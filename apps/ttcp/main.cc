// qpip-ttcp: bulk transfer over a TCP queue pair, with ttcp's options and report.
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/common/command_line.h"
#include "apps/common/connection.h"
#include "apps/common/json_output.h"
#include "apps/common/nic_options.h"
#include "apps/common/nic_watch.h"
#include "apps/common/stop.h"
#include "apps/ttcp/transfer.h"

namespace qpip::apps {
namespace {

namespace po = boost::program_options;

constexpr char kName[] = "qpip-ttcp";
constexpr uint64_t kMaxLength = 16u << 20;
constexpr uint64_t kMaxBuffers = 1'000'000'000'000;
constexpr uint64_t kMaxDepth = 64;
constexpr double kGigabyte = 1e9;
constexpr double kMaxTimeoutSeconds = 1e6;

CommandLine MakeCommandLine() {
  CommandLine command_line(
      {.name = kName,
       .summary = "bulk transfer over a TCP queue pair (after ttcp)",
       .usage = "  qpip-ttcp -r [options]                     receive\n"
                "  qpip-ttcp -t [options] ADDRESS             transmit\n",
       .notes =
           "The receiver takes one connection and reports bytes, seconds, rate and CPU time (user\n"
           "and system, this process) for each 10^9 bytes. The transmitter's time ends with the\n"
           "peer's close, so it includes delivery. With segment framing (the default) a buffer is\n"
           "a message: the receiver's -l must be at least the transmitter's. Both ends need the\n"
           "same framing, and both --verify or neither. The window a receiver offers is what it\n"
           "has posted, --depth times -l: over a long path, the rate times the round trip.\n",
       .examples = "  qpip-ttcp -r --nic shm:lab -l 64K &\n"
                   "  qpip-ttcp -t --nic shm:lab -l 64K -n 100000 fd00::1\n"
                   "  qpip-ttcp -t --nic shm:lab --duration 10 --interval 1 fd00::1\n"
                   "  qpip-ttcp -t --nic shm:lab --stream --verify -f G --json fd00::1\n"});
  AddNicOptions(command_line);
  command_line.Options().add_options()("transmit,t", "transmit")("receive,r", "receive")(
      "length,l", po::value<std::string>()->default_value("8192")->value_name("BYTES"),
      "buffer length, suffix K or M, at most 16M")(
      "buffers,n", po::value<std::string>()->default_value("2048")->value_name("COUNT"),
      "buffers to transmit")("duration", po::value<std::string>()->value_name("SECONDS"),
                             "transmit for so long, instead of a number of buffers")(
      "interval", po::value<std::string>()->value_name("SECONDS"),
      "report so often, on either side; with --json a line each")(
      "port,p", po::value<std::string>()->default_value("5001")->value_name("PORT"),
      "receiver's port, 1 to 65535")("nodelay,D",
                                     "accepted for ttcp's sake: QPIP never delays small messages")(
      "source-sink,s", "accepted for ttcp's sake: a pattern is always sent, and discarded")(
      "format,f", po::value<std::string>()->default_value("M")->value_name("X"),
      "unit of the rate: K, M, G for KiB, MiB, GiB a second; k, m, g for 10^3, 10^6, 10^9 bits")(
      "stream", "stream framing: no message boundaries, any TCP peer")(
      "depth", po::value<std::string>()->default_value("16")->value_name("COUNT"),
      "work requests outstanding, 1 to 64")("verify",
                                            "send and check a position-dependent pattern")(
      "timeout", po::value<std::string>()->default_value("60")->value_name("SECONDS"),
      "a transfer that stands still for so long is given up (0: never)");
  AddPatienceOption(command_line);
  AddKeepaliveOption(command_line);
  AddWaitOptions(command_line);
  AddStatisticsOption(command_line);
  command_line.Positional("receiver-address", 1);
  return command_line;
}

struct RateFormat {
  const char* unit;
  double divisor;  ///< of bytes a second
};

RateFormat ParseFormat(const std::string& text) {
  if (text == "K") return {"KiB/s", 1024.0};
  if (text == "M") return {"MiB/s", 1024.0 * 1024};
  if (text == "G") return {"GiB/s", 1024.0 * 1024 * 1024};
  if (text == "k") return {"kbit/s", 1e3 / 8};
  if (text == "m") return {"Mbit/s", 1e6 / 8};
  if (text == "g") return {"Gbit/s", 1e9 / 8};
  throw UsageError("option --format: '" + text + "' is no unit: give one of K, M, G, k, m, g");
}

struct Rates {
  explicit Rates(const TransferResult& result)
      : bytes_per_second(result.seconds > 0 ? static_cast<double>(result.bytes) / result.seconds
                                            : 0),
        cpu_seconds_per_gb(result.bytes > 0
                               ? result.cpu_seconds * kGigabyte / static_cast<double>(result.bytes)
                               : 0) {}
  double bytes_per_second;
  double cpu_seconds_per_gb;
};

nlohmann::json ToJson(const TransferOptions& options, const TransferResult& result, bool transmit) {
  const Rates rates(result);
  nlohmann::json json = {{"role", transmit ? "transmit" : "receive"},
                         {"framing", options.framing == Framing::kStream ? "stream" : "segment"},
                         {"mode", ToString(options.mode)},
                         {"length", options.length},
                         {"depth", options.depth},
                         {"bytes", result.bytes},
                         {"messages", result.messages},
                         {"seconds", result.seconds},
                         {"bytes_per_second", rates.bytes_per_second},
                         {"cpu_seconds", result.cpu_seconds},
                         {"cpu_seconds_per_gb", rates.cpu_seconds_per_gb},
                         {"verified", result.verified}};
  if (!result.failure.empty()) json["error"] = result.failure;
  return json;
}

void PrintText(const TransferResult& result, bool transmit, const RateFormat& format) {
  const Rates rates(result);
  const char* const who = transmit ? "ttcp-t" : "ttcp-r";
  std::cout << std::fixed << who << ": " << result.bytes << " bytes in " << std::setprecision(3)
            << result.seconds << " real seconds = " << std::setprecision(2)
            << rates.bytes_per_second / format.divisor << " " << format.unit << " +++\n"
            << who << ": " << result.messages << " messages, " << std::setprecision(3)
            << result.cpu_seconds << " CPU seconds, " << rates.cpu_seconds_per_gb
            << " CPU-seconds/GB" << (result.verified ? ", every byte verified" : "") << std::endl;
}

/// A line now and then, while the transfer goes on.
void PrintInterval(const Interval& interval, bool transmit, bool json, const RateFormat& format) {
  const double seconds = interval.end_seconds - interval.start_seconds;
  const double rate = seconds > 0 ? static_cast<double>(interval.bytes) / seconds : 0;
  if (json) {
    PrintJsonLine({{"interval",
                    {{"start_seconds", interval.start_seconds},
                     {"end_seconds", interval.end_seconds},
                     {"bytes", interval.bytes},
                     {"bytes_per_second", rate}}}});
    return;
  }
  std::cout << std::fixed << (transmit ? "ttcp-t: " : "ttcp-r: ") << std::setprecision(3)
            << interval.start_seconds << " to " << interval.end_seconds
            << " seconds: " << interval.bytes << " bytes = " << std::setprecision(2)
            << rate / format.divisor << " " << format.unit << std::endl;
}

/// A time that must not be nothing; zero when the option is not given.
std::chrono::nanoseconds GetTime(const CommandLine& command_line, const char* name) {
  if (!command_line.Has(name)) return {};
  const auto time = ToNanoseconds(command_line.Seconds(name, kMaxTimeoutSeconds));
  if (time.count() == 0) {
    throw UsageError(std::string("option --") + name + ": give a time above 0, in seconds");
  }
  return time;
}

TransferOptions ReadOptions(const CommandLine& command_line, bool transmit) {
  TransferOptions options;
  const uint16_t port = ParsePort(command_line.String("port"), "option --port");
  const std::vector<std::string> addresses = command_line.Strings("receiver-address");
  if (transmit && addresses.empty()) {
    throw UsageError("no receiver: command line: give its ADDRESS");
  }
  if (!transmit && !addresses.empty()) {
    throw UsageError("-r takes no address: command line: name the receiver's own with --address");
  }
  options.peer.port = port;
  if (transmit) options.peer = ParsePeer(addresses.front(), port);
  options.framing = command_line.Flag("stream") ? Framing::kStream : Framing::kSegment;
  options.length = static_cast<uint32_t>(command_line.Number("length", 1, kMaxLength));
  options.buffers = command_line.Number("buffers", 1, kMaxBuffers);
  options.depth = static_cast<uint32_t>(command_line.Number("depth", 1, kMaxDepth));
  options.verify = command_line.Flag("verify");
  options.mode = GetWaitMode(command_line);
  options.timeout = ToNanoseconds(command_line.Seconds("timeout", kMaxTimeoutSeconds));
  options.patience = GetPatience(command_line);
  options.keepalive = GetKeepalive(command_line);
  options.duration = GetTime(command_line, "duration");
  if (options.duration.count() != 0 && !transmit) {
    throw UsageError("option --duration: the transmitter's time decides: give it there");
  }
  if (options.duration.count() != 0 && command_line.Given("buffers")) {
    throw UsageError("options --duration and --buffers: give one of them");
  }
  options.interval = GetTime(command_line, "interval");
  return options;
}

int Run(Nic& nic, const CommandLine& command_line, const TransferOptions& options,
        const RateFormat& format, bool transmit, const StopToken& stop) {
  const bool json = command_line.json();
  const auto on_listening = [&](const Endpoint& where) {
    if (json) {
      PrintJsonLine({{"listening", where.ToString()}});
    } else {
      std::cout << "ttcp-r: listening on " << where.ToString() << std::endl;
    }
  };
  const TransferResult result =
      transmit ? Transmit(nic, options, stop) : Receive(nic, options, stop, on_listening);
  nlohmann::json report = ToJson(options, result, transmit);
  if (!json) PrintText(result, transmit, format);
  ReportStatistics(command_line, nic, &report);
  if (json) PrintJsonLine(report);
  if (!result.failure.empty()) throw Failure(result.failure + From(nic));
  return kExitOk;
}

int Main(int argc, char** argv) {
  CommandLine command_line = MakeCommandLine();
  if (!command_line.Parse(argc, argv)) return kExitOk;
  const bool transmit = command_line.Flag("transmit");
  if (transmit == command_line.Flag("receive")) {
    throw UsageError("neither or both of -t and -r: command line: give one of them");
  }
  const RateFormat format = ParseFormat(command_line.String("format"));
  TransferOptions options = ReadOptions(command_line, transmit);
  options.on_interval = [&](const Interval& interval) {
    PrintInterval(interval, transmit, command_line.json(), format);
  };

  StopToken stop;
  StopOnSignals(stop);
  const NicRole role = transmit ? NicRole::kClient : NicRole::kServer;
  return WithNic(kName, NicUri(command_line, role), role, stop,
                 [&](Nic& nic) { return Run(nic, command_line, options, format, transmit, stop); });
}

}  // namespace
}  // namespace qpip::apps

int main(int argc, char** argv) {
  return qpip::apps::RunCommand(qpip::apps::kName, [&] { return qpip::apps::Main(argc, argv); });
}
