#include "kinds.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <thread>

namespace qpip::attack {

using std::chrono::steady_clock;

Pace::Pace(uint64_t rate, steady_clock::duration length)
    : rate_(static_cast<double>(rate)), begin_(steady_clock::now()), end_(begin_ + length) {}

bool Pace::Over() const { return steady_clock::now() >= end_; }

bool Pace::Due() {
  const std::chrono::duration<double> since = steady_clock::now() - begin_;
  if (static_cast<double>(passed_) >= rate_ * since.count()) return false;
  ++passed_;
  return true;
}

bool Pace::Next() {
  while (!Over()) {
    if (Due()) return true;
    // Bursts of what half a millisecond brings: a thread that wakes for every packet costs the
    // machine more than the packet.
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
  return false;
}

std::string_view ToString(Attacker attacker) {
  switch (attacker) {
    case Attacker::kStranger:
      return "stranger";
    case Attacker::kNeighbour:
      return "neighbour";
    case Attacker::kBlind:
      return "blind";
    case Attacker::kOnLink:
      return "on-link";
    case Attacker::kPeer:
      return "peer";
  }
  return "";
}

std::vector<Kind> AllKinds() {
  std::vector<Kind> all;
  for (const auto& some : {SynKinds(), LinkKinds(), PacketKinds(), BlindKinds(), PeerKinds()}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

Kind FindKind(std::string_view name) {
  const std::vector<Kind> all = AllKinds();
  const auto found =
      std::find_if(all.begin(), all.end(), [name](const Kind& kind) { return kind.name == name; });
  if (found == all.end()) {
    throw std::invalid_argument("no kind of attack: " + std::string(name) + "; `list` names all");
  }
  return *found;
}

tcp::Header RandomSyn(Random& random, uint16_t port) {
  tcp::Header syn;
  syn.source_port = static_cast<uint16_t>(1024 + random() % 60000);
  syn.destination_port = port;
  syn.sequence = tcp::SequenceNumber(static_cast<uint32_t>(random()));
  syn.flags = tcp::kSyn;
  syn.window = 64240;
  syn.has_mss = true;
  syn.mss = 1440;
  syn.has_timestamps = true;
  syn.ts_value = static_cast<uint32_t>(random());
  syn.sack_permitted = true;
  syn.has_window_scale = true;
  syn.window_scale = 7;
  return syn;
}

bool PickLive(Scene& scene, LiveConnection* picked) {
  const std::vector<LiveConnection> live = scene.live();
  if (live.empty()) return false;
  *picked = live[scene.random() % live.size()];
  return true;
}

tcp::Header BlindSegment(Random& random, const LiveConnection& connection) {
  tcp::Header header;
  header.source_port = connection.port;
  header.destination_port = kEchoPort;
  header.sequence = tcp::SequenceNumber(static_cast<uint32_t>(random()));
  header.acknowledgement = tcp::SequenceNumber(static_cast<uint32_t>(random()));
  header.flags = tcp::kAck;
  header.window = static_cast<uint16_t>(random());
  return header;
}

}  // namespace qpip::attack
