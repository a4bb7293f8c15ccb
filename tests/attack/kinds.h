// The kinds of attack. Each is a function that sends packets, one for each time that Pace::Next
// lets it, until that says no.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "clients.h"
#include "lan.h"

namespace qpip::attack {

/// When the next packet may go: `rate` a second, until the end.
class Pace {
 public:
  Pace(uint64_t rate, std::chrono::steady_clock::duration length);
  /// Waits until the next is due. False when the time is over.
  bool Next();
  /// The same without waiting.
  bool Due();
  bool Over() const;

 private:
  const double rate_;
  const std::chrono::steady_clock::time_point begin_;
  const std::chrono::steady_clock::time_point end_;
  uint64_t passed_ = 0;
};

/// What an attack has at hand.
struct Scene {
  Lan& lan;  ///< frames of which bear the attacker's own link-layer address
  const Target& target;
  Pace& pace;
  Random& random;
  icmpv6::LinkAddress clients_link = {};  ///< of the host that the clients are on
  /// The clients' connections as they are now.
  std::function<std::vector<LiveConnection>()> live;
};

enum class Attacker : uint8_t {
  kStranger,   ///< behind a router, with any source address
  kNeighbour,  ///< on the link, with any source address
  kBlind,      ///< guesses at the clients' connections: knows addresses and ports, not the numbers
  kOnLink,     ///< hears what the clients send
  kPeer        ///< a host of its own, with connections of its own
};
std::string_view ToString(Attacker attacker);

struct Kind {
  std::string_view name;  ///< of letters, digits and hyphens
  Attacker attacker;
  std::string_view what;  ///< one line for the report: what is sent
  void (*run)(Scene& scene);
  bool quick = false;  ///< one of those of the short run
};

std::span<const Kind> SynKinds();
std::span<const Kind> LinkKinds();
std::span<const Kind> PacketKinds();
std::span<const Kind> BlindKinds();
std::span<const Kind> PeerKinds();
/// All of them. FindKind throws std::invalid_argument.
std::vector<Kind> AllKinds();
Kind FindKind(std::string_view name);

/// A SYN as Linux sends it, from a port and with numbers at random.
tcp::Header RandomSyn(Random& random, uint16_t port = kEchoPort);
/// One of the clients' connections as a segment to the target, with numbers at random; nullopt
/// while there is none.
bool PickLive(Scene& scene, LiveConnection* picked);
tcp::Header BlindSegment(Random& random, const LiveConnection& connection);

}  // namespace qpip::attack
