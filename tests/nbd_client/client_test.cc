// The client against a server in memory that says what the test says, byte by byte and in any
// order.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client_fixture.h"

namespace qpip::nbd::testing {
namespace {

using ::testing::ElementsAre;

// --- Negotiation

TEST_F(ClientTest, AsksForTheMostAndTakesWhatItGets) {
  Start();
  EXPECT_THAT(server().options,
              ElementsAre(kOptionExtendedHeaders, kOptionSetMetaContext, kOptionGo));
  EXPECT_TRUE(client_->facts().extended_headers);
  EXPECT_TRUE(client_->facts().block_status);
  EXPECT_EQ(client_->facts().bytes, 1u << 20);
}

TEST_F(ClientTest, FallsBackToStructuredReplies) {
  StartCompact();
  EXPECT_THAT(server().options, ElementsAre(kOptionExtendedHeaders, kOptionStructuredReply,
                                            kOptionSetMetaContext, kOptionGo));
  EXPECT_FALSE(client_->facts().extended_headers);
  EXPECT_TRUE(client_->facts().structured_replies);
}

TEST_F(ClientTest, FallsBackToSimpleReplies) {
  script_.structured = false;
  StartCompact();
  EXPECT_FALSE(client_->facts().structured_replies);
  EXPECT_FALSE(client_->facts().block_status);
}

TEST_F(ClientTest, DoesNotAskForWhatIsNotWanted) {
  Start({.structured_replies = false});
  EXPECT_THAT(server().options, ElementsAre(kOptionGo));
}

TEST_F(ClientTest, UsesExportNameWhereThereIsNoGo) {
  script_.has_go = false;
  Start();
  EXPECT_EQ(server().options.back(), kOptionExportName);
  EXPECT_EQ(client_->facts().bytes, 1u << 20);
}

TEST_F(ClientTest, UsesExportNameAloneWhereNegotiationIsNotFixed) {
  script_.fixed = false;
  Start();
  EXPECT_THAT(server().options, ElementsAre(kOptionExportName));
}

TEST_F(ClientTest, NegotiatesByteByByte) {
  script_.receive_bytes = 1;
  script_.send_bytes = 1;
  Start();
  EXPECT_TRUE(client_->facts().block_status);
}

int CodeOfStart(const Script& script, int refusal = 0) {
  auto wire = std::make_unique<ScriptedWire>();
  wire->script = script;
  wire->refusal = refusal;
  try {
    ClientImpl client(std::move(wire), {.patience = milliseconds(20)});
  } catch (const Error& error) {
    return error.code();
  }
  return 0;
}

TEST(ClientStartTest, SaysWhyItIsRefused) {
  EXPECT_EQ(CodeOfStart({.go_refusal = kReplyErrUnknown}), ENOENT);
  EXPECT_EQ(CodeOfStart({.go_refusal = kReplyErrPolicy}), EACCES);
  EXPECT_EQ(CodeOfStart({.go_refusal = kReplyErrTlsRequired}), EACCES);
}

TEST(ClientStartTest, RefusesASizeBeyondWhatOffsetsOfFilesCanSay) {
  for (const bool go : {true, false}) {
    EXPECT_EQ(CodeOfStart({.has_go = go, .bytes = uint64_t{1} << 63}), EPROTO);
    EXPECT_EQ(CodeOfStart({.has_go = go, .bytes = INT64_MAX}), 0);
  }
}

TEST(ClientStartTest, SaysThatNobodyListensWhenPatienceIsOver) {
  EXPECT_EQ(CodeOfStart({}, ECONNREFUSED), ECONNREFUSED);
}

TEST(ClientStartTest, RefusesBadOptions) {
  EXPECT_THROW(ClientImpl(std::make_unique<ScriptedWire>(), {.connections = 0}), Error);
  EXPECT_THROW(ClientImpl(std::make_unique<ScriptedWire>(), {.depth = 4097}), Error);
}

// --- Commands

TEST_F(ClientTest, ReadsASimpleReply) {
  script_.structured = false;
  StartCompact();
  Command read(Io::Op::kRead, 4096, 512);
  Submit(read);
  const Request request = Next().request;
  EXPECT_EQ(request.offset, 4096u);
  EXPECT_EQ(request.length, 512u);
  server().PutSimple(request.cookie, 0, Ramp(512));
  client_->Poll();
  EXPECT_EQ(read.ended, 1);
  EXPECT_EQ(read.io.error, 0);
  EXPECT_EQ(read.memory, Ramp(512));
}

TEST_F(ClientTest, ReadsChunksInAnyOrderWithHoles) {
  Start();
  Command read(Io::Op::kRead, 1000, 300);
  Submit(read);
  const uint64_t cookie = Next().request.cookie;
  server().PutData(cookie, 1200, Ramp(100, 7), false);
  server().PutHole(cookie, 1100, 100, false);
  server().PutData(cookie, 1000, Ramp(100, 9));
  client_->Poll();
  EXPECT_EQ(read.io.error, 0);
  Bytes expected = Ramp(100, 9);
  expected.resize(200);
  const Bytes last = Ramp(100, 7);
  expected.insert(expected.end(), last.begin(), last.end());
  EXPECT_EQ(read.memory, expected);
}

TEST_F(ClientTest, TakesRepliesOutOfOrderByteByByte) {
  script_.receive_bytes = 1;
  script_.send_bytes = 3;
  StartCompact();
  Command first(Io::Op::kRead, 0, 64);
  Command second(Io::Op::kRead, 64, 64);
  client_->Submit(first.io);
  client_->Submit(second.io);
  client_->Poll();
  ASSERT_EQ(server().asked.size(), 2u);
  const uint64_t a = Next().request.cookie;
  const uint64_t b = Next().request.cookie;
  server().PutData(b, 64, Ramp(64, 50));
  client_->Poll();
  EXPECT_EQ(first.ended, 0);
  EXPECT_EQ(second.ended, 1);
  server().PutData(a, 0, Ramp(64, 5));
  client_->Poll();
  EXPECT_EQ(first.memory, Ramp(64, 5));
  EXPECT_EQ(second.memory, Ramp(64, 50));
}

TEST_F(ClientTest, GathersWritesAndScattersReads) {
  Start();
  Bytes a = Ramp(10);
  Bytes b = Ramp(20, 90);
  std::array<iovec, 2> runs = {iovec{a.data(), a.size()}, iovec{b.data(), b.size()}};
  Command write(Io::Op::kWrite, 0, 30, Io::kFua);
  write.io.data = runs;
  Submit(write);
  const Connection::Asked asked = Next();
  EXPECT_EQ(asked.request.flags, kCommandFua | kCommandPayloadLen);
  Bytes both = a;
  both.insert(both.end(), b.begin(), b.end());
  EXPECT_EQ(asked.payload, both);
  server().PutDone(asked.request.cookie);
  client_->Poll();
  EXPECT_EQ(write.io.error, 0);

  Command read(Io::Op::kRead, 0, 30);
  read.io.data = runs;
  Submit(read);
  server().PutData(Next().request.cookie, 0, Ramp(30, 100));
  client_->Poll();
  EXPECT_EQ(a, Ramp(10, 100));
  EXPECT_EQ(b, Ramp(20, 110));
}

TEST_F(ClientTest, CutsWhatIsLongerThanTheServerTakes) {
  script_.sizes = {.minimum = 512, .preferred = 512, .maximum = 1024};
  Start();
  Command write(Io::Op::kWrite, 512, 2560);
  std::iota(write.memory.begin(), write.memory.end(), uint8_t{1});
  Submit(write);
  Bytes all;
  for (const uint64_t length : {1024u, 1024u, 512u}) {
    const Connection::Asked asked = Next();
    EXPECT_EQ(asked.request.offset, 512 + all.size());
    EXPECT_EQ(asked.request.length, length);
    all.insert(all.end(), asked.payload.begin(), asked.payload.end());
    server().PutDone(asked.request.cookie);
  }
  client_->Poll();
  EXPECT_EQ(write.ended, 1);
  EXPECT_EQ(all, Ramp(2560));
}

TEST_F(ClientTest, TheFirstErrorOfAPieceIsTheCommands) {
  script_.sizes = {.minimum = 1, .preferred = 512, .maximum = 512};
  Start();
  Command write(Io::Op::kWrite, 0, 1024);
  Submit(write);
  const uint64_t a = Next().request.cookie;
  const uint64_t b = Next().request.cookie;
  server().PutError(b, kErrorNoSpc);
  client_->Poll();
  EXPECT_EQ(write.ended, 0) << "a piece is still on its way";
  server().PutDone(a);
  client_->Poll();
  EXPECT_EQ(write.ended, 1);
  EXPECT_EQ(write.io.error, ENOSPC);
}

TEST_F(ClientTest, TellsExtents) {
  for (const bool extended : {false, true}) {
    script_.extended = extended;
    Start();
    Command status(Io::Op::kStatus, 0, 8192, Io::kOneExtent);
    Submit(status);
    const Request request = Next().request;
    EXPECT_EQ(request.flags, kCommandReqOne);
    server().PutStatus(request.cookie, {{4096, kStateHole | kStateZero}, {4096, 0}});
    client_->Poll();
    EXPECT_EQ(status.io.error, 0);
    ASSERT_EQ(status.io.extent_count, 2u);
    EXPECT_EQ(status.extents[0].length, 4096u);
    EXPECT_EQ(status.extents[0].flags, BlockExtent::kHole | BlockExtent::kZeroes);
    EXPECT_EQ(status.extents[1].flags, 0u);
  }
}

TEST_F(ClientTest, KeepsSoManyInFlightAndNoMore) {
  Start({.depth = 2});
  std::list<Command> reads;
  for (int i = 0; i < 3; ++i) client_->Submit(reads.emplace_back(Io::Op::kRead, 0, 8).io);
  client_->Poll();
  ASSERT_EQ(server().asked.size(), 2u);
  const uint64_t cookie = Next().request.cookie;
  server().PutData(cookie, 0, Ramp(8));
  client_->Poll();
  EXPECT_EQ(server().asked.size(), 2u) << "the third follows at once";
  EXPECT_EQ(client_->in_flight(), 2u);
  client_.reset();  // before its commands
}

TEST_F(ClientTest, RefusesWhatIsNoneOfTheExport) {
  script_.sizes.minimum = 512;
  Start();
  for (const auto& [offset, length] : std::vector<std::pair<uint64_t, uint64_t>>{
           {0, 0}, {1 << 20, 512}, {0, (1 << 20) + 512}, {UINT64_MAX, 512}, {100, 512}, {0, 511}}) {
    Command trim(Io::Op::kTrim, offset, length);
    client_->Submit(trim.io);
    Finish(trim);
    EXPECT_EQ(trim.io.error, EINVAL) << offset << " " << length;
  }
  EXPECT_TRUE(server().asked.empty());
}

TEST_F(ClientTest, RefusesToChangeWhatIsReadOnly) {
  script_.flags |= kReadOnly;
  Start();
  Command write(Io::Op::kWrite, 0, 512);
  client_->Submit(write.io);
  Finish(write);
  EXPECT_EQ(write.io.error, EPERM);
}

TEST_F(ClientTest, MakesDoWithoutFuaAndZeroes) {
  script_.flags = kHasFlags | kSendFlush;
  Start();
  Command zero(Io::Op::kZero, 0, 100'000, Io::kFua);
  Submit(zero);
  const Connection::Asked write = Next();
  EXPECT_EQ(write.request.command, kCommandWrite);
  EXPECT_EQ(write.payload, Bytes(100'000));
  EXPECT_TRUE(server().asked.empty()) << "the flush is behind the write";
  server().PutDone(write.request.cookie);
  client_->Poll();
  EXPECT_EQ(zero.ended, 0);
  const Request flush = Next().request;
  EXPECT_EQ(flush.command, kCommandFlush);
  server().PutDone(flush.cookie);
  client_->Poll();
  EXPECT_EQ(zero.io.error, 0);
  EXPECT_EQ(zero.ended, 1);

  Command fast(Io::Op::kZero, 0, 512, Io::kFastZero);
  client_->Submit(fast.io);
  Finish(fast);
  EXPECT_EQ(fast.io.error, ENOTSUP);
}

TEST_F(ClientTest, CutsWhatHasNoPayloadToTheServersMaximumToo) {
  script_.bytes = uint64_t{16} << 30;
  script_.sizes.maximum = 1 << 20;
  Start();
  for (const Io::Op op : {Io::Op::kZero, Io::Op::kCache}) {
    Command command(op, 4096, (2 << 20) + 512);
    Submit(command);
    uint64_t at = 4096;
    for (const uint64_t length : {1u << 20, 1u << 20, 512u}) {
      const Request request = Next().request;
      EXPECT_EQ(request.offset, at);
      EXPECT_EQ(request.length, length);
      at += length;
      server().PutDone(request.cookie);
    }
    Finish(command);
    EXPECT_EQ(command.io.error, 0);
  }
}

TEST_F(ClientTest, AFastZeroIsNotCut) {
  script_.bytes = uint64_t{16} << 30;
  script_.sizes.maximum = 1 << 20;
  Start();
  Command fast(Io::Op::kZero, 0, uint64_t{2} << 30, Io::kFastZero);
  Submit(fast);
  const Request request = Next().request;
  EXPECT_EQ(request.length, uint64_t{2} << 30);
  EXPECT_EQ(request.flags, kCommandFastZero);
  EXPECT_TRUE(server().asked.empty());
  server().PutDone(request.cookie);
  Finish(fast);
  EXPECT_EQ(fast.io.error, 0);

  Command too_long(Io::Op::kZero, 0, uint64_t{4} << 30, Io::kFastZero);
  Submit(too_long);
  Finish(too_long);
  EXPECT_EQ(too_long.io.error, ENOTSUP);
  EXPECT_TRUE(server().asked.empty());
}

TEST_F(ClientTest, WhatAServerHasNotIsDoneAtOnce) {
  script_.flags = kHasFlags;
  Start();
  for (const Io::Op op : {Io::Op::kFlush, Io::Op::kTrim, Io::Op::kCache}) {
    Command command(op, 0, op == Io::Op::kFlush ? 0 : 512);
    client_->Submit(command.io);
    Finish(command);
    EXPECT_EQ(command.io.error, 0);
  }
  EXPECT_TRUE(server().asked.empty());
}

TEST_F(ClientTest, DoneMaySubmit) {
  Start();
  struct Chain {
    ClientImpl* client;
    int left = 3;
  } chain = {client_.get()};
  Io io;
  io.op = Io::Op::kFlush;
  io.context = &chain;
  io.done = [](Io& over) {
    auto& each = *static_cast<Chain*>(over.context);
    if (--each.left > 0) each.client->Submit(over);
  };
  client_->Submit(io);
  client_->Poll();
  for (int i = 0; i < 3; ++i) {
    server().PutDone(Next().request.cookie);
    client_->Poll();
  }
  EXPECT_EQ(chain.left, 0);
  EXPECT_EQ(client_->in_flight(), 0u);
}

}  // namespace
}  // namespace qpip::nbd::testing
