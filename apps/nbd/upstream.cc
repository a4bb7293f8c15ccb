#include "apps/nbd/upstream.h"

#include "storage/leaves/nbd_device.h"

namespace qpip::nbd {

namespace po = boost::program_options;

namespace {

constexpr uint64_t kMostConnections = 64;
constexpr double kMostSeconds = 86400;

}  // namespace

void AddUpstreamOptions(apps::CommandLine& command_line) {
  command_line.Options().add_options()(
      "nbd-connections", po::value<std::string>()->default_value("1")->value_name("COUNT"),
      "connections to each NBD server that is a source, where its flush covers them all")(
      "nbd-reconnect", po::value<std::string>()->default_value("30")->value_name("SECONDS"),
      "how long such a server that was lost is tried again, and what was not answered then sent "
      "anew (0: not)");
}

UpstreamOptions GetUpstreamOptions(const apps::CommandLine& command_line) {
  UpstreamOptions options;
  options.connections =
      static_cast<unsigned>(command_line.Number("nbd-connections", 1, kMostConnections));
  options.reconnect = std::chrono::duration_cast<std::chrono::milliseconds>(
      apps::ToNanoseconds(command_line.Seconds("nbd-reconnect", kMostSeconds)));
  return options;
}

bool NeedsNic(const std::string& what) { return Uri::Is(what) && Uri::Parse(what).queue_pairs; }

std::unique_ptr<Client> OpenClient(const std::string& text, const UpstreamOptions& options,
                                   bool start_only) {
  const Uri uri = Uri::Parse(text);
  ClientOptions client;
  client.export_name = uri.export_name;
  client.connections = options.connections;
  client.patience = options.patience;
  client.reconnect = options.reconnect;
  client.start_only = start_only;
  if (!uri.queue_pairs) return std::make_unique<Client>(uri.where, client);
  if (options.nic == nullptr) {
    throw apps::UsageError("no NIC for " + text + ": give --nic");
  }
  auto made =
      std::make_unique<Client>(*options.nic, *options.pd, Endpoint::Parse(uri.where), client);
  if (options.memory != nullptr) made->Use(*options.memory);
  return made;
}

std::shared_ptr<storage::Device> OpenUpstream(const std::string& uri,
                                              const UpstreamOptions& options) {
  try {
    return std::make_shared<storage::NbdDevice>(
        [uri, options](bool start_only) { return OpenClient(uri, options, start_only); });
  } catch (const ParseError&) {
    throw;
  } catch (const Error& error) {
    throw apps::Failure(uri + ": " + error.what());
  }
}

}  // namespace qpip::nbd
