// qpip-nbd-server: exports files, block devices and memory over queue pairs and kernel sockets.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/common/command_line.h"
#include "apps/common/connection.h"
#include "apps/common/json_output.h"
#include "apps/common/nic_options.h"
#include "apps/common/nic_watch.h"
#include "apps/common/stop.h"
#include "apps/nbd/run_command.h"
#include "apps/nbd/server.h"
#include "protocols/nbd/handshake.h"
#include "storage/core/thread_pool.h"

namespace qpip::nbd {
namespace {

namespace po = boost::program_options;

constexpr char kName[] = "qpip-nbd-server";
constexpr double kMaxHandshakeSeconds = 86400;
/// Threads for calls that block: io_uring does without most of them.
constexpr size_t kWorkers = 8;

apps::CommandLine MakeCommandLine() {
  apps::CommandLine command_line(
      {.name = kName,
       .summary = "exports files, block devices and memory over queue pairs and sockets (NBD)",
       .usage = "  qpip-nbd-server [options] [NAME=]FILE|memory:SIZE|null:SIZE|URI ...\n",
       .notes =
           "NAME defaults to the file's last path component; the first export is also the\n"
           "default one (\"\"). URI is another NBD server's export: nbd://HOST[:PORT]/EXPORT,\n"
           "nbd+unix:///EXPORT?socket=PATH or, over queue pairs, "
           "nbd+qp://[ADDRESS][:PORT]/EXPORT;\n"
           "one that was lost is tried again for --nbd-reconnect. A write is answered once the "
           "file has it, FLUSH and FUA once\n"
           "it is on stable storage. With --listen, --run or sockets from systemd there is a\n"
           "NIC only if --nic or --address is given. SIGINT and SIGTERM end the server after\n"
           "the requests that have arrived, within a second; another one, a second later,\n"
           "ends it at once.\n",
       .examples = "  qpip-nbd-server disk.img\n"
                   "  qpip-nbd-server --nic 'shm:lab?address=fd00::1' --read-only root=/dev/vdb\n"
                   "  qpip-nbd-server --listen /tmp/disk --listen '[::1]:10809' disk.img\n"
                   "  qpip-nbd-server --run 'nbdinfo \"$uri\"' scratch=memory:1T\n"});
  apps::AddNicOptions(command_line);
  command_line.Options().add_options()(
      "port,p", po::value<std::string>()->default_value("10809")->value_name("PORT"),
      "TCP port to listen on, 1 to 65535")(
      "listen,l", po::value<std::vector<std::string>>()->composing()->value_name("WHERE"),
      "a kernel socket for conventional clients: PATH, ADDRESS, [ADDRESS]:PORT; may be repeated")(
      "run", po::value<std::string>()->value_name("COMMAND"),
      "serve a shell command's $uri, and end with its status")("read-only,r", "refuse all writes")(
      "read-only-export", po::value<std::vector<std::string>>()->composing()->value_name("NAME"),
      "refuse writes to this export; may be repeated")(
      "description", po::value<std::vector<std::string>>()->composing()->value_name("NAME=TEXT"),
      "what clients are told of an export; may be repeated")(
      "allow", po::value<std::vector<std::string>>()->composing()->value_name("NAME=PREFIX"),
      "who sees an export: clients whose address has this prefix, of several that are given one, "
      "and local programs; may be repeated")(
      "tls-certificates", po::value<std::string>()->value_name("DIR"),
      "TLS on sockets, with server-cert.pem and server-key.pem of this folder")(
      "tls-psk", po::value<std::string>()->value_name("FILE"),
      "TLS on sockets, with keys of users: lines of USER:KEY, in hexadecimal")(
      "tls-verify-peer", "clients need certificates of ca-cert.pem in the folder")(
      "tls-optional", "clients may go without TLS")("once",
                                                    "exit when the first connection has ended")(
      "max-connections", po::value<std::string>()->default_value("256")->value_name("COUNT"),
      "clients that are served at a time; more wait")(
      "handshake-limit", po::value<std::string>()->default_value("10")->value_name("SECONDS"),
      "a client that has not chosen an export by then is hung up on (0: it may take any time)");
  AddUpstreamOptions(command_line);
  command_line.Options().add_options()(
      "vconn", "queue pairs carry messages (VCONN) instead of bytes: for qpip-nbd-client --vconn");
  apps::AddKeepaliveOption(command_line);
  command_line.Positional("export", -1);
  return command_line;
}

/// What `option` says of exports by name, NAME or NAME=TEXT. Throws UsageError when there is none.
std::string OfExport(const apps::CommandLine& command_line, const std::string& option,
                     const std::string& name) {
  for (const std::string& text : command_line.Strings(option)) {
    if (text.substr(0, text.find('=')) == name) {
      const size_t equals = text.find('=');
      return equals == std::string::npos ? "yes" : text.substr(equals + 1);
    }
  }
  return "";
}

/// Prefixes that --allow gives an export. Throws UsageError.
std::vector<Prefix> RulesOf(const apps::CommandLine& command_line, const std::string& name) {
  std::vector<Prefix> rules;
  for (const std::string& text : command_line.Strings("allow")) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos) {
      throw apps::UsageError("bad rule: '" + text + "': option --allow: give NAME=PREFIX");
    }
    if (text.substr(0, equals) == name) rules.push_back(ParsePrefix(text.substr(equals + 1)));
  }
  return rules;
}

void CheckNames(const apps::CommandLine& command_line, const ExportTable& exports) {
  for (const char* option : {"read-only-export", "description", "allow"}) {
    for (const std::string& text : command_line.Strings(option)) {
      const std::string name = text.substr(0, text.find('='));
      if (name.empty() || exports.Find(name) == nullptr) {
        throw apps::UsageError("no such export: '" + name + "': option --" + option);
      }
    }
  }
}

bool AnyNeedsNic(const apps::CommandLine& command_line) {
  const std::vector<std::string> arguments = command_line.Strings("export");
  return std::any_of(arguments.begin(), arguments.end(), [](const std::string& text) {
    return NeedsNic(ParseExportArgument(text).what);
  });
}

ExportTable OpenExports(const apps::CommandLine& command_line, storage::Workers& workers,
                        const UpstreamOptions& upstream) {
  const std::vector<std::string> arguments = command_line.Strings("export");
  if (arguments.empty()) {
    throw apps::UsageError("nothing to export: command line: give at least one FILE or NAME=FILE");
  }
  ExportTable exports;
  for (const std::string& text : arguments) {
    const ExportArgument argument = ParseExportArgument(text);
    const bool read_only = command_line.Flag("read-only") ||
                           !OfExport(command_line, "read-only-export", argument.name).empty();
    exports.Add({.name = argument.name,
                 .description = OfExport(command_line, "description", argument.name),
                 .read_only = read_only,
                 .device = OpenDevice(argument.what, read_only, workers, upstream),
                 .allowed = RulesOf(command_line, argument.name)});
  }
  CheckNames(command_line, exports);
  return exports;
}

void PrintReady(const std::optional<Endpoint>& where, const Server& server,
                const ExportTable& exports, bool json) {
  if (json) {
    nlohmann::json list = nlohmann::json::array();
    for (const Export& each : exports.all()) {
      const storage::Geometry geometry = each.device->geometry();
      list.push_back({{"name", each.name},
                      {"size_bytes", geometry.bytes},
                      {"read_only", each.read_only || geometry.read_only}});
    }
    nlohmann::json line = {{"exports", list}};
    if (where) line["listening"] = where->ToString();
    for (const auto& socket : server.sockets()) line["sockets"].push_back(socket->uri());
    return apps::PrintJsonLine(line);
  }
  std::cout << "listening on";
  const char* between = " ";
  if (where) std::cout << std::exchange(between, ", ") << where->ToString();
  for (const auto& socket : server.sockets()) {
    std::cout << std::exchange(between, ", ") << socket->uri();
  }
  std::cout << ", exports:";
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

std::optional<TlsOptions> GetTls(const apps::CommandLine& command_line) {
  TlsOptions options;
  if (command_line.Has("tls-certificates")) {
    options.certificates = command_line.String("tls-certificates");
  }
  if (command_line.Has("tls-psk")) options.psk_file = command_line.String("tls-psk");
  options.verify_clients = command_line.Flag("tls-verify-peer");
  options.optional = command_line.Flag("tls-optional");
  const bool any = !options.certificates.empty() || !options.psk_file.empty();
  if (options.verify_clients && options.certificates.empty()) {
    throw apps::UsageError("--tls-verify-peer without certificates: give --tls-certificates too");
  }
  if (options.optional && !any) {
    throw apps::UsageError("--tls-optional without TLS: give --tls-certificates or --tls-psk");
  }
  return any ? std::optional(options) : std::nullopt;
}

/// The sockets to listen on. `own`: made when a command is to run and none is named.
std::vector<std::unique_ptr<ListeningSocket>> OpenSockets(const apps::CommandLine& command_line,
                                                          std::optional<PrivateSocketPath>* own) {
  std::vector<std::unique_ptr<ListeningSocket>> sockets = ActivatedSockets();
  for (const std::string& where : command_line.Strings("listen")) {
    sockets.push_back(Listen(where, kDefaultPort));
  }
  if (command_line.Has("run") && sockets.empty()) {
    own->emplace();
    sockets.push_back(Listen((*own)->path(), kDefaultPort));
  }
  return sockets;
}

int ServeUntilStopped(const apps::CommandLine& command_line, Server& server, Nic* nic,
                      const ExportTable& exports, apps::StopToken& stop) {
  std::optional<Endpoint> where;
  if (nic != nullptr) where = Endpoint{nic->address(), server.port()};
  if (!command_line.Has("run")) {
    PrintReady(where, server, exports, command_line.json());
    server.Run();
    PrintResult(server.counts(), command_line.json());
    return apps::kExitOk;
  }
  RunningCommand command(command_line.String("run"), server.sockets().front()->uri(),
                         server.sockets().front()->path(), stop);
  server.Run();
  return command.Finish();
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
  options.vconn = command_line.Flag("vconn");
  options.max_connections = command_line.Number("max-connections", 1, 1 << 20);
  std::optional<TlsContext> tls;
  if (const auto tls_options = GetTls(command_line)) tls.emplace(*tls_options);
  options.tls = tls ? &*tls : nullptr;
  storage::ThreadPool workers(kWorkers);
  UpstreamOptions upstream = GetUpstreamOptions(command_line);
  const bool needs_nic = AnyNeedsNic(command_line);
  // Before the NIC, where they can be: a file that is not there is then the first that is said.
  std::optional<ExportTable> exports;
  if (!needs_nic) exports = OpenExports(command_line, workers, upstream);

  apps::StopToken stop;
  apps::StopOnSignals(stop);
  std::optional<PrivateSocketPath> own;
  std::vector<std::unique_ptr<ListeningSocket>> sockets = OpenSockets(command_line, &own);
  const auto serve = [&](Nic* nic) {
    const std::unique_ptr<ProtectionDomain> pd = nic != nullptr ? nic->AllocatePd() : nullptr;
    upstream.nic = nic;
    upstream.pd = pd.get();
    if (!exports) exports = OpenExports(command_line, workers, upstream);
    int status = apps::kExitOk;
    {
      Server server(nic, std::move(sockets), *exports, options, stop);
      status = ServeUntilStopped(command_line, server, nic, *exports, stop);
    }
    exports.reset();  // before the domain and the NIC
    return status;
  };
  if (!needs_nic && !sockets.empty() && !command_line.Given("nic") &&
      !command_line.Given("address")) {
    return serve(nullptr);
  }
  const std::string uri = apps::NicUri(command_line, apps::NicRole::kServer);
  return apps::WithNic(kName, uri, apps::NicRole::kServer, stop,
                       [&](Nic& nic) { return serve(&nic); });
}

}  // namespace
}  // namespace qpip::nbd

int main(int argc, char** argv) {
  return qpip::apps::RunCommand(qpip::nbd::kName, [&] { return qpip::nbd::Main(argc, argv); });
}
