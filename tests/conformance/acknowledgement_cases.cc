// When, and how often, what has arrived is acknowledged.
#include "suite.h"

namespace qpip::conformance {
namespace {

using std::chrono::milliseconds;

const Setup kDelayed = {.bench = {.ack_on_batch_end = false}};

TcpSegment Ahead(Script& s, uint32_t offset, size_t bytes) {
  TcpSegment segment = s.peer.Segment(kAck, Pattern(bytes, static_cast<uint8_t>(offset % 251)));
  segment.sequence += offset;
  return segment;
}

void AckIsDelayedByLessThanHalfASecond() {
  Script s(kDelayed);
  s.Accept();
  s.peer.Data(Pattern(1440));
  s.Silent();
  const std::optional<TcpSegment> ack = s.peer.Wait(milliseconds(500) - Time(1));
  Expect(ack && ack->acknowledgement == 1441, "no ACK within 0.5 s");
  Expect(s.peer.TakenAt() > Time(0), "the ACK was not delayed");
}

void EverySecondSegmentIsAcknowledged() {
  Script s(kDelayed);
  s.Accept();
  for (int i = 0; i < 3; ++i) {
    s.peer.Data(Pattern(1440));
    s.Silent();
    s.peer.Data(Pattern(1440));
    ExpectEqual(s.Next().acknowledgement, 1u + 2880 * (i + 1), "acknowledged");
  }
}

void AckTravelsWithData() {
  Script s(kDelayed);
  s.Accept();
  s.peer.Data(Pattern(100));
  ExpectEqual(s.connection->Available(), 100u, "bytes received");
  s.connection->Send(Pattern(10));
  s.Sends("P. 1:11(10) ack 101");
  s.SilentUntil(milliseconds(100));
}

void OneAckForABatch() {
  Script s;
  s.Accept();
  s.peer.Data(Pattern(100));
  s.peer.Fin();
  s.Sends(". 1:1(0) ack 102");
  s.Silent();
}

void OneAckASegment() {
  Script s({.listen = {.tcp = {.receive_chunk = 500}}});
  s.Accept();
  for (int i = 0; i < 6; ++i) {
    s.peer.Data(Pattern(1440));
    Expect(s.Drain() <= 1, "several ACKs for one segment");
  }
}

void TextAheadIsKept() {
  Script s;
  s.Accept();
  s.Injects(Ahead(s, 100, 100));
  s.Injects(Ahead(s, 300, 100));
  s.Drain();
  s.Injects(Ahead(s, 200, 100));
  s.Drain();
  s.Injects(Ahead(s, 0, 100));
  s.Sends(". 1:1(0) ack 401");
  Expect(s.connection->Receive().data == Pattern(400), "what was received");
}

void ManyGapsAreKept() {
  Script s;
  s.Accept();
  constexpr uint32_t kPieces = 400;
  for (uint32_t i = 1; i < kPieces; i += 2) s.Injects(Ahead(s, i * 10, 10));
  s.Drain();
  for (uint32_t i = 0; i < kPieces; i += 2) {
    s.Injects(Ahead(s, i * 10, 10));
    s.Sends(". 1:1(0) ack " + std::to_string((i + 2) * 10 + 1));
  }
  Expect(s.connection->Receive().data == Pattern(kPieces * 10), "what was received");
}

void GapIsAcknowledgedAtOnceAndOnce() {
  Script s(kDelayed);
  s.Accept();
  s.Injects(Ahead(s, 1000, 1000));
  s.Sends(". 1:1(0) ack 1 ");
  s.Injects(Ahead(s, 2000, 1000));
  s.Sends(". 1:1(0) ack 1 ");
  s.Injects(Ahead(s, 0, 1000));
  s.Sends(". 1:1(0) ack 3001");
  s.Silent();
}

void PartOfAGapIsAcknowledgedAtOnce() {
  Script s(kDelayed);
  s.Accept();
  s.Injects(Ahead(s, 2000, 500));
  s.Sends(". 1:1(0) ack 1 ");
  s.Injects(Ahead(s, 0, 1000));
  s.Sends(". 1:1(0) ack 1001");
}

void FinAheadIsKept() {
  Script s;
  s.Accept();
  TcpSegment fin = Ahead(s, 100, 100);
  fin.flags |= kFin;
  s.Injects(fin);
  s.Sends(". 1:1(0) ack 1 ");
  s.State(TcpState::kEstablished);
  s.Injects(Ahead(s, 0, 100));
  s.Sends(". 1:1(0) ack 202");
  s.State(TcpState::kCloseWait);
}

/// 100 bytes have arrived; a segment has them and 100 more.
void Overlap(Script& s) {
  s.Accept();
  s.Injects(Ahead(s, 0, 100));
  s.Sends(". 1:1(0) ack 101");
  s.Injects(s.peer.Segment(kAck, Pattern(200)));
}

void DuplicateIsTrimmed() {
  Script s;
  Overlap(s);
  TcpSegment last = s.Next();
  while (const std::optional<TcpSegment> next = s.peer.Take()) last = *next;
  ExpectEqual(last.acknowledgement, 201u, "acknowledged");
  Expect(s.connection->Receive().data == Pattern(200), "what was received");
}

void OneAckForAnOverlap() {
  Script s;
  Overlap(s);
  s.Sends(". 1:1(0) ack 201");
  s.Silent();
}

}  // namespace

Topic AcknowledgementTopic() {
  return {"Acknowledgement",
          {
              {"ack_is_delayed_by_less_than_half_a_second",
               {"RFC 9293 SHLD-18", "RFC 9293 MUST-40"},
               AckIsDelayedByLessThanHalfASecond},
              {"every_second_segment_is_acknowledged",
               {"RFC 9293 SHLD-19"},
               EverySecondSegmentIsAcknowledged},
              {"ack_travels_with_data", {"RFC 9293 MUST-58"}, AckTravelsWithData},
              {"one_ack_for_a_batch", {"RFC 9293 MUST-58"}, OneAckForABatch},
              {"one_ack_a_segment", {"RFC 5681 4.2-2"}, OneAckASegment},
              {"one_ack_for_an_overlap", {"RFC 5681 4.2-2"}, OneAckForAnOverlap},
              {"text_ahead_is_kept", {"RFC 9293 SHLD-31", "RFC 9293 MUST-59"}, TextAheadIsKept},
              {"many_gaps_are_kept", {"RFC 9293 SHLD-31"}, ManyGapsAreKept},
              {"gap_is_acknowledged_at_once_and_once",
               {"RFC 9293 MUST-59", "RFC 9293 MAY-13", "RFC 5681 4.2-1"},
               GapIsAcknowledgedAtOnceAndOnce},
              {"part_of_a_gap_is_acknowledged_at_once",
               {"RFC 5681 4.2-1"},
               PartOfAGapIsAcknowledgedAtOnce},
              {"fin_ahead_is_kept", {"RFC 9293 SHLD-31"}, FinAheadIsKept},
              {"duplicate_is_trimmed", {"RFC 9293 3.10.7 OTHER-2"}, DuplicateIsTrimmed},
          }};
}

}  // namespace qpip::conformance
