// One connection, at times that the test names.
#include <gtest/gtest.h>

#include "client_fixture.h"

namespace qpip::nbd::testing {
namespace {

using internal::Clock;
using internal::Link;
using internal::Piece;
using std::chrono::minutes;

/// Given a connection on which an hour's silence is a loss, and a command that is on its way.
class LinkTest : public ::testing::Test, protected internal::PieceOwner {
 protected:
  void Begin(Io::Op op, uint64_t length, const Script& script = {}) {
    wire_.script = script;
    link_.Start(begun_);
    while (!link_.Advance(begun_)) {
    }
    command_ = std::make_unique<Command>(op, 0, length);
    Piece piece;
    piece.io = &command_->io;
    piece.command = op == Io::Op::kRead ? kCommandRead : kCommandWrite;
    piece.length = length;
    link_.Take(piece);
  }
  void OnPieceDone(const Piece& /*piece*/) override { ++command_->ended; }
  Connection& server() { return *wire_.connections.front(); }
  /// Whether it counts as lost so long after the beginning.
  bool LostAfter(minutes time) {
    try {
      link_.ThrowIfOverdue(begun_ + time);
    } catch (const internal::Lost&) {
      return true;
    }
    return false;
  }

  const Clock::time_point begun_ = Clock::now();
  ClientOptions options_{.silence = std::chrono::hours(1)};
  ScriptedWire wire_;
  Link link_{wire_, options_, *this};
  std::unique_ptr<Command> command_;
};

TEST_F(LinkTest, SilenceForAsLongAsItMayBeIsALoss) {
  Begin(Io::Op::kRead, 512);
  link_.Send(begun_);
  EXPECT_FALSE(LostAfter(minutes(59)));
  EXPECT_TRUE(LostAfter(minutes(61)));
}

TEST_F(LinkTest, AReplyThatComesByteByByteIsNoSilence) {
  Begin(Io::Op::kRead, 512, {.receive_bytes = 1});
  link_.Send(begun_);
  server().PutData(server().asked.front().request.cookie, 0, Ramp(512));
  const Bytes rest = server().TakeBack(300);
  link_.Receive(begun_ + minutes(50));
  EXPECT_EQ(command_->ended, 0);
  EXPECT_FALSE(LostAfter(minutes(100)));
  EXPECT_TRUE(LostAfter(minutes(111)));
  server().Put(rest);
  link_.Receive(begun_ + minutes(110));
  EXPECT_EQ(command_->ended, 1);
}

TEST_F(LinkTest, AHeaderThatComesInPiecesIsNoSilence) {
  Begin(Io::Op::kRead, 512);
  link_.Send(begun_);
  server().PutData(server().asked.front().request.cookie, 0, Ramp(512));
  server().TakeBack(520);
  link_.Receive(begun_ + minutes(50));
  EXPECT_FALSE(LostAfter(minutes(100)));
}

TEST_F(LinkTest, AWriteThatGoesOutSlowlyIsNoSilence) {
  Begin(Io::Op::kWrite, 100'000);
  server().room = 1000;
  link_.Send(begun_);
  server().room = 10'000;
  link_.Send(begun_ + minutes(50));
  EXPECT_FALSE(LostAfter(minutes(100)));
  EXPECT_TRUE(LostAfter(minutes(111)));
}

}  // namespace
}  // namespace qpip::nbd::testing
