// The machine notices when its state is not what it left behind.
#include "protocols/tcp/invariants.h"

#include "tcp_machine_support.h"

namespace qpip::tcp::testing {
namespace {

Connection Busy() {
  Options options = PlainOptions();
  options.sack = true;
  Connection c(options);
  c.peer_sack = true;
  c.Establish();
  c.Send(5000);
  Segment ahead = c.WithText(100);
  ahead.header.sequence += 100;
  ahead.header.acknowledgement = c.tcb.snd.una;
  c.Arrive(ahead);
  return c;
}

#if QPIP_ASSERTIONS
TEST(InvariantsDeathTest, GivenBrokenStateThenTheNextHandlerNamesWhatDoesNotHold) {
  Connection c = Busy();
  const Segment ack = c.WithAck(c.tcb.snd.una);
  const StandaloneTcb whole = c.tcb;
  EXPECT_DEATH(
      {
        StandaloneTcb t = whole;
        t.sent.sacked += 1;
        OnSegment(t, ack, c.now);
      },
      "assertion failed: board.sacked == sacked");
  EXPECT_DEATH(
      {
        StandaloneTcb t = whole;
        t.snd.una = t.snd.max + 1;
        OnTimer(t, c.now);
      },
      "assertion failed: snd.una.AtOrBefore");
  EXPECT_DEATH(
      {
        StandaloneTcb t = whole;
        t.rcv.held.ranges[0].length = 0;
        static_cast<void>(NextSend(t, c.now));
      },
      "assertion failed: held.ranges.i..length != 0");
  EXPECT_DEATH(
      {
        StandaloneTcb t = whole;
        t.retransmit_deadline = kNever;
        OnPlaced(t, 0, c.now);
      },
      "assertion failed: !in_flight");
}
#endif

TEST(Invariants, GivenABusyConnectionThenTheyHold) {
  Connection c = Busy();
  const internal::Invariants holds(c.tcb);
  EXPECT_TRUE(c.tcb.rcv.held.HoldsAny());
  EXPECT_FALSE(c.tcb.sent.count == 0);
}

}  // namespace
}  // namespace qpip::tcp::testing
