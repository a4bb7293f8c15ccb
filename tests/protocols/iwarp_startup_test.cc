// The MPA set-up machine: both roles against each other, and each against what may come.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "protocols/iwarp/startup.h"

namespace qpip::iwarp {
namespace {

using ByteVector = std::vector<uint8_t>;
using Kind = StartupEvent::Kind;
using enum StartupState;

constexpr uint64_t kSecond = 1'000'000'000;

ByteVector Emitted(const StartupFrame& frame) {
  ByteVector out(StartupBytes(frame));
  EmitStartup(frame, out);
  return out;
}

/// An initiator and a responder, and what each wants.
struct IwarpStartupTest : ::testing::Test {
  StartupOptions active_options;
  StartupOptions passive_options;
  ByteVector request_data = {'h', 'i'};
  ByteVector reply_data = {'y', 'e', 's'};
  Startup active;
  Startup passive;
  ByteVector request;
  ByteVector reply;

  StartupEvent Ask() {
    request = Emitted(BeginInitiator(active, active_options, request_data, 0));
    BeginResponder(passive, passive_options, 0);
    return OnStartupBytes(passive, request);
  }
  StartupEvent Answer() {
    reply = Emitted(Accept(passive, passive_options, reply_data));
    return OnStartupBytes(active, reply);
  }
  StartupEvent Connect() {
    EXPECT_EQ(Ask().kind, Kind::kRequest);
    return Answer();
  }
  /// A Reply of one's own to the initiator's Request.
  StartupEvent Reply(const StartupFrame& frame) { return OnStartupBytes(active, Emitted(frame)); }
};

TEST_F(IwarpStartupTest, GivenDefaultsWhenConnectedThenBothAreOperationalWithCrcAndNoMarkers) {
  EXPECT_EQ(Connect().kind, Kind::kAccepted);
  EXPECT_EQ(active.state, kOperational);
  EXPECT_TRUE(MaySendFpdus(active));
  EXPECT_EQ(passive.state, kAwaitFirstFpdu);
  EXPECT_FALSE(MaySendFpdus(passive));  // 7.1.2 rule 4
  OnFirstFpdu(passive);
  EXPECT_TRUE(MaySendFpdus(passive));
  for (const Startup* end : {&active, &passive}) {
    EXPECT_TRUE(end->agreement.crc);
    EXPECT_FALSE(end->agreement.send_markers);
    EXPECT_FALSE(end->agreement.receive_markers);
    EXPECT_TRUE(end->agreement.enhanced);
    EXPECT_EQ(end->agreement.revision, kRevision2);
  }
}

TEST_F(IwarpStartupTest, GivenPrivateDataWhenConnectedThenBothSeeTheOthers) {
  const StartupEvent asked = Ask();
  EXPECT_EQ(std::string(asked.frame.private_data.begin(), asked.frame.private_data.end()), "hi");
  const StartupEvent accepted = Answer();
  EXPECT_EQ(std::string(accepted.frame.private_data.begin(), accepted.frame.private_data.end()),
            "yes");
}

TEST_F(IwarpStartupTest, GivenCrcWishesWhenConnectedThenOffOnlyWhenNeitherWantsThem) {
  for (const bool ours : {false, true}) {
    for (const bool theirs : {false, true}) {
      active_options.crc = ours;
      passive_options.crc = theirs;
      Connect();
      EXPECT_EQ(active.agreement.crc, ours || theirs);
      EXPECT_EQ(passive.agreement.crc, ours || theirs);
    }
  }
}

TEST_F(IwarpStartupTest, GivenMarkerWishesWhenConnectedThenEachReceiverGetsWhatItAskedFor) {
  for (const bool ours : {false, true}) {
    for (const bool theirs : {false, true}) {
      active_options.markers = ours;
      passive_options.markers = theirs;
      Connect();
      EXPECT_EQ(active.agreement.receive_markers, ours);
      EXPECT_EQ(active.agreement.send_markers, theirs);
      EXPECT_EQ(passive.agreement.receive_markers, theirs);
      EXPECT_EQ(passive.agreement.send_markers, ours);
    }
  }
}

TEST_F(IwarpStartupTest, GivenRevisionOneWhenAskedThenAnsweredSoAndDepthsAreTheApplications) {
  active_options.enhanced = false;
  active_options.ird = 3;
  active_options.ord = 4;
  passive_options.ird = 5;
  passive_options.ord = 6;
  EXPECT_EQ(Connect().kind, Kind::kAccepted);
  EXPECT_EQ(reply[16] & 0x10, 0);
  EXPECT_EQ(reply[17], 1);
  EXPECT_EQ(active.agreement.ird, 3);
  EXPECT_EQ(active.agreement.ord, 4);
  EXPECT_EQ(passive.agreement.ird, 5);
  EXPECT_EQ(passive.agreement.ord, 6);
  EXPECT_EQ(active.state, kOperational);
}

TEST_F(IwarpStartupTest, GivenRevisionTwoWithoutEnhancedDataWhenAskedThenAnsweredSo) {
  StartupFrame frame;
  frame.revision = kRevision2;
  BeginResponder(passive, passive_options, 0);
  EXPECT_EQ(OnStartupBytes(passive, Emitted(frame)).kind, Kind::kRequest);
  const StartupFrame answer = Accept(passive, passive_options, {});
  EXPECT_FALSE(answer.enhanced);
  EXPECT_EQ(answer.revision, kRevision2);
}

TEST_F(IwarpStartupTest, GivenRejectionWhenAnsweredThenBothKnowAndTcpStaysOpen) {
  Ask();
  reply = Emitted(Reject(passive, reply_data));
  EXPECT_EQ(passive.state, kRejected);
  const StartupEvent event = OnStartupBytes(active, reply);
  EXPECT_EQ(event.kind, Kind::kRejected);
  EXPECT_EQ(active.state, kRejected);
  EXPECT_EQ(event.frame.private_data.size(), 3u);
  EXPECT_EQ(active.cause, Cause::kNone);
  EXPECT_EQ(StartupDeadline(active), 0u);
}

// --- IRD and ORD (RFC 6581 9.1)

TEST_F(IwarpStartupTest, GivenDepthsWhenNegotiatedThenNoEndSendsMoreThanTheOtherTakes) {
  for (const uint16_t active_ord : {0, 1, 8, 200}) {
    for (const uint16_t passive_ord : {0, 1, 8, 200}) {
      for (const uint16_t active_ird : {0, 1, 8, 16}) {
        active_options.ord = active_ord;
        active_options.ird = active_ird;
        passive_options.ord = passive_ord;
        passive_options.ird = 4;
        passive_options.most_ird = 16;
        ASSERT_EQ(Connect().kind, Kind::kAccepted);
        ASSERT_LE(active.agreement.ord, passive.agreement.ird);
        ASSERT_LE(passive.agreement.ord, active.agreement.ird);
        ASSERT_LE(active.agreement.ord, active_ord);
        ASSERT_LE(passive.agreement.ord, passive_ord);
        ASSERT_EQ(active.agreement.ord, std::min<uint16_t>(active_ord, 16));
        ASSERT_EQ(passive.agreement.ord, std::min(passive_ord, active_ird));
      }
    }
  }
}

TEST_F(IwarpStartupTest, GivenDepthsWhenNegotiatedThenThePeersOwnAreToldToo) {
  active_options.ird = 7;
  active_options.ord = 9;
  Connect();
  EXPECT_EQ(passive.agreement.peer.ird, 7);
  EXPECT_EQ(passive.agreement.peer.ord, 9);
  EXPECT_EQ(active.agreement.peer.ird, 9);
  EXPECT_EQ(active.agreement.peer.ord, 1);
}

TEST_F(IwarpStartupTest, GivenAllOnesWhenNegotiatedThenDepthsStayAndAllOnesComeBack) {
  active_options.ord = kNotNegotiated;
  active_options.ird = kNotNegotiated;
  passive_options.ird = 33;
  passive_options.ord = 44;
  ASSERT_EQ(Connect().kind, Kind::kAccepted);
  EXPECT_EQ(passive.agreement.ird, 33);
  EXPECT_EQ(passive.agreement.ord, 44);
  EXPECT_EQ(active.agreement.peer.ird, kNotNegotiated);
  EXPECT_EQ(active.agreement.peer.ord, kNotNegotiated);
  EXPECT_EQ(active.agreement.ird, kNotNegotiated);
  EXPECT_EQ(active.agreement.ord, kNotNegotiated);
}

TEST_F(IwarpStartupTest, GivenAllOnesInAReplyWhenReceivedThenTheInitiatorsDepthsStay) {
  active_options.ird = 3;
  active_options.ord = 4;
  Ask();
  StartupFrame frame;
  frame.reply = true;
  frame.revision = kRevision2;
  frame.enhanced = true;
  frame.depths = {kNotNegotiated, kNotNegotiated, false, 0};
  EXPECT_EQ(Reply(frame).kind, Kind::kAccepted);
  EXPECT_EQ(active.agreement.ird, 3);
  EXPECT_EQ(active.agreement.ord, 4);
}

TEST_F(IwarpStartupTest, GivenTooFewOfThePeersRequestsWhenInsistedOnThenRejectedWithTheNumber) {
  active_options.ird = 2;
  passive_options.ord = 8;
  passive_options.least_ord = 4;
  Ask();
  const StartupFrame frame = Accept(passive, passive_options, reply_data);
  EXPECT_TRUE(frame.reject);
  EXPECT_EQ(frame.depths.ord, 4);
  EXPECT_EQ(passive.state, kRejected);
  EXPECT_EQ(Reply(frame).kind, Kind::kRejected);
  EXPECT_EQ(active.agreement.peer.ord, 4);  // 9.1: told for accepting and rejecting Replies
}

TEST_F(IwarpStartupTest, GivenAReplyThatWantsMoreThanThereIsWhenReceivedThenInsufficientIrd) {
  active_options.ird = 2;
  active_options.most_ird = 4;
  for (const uint16_t ord : {4, 5}) {
    Ask();
    StartupFrame frame;
    frame.reply = true;
    frame.revision = kRevision2;
    frame.enhanced = true;
    frame.depths.ord = ord;
    const Kind kind = Reply(frame).kind;
    if (ord == 4) {
      EXPECT_EQ(kind, Kind::kAccepted);
      EXPECT_EQ(active.agreement.ird, 4);
    } else {
      EXPECT_EQ(kind, Kind::kFailed);
      EXPECT_EQ(active.cause, Cause::kInsufficientIrd);
    }
  }
}

// --- Peer to peer (RFC 6581 9.2)

TEST_F(IwarpStartupTest, GivenPeerToPeerWhenAcceptedThenAnRtrGoesBeforeAllElse) {
  active_options.peer_to_peer = true;
  ASSERT_EQ(Connect().kind, Kind::kAccepted);
  EXPECT_EQ(active.state, kSendReady);
  EXPECT_FALSE(MaySendFpdus(active));
  EXPECT_EQ(active.agreement.ready, kReadyByWrite);
  OnReadySent(active);
  EXPECT_TRUE(MaySendFpdus(active));
  EXPECT_TRUE(passive.agreement.peer_to_peer);
}

TEST_F(IwarpStartupTest, GivenRtrsWhenNegotiatedThenOneThatBothKnow) {
  active_options.peer_to_peer = true;
  for (uint8_t ours = 1; ours < 8; ++ours) {
    for (uint8_t theirs = 1; theirs < 8; ++theirs) {
      active_options.ready = ours;
      passive_options.ready = theirs;
      const Kind kind = Connect().kind;
      if ((ours & theirs) == 0) {
        EXPECT_EQ(kind, Kind::kFailed);
        EXPECT_EQ(active.cause, Cause::kNoMatchingRtr);
        EXPECT_EQ(active.agreement.peer.ready, theirs);  // what would do
        continue;
      }
      EXPECT_EQ(kind, Kind::kAccepted);
      const uint8_t chosen = active.agreement.ready;
      EXPECT_TRUE(chosen == kReadyBySend || chosen == kReadyByWrite || chosen == kReadyByRead);
      EXPECT_EQ(chosen & ours & theirs, chosen);
      EXPECT_EQ(active.agreement.peer.ready, ours & theirs);
    }
  }
}

TEST_F(IwarpStartupTest, GivenAnRtrByReadWhenNoReadsWereAskedForThenTheResponderTakesOne) {
  active_options.peer_to_peer = true;
  active_options.ready = kReadyByRead;
  active_options.ord = 0;
  Ask();
  const StartupFrame frame = Accept(passive, passive_options, {});
  EXPECT_EQ(frame.depths.ird, 1);
  EXPECT_EQ(passive.agreement.ird, 1);
  // ... but an initiator with room for none under way cannot make it.
  EXPECT_EQ(Reply(frame).kind, Kind::kFailed);
  EXPECT_EQ(active.cause, Cause::kNoMatchingRtr);
}

TEST_F(IwarpStartupTest, GivenAClientServerRequestWhenAnsweredThenNoRtrIsSpokenOf) {
  Ask();
  const StartupFrame frame = Accept(passive, passive_options, {});
  EXPECT_FALSE(frame.depths.peer_to_peer);
  EXPECT_EQ(frame.depths.ready, 0);
}

TEST_F(IwarpStartupTest, GivenAReplyForAnotherModelWhenReceivedThenFailed) {
  for (const bool asked : {false, true}) {
    active_options.peer_to_peer = asked;
    Ask();
    StartupFrame frame;
    frame.reply = true;
    frame.revision = kRevision2;
    frame.enhanced = true;
    frame.depths = {1, 1, !asked, asked ? uint8_t{0} : uint8_t{kReadyByWrite}};
    EXPECT_EQ(Reply(frame).kind, Kind::kFailed);
    EXPECT_EQ(active.error, StartupError::kNotPeerToPeer);
  }
}

TEST_F(IwarpStartupTest, GivenPeerToPeerWithoutEnhancedDataWhenBegunThenClientServer) {
  active_options.peer_to_peer = true;
  active_options.enhanced = false;
  EXPECT_EQ(Connect().kind, Kind::kAccepted);
  EXPECT_EQ(active.state, kOperational);
}

// --- What must not be

TEST_F(IwarpStartupTest, GivenAPlainReplyToAnEnhancedRequestWhenReceivedThenFailed) {
  Ask();
  StartupFrame frame;
  frame.reply = true;
  EXPECT_EQ(Reply(frame).kind, Kind::kFailed);
  EXPECT_EQ(active.error, StartupError::kNotEnhanced);
}

TEST_F(IwarpStartupTest, GivenAPlainRejectionOfAnEnhancedRequestWhenReceivedThenRejected) {
  Ask();
  StartupFrame frame;
  frame.reply = true;
  frame.reject = true;
  EXPECT_EQ(Reply(frame).kind, Kind::kRejected);
}

TEST_F(IwarpStartupTest, GivenTwoInitiatorsWhenTheyMeetThenSameRole) {
  Ask();
  EXPECT_EQ(OnStartupBytes(active, request).kind, Kind::kFailed);
  EXPECT_EQ(active.error, StartupError::kSameRole);
  EXPECT_EQ(active.state, kFailed);
}

TEST_F(IwarpStartupTest, GivenTwoRespondersWhenTimePassesThenTimedOut) {
  BeginResponder(passive, passive_options, 5 * kSecond);
  EXPECT_EQ(StartupDeadline(passive), 15 * kSecond);
  EXPECT_FALSE(OnStartupTimer(passive, 15 * kSecond - 1));
  EXPECT_TRUE(OnStartupTimer(passive, 15 * kSecond));
  EXPECT_EQ(passive.state, kFailed);
  EXPECT_TRUE(passive.timed_out);
  EXPECT_FALSE(OnStartupTimer(passive, 16 * kSecond));
}

TEST_F(IwarpStartupTest, GivenAnyStateThatWaitsWhenTimePassesThenTimedOut) {
  Ask();
  for (Startup* end : {&active, &passive}) {  // kAwaitReply, kDeciding
    Startup copy = *end;
    EXPECT_TRUE(OnStartupTimer(copy, 10 * kSecond));
  }
  Answer();
  EXPECT_FALSE(OnStartupTimer(active, 100 * kSecond));  // it is operational
  EXPECT_TRUE(OnStartupTimer(passive, 10 * kSecond));   // kAwaitFirstFpdu
}

TEST_F(IwarpStartupTest, GivenNoTimeoutWhenTimePassesThenNothing) {
  passive_options.timeout_ms = 0;
  BeginResponder(passive, passive_options, 1);
  EXPECT_FALSE(OnStartupTimer(passive, ~uint64_t{0}));
}

TEST_F(IwarpStartupTest, GivenAFrameInPartsWhenTheLastComesThenItCounts) {
  request = Emitted(BeginInitiator(active, active_options, request_data, 0));
  BeginResponder(passive, passive_options, 0);
  for (size_t have = 1; have < request.size(); ++have) {
    const StartupEvent event = OnStartupBytes(passive, std::span(request).first(have));
    ASSERT_EQ(event.kind, Kind::kNone);
    ASSERT_GT(event.needed, have);
    ASSERT_EQ(passive.state, kAwaitRequest);
  }
  EXPECT_EQ(OnStartupBytes(passive, request).kind, Kind::kRequest);
}

TEST_F(IwarpStartupTest, GivenBytesBehindAFrameWhenTheyComeThenTrailing) {
  Ask();
  request.push_back(0);
  EXPECT_EQ(OnStartupBytes(passive, request).kind, Kind::kFailed);  // kDeciding
  EXPECT_EQ(passive.error, StartupError::kTrailing);
  BeginResponder(passive, passive_options, 0);
  EXPECT_EQ(OnStartupBytes(passive, request).kind, Kind::kFailed);
  request.pop_back();
  BeginResponder(passive, passive_options, 0);
  OnStartupBytes(passive, request);
  EXPECT_EQ(OnStartupBytes(passive, request).kind, Kind::kNone);  // nothing new
  reply = Emitted(Accept(passive, passive_options, {}));
  reply.push_back(0);
  EXPECT_EQ(OnStartupBytes(active, reply).kind, Kind::kFailed);
  EXPECT_EQ(active.error, StartupError::kTrailing);
}

TEST_F(IwarpStartupTest, GivenAnImpossibleFrameWhenItComesThenFailedWithItsNameAndNoTerminate) {
  BeginResponder(passive, passive_options, 0);
  EXPECT_EQ(OnStartupBytes(passive, ByteVector{'G', 'E', 'T'}).kind, Kind::kFailed);
  EXPECT_EQ(passive.error, StartupError::kBadKey);
  EXPECT_EQ(passive.cause, Cause::kNone);
}

TEST(IwarpStartupNamesTest, GivenAllStatesWhenNamedThenNoneIsUnknown) {
  for (int i = 0; i <= static_cast<int>(kFailed); ++i) {
    EXPECT_STRNE(StartupStateName(static_cast<StartupState>(i)), "unknown");
  }
}

}  // namespace
}  // namespace qpip::iwarp
