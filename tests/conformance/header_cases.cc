// Header, options, checksums and the size of segments.
#include "suite.h"

namespace qpip::conformance {
namespace {

using testbench::TcpPeerOptions;

void ChecksumsAreSent() {
  Script s;
  s.Accept();
  s.connection->Send(Pattern(501));
  const std::optional<Packet> packet = s.bench.TakePacket();
  Expect(packet && packet->checksum_ok, "the checksum of a data segment is wrong");
  auto other = s.bench.Connect({ParseAddress("fd00::9"), 7});
  const std::optional<Packet> syn = s.bench.TakePacket();
  Expect(syn && syn->checksum_ok, "the checksum of a SYN is wrong");
}

void DamagedSegmentIsDropped() {
  Script s;
  s.Accept();
  Bytes damaged = s.peer.Raw(s.peer.Segment(kAck | kPsh, Pattern(100)));
  damaged.back() ^= 1;
  s.bench.InjectPacket(damaged);
  s.Silent();
  ExpectEqual(s.connection->Available(), 0u, "bytes of a damaged segment");
  ExpectEqual(s.Counter("drop.bad_tcp_checksum"), 1u, "drops");
}

/// Whether a SYN with these option bytes is answered, and what MSS the NIC then uses.
uint32_t MssAfter(const Bytes& options) {
  Script s;
  s.Listen();
  TcpSegment syn = s.peer.Segment(kSyn);
  syn.raw_options = options;
  s.Injects(syn);
  s.peer.next_sequence = 1;
  s.Sends("S. 0:0(0) ack 1");
  s.peer.Ack();
  s.connection = s.listener->Accept();
  return s.connection->Info().snd_mss;
}

void MandatoryOptionsAreUnderstood() {
  ExpectEqual(MssAfter({1, 1, 2, 4, 0x03, 0xe8, 0, 0xff}), 1000u, "MSS behind NOPs, before an end");
  ExpectEqual(MssAfter({0, 0, 0, 0, 2, 4, 0x03, 0xe8}), 1220u, "MSS behind the end of the list");
}

void UnknownOptionsAreIgnored() {
  ExpectEqual(MssAfter({253, 6, 1, 2, 3, 4, 2, 4, 0x03, 0xe8}), 1000u, "MSS behind option 253");
}

void UnalignedOptionsAreUnderstood() {
  ExpectEqual(MssAfter({1, 2, 4, 0x03, 0xe8}), 1000u, "MSS at an odd offset");
}

void OptionsInAnySegmentAreTaken() {
  Script s;
  s.Accept();
  TcpSegment segment = s.peer.Segment(kAck | kPsh, Pattern(10));
  segment.mss = 700;
  segment.raw_options = {253, 4, 9, 9};
  s.Injects(segment);
  s.Sends(". 1:1(0) ack 11");
}

void ImpossibleOptionLengthsDoNoHarm() {
  for (const Bytes& options : {Bytes{253, 0, 0, 0}, Bytes{253, 1, 0, 0}, Bytes{253, 99, 0, 0},
                               Bytes{1, 1, 1, 2}, Bytes{2, 3, 9, 0}, Bytes{8, 2, 0, 0}}) {
    Script s;
    s.Accept();
    TcpSegment segment = s.peer.Segment(kAck | kPsh, Pattern(10));
    segment.raw_options = options;
    s.Injects(segment);
    s.Drain();
    s.State(TcpState::kEstablished);
    s.peer.Data(Pattern(10));
    s.Sends(". 1:1(0) ack 11");
  }
}

/// Walks the options as RFC 9293 3.1 has them. Returns whether they are well formed.
bool WellFormed(const Bytes& options) {
  for (size_t i = 0; i < options.size();) {
    if (options[i] == 0) {
      for (; i < options.size(); ++i) {
        if (options[i] != 0) return false;
      }
      return true;
    }
    if (options[i] == 1) {
      ++i;
      continue;
    }
    if (i + 1 >= options.size() || options[i + 1] < 2 || i + options[i + 1] > options.size()) {
      return false;
    }
    i += options[i + 1];
  }
  return true;
}

void OwnOptionsAreWellFormed() {
  Script s({.peer = {.window_scale = 3, .sack_permitted = true, .timestamps = true}});
  s.Listen();
  s.peer.Syn();
  Expect(WellFormed(s.Next().raw_options), "options of a SYN-ACK");
  s.peer.Ack();
  TcpSegment ahead = s.peer.Segment(kAck, Pattern(10));
  ahead.sequence += 100;
  s.Injects(ahead);
  const TcpSegment answer = s.Next();
  Expect(!answer.sack.empty(), "no SACK");
  Expect(WellFormed(answer.raw_options), "options of an ACK with SACK");
}

void MssIsSentAndHeeded() {
  Script s({.peer = {.mss = 700}});
  s.Listen();
  s.peer.Syn();
  Expect(s.Next().mss == 1440, "the SYN-ACK has no MSS of 1440");
  s.peer.Ack();
  s.connection = s.listener->Accept();
  s.connection->Send(Pattern(1000));
  s.Sends(". 1:701(700)");
}

void SynHasMss() {
  Script s;
  auto attempt = s.bench.Connect({ParseAddress("fd00::2"), 7});
  Expect(s.bench.TakePacket()->tcp->mss == 1440, "the SYN has no MSS of 1440");
}

void WithoutMssTheDefaultIsAssumed() {
  Script s({.peer = {.mss = std::nullopt}});
  s.Accept();
  s.connection->Send(Pattern(5000));
  ExpectEqual(s.Next().payload.size(), 1220u, "bytes of a segment");
}

void SegmentsFitBothEndsWithTheirOptions() {
  Script small({.peer = {.mss = 1000, .timestamps = true}});
  small.Accept();
  small.connection->Send(Pattern(5000));
  ExpectEqual(small.Next().payload.size(), 988u, "bytes beside timestamps");
  Script large({.peer = {.mss = 9000}});
  large.Accept();
  large.connection->Send(Pattern(5000));
  ExpectEqual(large.Next().payload.size(), 1440u, "bytes at an MTU of 1500");
}

void MssFollowsTheMtu() {
  for (const uint32_t mtu : {1280u, 1500u, 9000u, 65535u}) {
    Script s({.bench = {.mtu = mtu}});
    s.Listen();
    s.peer.Syn();
    ExpectEqual(s.Next().mss.value_or(0), mtu - 60, "MSS");
  }
}

void MssOnlyWithSyn() {
  Script s;
  s.Accept();
  s.connection->Send(Pattern(10));
  Expect(!s.Next().mss, "MSS on a data segment");
  s.peer.Ack();
  s.connection->ShutdownSend();
  Expect(!s.Next().mss, "MSS on a FIN");
}

void LastSegmentIsPushed() {
  Script s({.peer = {.mss = 1000}});
  s.Accept();
  s.connection->Send(Pattern(2500));
  s.Sends(". 1:1001(1000)");
  s.Sends(". 1001:2001(1000)");
  s.Sends("P. 2001:2501(500)");
}

void LoneByteIsSentAtOnce() {
  Script s;
  s.Accept();
  s.connection->Send(Pattern(1));
  s.Sends("P. 1:2(1)");
}

void QueuedSendsShareSegments() {
  Script s({.peer = {.window = 0, .mss = 1000}});
  s.Accept();
  for (int i = 0; i < 4; ++i) s.connection->Send(Pattern(300));
  s.Silent();
  s.peer.window = 65535;
  s.peer.Ack();
  s.Sends(". 1:1001(1000)");
  s.Sends("P. 1001:1201(200)");
}

void FullSizedSegmentsWherePossible() {
  Script s({.peer = {.mss = 1000}});
  s.Accept();
  s.connection->Send(Pattern(10000));
  for (int i = 0; i < 10; ++i) ExpectEqual(s.Next().payload.size(), 1000u, "bytes of a segment");
}

}  // namespace

Topic HeaderTopic() {
  return {
      "Header",
      {
          {"checksums_are_sent", {"RFC 9293 MUST-2"}, ChecksumsAreSent},
          {"damaged_segment_is_dropped", {"RFC 9293 MUST-3"}, DamagedSegmentIsDropped},
          {"mandatory_options_are_understood", {"RFC 9293 MUST-4"}, MandatoryOptionsAreUnderstood},
          {"unknown_options_are_ignored", {"RFC 9293 MUST-6"}, UnknownOptionsAreIgnored},
          {"unaligned_options_are_understood", {"RFC 9293 MUST-64"}, UnalignedOptionsAreUnderstood},
          {"options_in_any_segment_are_taken", {"RFC 9293 MUST-5"}, OptionsInAnySegmentAreTaken},
          {"impossible_option_lengths_do_no_harm",
           {"RFC 9293 MUST-7"},
           ImpossibleOptionLengthsDoNoHarm},
          {"own_options_are_well_formed",
           {"RFC 9293 MUST-68", "RFC 9293 MUST-69"},
           OwnOptionsAreWellFormed},
          {"mss_is_sent_and_heeded", {"RFC 9293 MUST-14"}, MssIsSentAndHeeded},
          {"syn_has_mss", {"RFC 9293 MUST-14", "RFC 9293 SHLD-5", "RFC 9293 MAY-3"}, SynHasMss},
          {"without_mss_the_default_is_assumed",
           {"RFC 9293 MUST-15"},
           WithoutMssTheDefaultIsAssumed},
          {"segments_fit_both_ends_with_their_options",
           {"RFC 9293 MUST-16"},
           SegmentsFitBothEndsWithTheirOptions},
          {"mss_follows_the_mtu", {"RFC 9293 SHLD-6", "RFC 9293 MUST-67"}, MssFollowsTheMtu},
          {"mss_only_with_syn", {"RFC 9293 MUST-65"}, MssOnlyWithSyn},
          {"last_segment_is_pushed", {"RFC 9293 MUST-61"}, LastSegmentIsPushed},
          {"lone_byte_is_sent_at_once", {"RFC 9293 MUST-60"}, LoneByteIsSentAtOnce},
          {"queued_sends_share_segments",
           {"RFC 9293 SHLD-27", "RFC 9293 SHLD-28"},
           QueuedSendsShareSegments},
          {"full_sized_segments_where_possible",
           {"RFC 9293 SHLD-28"},
           FullSizedSegmentsWherePossible},
      }};
}

}  // namespace qpip::conformance
