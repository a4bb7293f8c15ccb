// What is made and destroyed again and again leaves nothing.
#include <malloc.h>

#include <filesystem>

#include "verbs_test.h"

namespace qpip::verbs::test {
namespace {

constexpr int kCycles = 50;
// What the C library keeps for itself, and tables that grow once.
constexpr size_t kSlackBytes = 256 * 1024;

size_t Descriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

class VerbsLifetimeTest : public VerbsTest {
 protected:
  /// `cycle` again and again.
  template <typename Cycle>
  void ExpectNothingLeft(Cycle cycle) {
    for (int i = 0; i < kCycles; ++i) cycle();
    const size_t descriptors = Descriptors();
    const size_t bytes = mallinfo2().uordblks;
    for (int i = 0; i < kCycles; ++i) cycle();
    EXPECT_EQ(Descriptors(), descriptors);
    EXPECT_LT(mallinfo2().uordblks, bytes + kSlackBytes);
  }
};

TEST_F(VerbsLifetimeTest, GivenConnectionsWhenMadeAndDestroyedThenNothingIsLeft) {
  ExpectNothingLeft([&] {
    Qp* at_a = Make(*a);
    Qp* at_b = Make(*b);
    ToRts(at_a, *b, at_b->number());
    ToRts(at_b, *a, at_a->number());
    ASSERT_EQ(PostReceive(at_b, 1, b->Sge(0, 64)), 0);
    ASSERT_EQ(PostSend(at_a, 2, a->Sge(0, 1)), 0);
    ASSERT_EQ(Next(*b).status, IBV_WC_SUCCESS);
    ASSERT_EQ(Next(*a).status, IBV_WC_SUCCESS);
    DestroyQp(at_a);
    DestroyQp(at_b);
  });
}

TEST_F(VerbsLifetimeTest, GivenAQueuePairThatIsDestroyedWhenItsDeviceIsClosedThenThePeerHasItsEnd) {
  Qp* at_a = Make(*a);
  Qp* at_b = Make(*b);
  ToRts(at_a, *b, at_b->number());
  ToRts(at_b, *a, at_a->number());
  ASSERT_EQ(PostReceive(at_a, 1, a->Sge(0, 64)), 0);
  ASSERT_EQ(PostSend(at_b, 2, b->Sge(0, 1)), 0);
  ASSERT_EQ(Next(*a).status, IBV_WC_SUCCESS);
  DestroyQp(at_a);
  a.reset();
  while (at_b->real->state() != QpState::kClosed) {
  }
  EXPECT_EQ(at_b->real->disconnect_reason(), DisconnectReason::kClosed);
  EXPECT_EQ(Next(*b).status, IBV_WC_SUCCESS);
  DestroyQp(at_b);
}

TEST_F(VerbsLifetimeTest, GivenRegionsAndQueuesWhenMadeAndDestroyedThenNothingIsLeft) {
  ExpectNothingLeft([&] {
    DeregisterMr(RegisterMr(*a->pd, a->memory.data(), 16,
                            reinterpret_cast<uintptr_t>(a->memory.data()), IBV_ACCESS_LOCAL_WRITE));
    Channel* channel = CreateChannel(*a->context);
    DestroyCq(CreateCq(*a->context, 16, nullptr, &channel->base));
    DestroyChannel(channel);
  });
}

TEST_F(VerbsLifetimeTest, GivenHundredsOfQueuePairsWhenAllAreThereThenEachHasItsNumber) {
  std::vector<Qp*> all;
  for (int i = 0; i < 500; ++i) all.push_back(Make(*a));
  for (size_t i = 1; i < all.size(); ++i) EXPECT_EQ(all[i]->number(), all[0]->number() + i);
  for (Qp* qp : all) DestroyQp(qp);
}

}  // namespace
}  // namespace qpip::verbs::test
