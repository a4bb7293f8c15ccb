// Attacks on the clients' own connections: by somebody who guesses (RFC 5961, RFC 5927), and by
// somebody who hears every segment but can only add to them.
#include <algorithm>
#include <array>

#include "kinds.h"
#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"

namespace qpip::attack {
namespace {

template <typename Change>
void Guess(Scene& scene, Change change) {
  while (scene.pace.Next()) {
    LiveConnection live;
    if (!PickLive(scene, &live)) continue;
    tcp::Header header = BlindSegment(scene.random, live);
    const size_t text = change(header);
    scene.lan.SendTcp(live.address, header, RandomBytes(scene.random, text));
  }
}

void Resets(Scene& scene) {
  Guess(scene, [](tcp::Header& header) {
    header.flags = tcp::kRst;
    return size_t{0};
  });
}

void Syns(Scene& scene) {
  Guess(scene, [](tcp::Header& header) {
    header.flags = tcp::kSyn;
    header.has_mss = true;
    header.mss = 1440;
    return size_t{0};
  });
}

void Text(Scene& scene) {
  Guess(scene, [&scene](tcp::Header& header) {
    if (scene.random() % 4 == 0) header.flags |= tcp::kFin;
    return 1 + scene.random() % 100;
  });
}

void Anything(Scene& scene) {
  Guess(scene, [&scene](tcp::Header& header) {
    header.flags = static_cast<uint8_t>(scene.random());
    header.has_timestamps = scene.random() % 2 == 0;
    header.ts_value = static_cast<uint32_t>(scene.random());
    header.ts_echo = static_cast<uint32_t>(scene.random());
    return scene.random() % 100;
  });
}

/// The packet that an error claims to be about: one that the target may have sent to a client.
std::vector<uint8_t> Quoted(Scene& scene, const LiveConnection& live) {
  tcp::Header header = BlindSegment(scene.random, live);
  std::swap(header.source_port, header.destination_port);
  const std::vector<uint8_t> segment =
      TcpSegment(scene.target.address, live.address, header, RandomBytes(scene.random, 8));
  std::vector<uint8_t> packet(ipv6::kHeaderBytes);
  ipv6::Emit({.next_header = ipv6::kTcp,
              .payload_length = static_cast<uint16_t>(segment.size()),
              .source = scene.target.address,
              .destination = live.address},
             std::span<uint8_t, ipv6::kHeaderBytes>(packet.data(), packet.size()));
  packet.insert(packet.end(), segment.begin(), segment.end());
  return packet;
}

template <typename Make>
void Complain(Scene& scene, Make make) {
  while (scene.pace.Next()) {
    LiveConnection live;
    if (!PickLive(scene, &live)) continue;
    scene.lan.SendIcmp(Stranger(scene.random), IcmpMessage(make(), Quoted(scene, live)));
  }
}

void TooBig(Scene& scene) {
  Complain(scene, [&scene] {
    return icmpv6::Header{.type = icmpv6::kPacketTooBig,
                          .body = static_cast<uint32_t>(scene.random() % 1500)};
  });
}

void Unreachable(Scene& scene) {
  Complain(scene, [&scene] {
    return icmpv6::Header{
        .type = static_cast<uint8_t>(scene.random() % 2 == 0 ? icmpv6::kDestinationUnreachable
                                                             : icmpv6::kParameterProblem),
        .code = static_cast<uint8_t>(scene.random() % 7)};
  });
}

/// What a client has sent is sent again, as it was or not.
template <typename Change>
void Echo(Scene& scene, Change change) {
  Ear ear(scene.lan, Ear::Hears::kToTarget, scene.clients_link);
  std::vector<std::vector<uint8_t>> heard;
  size_t oldest = 0;
  while (scene.pace.Next()) {
    const Bytes frame = ear.Next(0);
    // Some are kept for long, so that old ones are among them.
    if (frame.size() > Lan::kEthernetBytes + ipv6::kHeaderBytes &&
        frame[Lan::kEthernetBytes + ipv6::offset::kNextHeader] == ipv6::kTcp) {
      if (heard.size() < 1024) {
        heard.emplace_back(frame.begin(), frame.end());
      } else {
        heard[oldest++ % heard.size()].assign(frame.begin(), frame.end());
      }
    }
    if (heard.empty()) continue;
    std::vector<uint8_t> again = heard[scene.random() % heard.size()];
    // The switch, and our own ear, tell it from the client's.
    std::copy(scene.lan.source().begin(), scene.lan.source().end(), again.begin() + 6);
    change(again);
    scene.lan.SendFrame(again);
  }
}

void Replays(Scene& scene) {
  Echo(scene, [](std::vector<uint8_t>&) {});
}

/// A bit of the segment, which its checksum covers.
void Corrupted(Scene& scene) {
  Echo(scene, [&scene](std::vector<uint8_t>& frame) {
    const size_t begin = Lan::kEthernetBytes + ipv6::kHeaderBytes;
    frame[begin + scene.random() % (frame.size() - begin)] ^=
        static_cast<uint8_t>(1u << (scene.random() % 8));
  });
}

/// The numbers are a connection's, and the rest may be anything but what ends it or is its text:
/// what whoever hears a connection cannot be kept from is to end it, or to speak in its name.
void Echoed(Scene& scene) {
  Echo(scene, [&scene](std::vector<uint8_t>& frame) {
    const size_t at = Lan::kEthernetBytes + ipv6::kHeaderBytes;
    const uint32_t behind = LoadBe32(frame.data() + at + tcp::offset::kSequence);
    StoreBe32(frame.data() + at + tcp::offset::kSequence,
              behind - static_cast<uint32_t>(1 + scene.random() % 100000));
    frame[at + tcp::offset::kFlags] =
        static_cast<uint8_t>(tcp::kAck | (scene.random() & (tcp::kFin | tcp::kPsh | tcp::kUrg)));
    ipv6::Header ip;
    const Bytes packet = Bytes(frame).subspan(Lan::kEthernetBytes);
    if (ipv6::Parse(packet, static_cast<uint32_t>(packet.size()), &ip) != ipv6::ParseError::kNone) {
      return;
    }
    StoreBe16(frame.data() + at + tcp::offset::kChecksum, 0);
    const uint16_t sum =
        ChecksumAdd(Bytes(frame).subspan(at, ip.payload_length),
                    PseudoHeaderSum(ip.source, ip.destination, ip.payload_length, ipv6::kTcp));
    StoreBe16(frame.data() + at + tcp::offset::kChecksum, static_cast<uint16_t>(~sum));
  });
}

constexpr std::array kKinds = {
    Kind{"blind-resets", Attacker::kBlind, "RSTs with numbers at random", Resets},
    Kind{"blind-syns", Attacker::kBlind, "SYNs in clients' connections", Syns},
    Kind{"blind-text", Attacker::kBlind, "text and FINs with numbers at random", Text},
    Kind{"blind-anything", Attacker::kBlind, "flags, options and text at random", Anything, true},
    Kind{"forged-too-big", Attacker::kBlind, "\"packet too big\" about clients' connections",
         TooBig},
    Kind{"forged-unreachable", Attacker::kBlind,
         "\"unreachable\" and \"parameter problem\" about clients' connections", Unreachable},
    Kind{"replays", Attacker::kOnLink, "clients' segments once more, some of them old", Replays},
    Kind{"corrupted", Attacker::kOnLink, "clients' segments once more with a bit turned over",
         Corrupted},
    Kind{"old-numbers", Attacker::kOnLink,
         "clients' segments once more with numbers of the past and other flags", Echoed},
};

}  // namespace

std::span<const Kind> BlindKinds() { return kKinds; }

}  // namespace qpip::attack
