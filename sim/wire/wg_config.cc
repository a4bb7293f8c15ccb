#include "sim/wire/wg_config.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string_view>

#include "protocols/wireguard/key_text.h"
#include "sim/wire/descriptor.h"
#include "sim/wire/wire.h"

namespace qpip::wire {
namespace {

constexpr size_t kMostFileBytes = 16u << 20;
constexpr uint16_t kMostKeepaliveS = 65535;

/// A file's text, erased when it goes: it may hold secrets.
class SecretText {
 public:
  explicit SecretText(const std::string& path) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat about = {};
    if (!file.valid() || ::fstat(file.get(), &about) != 0) Fail(path, std::strerror(errno));
    if (!S_ISREG(about.st_mode)) Fail(path, "not a file");
    if (static_cast<size_t>(about.st_size) > kMostFileBytes) Fail(path, "over 16 MiB");
    readable_by_others_ = (about.st_mode & (S_IRGRP | S_IROTH)) != 0;
    text_.resize(static_cast<size_t>(about.st_size));
    size_t have = 0;
    while (have < text_.size()) {
      const ssize_t got = ::read(file.get(), text_.data() + have, text_.size() - have);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) Fail(path, std::strerror(errno));
      if (got == 0) break;
      have += static_cast<size_t>(got);
    }
    length_ = have;
  }
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  ~SecretText() { wireguard::Erase(text_.data(), text_.size()); }

  std::string_view text() const { return {text_.data(), length_}; }
  bool readable_by_others() const { return readable_by_others_; }

 private:
  [[noreturn]] static void Fail(const std::string& path, const std::string& why) {
    throw std::runtime_error("wg wire: cannot read " + path + ": " + why);
  }

  std::vector<char> text_;
  size_t length_ = 0;
  bool readable_by_others_ = false;
};

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\v\f\n";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

bool SameName(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : +c; };
           return lower(x) == lower(y);
         });
}

std::optional<uint64_t> Number(std::string_view text, uint64_t most) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number > most) {
    return std::nullopt;
  }
  return number;
}

// Settings of wg-quick that concern the kernel's side of its interface.
constexpr std::array<std::string_view, 9> kMeaningless = {
    "DNS", "Table", "PreUp", "PostUp", "PreDown", "PostDown", "SaveConfig", "FwMark", "Name"};

/// Reads a file's lines one by one.
class Parser {
 public:
  Parser(const std::string& path, WireguardConfig* config) : path_(path), config_(*config) {}

  void Parse(std::string_view text) {
    while (!text.empty()) {
      ++line_;
      const size_t end = text.find('\n');
      Line(text.substr(0, end));
      text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    }
    for (size_t i = 0; i < config_.peers.size(); ++i) {
      if (!has_key_[i]) {
        Refuse("peer " + std::to_string(i + 1) + " of this file has no PublicKey");
      }
    }
  }

 private:
  enum class Section { kNone, kInterface, kPeer };

  // What is wrong, and never the value: it may be a secret.
  [[noreturn]] void Refuse(const std::string& why) const {
    throw std::runtime_error("wg wire: " + path_ + ":" + std::to_string(line_) + ": " + why);
  }

  void Line(std::string_view line) {
    line = Trimmed(line.substr(0, line.find('#')));
    if (line.empty()) return;
    if (line.front() == '[') {
      if (SameName(line, "[Interface]")) {
        section_ = Section::kInterface;
      } else if (SameName(line, "[Peer]")) {
        section_ = Section::kPeer;
        config_.peers.emplace_back();
        has_key_.push_back(false);
      } else {
        Refuse("a section that is neither [Interface] nor [Peer]");
      }
      return;
    }
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) Refuse("no NAME = VALUE");
    const std::string_view name = Trimmed(line.substr(0, equals));
    const std::string_view value = Trimmed(line.substr(equals + 1));
    if (section_ == Section::kNone) Refuse("a setting before any section");
    if (!(section_ == Section::kPeer ? SetPeer(name, value) : SetInterface(name, value))) {
      Ignore(name);
    }
  }

  void Ignore(std::string_view name) {
    if (std::none_of(kMeaningless.begin(), kMeaningless.end(),
                     [&](std::string_view known) { return SameName(known, name); }) &&
        name.size() > 32) {
      Refuse("an unknown setting");
    }
    const std::string text(name);
    auto& ignored = config_.ignored;
    if (std::find(ignored.begin(), ignored.end(), text) == ignored.end()) ignored.push_back(text);
  }

  bool SetInterface(std::string_view name, std::string_view value) {
    if (SameName(name, "PrivateKey")) {
      Key(value, "PrivateKey", config_.private_key.bytes());
    } else if (SameName(name, "ListenPort")) {
      config_.listen_port = static_cast<uint16_t>(Whole(name, value, 65535));
    } else if (SameName(name, "MTU")) {
      config_.mtu = static_cast<uint32_t>(Whole(name, value, kMaxMtu));
    } else if (SameName(name, "Address")) {
      ForEach(value, [&](std::string_view one) {
        const wireguard::Prefix prefix = ParsePrefix("Address", one);
        if (!prefix.ipv6) return;
        abi::Ip6Address& address = config_.addresses.emplace_back();
        std::copy(prefix.address.begin(), prefix.address.end(), address.bytes);
      });
    } else {
      return false;
    }
    return true;
  }

  bool SetPeer(std::string_view name, std::string_view value) {
    WireguardPeer& peer = config_.peers.back();
    if (SameName(name, "PublicKey")) {
      Key(value, "PublicKey", peer.config.public_key);
      has_key_.back() = true;
    } else if (SameName(name, "PresharedKey")) {
      Key(value, "PresharedKey", peer.config.preshared_key.bytes());
    } else if (SameName(name, "AllowedIPs")) {
      ForEach(value, [&](std::string_view one) {
        peer.config.allowed.push_back(ParsePrefix("AllowedIPs", one));
      });
    } else if (SameName(name, "Endpoint")) {
      SetEndpoint(peer, value);
    } else if (SameName(name, "PersistentKeepalive")) {
      peer.config.persistent_keepalive_s =
          SameName(value, "off") ? uint16_t{0}
                                 : static_cast<uint16_t>(Whole(name, value, kMostKeepaliveS));
    } else {
      return false;
    }
    return true;
  }

  void Key(std::string_view value, const char* name,
           std::span<uint8_t, wireguard::kKeyBytes> key) const {
    if (!wireguard::ParseKey(value, key)) {
      Refuse(std::string(name) +
             " is no key: 44 characters of base64, as `wg genkey` and "
             "`wg pubkey` print them");
    }
  }

  uint64_t Whole(std::string_view name, std::string_view value, uint64_t most) const {
    const std::optional<uint64_t> number = Number(value, most);
    if (!number) {
      Refuse(std::string(name) + " is no whole number up to " + std::to_string(most));
    }
    return *number;
  }

  template <typename Visit>
  static void ForEach(std::string_view list, Visit visit) {
    while (!list.empty()) {
      const size_t comma = list.find(',');
      const std::string_view one = Trimmed(list.substr(0, comma));
      if (!one.empty()) visit(one);
      list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    }
  }

  // ADDRESS or ADDRESS/LENGTH of either family.
  wireguard::Prefix ParsePrefix(const char* name, std::string_view text) const {
    const size_t slash = text.find('/');
    const std::string address(text.substr(0, slash));
    wireguard::Prefix prefix;
    prefix.ipv6 = address.find(':') != std::string::npos;
    const uint8_t most = prefix.ipv6 ? 128 : 32;
    const bool known =
        ::inet_pton(prefix.ipv6 ? AF_INET6 : AF_INET, address.c_str(), prefix.address.data()) == 1;
    const std::optional<uint64_t> length =
        slash == std::string_view::npos ? most : Number(text.substr(slash + 1), most);
    if (!known || !length) {
      Refuse(std::string(name) + " has something that is no ADDRESS/LENGTH; write fd00::2/128");
    }
    prefix.length = static_cast<uint8_t>(*length);
    return prefix;
  }

  // HOST:PORT, [IPV6]:PORT.
  void SetEndpoint(WireguardPeer& peer, std::string_view value) const {
    const size_t colon = value.rfind(':');
    const std::optional<uint64_t> port =
        colon == std::string_view::npos ? std::nullopt : Number(value.substr(colon + 1), 65535);
    std::string_view host = value.substr(0, colon == std::string_view::npos ? 0 : colon);
    const bool brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (brackets) host = host.substr(1, host.size() - 2);
    const bool bare_ipv6 = !brackets && host.find(':') != std::string_view::npos;
    if (!port || *port == 0 || host.empty() || bare_ipv6) {
      Refuse("Endpoint is no HOST:PORT; write 192.0.2.1:51820 or [2001:db8::1]:51820");
    }
    peer.host = host;
    peer.port = static_cast<uint16_t>(*port);
  }

  const std::string& path_;
  WireguardConfig& config_;
  std::vector<bool> has_key_;  ///< for each peer
  Section section_ = Section::kNone;
  uint32_t line_ = 0;
};

}  // namespace

WireguardConfig ReadWireguardConfig(const std::string& path) {
  const SecretText file(path);
  WireguardConfig config;
  config.readable_by_others = file.readable_by_others();
  Parser(path, &config).Parse(file.text());
  return config;
}

wireguard::Secret ReadWireguardKey(const std::string& path, bool* readable_by_others) {
  const SecretText file(path);
  *readable_by_others = file.readable_by_others();
  wireguard::Secret key;
  if (!wireguard::ParseKey(Trimmed(file.text()), key.bytes())) {
    throw std::runtime_error("wg wire: " + path +
                             " holds no private key; make one: (umask 077; wg genkey > " + path +
                             ")");
  }
  return key;
}

}  // namespace qpip::wire
