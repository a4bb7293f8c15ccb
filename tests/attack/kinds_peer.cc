// Hosts that connect, and then do not keep to the protocol, or to manners.
#include <algorithm>
#include <array>

#include "hostile_host.h"

namespace qpip::attack {
namespace {

using Host = HostileHost;
using Manners = HostileHost::Manners;

const std::vector<uint8_t> kText(kMessage, 'h');

void Behave(Scene& scene, const Manners& manners) { HostileHost(scene).Run(manners); }

/// Reads what the source sends, as an honest host does.
void Acknowledge(Host& host, Peer& peer, const Segment& segment) {
  if (!segment.text.empty()) host.Send(host.Ack(peer));
}

void Silent(Scene& scene) { Behave(scene, {.connections = 256}); }

void Vanishing(Scene& scene) {
  Behave(scene,
         {.connections = 256, .begin = [](Host& host, Peer& peer) { host.SendText(peer, kText); }});
}

void OptimisticAcks(Scene& scene) {
  Behave(scene, {.their_port = kSourcePort, .act = [](Host& host, Peer& peer) {
                   tcp::Header ack = host.Ack(peer);
                   // What is on its way at the best, and what cannot be.
                   ack.acknowledgement += static_cast<uint32_t>(host.random()() % 200000);
                   host.Send(ack);
                 }});
}

/// No attack: what a host costs the others that reads as fast as it can, beside which those are
/// to be seen that read, and do something else as well.
void BulkReaders(Scene& scene) { Behave(scene, {.their_port = kSourcePort, .heard = Acknowledge}); }

void DividedAcks(Scene& scene) {
  Behave(scene, {.their_port = kSourcePort,
                 .heard =
                     [](Host& host, Peer& peer, const Segment& segment) {
                       // A byte at a time, as if each were a segment (Savage, 1999).
                       const auto length = static_cast<uint32_t>(segment.text.size());
                       for (uint32_t i = 0; i < std::min(length, 20u); ++i) {
                         tcp::Header ack = host.Ack(peer);
                         ack.acknowledgement = segment.header.sequence + i;
                         host.Send(ack);
                       }
                     },
                 .act = [](Host& host, Peer& peer) { host.Send(host.Ack(peer)); }});
}

void DuplicateAcks(Scene& scene) {
  Behave(scene,
         {.their_port = kSourcePort, .heard = Acknowledge, .act = [](Host& host, Peer& peer) {
            tcp::Header ack = host.Ack(peer);
            ack.acknowledgement = ack.acknowledgement - 1000;
            for (int i = 0; i < 4; ++i) host.Send(ack);
          }});
}

void SackLies(Scene& scene) {
  Behave(scene, {.their_port = kSourcePort, .act = [](Host& host, Peer& peer) {
                   tcp::Header ack = host.Ack(peer);
                   ack.sack_count = static_cast<uint8_t>(1 + host.random()() % 3);
                   for (uint8_t i = 0; i < ack.sack_count; ++i) {
                     ack.sack[i].start =
                         peer.expected + static_cast<uint32_t>(host.random()() % 100000) - 20000;
                     ack.sack[i].end =
                         ack.sack[i].start + static_cast<uint32_t>(host.random()() % 3000) - 500;
                   }
                   host.Send(ack);
                 }});
}

/// Says that everything but the first segment is there, and never that it is.
void Reneging(Scene& scene) {
  Behave(scene, {.their_port = kSourcePort, .act = [](Host& host, Peer& peer) {
                   if (peer.own[0] == 0) peer.own[0] = peer.expected.value();
                   tcp::Header ack = host.Ack(peer);
                   ack.acknowledgement = tcp::SequenceNumber(peer.own[0]);
                   if (++peer.own[1] % 8 < 4) {
                     ack.sack_count = 1;
                     ack.sack[0] = {.start = ack.acknowledgement + 1428,
                                    .end = ack.acknowledgement + 14280};
                   }
                   host.Send(ack);
                 }});
}

void ZeroWindow(Scene& scene) {
  Behave(scene, {.their_port = kSourcePort,
                 .connections = 128,
                 .heard =
                     [](Host& host, Peer& peer, const Segment&) {
                       tcp::Header ack = host.Ack(peer);
                       ack.window = 0;
                       host.Send(ack);
                     },
                 .act =
                     [](Host& host, Peer& peer) {
                       tcp::Header ack = host.Ack(peer);
                       ack.window = 0;
                       host.Send(ack);
                     }});
}

void ShrinkingWindow(Scene& scene) {
  Behave(scene, {.their_port = kSourcePort, .act = [](Host& host, Peer& peer) {
                   tcp::Header ack = host.Ack(peer);
                   constexpr std::array<uint16_t, 5> kWindows = {65535, 100, 0, 3000, 1};
                   ack.window = kWindows[peer.own[0]++ % kWindows.size()];
                   host.Send(ack);
                 }});
}

/// A window of one unit of the scale: 128 bytes at a time.
void SmallWindow(Scene& scene) {
  Behave(scene, {.their_port = kSourcePort,
                 .heard =
                     [](Host& host, Peer& peer, const Segment& segment) {
                       if (segment.text.empty()) return;
                       tcp::Header ack = host.Ack(peer);
                       ack.window = 1;
                       host.Send(ack);
                     },
                 .act =
                     [](Host& host, Peer& peer) {
                       tcp::Header ack = host.Ack(peer);
                       ack.window = 1;
                       host.Send(ack);
                     }});
}

/// The same bytes of the stream over and over, each time with another text, ahead of a gap or
/// behind it.
void Overlaps(Scene& scene) {
  Behave(scene, {.act = [](Host& host, Peer& peer) {
           tcp::Header header = host.Ack(peer);
           const auto at = static_cast<uint32_t>(host.random()() % 64);
           const size_t length = 1 + host.random()() % 64;
           header.sequence = peer.next + at;
           host.Send(header, RandomBytes(host.random(), length));
           if (++peer.own[0] % 16 == 0) host.SendText(peer, kText);
         }});
}

/// Every second byte of the window, and never the first.
void Gaps(Scene& scene) {
  Behave(scene, {.connections = 128, .act = [](Host& host, Peer& peer) {
                   tcp::Header header = host.Ack(peer);
                   peer.own[0] = (peer.own[0] + 2) % 8000;
                   header.sequence = peer.next + 1 + peer.own[0];
                   host.Send(header, RandomBytes(host.random(), 1));
                 }});
}

void Drip(Scene& scene) {
  Behave(scene, {.act = [](Host& host, Peer& peer) {
           host.SendText(peer, RandomBytes(host.random(), 1));
         }});
}

void FinGames(Scene& scene) {
  Behave(scene, {.act = [](Host& host, Peer& peer) {
           tcp::Header header = host.Ack(peer);
           header.flags |= tcp::kFin;
           switch (peer.own[0]++ % 5) {
             case 0:  // behind a gap
               header.sequence = peer.next + 8;
               return host.Send(header);
             case 1:  // another end
               header.sequence = peer.next + 4;
               return host.Send(header, kText);
             case 2:  // what was missing
               return host.SendText(peer, kText);
             case 3:  // text behind the end
               header.sequence = peer.next + 20;
               header.flags = tcp::kAck;
               return host.Send(header, kText);
             default:
               return host.Send(header);
           }
         }});
}

/// A FIN, then it reads nothing of what is on its way.
void HalfClosed(Scene& scene) {
  Behave(scene, {.their_port = kSourcePort, .connections = 64, .act = [](Host& host, Peer& peer) {
                   tcp::Header header = host.Ack(peer);
                   header.flags |= tcp::kFin;
                   header.window = 0;
                   host.Send(header);
                 }});
}

void TimestampsBack(Scene& scene) {
  Behave(scene, {.act = [](Host& host, Peer& peer) {
           peer.ts_value -= static_cast<uint32_t>(host.random()() % 100000);
           if (host.random()() % 4 == 0) peer.ts_value = static_cast<uint32_t>(host.random()());
           if (host.random()() % 4 == 0) peer.ts_echo = static_cast<uint32_t>(host.random()());
           host.SendText(peer, kText);
         }});
}

/// SYNs, RSTs beside the expected number and ACKs of what was never sent, in its own connection:
/// each asks for an answer (RFC 5961).
void ChallengeAcks(Scene& scene) {
  Behave(scene, {.act = [](Host& host, Peer& peer) {
           tcp::Header header = host.Ack(peer);
           switch (peer.own[0]++ % 3) {
             case 0:
               header.flags = tcp::kSyn;
               break;
             case 1:
               header.flags = tcp::kRst;
               header.sequence += 10;
               break;
             default:
               header.acknowledgement += 1000000;
           }
           host.Send(header);
         }});
}

/// Anything that could be a segment of its connection, one number in three off by a little.
void Mutated(Scene& scene) {
  const auto mutate = [](Host& host, Peer& peer) {
    Random& random = host.random();
    const auto near = [&random](tcp::SequenceNumber number) {
      return number + static_cast<uint32_t>(random() % 3 == 0 ? random() % 20000 - 10000 : 0);
    };
    tcp::Header header = host.Ack(peer);
    header.sequence = near(header.sequence);
    header.acknowledgement = near(header.acknowledgement);
    if (random() % 4 == 0) header.window = static_cast<uint16_t>(random());
    if (random() % 4 == 0) header.flags |= static_cast<uint8_t>(random() & ~tcp::kRst);
    if (random() % 8 == 0) header.has_timestamps = false;
    if (random() % 8 == 0) header.ts_value = static_cast<uint32_t>(random());
    if (random() % 4 == 0) {
      header.sack_count = static_cast<uint8_t>(random() % 4);
      for (tcp::SackBlock& block : header.sack) {
        block = {.start = near(header.acknowledgement), .end = near(header.acknowledgement)};
      }
    }
    if (random() % 16 == 0) {
      header.has_mss = true;
      header.mss = static_cast<uint16_t>(random());
    }
    if (random() % 16 == 0) header.urgent_pointer = static_cast<uint16_t>(random());
    const std::vector<uint8_t> text = RandomBytes(random, random() % 3 == 0 ? random() % 1400 : 0);
    host.Send(header, text);
    if (header.sequence == peer.next) peer.next += static_cast<uint32_t>(text.size());
  };
  Behave(scene, {.their_port = scene.random() % 2 == 0 ? kEchoPort : kSourcePort,
                 .heard = [](Host& host, Peer& peer,
                             const Segment& segment) { Acknowledge(host, peer, segment); },
                 .act = mutate});
}

constexpr std::array kKinds = {
    Kind{"bulk-readers", Attacker::kPeer, "nothing hostile: 32 connections that read what is sent",
         BulkReaders},
    Kind{"silent-peers", Attacker::kPeer, "256 connections that say nothing", Silent, true},
    Kind{"vanishing-peers", Attacker::kPeer, "256 connections that ask, and are gone", Vanishing},
    Kind{"optimistic-acks", Attacker::kPeer, "acknowledges what has not arrived, or was not sent",
         OptimisticAcks, true},
    Kind{"divided-acks", Attacker::kPeer, "twenty acknowledgements a segment", DividedAcks},
    Kind{"duplicate-acks", Attacker::kPeer, "acknowledgements of the past, four at a time",
         DuplicateAcks},
    Kind{"sack-lies", Attacker::kPeer, "SACK blocks at random", SackLies, true},
    Kind{"reneging", Attacker::kPeer, "says what has arrived, and takes it back", Reneging},
    Kind{"zero-window", Attacker::kPeer, "128 connections that never open their windows",
         ZeroWindow, true},
    Kind{"shrinking-window", Attacker::kPeer, "windows that are taken back", ShrinkingWindow},
    Kind{"small-window", Attacker::kPeer, "windows of 128 bytes", SmallWindow},
    Kind{"overlaps", Attacker::kPeer, "the same bytes again with another text", Overlaps},
    Kind{"gaps", Attacker::kPeer, "every second byte of the window", Gaps},
    Kind{"drip", Attacker::kPeer, "a byte a segment, and reads no echo", Drip},
    Kind{"fin-games", Attacker::kPeer, "FINs behind gaps, in two places, with text behind them",
         FinGames},
    Kind{"half-closed", Attacker::kPeer, "closes, and does not read", HalfClosed},
    Kind{"timestamps-back", Attacker::kPeer, "timestamps that go back", TimestampsBack},
    Kind{"challenge-acks", Attacker::kPeer, "what RFC 5961 answers, in its own connections",
         ChallengeAcks},
    Kind{"mutated", Attacker::kPeer, "connections of segments with changes at random", Mutated,
         true},
};

}  // namespace

std::span<const Kind> PeerKinds() { return kKinds; }

}  // namespace qpip::attack
