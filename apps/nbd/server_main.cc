// qpip-nbd-server: exports files and block devices over queue pairs.
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/common/command_line.h"
#include "apps/common/connection.h"
#include "apps/common/json_output.h"
#include "apps/common/nic_options.h"
#include "apps/common/nic_watch.h"
#include "apps/common/stop.h"
#include "apps/nbd/server.h"
#include "protocols/nbd/handshake.h"

namespace qpip::nbd {
namespace {

namespace po = boost::program_options;

constexpr char kName[] = "qpip-nbd-server";
constexpr double kMaxHandshakeSeconds = 86400;

apps::CommandLine MakeCommandLine() {
  apps::CommandLine command_line(
      {.name = kName,
       .summary = "exports files and block devices over queue pairs (NBD, fixed newstyle)",
       .usage = "  qpip-nbd-server [options] [NAME=]FILE ...\n",
       .notes =
           "NAME defaults to the file's last path component; the first export is also the\n"
           "default one (\"\"). A write is answered once the file has it, FLUSH and FUA once\n"
           "it is on stable storage. SIGINT and SIGTERM end the server after the requests\n"
           "that have arrived, within a second; another one, a second later, ends it at once.\n",
       .examples =
           "  qpip-nbd-server disk.img\n"
           "  qpip-nbd-server --nic 'shm:lab?address=fd00::1' --read-only root=/dev/vdb\n"});
  apps::AddNicOptions(command_line);
  command_line.Options().add_options()(
      "port,p", po::value<std::string>()->default_value("10809")->value_name("PORT"),
      "TCP port to listen on, 1 to 65535")("read-only,r", "refuse all writes")(
      "once", "exit when the first connection has ended")(
      "handshake-limit", po::value<std::string>()->default_value("10")->value_name("SECONDS"),
      "a client that has not chosen an export by then is hung up on (0: it may take any time)");
  apps::AddKeepaliveOption(command_line);
  command_line.Positional("export", -1);
  return command_line;
}

ExportTable OpenExports(const apps::CommandLine& command_line) {
  const std::vector<std::string> arguments = command_line.Strings("export");
  if (arguments.empty()) {
    throw apps::UsageError("nothing to export: command line: give at least one FILE or NAME=FILE");
  }
  ExportTable exports;
  for (const std::string& text : arguments) {
    const ExportArgument argument = ParseExportArgument(text);
    exports.Add(argument.name,
                std::make_unique<FileDevice>(argument.path, command_line.Flag("read-only")));
  }
  return exports;
}

void PrintReady(const Endpoint& where, const ExportTable& exports, bool json) {
  if (json) {
    nlohmann::json list = nlohmann::json::array();
    for (const Export& each : exports.all()) {
      list.push_back({{"name", each.name},
                      {"size_bytes", each.device->size_bytes()},
                      {"read_only", each.device->read_only()}});
    }
    return apps::PrintJsonLine({{"listening", where.ToString()}, {"exports", list}});
  }
  std::cout << "listening on " << where.ToString() << ", exports:";
  for (const Export& each : exports.all()) std::cout << " " << each.name;
  std::cout << std::endl;
}

void PrintResult(const ServerCounts& counts, bool json) {
  const TransmissionCounts& t = counts.transmission;
  if (json) {
    return apps::PrintJsonLine({{"connections", counts.connections},
                                {"requests", t.requests},
                                {"bytes_read", t.bytes_read},
                                {"bytes_written", t.bytes_written},
                                {"errors", t.errors}});
  }
  std::cout << "served " << counts.connections << " connections, " << t.requests << " requests, "
            << t.bytes_read << " bytes read, " << t.bytes_written << " bytes written, " << t.errors
            << " errors" << std::endl;
}

int Main(int argc, char** argv) {
  apps::CommandLine command_line = MakeCommandLine();
  if (!command_line.Parse(argc, argv)) return apps::kExitOk;
  ServerOptions options;
  options.port = apps::ParsePort(command_line.String("port"), "option --port");
  options.once = command_line.Flag("once");
  options.handshake_limit =
      apps::ToNanoseconds(command_line.Seconds("handshake-limit", kMaxHandshakeSeconds));
  options.keepalive = apps::GetKeepalive(command_line);
  const std::string uri = apps::NicUri(command_line, apps::NicRole::kServer);
  const ExportTable exports = OpenExports(command_line);

  apps::StopToken stop;
  apps::StopOnSignals(stop);
  return apps::WithNic(kName, uri, apps::NicRole::kServer, stop, [&](Nic& nic) {
    Server server(nic, exports, options, stop);
    PrintReady({nic.address(), server.port()}, exports, command_line.json());
    server.Run();
    PrintResult(server.counts(), command_line.json());
    return apps::kExitOk;
  });
}

}  // namespace
}  // namespace qpip::nbd

int main(int argc, char** argv) {
  return qpip::apps::RunCommand(qpip::nbd::kName, [&] { return qpip::nbd::Main(argc, argv); });
}
