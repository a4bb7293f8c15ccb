// Closing, TIME-WAIT and aborts.
#include "suite.h"

namespace qpip::conformance {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

void ResetWithDataResets() {
  Script s;
  s.Accept();
  s.Injects(s.peer.Segment(kRst, Pattern(20)));
  s.State(TcpState::kClosed);
  s.Silent();
}

void ApplicationIsToldOfAReset() {
  Script s;
  s.Accept();
  s.connection->Send(Pattern(10));
  s.Drain();
  s.peer.Reset();
  Expect(s.connection->Receive().status == IBV_WC_REM_ABORT_ERR, "the receive's status");
  Expect(s.connection->SendStatus(1) == IBV_WC_REM_ABORT_ERR, "the send's status");
  Expect(s.connection->Reason() == DisconnectReason::kReset, "the reason");
}

void DataForAnApplicationThatIsGoneIsReset() {
  Script unread;
  unread.Accept();
  unread.peer.Data(Pattern(10));
  unread.Drain();
  unread.connection.reset();
  Expect(unread.Next().Has(kRst), "no RST for unread data");

  Script late;
  late.Accept();
  late.connection->ShutdownSend();
  late.Sends("F. 1:1(0)");
  late.peer.Ack();
  late.connection.reset();
  late.peer.Data(Pattern(10));
  Expect(late.Next().Has(kRst), "no RST for data after the close");
}

void HalfClosedConnectionStillReceives() {
  Script s;
  s.Accept();
  s.connection->ShutdownSend();
  s.Sends("F. 1:1(0) ack 1");
  s.peer.Ack();
  s.State(TcpState::kFinWait2);
  s.peer.Data(Pattern(100));
  s.Sends(". 2:2(0) ack 101");
  ExpectEqual(s.connection->Receive().data.size(), 100u, "bytes received");
}

/// Closes from the NIC's side, up to TIME-WAIT.
void CloseToTimeWait(Script& s) {
  s.Accept();
  s.connection->ShutdownSend();
  s.Sends("F. 1:1(0) ack 1");
  s.peer.Ack();
  s.peer.Fin();
  s.Sends(". 2:2(0) ack 2");
  s.State(TcpState::kTimeWait);
}

void TimeWaitLastsAsConfigured() {
  Script s({.bench = {.time_wait = seconds(240)}});
  CloseToTimeWait(s);
  s.bench.StepUntil(seconds(240) - Time(1));
  s.State(TcpState::kTimeWait);
  s.bench.StepUntil(seconds(240));
  s.State(TcpState::kClosed);
}

void TimeWaitIsKeptWithoutTheApplication() {
  Script s;
  CloseToTimeWait(s);
  s.connection.reset();
  s.bench.Advance(seconds(30));
  s.Injects([&] {
    TcpSegment fin = s.peer.Segment(kFin | kAck);
    fin.sequence = 1;
    return fin;
  }());
  s.Sends(". 2:2(0) ack 2");
}

void FinInTimeWaitIsAcknowledgedAgain() {
  Script s;
  CloseToTimeWait(s);
  s.bench.Advance(seconds(50));
  TcpSegment fin = s.peer.Segment(kFin | kAck);
  fin.sequence = 1;
  s.Injects(fin);
  s.Sends(". 2:2(0) ack 2");
  s.bench.StepUntil(seconds(110) - Time(1));
  s.State(TcpState::kTimeWait);
  s.bench.StepUntil(seconds(110));
  s.State(TcpState::kClosed);
}

/// A SYN of a new incarnation, from the ports of one in TIME-WAIT.
TcpSegment NewSyn(Script& s, uint32_t sequence) {
  TcpSegment syn = s.peer.Segment(kSyn);
  syn.sequence = sequence;
  return syn;
}

void NewSynReopensInTimeWait() {
  Script s;
  CloseToTimeWait(s);
  s.bench.Advance(seconds(1));
  s.Injects(NewSyn(s, 2));  // what is expected next, so not beyond it: an old duplicate, maybe
  const std::optional<TcpSegment> old = s.peer.Take();
  Expect(!old || (old->flags & kSyn) == 0, "an old SYN reopens");
  s.State(TcpState::kTimeWait);
  s.Drain();
  s.Injects(NewSyn(s, 100'000));
  const std::optional<TcpSegment> answer = s.peer.Take();
  Expect(answer && answer->flags == (kSyn | kAck), "a new SYN is not answered by SYN-ACK");
}

void ReopenedNumbersLieBeyondTheOldOnes() {
  Script s;
  CloseToTimeWait(s);  // 0 and 1 are used, and the clock of initial numbers has stood still
  s.Injects(NewSyn(s, 100'000));
  const std::optional<TcpSegment> answer = s.peer.Take();
  Expect(answer && answer->flags == (kSyn | kAck), "a new SYN is not answered by SYN-ACK");
  Expect(answer->sequence > 1 && answer->sequence < UINT32_MAX / 2,
         "the new connection begins at " + std::to_string(answer->sequence));
}

void TimestampsDecideInTimeWait() {
  Script s({.peer = {.timestamps = true}});
  CloseToTimeWait(s);
  TcpSegment syn = NewSyn(s, 1);  // its sequence number lies in the old connection's
  syn.timestamps->value -= 10;
  s.Injects(syn);
  const std::optional<TcpSegment> older = s.peer.Take();
  Expect(!older || (older->flags & kSyn) == 0, "a SYN with an older timestamp reopens");
  s.State(TcpState::kTimeWait);
  syn.timestamps->value += 1000;
  s.Injects(syn);
  const std::optional<TcpSegment> newer = s.peer.Take();
  Expect(newer && newer->flags == (kSyn | kAck), "a SYN with a newer timestamp does not reopen");
}

void SimultaneousClose() {
  Script s;
  s.Accept();
  s.connection->ShutdownSend();
  TcpSegment fin = s.peer.Segment(kFin | kAck);
  s.Sends("F. 1:1(0) ack 1");
  s.Injects(fin);
  s.peer.next_sequence = 2;
  s.State(TcpState::kClosing);
  s.Sends(". 2:2(0) ack 2");
  s.peer.Ack();
  s.State(TcpState::kTimeWait);
}

void TextAfterTheFinIsIgnored() {
  Script s;
  s.Accept();
  s.peer.Fin();
  s.Drain();
  s.State(TcpState::kCloseWait);
  s.peer.Data(Pattern(10));
  s.State(TcpState::kCloseWait);
  const testbench::Received received = s.connection->Receive();
  Expect(received.data.empty() && received.end_of_stream, "text behind the FIN is delivered");
}

}  // namespace

Topic CloseTopic() {
  return {
      "Close",
      {
          {"reset_with_data_resets", {"RFC 9293 SHLD-2"}, ResetWithDataResets},
          {"application_is_told_of_a_reset", {"RFC 9293 MUST-12"}, ApplicationIsToldOfAReset},
          {"data_for_an_application_that_is_gone_is_reset",
           {"RFC 9293 MAY-1", "RFC 9293 SHLD-3"},
           DataForAnApplicationThatIsGoneIsReset},
          {"half_closed_connection_still_receives",
           {"RFC 9293 MAY-1"},
           HalfClosedConnectionStillReceives},
          {"time_wait_lasts_as_configured", {"RFC 9293 MUST-13"}, TimeWaitLastsAsConfigured},
          {"time_wait_is_kept_without_the_application",
           {"RFC 9293 MUST-13"},
           TimeWaitIsKeptWithoutTheApplication},
          {"fin_in_time_wait_is_acknowledged_again",
           {"RFC 9293 3.10.7 OTHER-6"},
           FinInTimeWaitIsAcknowledgedAgain},
          {"new_syn_reopens_in_time_wait", {"RFC 9293 MAY-2"}, NewSynReopensInTimeWait},
          {"reopened_numbers_lie_beyond_the_old_ones",
           {"RFC 9293 MAY-2"},
           ReopenedNumbersLieBeyondTheOldOnes},
          {"timestamps_decide_in_time_wait", {"RFC 9293 SHLD-4"}, TimestampsDecideInTimeWait},
          {"simultaneous_close", {"RFC 9293 3.10.7 OTHER-4"}, SimultaneousClose},
          {"text_after_the_fin_is_ignored", {"RFC 9293 3.10.7 OTHER-5"}, TextAfterTheFinIsIgnored},
      }};
}

}  // namespace qpip::conformance
