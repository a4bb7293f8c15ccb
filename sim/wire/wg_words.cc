#include "sim/wire/wg_words.h"

#include <cerrno>

#include "protocols/wireguard/key_text.h"

namespace qpip::wire {
namespace {

using Kind = wireguard::Event::Kind;

constexpr uint64_t kQuietNs = 60'000'000'000;

}  // namespace

std::optional<abi::Trouble> WireguardWords::Of(const wireguard::Event& event,
                                               const std::string& where, uint64_t now_ns) {
  std::string who, what;
  int code = 0;
  if (event.peer.has_value()) who = "peer " + peers_[*event.peer];
  switch (event.kind) {
    case Kind::kNoAnswer:
      code = EHOSTUNREACH;
      what =
          who + " at " + where +
          " does not answer handshakes: check that it runs there and UDP gets through, that each "
          "has the other's public key and both the same preshared key, and that this host's "
          "clock has not been set back";
      break;
    case Kind::kUnknownPeer:
      code = EACCES;
      what = "a handshake from " + where + " has the public key " +
             wireguard::FormatKey(event.public_key) +
             ", which no peer here has: if it is wanted, add a [Peer] with it";
      break;
    case Kind::kForeignHandshake:
      code = EACCES;
      what = "a handshake from " + where +
             " is for another public key than this host's: check PublicKey in its [Peer] section";
      break;
    case Kind::kForgedResponse:
      code = EACCES;
      what = who + " at " + where +
             " answers, but with other keys: check PresharedKey, which both need alike";
      break;
    case Kind::kOldTimestamp:
      code = ETIME;
      what = who + " at " + where +
             " sends a handshake that is not newer than its last: its clock has been set back, "
             "or somebody repeats what was sent before";
      break;
    case Kind::kOwnClockWentBack:
      code = ETIME;
      what =
          "this host's clock has been set back: when this program is started again, peers take "
          "its handshakes for old ones until the clock has caught up";
      break;
    case Kind::kMoved:
      code = EADDRNOTAVAIL;
      what = who + " is now at " + where +
             ": it roams, is behind a NAT that has changed, or two programs use its private key";
      break;
    case Kind::kGivenUp:
    case Kind::kSessionBegun:
      return std::nullopt;
  }
  uint64_t& told = told_[event.peer.value_or(static_cast<uint32_t>(peers_.size()))]
                        [static_cast<size_t>(event.kind)];
  if (told != 0 && now_ns - told < kQuietNs) return std::nullopt;
  told = now_ns;
  return abi::Trouble{.code = code, .what = "wg wire: " + what};
}

}  // namespace qpip::wire
