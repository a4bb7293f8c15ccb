// Connections that are lost, and made again: what is sent once more, and what ends.
#include <gtest/gtest.h>

#include <list>
#include <numeric>

#include "client_fixture.h"

namespace qpip::nbd::testing {
namespace {

// --- Several connections

TEST_F(ClientTest, SpreadsOverConnectionsWhereAFlushCoversAll) {
  Start({.connections = 3});
  ASSERT_EQ(client_->connections(), 3u);
  std::list<Command> reads;
  for (int i = 0; i < 6; ++i) client_->Submit(reads.emplace_back(Io::Op::kRead, 0, 8).io);
  client_->Poll();
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(server(i).asked.size(), 2u);
  client_.reset();
}

TEST_F(ClientTest, HasOneConnectionWhereItDoesNot) {
  script_.flags = kHasFlags | kSendFlush;
  Start({.connections = 3});
  EXPECT_EQ(client_->connections(), 1u);
}

TEST_F(ClientTest, WhatWasLostWithOneConnectionGoesOverAnother) {
  Start({.connections = 2, .reconnect = milliseconds(10'000)});
  Command a(Io::Op::kRead, 0, 8);
  Command b(Io::Op::kRead, 8, 8);
  client_->Submit(a.io);
  client_->Submit(b.io);
  client_->Poll();
  wire_->refusal = ECONNREFUSED;
  server(0).closed = true;
  client_->Poll();
  ASSERT_EQ(server(1).asked.size(), 2u);
  for (int i = 0; i < 2; ++i) {
    const Request request = Next(1).request;
    server(1).PutData(request.cookie, request.offset, Ramp(8));
  }
  client_->Poll();
  EXPECT_EQ(a.io.error + b.io.error, 0);
  EXPECT_EQ(a.ended + b.ended, 2);
  EXPECT_EQ(client_->counts().replayed, 1u);
}

// --- Lost connections

TEST_F(ClientTest, WithoutReconnectTheFirstLossEndsEverything) {
  Start();
  Command flying(Io::Op::kRead, 0, 8);
  Submit(flying);
  server().closed = true;
  client_->Poll();
  EXPECT_EQ(flying.io.error, ECONNRESET);
  Command later(Io::Op::kRead, 0, 8);
  client_->Submit(later.io);
  Finish(later);
  EXPECT_EQ(later.io.error, ECONNRESET);
  EXPECT_EQ(wire_->connections.size(), 1u);
}

TEST_F(ClientTest, ReplaysInOrderWhatWasNotAnswered) {
  Start({.reconnect = milliseconds(10'000)});
  Command answered(Io::Op::kWrite, 0, 8);
  Command half(Io::Op::kRead, 64, 8);
  Command write(Io::Op::kWrite, 8, 8);
  std::iota(write.memory.begin(), write.memory.end(), uint8_t{1});
  for (Command* each : {&answered, &half, &write}) client_->Submit(each->io);
  client_->Poll();
  server().PutDone(Next().request.cookie);
  // Half a reply: what has come of it must not count.
  const uint64_t cookie = Next().request.cookie;
  server().PutData(cookie, 64, Ramp(4, 0x77), false);
  client_->Poll();
  EXPECT_EQ(answered.ended, 1);
  server().closed = true;
  while (wire_->connections.size() < 2 || server(1).asked.empty()) client_->Poll();
  ASSERT_EQ(server(1).asked.size(), 2u);
  const Request read_again = Next(1).request;
  EXPECT_EQ(read_again.command, kCommandRead);
  EXPECT_EQ(read_again.length, 8u);
  const Connection::Asked write_again = Next(1);
  EXPECT_EQ(write_again.request.offset, 8u);
  EXPECT_EQ(write_again.payload, Ramp(8));
  server(1).PutData(read_again.cookie, 64, Ramp(8));
  server(1).PutDone(write_again.request.cookie);
  client_->Poll();
  EXPECT_EQ(half.memory, Ramp(8));
  EXPECT_EQ(half.io.error + write.io.error, 0);
  EXPECT_EQ(client_->counts().reconnects, 1u);
  EXPECT_EQ(client_->counts().replayed, 2u);
}

TEST_F(ClientTest, ChangesAreNotReplayedWhereTheyMustNot) {
  Start({.reconnect = milliseconds(10'000), .replay_changes = false});
  Command read(Io::Op::kRead, 0, 8);
  Command trim(Io::Op::kTrim, 0, 8);
  client_->Submit(read.io);
  client_->Submit(trim.io);
  client_->Poll();
  server().closed = true;
  while (wire_->connections.size() < 2 || server(1).asked.empty()) client_->Poll();
  EXPECT_EQ(trim.io.error, ECONNRESET);
  EXPECT_EQ(read.ended, 0);
  EXPECT_EQ(server(1).asked.size(), 1u);
  client_.reset();
}

TEST_F(ClientTest, GivesUpWhenTheServerStaysAway) {
  Start({.reconnect = milliseconds(20)});
  Command read(Io::Op::kRead, 0, 8);
  Submit(read);
  wire_->refusal = ECONNREFUSED;
  server().closed = true;
  Finish(read);
  EXPECT_EQ(read.io.error, ECONNREFUSED);
}

TEST_F(ClientTest, AnotherExportThanBeforeIsNotGoneOnWith) {
  Start({.reconnect = milliseconds(10'000)});
  Command read(Io::Op::kRead, 0, 8);
  Submit(read);
  wire_->script.bytes = 4096;
  server().closed = true;
  Finish(read);
  EXPECT_EQ(read.io.error, ESTALE);
}

TEST_F(ClientTest, WhatAServerRefusesBecauseItShutsDownIsForTheNextOne) {
  for (const bool extended : {true, false}) {
    script_.structured = script_.extended = extended;
    Start({.reconnect = milliseconds(10'000)});
    Command read(Io::Op::kRead, 0, 8);
    Command write(Io::Op::kWrite, 8, 8);
    client_->Submit(read.io);
    client_->Submit(write.io);
    client_->Poll();
    const uint64_t cookie = Next().request.cookie;
    extended ? server().PutError(cookie, kErrorShutdown)
             : server().PutSimple(cookie, kErrorShutdown);
    while (wire_->connections.size() < 2 || server(1).asked.empty()) client_->Poll();
    ASSERT_EQ(server(1).asked.size(), 2u);
    const uint64_t again = Next(1).request.cookie;
    extended ? server(1).PutData(again, 0, Ramp(8)) : server(1).PutSimple(again, 0, Ramp(8));
    server(1).PutDone(Next(1).request.cookie);
    Finish(read);
    Finish(write);
    EXPECT_EQ(read.io.error + write.io.error, 0);
    EXPECT_EQ(read.memory, Ramp(8));
  }
}

TEST_F(ClientTest, WithoutReconnectThatAServerShutsDownIsAnError) {
  Start();
  Command read(Io::Op::kRead, 0, 8);
  Submit(read);
  server().PutError(Next().request.cookie, kErrorShutdown);
  Finish(read);
  EXPECT_EQ(read.io.error, ESHUTDOWN);
  EXPECT_EQ(client_->connections(), 1u);
}

TEST_F(ClientTest, AChangeThatMustNotBeReplayedHasTheWordOfAServerThatShutsDown) {
  Start({.reconnect = milliseconds(10'000), .replay_changes = false});
  Command trim(Io::Op::kTrim, 0, 8);
  Submit(trim);
  server().PutError(Next().request.cookie, kErrorShutdown);
  Finish(trim);
  EXPECT_EQ(trim.io.error, ESHUTDOWN);
}

TEST_F(ClientTest, AServerThatShutsDownForEverIsGivenUp) {
  Start({.reconnect = milliseconds(20)});
  Command read(Io::Op::kRead, 0, 8);
  Submit(read);
  while (read.ended == 0) {
    Connection& server = *wire_->connections.back();
    if (!server.asked.empty()) server.PutError(server.asked.front().request.cookie, kErrorShutdown);
    server.asked.clear();
    client_->Poll();
  }
  EXPECT_EQ(read.io.error, ESHUTDOWN);
  EXPECT_NE(client_->failure(), "");
}

TEST_F(ClientTest, ASilentServerCountsAsLost) {
  Start({.reconnect = milliseconds(10'000), .silence = milliseconds(5)});
  Command read(Io::Op::kRead, 0, 8);
  Submit(read);
  while (wire_->connections.size() < 2 || server(1).asked.empty()) client_->Poll();
  server(1).PutData(Next(1).request.cookie, 0, Ramp(8));
  Finish(read);
  EXPECT_EQ(read.io.error, 0);
}

TEST_F(ClientTest, AVolatileServerThatWasLostFailsTheNextFlushOnce) {
  Start({.reconnect = milliseconds(10'000), .volatile_server = true});
  Command write(Io::Op::kWrite, 0, 8);
  Submit(write);
  server().PutDone(Next().request.cookie);
  client_->Poll();
  server().closed = true;
  while (wire_->connections.size() < 2 || client_->connections() == 0) client_->Poll();
  Command flush(Io::Op::kFlush);
  client_->Submit(flush.io);
  Finish(flush);
  EXPECT_EQ(flush.io.error, EIO);
  Command again(Io::Op::kFlush);
  Submit(again);
  server(1).PutDone(Next(1).request.cookie);
  Finish(again);
  EXPECT_EQ(again.io.error, 0);
}

TEST_F(ClientTest, AFlushThatWasUnderWayIsNotSentAgainToAVolatileServer) {
  Start({.reconnect = milliseconds(10'000), .volatile_server = true});
  Command write(Io::Op::kWrite, 0, 8);
  Submit(write);
  server().PutDone(Next().request.cookie);
  Finish(write);
  Command flush(Io::Op::kFlush);
  Submit(flush);
  server().closed = true;
  Finish(flush);
  EXPECT_EQ(flush.io.error, EIO);
  EXPECT_TRUE(server(1).asked.empty());
}

TEST_F(ClientTest, AVolatileServerThatHadFlushedIsGoneOnWith) {
  Start({.reconnect = milliseconds(10'000), .volatile_server = true});
  for (const Io::Op op : {Io::Op::kWrite, Io::Op::kFlush}) {
    Command command(op, 0, op == Io::Op::kWrite ? 8 : 0);
    Submit(command);
    server().PutDone(Next().request.cookie);
    Finish(command);
  }
  server().closed = true;
  while (wire_->connections.size() < 2 || client_->connections() == 0) client_->Poll();
  Command flush(Io::Op::kFlush);
  Submit(flush);
  server(1).PutDone(Next(1).request.cookie);
  Finish(flush);
  EXPECT_EQ(flush.io.error, 0);
}

TEST_F(ClientTest, AConnectionThatIsMadeAgainDoesNotVouchForWhatAnotherMayHaveLost) {
  Start({.connections = 2, .reconnect = milliseconds(10'000), .volatile_server = true});
  wire_->refusal = ECONNREFUSED;
  server(0).closed = true;
  client_->Poll();
  Command write(Io::Op::kWrite, 0, 8);
  Submit(write);
  server(1).PutDone(Next(1).request.cookie);
  Finish(write);
  // The server is another one now; the connection that the write went over has not noticed.
  wire_->refusal = 0;
  while (client_->connections() < 2) client_->Poll();
  Command flush(Io::Op::kFlush);
  Submit(flush);
  server(2).PutDone(Next(2).request.cookie);
  Finish(flush);
  EXPECT_EQ(flush.io.error, 0) << "nothing is known yet";
  server(1).closed = true;
  client_->Poll();
  Command later(Io::Op::kFlush);
  client_->Submit(later.io);
  Finish(later);
  EXPECT_EQ(later.io.error, EIO);
}

/// Given two clients of one export whose flush covers both, one of which has written.
class LedgerTest : public ClientTest {
 protected:
  LedgerTest() {
    options_ = {.reconnect = milliseconds(10'000),
                .volatile_server = true,
                .ledger = std::make_shared<ChangeLedger>()};
    Start(options_);
    writer_ = std::move(client_);
    writers_wire_ = wire_;
    Start(options_);
  }
  void Write(uint32_t flags = 0) {
    Command write(Io::Op::kWrite, 0, 8, flags);
    writer_->Submit(write.io);
    writer_->Poll();
    Connection& server = *writers_wire_->connections.back();
    server.PutDone(server.asked.back().request.cookie);
    writer_->Poll();
    EXPECT_EQ(write.ended, 1);
  }
  void LoseTheWritersServer() {
    writers_wire_->connections.back()->closed = true;
    const size_t before = writers_wire_->connections.size();
    while (writers_wire_->connections.size() == before) writer_->Poll();
  }
  /// By the other client.
  int Flush() {
    Command flush(Io::Op::kFlush);
    Submit(flush);
    Connection& mine = *wire_->connections.back();
    if (!mine.asked.empty()) mine.PutDone(mine.asked.back().request.cookie);
    mine.asked.clear();
    Finish(flush);
    return flush.io.error;
  }

  ClientOptions options_;
  std::unique_ptr<ClientImpl> writer_;
  ScriptedWire* writers_wire_ = nullptr;
};

TEST_F(LedgerTest, AFlushFailsWhereAnotherClientLostWhatItWasToCover) {
  Write();
  LoseTheWritersServer();
  EXPECT_EQ(Flush(), EIO);
  EXPECT_EQ(Flush(), 0);
}

TEST_F(LedgerTest, WhatWasFlushedIsNotLost) {
  Write();
  EXPECT_EQ(Flush(), 0);
  LoseTheWritersServer();
  EXPECT_EQ(Flush(), 0);
}

TEST_F(LedgerTest, AFlushOfAClientThatBeganLaterDoesNotHideWhatTheWriterLost) {
  Write();
  Start(options_);
  EXPECT_EQ(Flush(), 0);
  LoseTheWritersServer();
  EXPECT_EQ(Flush(), EIO);
  EXPECT_EQ(Flush(), 0);
}

TEST_F(LedgerTest, AFlushOfAClientThatBeganLaterCoversWhatFollows) {
  Write();
  EXPECT_EQ(Flush(), 0);
  Start(options_);
  Write();
  EXPECT_EQ(Flush(), 0);
  LoseTheWritersServer();
  EXPECT_EQ(Flush(), 0);
}

TEST_F(LedgerTest, WhatWasWrittenThroughIsNotLost) {
  Write(Io::kFua);
  LoseTheWritersServer();
  EXPECT_EQ(Flush(), 0);
}

TEST_F(LedgerTest, AClientThatBeginsLaterIsToldWhatNobodyWasTold) {
  Write();
  LoseTheWritersServer();
  Start(options_);
  EXPECT_EQ(Flush(), EIO);
  Start(options_);
  EXPECT_EQ(Flush(), 0) << "somebody was";
}

TEST_F(LedgerTest, AFlushThatIsUnderWayWhenAnotherClientLosesItsServerFails) {
  Write();
  Command flush(Io::Op::kFlush);
  Submit(flush);
  LoseTheWritersServer();
  server().PutDone(Next().request.cookie);
  Finish(flush);
  EXPECT_EQ(flush.io.error, EIO);
}

// --- What the export must be

TEST_F(ClientTest, AnotherExportThanExpectedIsRefusedAtTheFirstConnection) {
  Start();
  ClientOptions options = {.expected = client_->facts()};
  Start(options);
  EXPECT_EQ(client_->facts().bytes, 1u << 20);
  script_.bytes = 4096;
  try {
    Start(options);
    ADD_FAILURE() << "taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ESTALE);
  }
}

TEST_F(ClientTest, WhatIsSubmittedBeforeItIsKnownThatTheExportIsAnotherOneEnds) {
  Start();
  const ClientOptions options = {.expected = client_->facts(), .start_only = true};
  script_.flags &= static_cast<uint16_t>(~kSendTrim);
  Start(options);
  EXPECT_EQ(client_->facts().bytes, 1u << 20) << "as expected, as long as nothing else is known";
  Command trim(Io::Op::kTrim, 0, 8);
  client_->Submit(trim.io);
  Finish(trim);
  EXPECT_EQ(trim.io.error, ESTALE);
}

// --- The end

TEST_F(ClientTest, SaysGoodByeWhenNothingIsInFlight) {
  Start();
  const std::shared_ptr<Connection> server = wire_->connections.front();
  client_.reset();
  ASSERT_EQ(server->asked.size(), 1u);
  EXPECT_EQ(server->asked.front().request.command, kCommandDisconnect);
}

TEST_F(ClientTest, WhatIsInFlightEndsWithTheClient) {
  Start();
  Command read(Io::Op::kRead, 0, 8);
  Submit(read);
  client_.reset();
  EXPECT_EQ(read.ended, 1);
  EXPECT_EQ(read.io.error, ECANCELED);
}

}  // namespace
}  // namespace qpip::nbd::testing
