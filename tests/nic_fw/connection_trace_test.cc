// What the firmware tells of connections' states and congestion windows, to whoever traces.
#include "protocols/tcp/tcb.h"
#include "tcp_transfer.h"

namespace qpip::fw::test {
namespace {

struct ConnectionTrace : Transfer {};

std::vector<TraceRecord> Congestion(const FirmwareBench& nic) {
  std::vector<TraceRecord> out;
  for (const TraceRecord& record : nic.hardware.traces) {
    if (record.kind == kTraceCongestion) out.push_back(record);
  }
  return out;
}

/// Those that a connection goes through, each from the one before.
std::vector<tcp::State> States(const FirmwareBench& nic) {
  std::vector<tcp::State> out;
  for (const TraceRecord& record : nic.hardware.traces) {
    if (record.kind != kTraceTcpState) continue;
    if (out.empty()) out.push_back(static_cast<tcp::State>(record.from));
    EXPECT_EQ(out.back(), static_cast<tcp::State>(record.from));
    out.push_back(static_cast<tcp::State>(record.to));
  }
  return out;
}

TEST_F(ConnectionTrace, GivenALongMessageWhenItIsAcknowledgedThenTheGrowingWindowIsTraced) {
  pair.a.hardware.traces.clear();
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 1 << 20)});
  pair.a.PostSend(*pair.qp_a, {Src(0, 1 << 20)});
  pair.cable.Run();
  const auto told = Congestion(pair.a);
  ASSERT_GE(told.size(), 4u);
  for (size_t i = 1; i < told.size(); ++i) EXPECT_GE(told[i].from, told[i - 1].from);
  EXPECT_GE(told.back().from, told.front().from + 3 * 1000);
  EXPECT_EQ(told.back().object, pair.qp_a->handle);
}

TEST_F(ConnectionTrace, GivenTextThatIsLostWhenTheTimerFiresThenTheWindowOfOneSegmentIsTraced) {
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 1000)});
  pair.cable.Run();
  const uint32_t before = Congestion(pair.a).back().from;
  pair.a.hardware.traces.clear();
  pair.cable.filter = [](Frame&, bool) { return false; };
  pair.a.PostSend(*pair.qp_a, {Src(0, 1000)});
  pair.cable.Advance(5000 * kMs);
  const auto told = Congestion(pair.a);
  ASSERT_FALSE(told.empty());
  EXPECT_LT(told.back().from, before);
}

TEST_F(ConnectionTrace, GivenAConnectionWhenItOpensAndClosesThenEveryStateIsTraced) {
  pair.a.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_a);
  pair.cable.Run();
  pair.b.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_b);
  pair.cable.Run();
  using enum tcp::State;
  EXPECT_EQ(States(pair.a),
            (std::vector{kClosed, kSynSent, kEstablished, kFinWait1, kFinWait2, kTimeWait}));
  EXPECT_EQ(States(pair.b),
            (std::vector{kClosed, kSynReceived, kEstablished, kCloseWait, kLastAck, kClosed}));
}

}  // namespace
}  // namespace qpip::fw::test
