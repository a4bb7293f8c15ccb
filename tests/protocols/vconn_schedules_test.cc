// Two machines with receives, wires and applications between them, run in random orders: whatever
// the order, every message arrives once and in order, none comes to where no receive is posted, and
// the two never wait for each other. QPIP_VCONN_SCHEDULES=N runs N of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "protocols/common/byte_order.h"
#include "protocols/vconn/machine.h"

namespace qpip::vconn {
namespace {

constexpr uint64_t kQuickSchedules = 20000;
constexpr size_t kNumberBytes = 8;  ///< every message carries its number

struct Message {
  std::array<uint8_t, kHelloBytes + kNumberBytes> bytes;
  size_t length;
  std::span<const uint8_t> span() const { return {bytes.data(), length}; }
};

/// One side: an application, its machine, its receives, and the wire that leads to it.
struct Side {
  explicit Side(const Limits& limits) : machine(limits), posted(limits.window) {}

  Machine machine;
  int posted;                     ///< receives
  std::deque<Message> wire;       ///< on the way here
  std::deque<Message> completed;  ///< in a receive, not looked at
  std::vector<uint64_t> held;     ///< by the application
  size_t keeps = 0;               ///< buffers the application does not give back
  bool said_hello = false;
  uint64_t to_send = 0;
  uint64_t sent = 0;
  uint64_t received = 0;
};

class Schedule {
 public:
  explicit Schedule(uint64_t seed) : random_(seed), sides_{Side(Draw()), Side(Draw())} {
    const uint16_t window = std::min(sides_[0].posted, sides_[1].posted);
    const uint64_t most = window <= 16 ? 4 * window + 20 : 2 * window;
    for (Side& side : sides_) {
      side.to_send = random_() % 4 == 0 ? 0 : random_() % most;
      side.keeps = random_() % (BuffersToKeep(window) + 1);
      for (unsigned& weight : weights_[&side - sides_.data()]) weight = 1u << random_() % 8;
    }
  }

  /// Runs until nothing is left to do. Returns what went wrong; empty: nothing.
  std::string Run() {
    while (const auto action = Choose()) {
      Do(action->side, action->what);
      if (!wrong_.empty()) return wrong_;
    }
    for (int i = 0; i < 2; ++i) {
      const Side& side = sides_[i];
      if (side.sent != side.to_send) return "nothing can be done, and a message waits for a credit";
      if (side.received != sides_[1 - i].to_send) return "a message was lost";
      if (side.machine.state() != State::kOpen) return "not open";
    }
    return {};
  }

 private:
  enum What { kHello, kSend, kCredits, kArrive, kProcess, kGiveBack, kActions };
  struct Action {
    int side;
    What what;
  };

  Limits Draw() {
    static constexpr std::array<uint16_t, 12> kWindows = {2, 2, 2, 3, 3, 4, 5, 6, 7, 8, 16, 33};
    const uint64_t pick = random_() % 1024;
    const auto any = static_cast<uint16_t>(kLeastWindow + random_() % (kMostWindow - 1));
    return {pick == 0 ? any : kWindows[pick % kWindows.size()], 64};
  }

  bool Enabled(const Side& side, What what) const {
    switch (what) {
      case kHello:
        return !side.said_hello;
      case kSend:
        return side.sent < side.to_send && side.machine.MaySend(0, kNumberBytes) == Sendable::kYes;
      case kCredits:
        return side.machine.CreditDue();
      case kArrive:
        return !side.wire.empty();
      case kProcess:
        return !side.completed.empty();
      case kGiveBack:
        return side.held.size() > side.keeps;
      case kActions:
        break;
    }
    return false;
  }

  std::optional<Action> Choose() {
    std::array<Action, 2 * kActions> enabled;
    std::array<unsigned, 2 * kActions> upto;
    size_t count = 0;
    unsigned sum = 0;
    for (int side = 0; side < 2; ++side) {
      for (int what = 0; what < kActions; ++what) {
        if (!Enabled(sides_[side], static_cast<What>(what))) continue;
        enabled[count] = {side, static_cast<What>(what)};
        sum += weights_[side][what];
        upto[count++] = sum;
      }
    }
    if (count == 0) return std::nullopt;
    const unsigned pick = static_cast<unsigned>(random_()) % sum;
    size_t at = 0;
    while (upto[at] <= pick) ++at;
    return enabled[at];
  }

  void Put(Side& to, const Header& header, uint64_t number) {
    Message message;
    message.length = MessageBytes(header);
    EmitHeader(header, std::span(message.bytes).first<kHeaderBytes>());
    if (header.data_bytes != 0) StoreBe64(&message.bytes[kHeaderBytes], number);
    to.wire.push_back(message);
  }

  void Do(int index, What what) {
    Side& side = sides_[index];
    Side& other = sides_[1 - index];
    switch (what) {
      case kHello: {
        Message hello;
        hello.length = kHelloBytes;
        side.machine.Hello(std::span(hello.bytes).first<kHelloBytes>());
        side.said_hello = true;
        other.wire.push_back(hello);
        break;
      }
      case kSend:
        Put(other, side.machine.Send({Kind::kMessage, 0, 0, 0, kNumberBytes, 0}), side.sent++);
        break;
      case kCredits:
        Put(other, side.machine.SendCredits(), 0);
        break;
      case kArrive:
        if (side.posted-- == 0) wrong_ = "a message came to where no receive is posted";
        side.completed.push_back(side.wire.front());
        side.wire.pop_front();
        break;
      case kProcess:
        Process(side);
        break;
      case kGiveBack: {
        const size_t at = random_() % side.held.size();
        side.held[at] = side.held.back();
        side.held.pop_back();
        ++side.posted;
        side.machine.Return();
        break;
      }
      case kActions:
        break;
    }
  }

  void Process(Side& side) {
    const Message message = side.completed.front();
    side.completed.pop_front();
    const Arrival arrival = side.machine.Receive(message.span());
    if (arrival.refusal != Refusal::kNone) wrong_ = RefusalName(arrival.refusal);
    if (!arrival.deliver) {
      ++side.posted;
      return;
    }
    const uint64_t number = LoadBe64(&message.bytes[kHeaderBytes]);
    if (number != side.received++) wrong_ = "out of order";
    side.held.push_back(number);
  }

  std::mt19937_64 random_;
  std::array<Side, 2> sides_;
  std::array<std::array<unsigned, kActions>, 2> weights_;
  std::string wrong_;
};

uint64_t Schedules() {
  const char* const text = std::getenv("QPIP_VCONN_SCHEDULES");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : kQuickSchedules;
}

TEST(VconnSchedules, GivenAnyOrderThenNothingIsLostNorOverrunAndNobodyWaitsForEver) {
  for (uint64_t seed = 0; seed < Schedules(); ++seed) {
    const std::string wrong = Schedule(seed).Run();
    ASSERT_EQ(wrong, "") << "seed " << seed;
  }
}

/// The bound on what an application may keep is exact: one more, and the peer waits for it.
TEST(VconnSchedules, GivenOneBufferMoreKeptThanMayBeThenThePeerIsStopped) {
  for (const uint16_t window : {2, 3, 8, 33}) {
    Machine receiver({.window = window});
    Machine sender({.window = window});
    std::array<uint8_t, kHelloBytes> hello;
    sender.Hello(hello);
    EXPECT_TRUE(receiver.Receive(hello).opened);
    receiver.Hello(hello);
    EXPECT_TRUE(sender.Receive(hello).opened);
    std::array<uint8_t, kHeaderBytes> message;
    while (sender.MaySend(0, 0) == Sendable::kYes) {
      EmitHeader(sender.Send({}), message);
      EXPECT_TRUE(receiver.Receive(message).deliver);
    }
    while (receiver.held() > BuffersToKeep(window) + 1) receiver.Return();
    EXPECT_FALSE(receiver.CreditDue()) << window;
    receiver.Return();
    EXPECT_TRUE(receiver.CreditDue()) << window;
  }
}

}  // namespace
}  // namespace qpip::vconn
