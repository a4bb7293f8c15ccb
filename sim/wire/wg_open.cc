// A `wg:` wire's beginning: its machine, peers' names, the key log.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "protocols/wireguard/key_text.h"
#include "sim/wire/udp_errors.h"
#include "sim/wire/udp_socket.h"
#include "sim/wire/wg_endpoint.h"
#include "sim/wire/wg_port.h"

namespace qpip::wire {
namespace {

void RandomBytes(std::span<uint8_t> out) {
  size_t have = 0;
  while (have < out.size()) {
    const ssize_t got = ::getrandom(out.data() + have, out.size() - have, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw std::system_error(errno, std::generic_category(), "cannot get random bytes");
    have += static_cast<size_t>(got);
  }
}

// What the udp: wire's parts say, as this wire's.
std::string AsWg(std::string text) {
  constexpr std::string_view kUdp = "udp wire:";
  if (text.starts_with(kUdp)) text.replace(0, kUdp.size(), "wg wire:");
  return text;
}

bool IsAddress(const std::string& host) {
  in6_addr bytes;
  return ::inet_pton(AF_INET, host.c_str(), &bytes) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &bytes) == 1;
}

}  // namespace

// As the udp: wire's, but for fragments outside: the MTU inside is fixed, as everywhere with
// WireGuard, and a path that takes less is not to be a black hole.
Descriptor WireguardPort::Bind(const WireguardOptions& options, const WireguardConfig& config) {
  try {
    Descriptor made =
        OpenUdpSocket(options.host, options.port != 0 ? options.port : config.listen_port, &local_);
    AllowFragments(made.get(), local_.base.sa_family);
    return made;
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(AsWg(error.what()));
  }
}

// Takes the secrets out of `config`.
wireguard::MachineConfig WireguardPort::ConfigureMachine(const WireguardOptions& options,
                                                         WireguardConfig* config) {
  wireguard::MachineConfig machine;
  machine.private_key = std::move(config->private_key);
  machine.mtu = mtu_;
  machine.timing.rekey_after_ns = options.rekey_after_s * wireguard::kSecondNs;
  for (WireguardPeer& peer : config->peers) {
    Name& name = names_.emplace_back();
    if (!peer.host.empty()) {
      const SocketAddress where = ResolveSocketAddress(peer.host, peer.port, local_.base.sa_family);
      peer.config.endpoint = ToEndpoint(where);
      if (!IsAddress(peer.host)) name = {peer.host, peer.port};
    }
    machine.peers.push_back(std::move(peer.config));
  }
  return machine;
}

wireguard::MachinePorts WireguardPort::MakePorts(const WireguardOptions& options) {
  wireguard::MachinePorts ports;
  // Not sent at once: the batch's memory may just be being written.
  ports.transmit = [this](const wireguard::Endpoint& to, wireguard::Bytes bytes) {
    control_.push_back({to, {bytes.begin(), bytes.end()}});
  };
  ports.random = RandomBytes;
  ports.event = [this](const wireguard::Event& event) { OnEvent(event); };
  if (!options.key_log.empty()) {
    OpenKeyLog(options.key_log);
    ports.key_log = [this](const wireguard::KeyLogEntry& entry) { WriteKeyLog(entry); };
  }
  return ports;
}

void WireguardPort::OpenKeyLog(const std::string& path) {
  constexpr int kFlags =
      O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
  key_log_ = Descriptor(::open(path.c_str(), kFlags, 0600));
  struct stat status = {};
  if (!key_log_.valid() || ::fstat(key_log_.get(), &status) != 0) {
    throw std::system_error(errno, std::generic_category(), "wg wire: cannot write " + path);
  }
  // This host's private key is to be in it.
  const bool for_others = (status.st_mode & (S_IRWXG | S_IRWXO)) != 0;
  if (!S_ISREG(status.st_mode) || status.st_uid != ::geteuid() || for_others) {
    throw std::runtime_error("wg wire: keys are not written to " + path +
                             ": it is to be a file of this user's own, for nobody else to read "
                             "(chmod 600, or name one that is not there)");
  }
  reporter_.Tell({.code = EACCES,
                  .what = "wg wire: keys are written to " + path +
                          ": who reads it can decrypt what is recorded of this wire, and be this "
                          "host to its peers"});
}

// The format of Wireshark's "wg.keylog_file".
void WireguardPort::WriteKeyLog(const wireguard::KeyLogEntry& entry) {
  std::string text;
  const auto line = [&](const char* label, std::span<const uint8_t, wireguard::kKeyBytes> key) {
    text += std::string(label) + " = " + wireguard::FormatKey(key) + "\n";
  };
  line("LOCAL_STATIC_PRIVATE_KEY", entry.local_static_private.bytes());
  line("REMOTE_STATIC_PUBLIC_KEY", entry.remote_static_public);
  line("LOCAL_EPHEMERAL_PRIVATE_KEY", entry.local_ephemeral_private.bytes());
  if (!entry.preshared.IsZero()) line("PRESHARED_KEY", entry.preshared.bytes());
  if (::write(key_log_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    reporter_.Tell({.code = errno, .what = "wg wire: the key log cannot be written any more"});
    key_log_ = Descriptor();
  }
}

std::unique_ptr<Wire> OpenWireguardWire(const WireguardOptions& options) {
  return std::make_unique<WireguardPort>(options, SetUpWireguard(options));
}

}  // namespace qpip::wire
