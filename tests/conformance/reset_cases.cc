// Segments that do not fit: RFC 9293 3.10.7 and RFC 5961.
#include "suite.h"

namespace qpip::conformance {
namespace {

using std::chrono::seconds;

void SegmentForNoConnectionIsReset() {
  Script s;
  TcpSegment data = s.peer.Segment(kAck, Pattern(10));
  data.sequence = 100;
  data.acknowledgement = 500;
  s.Injects(data);
  const TcpSegment reset = s.Next();
  ExpectEqual(int{reset.flags}, int{kRst}, "flags");
  ExpectEqual(reset.sequence, 500u, "sequence number: that of the ACK");
  s.Injects(s.peer.Segment(kSyn));
  const TcpSegment refused = s.Next();
  ExpectEqual(int{refused.flags}, kRst | kAck, "flags");
  ExpectEqual(refused.sequence, 0u, "sequence number");
  ExpectEqual(refused.acknowledgement, 1u, "acknowledges the SYN");
}

void ResetForNoConnectionIsIgnored() {
  Script s;
  s.Injects(s.peer.Segment(kRst));
  s.Injects(s.peer.Segment(kRst | kAck));
  s.Silent();
}

void ListenIgnoresReset() {
  Script s;
  s.Listen();
  s.Injects(s.peer.Segment(kRst));
  s.Silent();
  s.peer.HandshakeAsClient();
}

void ListenResetsAnAck() {
  Script s;
  s.Listen();
  s.Injects(s.peer.Segment(kAck));
  ExpectEqual(int{s.Next().flags}, int{kRst}, "flags");
  s.Injects(s.peer.Segment(kSyn | kAck));
  ExpectEqual(int{s.Next().flags}, int{kRst}, "flags");
}

void ListenAnswersASyn() {
  Script s;
  s.Listen();
  s.peer.Syn();
  s.Sends("S. 0:0(0) ack 1");
  Expect(s.listener->States().front() == TcpState::kSynReceived, "not in SYN-RECEIVED");
}

/// A connection in SYN-SENT, its SYN taken.
struct SynSent : Script {
  SynSent() : Script({.peer = {.port = 7, .nic_port = 5000}}) {
    connection = bench.Connect(peer.endpoint(), 5000);
    Sends("S 0:0(0)");
  }
};

void SynSentResetsAWrongAck() {
  SynSent s;
  TcpSegment wrong = s.peer.Segment(kSyn | kAck);
  wrong.acknowledgement = 5;
  s.Injects(wrong);
  const TcpSegment reset = s.Next();
  ExpectEqual(int{reset.flags}, int{kRst}, "flags");
  ExpectEqual(reset.sequence, 5u, "sequence number");
  s.State(TcpState::kSynSent);
}

void SynSentIgnoresABlindReset() {
  SynSent s;
  s.Injects(s.peer.Segment(kRst));
  TcpSegment wrong = s.peer.Segment(kRst | kAck);
  wrong.acknowledgement = 77;
  s.Injects(wrong);
  s.State(TcpState::kSynSent);
  s.Silent();
}

void SynSentIsRefused() {
  SynSent s;
  TcpSegment refusal = s.peer.Segment(kRst | kAck);
  refusal.acknowledgement = 1;
  s.Injects(refusal);
  s.State(TcpState::kClosed);
  Expect(s.connection->Reason() == DisconnectReason::kRefused, "another reason");
}

void TextWithASynIsNotLost() {
  SynSent s;
  TcpSegment syn_ack = s.peer.Segment(kSyn | kAck, Pattern(10));
  syn_ack.acknowledgement = 1;
  syn_ack.mss = 1440;
  s.Injects(syn_ack);
  s.State(TcpState::kEstablished);
  const uint32_t acknowledged = s.Next().acknowledgement;
  if (acknowledged == 1) {  // it may come again
    s.peer.next_ack = 1;
    s.peer.next_sequence = 1;
    s.peer.Data(Pattern(10));
  }
  Expect(s.connection->Receive().data == Pattern(10), "the text is lost");
}

void SegmentOutsideTheWindowIsAcknowledged() {
  Script s;
  s.Accept();
  TcpSegment beyond = s.peer.Segment(kAck, Pattern(10));
  beyond.sequence += 100'000;
  s.Injects(beyond);
  s.Sends(". 1:1(0) ack 1 ");
  TcpSegment before = s.peer.Segment(kAck, Pattern(10));
  before.sequence -= 100;
  s.Injects(before);
  s.Sends(". 1:1(0) ack 1 ");
  ExpectEqual(s.connection->Available(), 0u, "bytes received");
}

void AckOfWhatWasNotSentIsAnswered() {
  Script s;
  s.Accept();
  TcpSegment ahead = s.peer.Segment(kAck | kPsh, Pattern(10));
  ahead.acknowledgement = 1000;
  s.Injects(ahead);
  s.Sends(". 1:1(0) ack 1 ");
  ExpectEqual(s.connection->Available(), 0u, "bytes received");
  s.State(TcpState::kEstablished);
}

void SegmentWithoutAckIsDropped() {
  Script s;
  s.Accept();
  s.Injects(s.peer.Segment(kPsh, Pattern(10)));
  ExpectEqual(s.connection->Available(), 0u, "bytes received");
  s.State(TcpState::kEstablished);
}

void ExactResetResets() {
  Script s;
  s.Accept();
  s.peer.Data(Pattern(10));
  s.Drain();
  s.peer.Reset();
  s.State(TcpState::kClosed);
  s.Silent();
}

void ResetInTheWindowIsChallenged() {
  Script s;
  s.Accept();
  TcpSegment reset = s.peer.Segment(kRst);
  reset.sequence += 10;
  s.Injects(reset);
  s.Sends(". 1:1(0) ack 1 ");
  s.State(TcpState::kEstablished);
}

void ResetOutsideTheWindowIsDropped() {
  Script s;
  s.Accept();
  TcpSegment reset = s.peer.Segment(kRst);
  reset.sequence += 200'000;
  s.Injects(reset);
  reset.sequence = s.peer.next_sequence - 1;
  s.Injects(reset);
  s.Silent();
  s.State(TcpState::kEstablished);
}

void SynInAConnectionIsChallenged() {
  Script s;
  s.Accept();
  for (const uint32_t sequence : {0u, 1u, 100u, 100'000'000u}) {
    TcpSegment syn = s.peer.Segment(kSyn);
    syn.sequence = sequence;
    s.Injects(syn);
    s.Sends(". 1:1(0) ack 1 ");
    s.State(TcpState::kEstablished);
    s.bench.Advance(seconds(2));
  }
}

void ChallengesAreLimited() {
  Script s;
  s.Accept();
  int answered = 0;
  for (int i = 0; i < 1000; ++i) {
    TcpSegment reset = s.peer.Segment(kRst);
    reset.sequence += 10;
    s.Injects(reset);
    answered += s.Drain();
  }
  Expect(answered > 0 && answered <= 100, std::to_string(answered) + " challenges in a second");
  s.bench.Advance(seconds(6));
  TcpSegment reset = s.peer.Segment(kRst);
  reset.sequence += 10;
  s.Injects(reset);
  s.Sends(". 1:1(0) ack 1 ");
}

}  // namespace

Topic ResetTopic() {
  return {
      "Reset",
      {
          {"segment_for_no_connection_is_reset",
           {"RFC 9293 3.10.7 CLOSED-1"},
           SegmentForNoConnectionIsReset},
          {"reset_for_no_connection_is_ignored",
           {"RFC 9293 3.10.7 CLOSED-2"},
           ResetForNoConnectionIsIgnored},
          {"listen_ignores_reset", {"RFC 9293 3.10.7 LISTEN-1"}, ListenIgnoresReset},
          {"listen_resets_an_ack", {"RFC 9293 3.10.7 LISTEN-2"}, ListenResetsAnAck},
          {"listen_answers_a_syn", {"RFC 9293 3.10.7 LISTEN-3"}, ListenAnswersASyn},
          {"syn_sent_resets_a_wrong_ack", {"RFC 9293 3.10.7 SYN-SENT-1"}, SynSentResetsAWrongAck},
          {"syn_sent_ignores_a_blind_reset",
           {"RFC 9293 3.10.7 SYN-SENT-2"},
           SynSentIgnoresABlindReset},
          {"syn_sent_is_refused", {"RFC 9293 3.10.7 SYN-SENT-3"}, SynSentIsRefused},
          {"text_with_a_syn_is_not_lost", {"RFC 9293 3.10.7 SYN-SENT-4"}, TextWithASynIsNotLost},
          {"segment_outside_the_window_is_acknowledged",
           {"RFC 9293 3.10.7 OTHER-1"},
           SegmentOutsideTheWindowIsAcknowledged},
          {"ack_of_what_was_not_sent_is_answered",
           {"RFC 9293 3.10.7 OTHER-3"},
           AckOfWhatWasNotSentIsAnswered},
          {"segment_without_ack_is_dropped",
           {"RFC 9293 3.10.7 OTHER-7"},
           SegmentWithoutAckIsDropped},
          {"exact_reset_resets", {"RFC 5961 3.2-1"}, ExactResetResets},
          {"reset_in_the_window_is_challenged", {"RFC 5961 3.2-2"}, ResetInTheWindowIsChallenged},
          {"reset_outside_the_window_is_dropped",
           {"RFC 5961 3.2-3"},
           ResetOutsideTheWindowIsDropped},
          {"syn_in_a_connection_is_challenged", {"RFC 5961 4.2-1"}, SynInAConnectionIsChallenged},
          {"challenges_are_limited", {"RFC 5961 7-1"}, ChallengesAreLimited},
      }};
}

}  // namespace qpip::conformance
