// The real-time ports keep platform.h: asynchrony, order, publishing, sums, handles.

#include "sim/lanai/ports.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>
#include <thread>

#include "lanai_scripted.h"
#include "nic_fw/abi/completion.h"
#include "protocols/common/checksum.h"

namespace qpip::lanai::testing {
namespace {

uint64_t Address(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

class PortsTest : public ::testing::Test {
 protected:
  PortsTest() { MakePorts(); }
  ~PortsTest() override { ports_->ReleaseFrames(); }

  void MakePorts() {
    ports_ = std::make_unique<Ports>(wire_, doorbells_, nullptr, nullptr);
    port_ = ports_->table();
  }

  std::vector<uint32_t> PollTags() {
    std::vector<uint32_t> tags;
    fw::DmaCompletion done;
    while (port_.dma_poll(port_.context, &done) != 0) tags.push_back(done.tag);
    return tags;
  }
  fw::DmaCompletion PollOne() {
    fw::DmaCompletion done;
    EXPECT_EQ(port_.dma_poll(port_.context, &done), 1u);
    return done;
  }
  uint32_t Fetch(std::vector<fw::DmaSegment> from, uint32_t flags, uint32_t tag) {
    return port_.payload_fetch(port_.context, from.data(), static_cast<uint32_t>(from.size()),
                               flags, tag);
  }
  // Puts a frame on its way to this port.
  void Deliver(std::vector<uint8_t> bytes) { link_->frames[0].push_back(std::move(bytes)); }
  fw::FrameIn Poll() {
    fw::FrameIn frame;
    EXPECT_EQ(port_.frame_poll(port_.context, &frame), 1u);
    return frame;
  }
  static std::vector<uint8_t> Counting(size_t length) {
    std::vector<uint8_t> bytes(length);
    for (size_t i = 0; i < length; ++i) bytes[i] = static_cast<uint8_t>(i * 7 + 1);
    return bytes;
  }

  std::shared_ptr<ScriptedLink> link_ = std::make_shared<ScriptedLink>();
  ScriptedWire wire_{link_, 0};
  static constexpr uint32_t kDoorbells = 8;
  DoorbellFifo doorbells_{kDoorbells};
  std::unique_ptr<Ports> ports_;
  fw::Platform port_;
};

// --- DMA

TEST_F(PortsTest, GivenTaggedOperationsWhenPolledThenTheyCompleteInOrderAndOnlyThen) {
  const std::vector<uint8_t> host = Counting(256);
  std::vector<uint8_t> target(256);
  uint8_t sram[64] = {};
  EXPECT_FALSE(ports_->completions_waiting());
  port_.dma_read(port_.context, Address(host.data()), sram, 64, 11);
  EXPECT_TRUE(ports_->completions_waiting());
  port_.dma_write(port_.context, Address(target.data()), sram, 64, 12, 0);
  const fw::DmaSegment from{Address(host.data()), 100, 0};
  const fw::DmaSegment to{Address(target.data()) + 64, 100, 0};
  port_.dma_copy(port_.context, &from, 1, &to, 1, 13);
  const uint32_t payload = Fetch({from}, 0, 14);
  EXPECT_NE(payload, 0u);
  EXPECT_EQ(PollTags(), (std::vector<uint32_t>{11, 12, 13, 14}));
  EXPECT_TRUE(std::equal(host.begin(), host.begin() + 64, target.begin()));
  EXPECT_TRUE(std::equal(host.begin(), host.begin() + 100, target.begin() + 64));
}

TEST_F(PortsTest, GivenAPostedWriteWhenPolledThenThereIsNoCompletion) {
  uint64_t target = 0;
  const uint64_t source = 0x1122334455667788;
  port_.dma_write(port_.context, Address(&target), &source, 8, 0, 0);
  EXPECT_EQ(target, source);
  EXPECT_TRUE(PollTags().empty());
}

TEST_F(PortsTest, GivenAFifoThatNeverRunsEmptyWhenManyOperationsPassThenOrderHolds) {
  uint32_t word = 0;
  uint32_t sram = 0;
  uint32_t issued = 0;
  uint32_t seen = 0;
  for (; issued < 100; ++issued)
    port_.dma_read(port_.context, Address(&word), &sram, 4, issued + 1);
  while (issued < 3 * Ports::kMaxDmaSlots) {
    EXPECT_EQ(PollOne().tag, ++seen);
    port_.dma_read(port_.context, Address(&word), &sram, 4, ++issued);
  }
  EXPECT_EQ(PollTags().size(), 100u);
}

TEST_F(PortsTest, GivenAPublishedEntryWhenAnotherThreadSeesItsLastWordThenTheRestIsThere) {
  constexpr uint32_t kLaps = 20000;
  abi::Cqe shared;
  std::atomic<uint32_t> read{0};
  std::thread host([&] {
    for (uint32_t lap = 1; lap <= kLaps; ++lap) {
      while (LoadWord(&shared.valid) != lap) std::this_thread::yield();
      EXPECT_EQ(shared.qp, lap);
      EXPECT_EQ(shared.reserved[2], ~lap);
      read.store(lap, std::memory_order_release);
    }
  });
  abi::Cqe sram;
  for (uint32_t lap = 1; lap <= kLaps; ++lap) {
    sram.qp = lap;
    sram.reserved[2] = ~lap;
    sram.valid = lap;
    port_.dma_write(port_.context, Address(&shared), &sram, sizeof(sram), 0, fw::kDmaPublish);
    while (read.load(std::memory_order_acquire) != lap) std::this_thread::yield();
  }
  host.join();
  EXPECT_EQ(shared.valid, kLaps);
}

TEST_F(PortsTest, GivenPiecesThatDoNotLineUpWhenCopiedThenEveryByteIsInItsPlace) {
  const std::vector<uint8_t> source = Counting(60);
  std::vector<uint8_t> target(60);
  const fw::DmaSegment from[] = {{Address(source.data()), 7, 0},
                                 {Address(source.data()) + 7, 0, 0},
                                 {Address(source.data()) + 7, 20, 0},
                                 {Address(source.data()) + 27, 33, 0}};
  const fw::DmaSegment to[] = {{Address(target.data()), 1, 0},
                               {Address(target.data()) + 1, 30, 0},
                               {Address(target.data()) + 31, 29, 0}};
  port_.dma_copy(port_.context, from, 4, to, 3, 1);
  EXPECT_EQ(target, source);
}

TEST_F(PortsTest, GivenAWordOfHostMemoryWhenLoadedThenItsValueComesBack) {
  const uint64_t word = 0xfedcba9876543210;
  EXPECT_EQ(port_.host_load(port_.context, Address(&word)), word);
}

// --- Doorbells

TEST_F(PortsTest, GivenDoorbellsWhenPoppedThroughTheTableThenTheyArriveAndTheFlagReads) {
  abi::Doorbell out;
  EXPECT_EQ(port_.doorbell_pop(port_.context, &out), 0u);
  doorbells_.Push(abi::Doorbell::Make(abi::DoorbellKind::kCommand, 1, 2));
  EXPECT_EQ(port_.doorbell_pop(port_.context, &out), 1u);
  EXPECT_EQ(out.producer, 2u);
  EXPECT_EQ(port_.doorbell_overflowed(port_.context), 0u);
  for (uint32_t i = 0; i <= kDoorbells; ++i) doorbells_.Push(out);
  EXPECT_EQ(port_.doorbell_overflowed(port_.context), 1u);
  EXPECT_EQ(port_.doorbell_overflowed(port_.context), 0u);
}

// --- Payload on its way out

TEST_F(PortsTest, GivenOddPiecesWhenFetchedWithASumThenItIsTheSumOfTheWhole) {
  const std::vector<uint8_t> whole = Counting(301);
  const auto piece = [&](size_t at, uint32_t length) {
    return fw::DmaSegment{Address(whole.data()) + at, length, 0};
  };
  EXPECT_NE(Fetch({piece(0, 1), piece(1, 100), piece(101, 99), piece(200, 101)}, fw::kDmaSum, 5),
            0u);
  EXPECT_EQ(PollOne().sum, ChecksumAdd(whole));
  EXPECT_NE(Fetch({piece(0, 301)}, 0, 6), 0u);
  EXPECT_EQ(PollOne().sum, 0u);
}

TEST_F(PortsTest, GivenAPayloadWhenSentThenTheWireGetsHeaderAndPiecesAndTheFlush) {
  const std::vector<uint8_t> body = Counting(50);
  const uint8_t header[44] = {0x60, 1, 2, 3};
  const uint32_t payload =
      Fetch({{Address(body.data()), 20, 0}, {Address(body.data()) + 20, 30, 0}}, 0, 1);
  const fw::FrameOut frame{header, sizeof(header), payload};
  uint64_t lease = 99;
  EXPECT_FALSE(ports_->TakeSent());
  EXPECT_EQ(port_.frame_send(port_.context, &frame, &lease), fw::kSendOk);
  EXPECT_EQ(lease, 0u);
  EXPECT_EQ(wire_.stable_sends, 1u);
  EXPECT_TRUE(ports_->TakeSent());
  EXPECT_FALSE(ports_->TakeSent());
  std::vector<uint8_t> expected(header, header + sizeof(header));
  expected.insert(expected.end(), body.begin(), body.end());
  ASSERT_EQ(link_->frames[1].size(), 1u);
  EXPECT_EQ(link_->frames[1].front(), expected);
}

TEST_F(PortsTest, GivenAPayloadThatMustBeCopiedWhenSentThenTheWireMayNotReferToIt) {
  const std::vector<uint8_t> body = Counting(50);
  const uint8_t header[40] = {};
  const fw::FrameOut frame{header, 40, Fetch({{Address(body.data()), 50, 0}}, fw::kDmaCopy, 1)};
  uint64_t lease = 0;
  EXPECT_EQ(port_.frame_send(port_.context, &frame, &lease), fw::kSendOk);
  EXPECT_EQ(wire_.stable_sends, 0u);
}

TEST_F(PortsTest, GivenABusyWireWhenSentThenTheHandleStaysAndWithoutARouteItIsConsumed) {
  const std::vector<uint8_t> body = Counting(50);
  const uint8_t header[40] = {};
  // All handles but one are taken, so that the last one's fate shows.
  std::set<uint32_t> handles;
  for (uint32_t i = 0; i < Ports::kPayloadSlots; ++i) {
    handles.insert(Fetch({{Address(body.data()), 50, 0}}, 0, i + 1));
    PollTags();
  }
  EXPECT_EQ(handles.size(), Ports::kPayloadSlots);
  EXPECT_EQ(handles.count(0), 0u);
  EXPECT_EQ(Fetch({{Address(body.data()), 50, 0}}, 0, 9), 0u);
  EXPECT_TRUE(PollTags().empty());

  const fw::FrameOut frame{header, 40, *handles.begin()};
  uint64_t lease = 0;
  wire_.next_result = wire::SendResult::kBusy;
  EXPECT_EQ(port_.frame_send(port_.context, &frame, &lease), fw::kSendBusy);
  EXPECT_EQ(Fetch({{Address(body.data()), 50, 0}}, 0, 9), 0u);
  wire_.next_result = wire::SendResult::kNoRoute;
  EXPECT_EQ(port_.frame_send(port_.context, &frame, &lease), fw::kSendNoRoute);
  EXPECT_EQ(Fetch({{Address(body.data()), 50, 0}}, 0, 9), frame.payload);
  port_.payload_release(port_.context, frame.payload);
  EXPECT_EQ(Fetch({{Address(body.data()), 50, 0}}, 0, 9), frame.payload);
}

TEST_F(PortsTest, GivenALeaseWhenAskedThenTheWireAnswers) {
  wire_.pending_lease = 5;
  EXPECT_EQ(port_.lease_pending(port_.context, 5), 1u);
  EXPECT_EQ(port_.lease_pending(port_.context, 4), 0u);
}

// --- Receiving

TEST_F(PortsTest, GivenATrustedWireWhenAFrameArrivesThenItIsVouchedFor) {
  Deliver(Counting(1000));
  const fw::FrameIn frame = Poll();
  EXPECT_EQ(frame.length, 1000u);
  EXPECT_GE(frame.header_length, fw::kMaxHeaderBytes);
  EXPECT_NE(frame.frame, 0u);
  EXPECT_EQ(frame.flags, static_cast<uint32_t>(fw::kFrameTrusted));
  EXPECT_EQ(frame.header[1], 8);
  EXPECT_EQ(ports_->frames_held(), 1u);
  port_.frame_release(port_.context, frame.frame);
  EXPECT_EQ(ports_->frames_held(), 0u);
  EXPECT_EQ(wire_.borrowed, 0);
  fw::FrameIn none;
  EXPECT_EQ(port_.frame_poll(port_.context, &none), 0u);
}

TEST_F(PortsTest, GivenAnUntrustedWireWhenAFrameArrivesThenItComesWithItsSum) {
  wire_.is_trusted = false;
  MakePorts();
  for (const size_t length : {1000u, 1001u, 41u, 40u, 39u}) {
    for (const size_t split : {0u, 300u, 301u}) {
      wire_.split = split;
      const std::vector<uint8_t> bytes = Counting(length);
      Deliver(bytes);
      const fw::FrameIn frame = Poll();
      EXPECT_EQ(frame.flags, static_cast<uint32_t>(fw::kFrameSumValid));
      const size_t skip = std::min<size_t>(40, length);
      EXPECT_EQ(frame.sum, ChecksumAdd(std::span(bytes).subspan(skip))) << length << " " << split;
      port_.frame_release(port_.context, frame.frame);
    }
  }
}

TEST_F(PortsTest, GivenAFrameInTwoPiecesWhenPlacedThenEveryByteIsInItsPlace) {
  wire_.split = 256;
  const std::vector<uint8_t> bytes = Counting(1000);
  Deliver(bytes);
  const fw::FrameIn frame = Poll();
  EXPECT_EQ(frame.header_length, 256u);
  std::vector<uint8_t> target(900);
  const fw::DmaSegment to[] = {{Address(target.data()), 33, 0},
                               {Address(target.data()) + 33, 0, 0},
                               {Address(target.data()) + 33, 500, 0},
                               {Address(target.data()) + 533, 367, 0}};
  port_.payload_place(port_.context, frame.frame, 100, to, 4, 3);
  EXPECT_EQ(PollOne().status, static_cast<uint32_t>(fw::kDmaOk));
  EXPECT_TRUE(std::equal(target.begin(), target.end(), bytes.begin() + 100));
  EXPECT_EQ(port_.frame_sum(port_.context, frame.frame, 101, 899),
            ChecksumAdd(std::span(bytes).subspan(101, 899)));
}

TEST_F(PortsTest, GivenAPlacementBeyondTheFrameWhenPolledThenItFailed) {
  Deliver(Counting(100));
  const fw::FrameIn frame = Poll();
  std::vector<uint8_t> target(61);
  const fw::DmaSegment to{Address(target.data()), 61, 0};
  port_.payload_place(port_.context, frame.frame, 40, &to, 1, 3);
  EXPECT_EQ(PollOne().status, static_cast<uint32_t>(fw::kDmaFault));
}

TEST_F(PortsTest, GivenAFrameWhenPartOfItIsSentBackThenItIsACopyWithItsSum) {
  wire_.split = 300;
  const std::vector<uint8_t> bytes = Counting(500);
  Deliver(bytes);
  const fw::FrameIn frame = Poll();
  uint32_t sum = 0;
  const uint32_t payload = port_.payload_from_frame(port_.context, frame.frame, 41, 400, &sum);
  port_.frame_release(port_.context, frame.frame);
  EXPECT_EQ(sum, ChecksumAdd(std::span(bytes).subspan(41, 400)));
  const uint8_t header[40] = {};
  const fw::FrameOut out{header, 40, payload};
  uint64_t lease = 0;
  EXPECT_EQ(port_.frame_send(port_.context, &out, &lease), fw::kSendOk);
  EXPECT_EQ(wire_.stable_sends, 0u);
  const std::vector<uint8_t>& sent = link_->frames[1].front();
  ASSERT_EQ(sent.size(), 440u);
  EXPECT_TRUE(std::equal(sent.begin() + 40, sent.end(), bytes.begin() + 41));
}

TEST_F(PortsTest, GivenAFetchedPayloadWhenItIsKeptThenItIsACopyBehindWhatCameFromSram) {
  std::vector<uint8_t> memory = Counting(500);
  const std::vector<uint8_t> before = memory;
  const fw::DmaSegment from[] = {{Address(memory.data()), 300, 0},
                                 {Address(memory.data() + 300), 200, 0}};
  const uint32_t payload = port_.payload_fetch(port_.context, from, 2, 0, 1);
  PollOne();
  const std::vector<uint8_t> head = {1, 2, 3};
  // Twice: it may have to wait again.
  ASSERT_EQ(port_.payload_keep(port_.context, payload, head.data(), 3), payload);
  ASSERT_EQ(port_.payload_keep(port_.context, payload, nullptr, 0), payload);
  std::ranges::fill(memory, uint8_t{0});
  const uint32_t alone = port_.payload_keep(port_.context, 0, head.data(), 3);
  ASSERT_NE(alone, 0u);
  const uint8_t header[40] = {};
  uint64_t lease = 0;
  for (const uint32_t handle : {payload, alone}) {
    const fw::FrameOut out{header, 40, handle};
    EXPECT_EQ(port_.frame_send(port_.context, &out, &lease), fw::kSendOk);
  }
  EXPECT_EQ(wire_.stable_sends, 0u);
  std::vector<uint8_t> expected(40);
  expected.insert(expected.end(), head.begin(), head.end());
  EXPECT_EQ(link_->frames[1].back(), expected);
  expected.insert(expected.end(), before.begin(), before.end());
  EXPECT_EQ(link_->frames[1].front(), expected);
}

TEST_F(PortsTest, GivenMoreFramesThanHandlesWhenPolledThenTheRestWaitsInTheWire) {
  for (uint32_t i = 0; i < Ports::kFrameSlots + 10; ++i) Deliver(Counting(100));
  std::vector<uint32_t> held;
  fw::FrameIn frame;
  while (port_.frame_poll(port_.context, &frame) != 0) held.push_back(frame.frame);
  EXPECT_EQ(held.size(), Ports::kFrameSlots);
  port_.frame_release(port_.context, held[17]);
  EXPECT_EQ(Poll().frame, held[17]);
  ports_->ReleaseFrames();
  EXPECT_EQ(wire_.borrowed, 0);
  EXPECT_EQ(ports_->frames_held(), 0u);
}

TEST_F(PortsTest, GivenAPeersEndWhenPolledThenItIsAnEventWithThePeersAddress) {
  link_->closed[1] = true;
  const fw::FrameIn frame = Poll();
  EXPECT_EQ(frame.flags, static_cast<uint32_t>(fw::kFramePeerDown));
  ASSERT_EQ(frame.header_length, 16u);
  EXPECT_EQ(frame.header[0], 0xfd);
  EXPECT_EQ(frame.header[15], 2);
  port_.frame_release(port_.context, frame.frame);
  EXPECT_EQ(wire_.borrowed, 0);  // nothing was borrowed, nothing given back
  Deliver(Counting(100));
  EXPECT_EQ(Poll().flags, static_cast<uint32_t>(fw::kFrameTrusted));
}

// --- The rest of the table

TEST_F(PortsTest, GivenNothingIsMeasuredWhenTheTableIsMadeThenChargeAndTraceAreNull) {
  EXPECT_EQ(port_.charge, nullptr);
  EXPECT_EQ(port_.trace, nullptr);
}

TEST_F(PortsTest, GivenManyRandomNumbersWhenComparedThenNoneRepeats) {
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(port_.random(port_.context));
  EXPECT_EQ(seen.size(), 1000u);
}

}  // namespace
}  // namespace qpip::lanai::testing
