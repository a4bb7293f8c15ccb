// qpip-nbd-client: NBD over a queue pair for local programs, on a Unix socket.
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/common/command_line.h"
#include "apps/common/connection.h"
#include "apps/common/json_output.h"
#include "apps/common/nic_options.h"
#include "apps/common/nic_watch.h"
#include "apps/common/stop.h"
#include "apps/nbd/local_server.h"
#include "apps/nbd/local_socket.h"
#include "protocols/nbd/handshake.h"

namespace qpip::nbd {
namespace {

namespace po = boost::program_options;

constexpr char kName[] = "qpip-nbd-client";

apps::CommandLine MakeCommandLine() {
  apps::CommandLine command_line(
      {.name = kName,
       .summary = "serves local NBD tools on a Unix socket from an NBD server behind a queue pair",
       .usage = "  qpip-nbd-client [options] --socket PATH ADDRESS | [ADDRESS]:PORT\n",
       .notes = "Each connection to the socket becomes a TCP queue pair to the server (port 10809\n"
                "unless given). A socket that nobody listens on any more is replaced; the socket\n"
                "is removed at the end. SIGINT and SIGTERM end the client after passing on what\n"
                "is on its way; a second one ends it at once.\n",
       .examples = "  qpip-nbd-client --socket /tmp/disk fd00::1 &\n"
                   "  nbdcopy disk.img 'nbd+unix:///?socket=/tmp/disk'\n"
                   "  nbdinfo --list 'nbd+unix:///?socket=/tmp/disk'\n"});
  apps::AddNicOptions(command_line);
  command_line.Options().add_options()("socket", po::value<std::string>()->value_name("PATH"),
                                       "the Unix socket to serve on")(
      "exit-when-broken", "exit with status 1 after a connection broke, instead of going on")(
      "keep-serving", "the default; accepted because it once was not")(
      "vconn",
      "to a server that was started with --vconn: each of NBD's messages is one of VCONN's");
  apps::AddPatienceOption(command_line);
  apps::AddKeepaliveOption(command_line);
  command_line.Positional("server", 1);
  return command_line;
}

void PrintReady(const std::string& socket_path, const Endpoint& server, const Nic& nic, bool json) {
  const std::string uri = "nbd+unix:///?socket=" +
                          apps::PercentEncoded(std::filesystem::absolute(socket_path).string());
  const std::string address = AddressToString(nic.address());
  if (json) {
    return apps::PrintJsonLine(
        {{"ready", uri}, {"server", server.ToString()}, {"address", address}});
  }
  std::cout << "ready: " << uri << " (from " << address << " to " << server.ToString() << ")"
            << std::endl;
}

void PrintResult(const LocalServerCounts& counts, bool json) {
  if (json) {
    return apps::PrintJsonLine({{"connections", counts.connections},
                                {"failed", counts.failed},
                                {"bytes_to_server", counts.bytes_up},
                                {"bytes_from_server", counts.bytes_down}});
  }
  std::cout << "relayed " << counts.connections << " connections, " << counts.bytes_up
            << " bytes to the server, " << counts.bytes_down << " bytes from it" << std::endl;
}

int Main(int argc, char** argv) {
  apps::CommandLine command_line = MakeCommandLine();
  if (!command_line.Parse(argc, argv)) return apps::kExitOk;
  const std::vector<std::string> servers = command_line.Strings("server");
  if (servers.empty()) {
    throw apps::UsageError("no server: command line: give its ADDRESS or [ADDRESS]:PORT");
  }
  LocalServerOptions options;
  options.peer = apps::ParsePeer(servers.front(), kDefaultPort);
  options.patience = apps::GetPatience(command_line);
  options.keepalive = apps::GetKeepalive(command_line);
  options.exit_when_broken = command_line.Flag("exit-when-broken");
  options.vconn = command_line.Flag("vconn");
  if (options.exit_when_broken && command_line.Flag("keep-serving")) {
    throw apps::UsageError("--exit-when-broken and --keep-serving: command line: give one of them");
  }
  const std::string socket_path = command_line.String("socket");
  const std::string uri = apps::NicUri(command_line, apps::NicRole::kClient);

  apps::StopToken stop;
  apps::StopOnSignals(stop);
  LocalSocket socket(socket_path);
  return apps::WithNic(kName, uri, apps::NicRole::kClient, stop, [&](Nic& nic) {
    LocalServer server(nic, socket, options, stop);
    PrintReady(socket_path, options.peer, nic, command_line.json());
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
