#include "apps/nbd/upstream.h"

#include "apps/common/connection.h"
#include "storage/leaves/nbd_device.h"

namespace qpip::nbd {

namespace po = boost::program_options;

namespace {

constexpr uint64_t kMostConnections = 64;
constexpr double kMostSeconds = 86400;

/// Of options whose names begin so.
UpstreamOptions Get(const apps::CommandLine& command_line, const std::string& prefix) {
  UpstreamOptions options;
  options.connections =
      static_cast<unsigned>(command_line.Number(prefix + "connections", 1, kMostConnections));
  options.reconnect = std::chrono::duration_cast<std::chrono::milliseconds>(
      apps::ToNanoseconds(command_line.Seconds(prefix + "reconnect", kMostSeconds)));
  options.volatile_server = !command_line.Flag(prefix + "stable");
  options.keepalive = apps::GetKeepalive(command_line);
  return options;
}

ClientOptions OptionsOf(const Uri& uri, const UpstreamOptions& options) {
  ClientOptions client;
  client.export_name = uri.export_name;
  client.connections = options.connections;
  client.patience = options.patience;
  client.reconnect = options.reconnect;
  client.keepalive = options.keepalive;
  client.volatile_server = options.volatile_server;
  client.ledger = options.ledger;
  return client;
}

std::unique_ptr<Client> Open(const Uri& uri, const UpstreamOptions& options,
                             const ClientOptions& client) {
  if (!uri.queue_pairs) return std::make_unique<Client>(uri.where, client);
  if (options.nic == nullptr) {
    throw apps::UsageError("no NIC for nbd+qp://" + uri.where + ": give --nic");
  }
  auto made =
      std::make_unique<Client>(*options.nic, *options.pd, Endpoint::Parse(uri.where), client);
  if (options.memory != nullptr) made->Use(*options.memory);
  return made;
}

}  // namespace

void AddUpstreamOptions(apps::CommandLine& command_line) {
  command_line.Options().add_options()(
      "nbd-connections", po::value<std::string>()->default_value("1")->value_name("COUNT"),
      "connections to each NBD server that is a source, where its flush covers them all")(
      "nbd-reconnect", po::value<std::string>()->default_value("30")->value_name("SECONDS"),
      "how long such a server that was lost is tried again, and what was not answered then sent "
      "anew (0: not)")("nbd-stable",
                       "such a server loses nothing that it has answered: without this, flushes "
                       "behind a loss fail once where it may have");
}

UpstreamOptions GetUpstreamOptions(const apps::CommandLine& command_line) {
  return Get(command_line, "nbd-");
}

void AddClientOptions(apps::CommandLine& command_line, const std::string& connections) {
  command_line.Options().add_options()(
      "connections,C", po::value<std::string>()->default_value("4")->value_name("COUNT"),
      (connections + ", where the server's flush covers them all").c_str())(
      "reconnect", po::value<std::string>()->default_value("30")->value_name("SECONDS"),
      "how long a server that was lost is tried again (0: not)")(
      "stable",
      "a server that is lost and comes back has all that it has answered: without this, the next "
      "flush fails when it may have lost some");
  apps::AddPatienceOption(command_line);
  apps::AddKeepaliveOption(command_line);
}

UpstreamOptions GetClientOptions(const apps::CommandLine& command_line) {
  UpstreamOptions options = Get(command_line, "");
  options.patience =
      std::chrono::duration_cast<std::chrono::milliseconds>(apps::GetPatience(command_line));
  return options;
}

bool NeedsNic(const std::string& what) { return Uri::Is(what) && Uri::Parse(what).queue_pairs; }

std::unique_ptr<Client> OpenClient(const std::string& text, const UpstreamOptions& options,
                                   const std::optional<ExportFacts>& expected) {
  const Uri uri = Uri::Parse(text);
  ClientOptions client = OptionsOf(uri, options);
  client.expected = expected;
  return Open(uri, options, client);
}

std::shared_ptr<storage::Device> OpenUpstream(const std::string& text,
                                              const UpstreamOptions& options) {
  const Uri uri = Uri::Parse(text);
  try {
    return std::make_shared<storage::NbdDevice>(
        OptionsOf(uri, options),
        [uri, options](const ClientOptions& client) { return Open(uri, options, client); });
  } catch (const ParseError&) {
    throw;
  } catch (const Error& error) {
    throw apps::Failure(text + ": " + error.what());
  }
}

}  // namespace qpip::nbd
