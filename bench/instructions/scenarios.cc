#include "bench/instructions/scenarios.h"

#include <unistd.h>
#include <valgrind/callgrind.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "qpip/qpip.h"

namespace qpip::instructions {

Counted::Counted() { CALLGRIND_TOGGLE_COLLECT; }
Counted::~Counted() { CALLGRIND_TOGGLE_COLLECT; }

namespace {

constexpr uint32_t kDepth = 64;
constexpr uint32_t kSignalEvery = 16;
constexpr uint16_t kPort = 7;

void Check(int error) {
  if (error != 0) throw Error(error, std::string("a post was refused: ") + std::strerror(error));
}

/// One end: a NIC, a queue pair, and a thread's worth of polling.
class End {
 public:
  End(const std::string& fabric, const char* address, uint32_t bytes)
      : nic(Nic::Open("mem:" + fabric + "?address=" + address)),
        pd(nic->AllocatePd()),
        memory(pd->Allocate(2 * size_t{bytes})),
        cq(nic->CreateCq(8 * kDepth)),
        bytes_(bytes) {
    Renew();
  }

  void Renew() {
    qp = nic->CreateQp(
        *pd,
        {.send_cq = cq.get(), .recv_cq = cq.get(), .send_depth = kDepth, .recv_depth = kDepth});
  }
  void PostRecv() { Check(qp->PostRecv(0, memory->Sge(bytes_, bytes_))); }
  /// One of kSignalEvery is signalled, as in a program that streams.
  void PostSend(int flags) {
    if (++posted % kSignalEvery == 0) flags |= IBV_SEND_SIGNALED;
    Check(qp->PostSend(0, memory->Sge(0, bytes_), flags));
  }
  uint64_t OutstandingSends() const { return posted - sent * kSignalEvery; }
  /// Polls once, and counts the messages that have arrived and the sends that are done.
  void Poll() {
    const size_t count = cq->Poll(done_);
    for (size_t i = 0; i < count; ++i) {
      if (done_[i].status != IBV_WC_SUCCESS) throw Error(EIO, Describe(done_[i]));
      ++(done_[i].opcode == IBV_WC_RECV ? received : sent);
    }
  }

  std::shared_ptr<Nic> nic;
  std::unique_ptr<ProtectionDomain> pd;
  std::unique_ptr<MemoryRegion> memory;
  std::unique_ptr<CompletionQueue> cq;
  std::unique_ptr<QueuePair> qp;
  uint64_t received = 0;
  uint64_t posted = 0;
  uint64_t sent = 0;

 private:
  const uint32_t bytes_;
  std::array<WorkCompletion, 16> done_;
};

class Pair {
 public:
  explicit Pair(uint32_t bytes) : Pair("instructions-" + std::to_string(getpid()), bytes) {}

  void Connect() {
    listener_->Offer(*b.qp);
    a.qp->StartConnect({b.nic->address(), kPort});
    while (a.qp->state() != QpState::kConnected || b.qp->state() != QpState::kConnected) {
      a.Poll();
      b.Poll();
    }
    while (listener_->Accept(std::chrono::nanoseconds(0)) == nullptr) b.Poll();
  }
  void Close() {
    a.qp->Shutdown();
    b.qp->Shutdown();
    while (a.qp->state() != QpState::kClosed || b.qp->state() != QpState::kClosed) {
      a.Poll();
      b.Poll();
    }
  }
  /// Until nothing is under way.
  void Settle() {
    for (int i = 0; i < 1000; ++i) {
      a.Poll();
      b.Poll();
    }
  }

  End a;
  End b;

 private:
  Pair(const std::string& fabric, uint32_t bytes)
      : a(fabric, "fd00::1", bytes), b(fabric, "fd00::2", bytes), listener_(b.nic->Listen(kPort)) {}
  std::unique_ptr<Listener> listener_;
};

/// What `from` has posted arrives: both poll in turn.
void Deliver(End& from, End& to) {
  for (const uint64_t before = to.received; to.received == before;) {
    from.Poll();
    to.Poll();
  }
}

void RoundTrips(Pair& pair, uint32_t times) {
  for (uint32_t i = 0; i < times; ++i) {
    pair.a.PostSend(IBV_SEND_INLINE);
    Deliver(pair.a, pair.b);
    pair.b.PostRecv();
    pair.b.PostSend(IBV_SEND_INLINE);
    Deliver(pair.b, pair.a);
    pair.a.PostRecv();
  }
}

void Stream(Pair& pair, uint32_t times) {
  const uint64_t end = pair.b.received + times;
  uint64_t reposted = pair.b.received;
  uint32_t left = times;
  while (pair.b.received != end) {
    for (; left > 0 && pair.a.OutstandingSends() < kDepth; --left) pair.a.PostSend(0);
    pair.a.Poll();
    pair.b.Poll();
    for (; reposted != pair.b.received; ++reposted) pair.b.PostRecv();
  }
}

void PostReceives(Pair& pair) {
  for (uint32_t i = 0; i < kDepth; ++i) pair.b.PostRecv();
}

void RoundTrip(uint32_t times) {
  Pair pair(1);
  for (uint32_t i = 0; i < kDepth / 2; ++i) {
    pair.a.PostRecv();
    pair.b.PostRecv();
  }
  pair.Connect();
  RoundTrips(pair, times);
  const Counted counted;
  RoundTrips(pair, times);
}

template <uint32_t kBytes>
void Streamed(uint32_t times) {
  Pair pair(kBytes);
  PostReceives(pair);
  pair.Connect();
  Stream(pair, times);
  const Counted counted;
  Stream(pair, times);
}

void EmptyPoll(uint32_t times) {
  Pair pair(1);
  pair.Connect();
  pair.Settle();
  const Counted counted;
  for (uint32_t i = 0; i < times; ++i) pair.a.Poll();
}

void PostSend(uint32_t times) {
  Pair pair(1);
  PostReceives(pair);
  pair.Connect();
  for (uint32_t i = 0; i < times; ++i) {
    {
      const Counted counted;
      pair.a.PostSend(IBV_SEND_INLINE);
    }
    Deliver(pair.a, pair.b);
    pair.b.PostRecv();
  }
}

void PostRecv(uint32_t times) {
  Pair pair(1);
  pair.Connect();
  for (uint32_t i = 0; i < times; ++i) {
    {
      const Counted counted;
      pair.b.PostRecv();
    }
    pair.a.PostSend(IBV_SEND_INLINE);
    Deliver(pair.a, pair.b);
  }
}

/// The Poll that returns the message, which has come in with an earlier one of the same NIC:
/// another completion queue's. Rarely it has not, when the core thread was at it and has lost the
/// processor: waited for then, or receives would be posted that there is no room for.
void FullPoll(uint32_t times) {
  Pair pair(1);
  PostReceives(pair);
  const std::unique_ptr<CompletionQueue> other = pair.b.nic->CreateCq(1);
  std::array<WorkCompletion, 1> none;
  pair.Connect();
  for (uint32_t i = 0; i < times; ++i) {
    pair.a.PostSend(IBV_SEND_INLINE);
    for (int round = 0; round < 10; ++round) {
      pair.a.Poll();
      (void)other->Poll(none);
    }
    {
      const Counted counted;
      pair.b.Poll();
    }
    while (pair.b.received <= i) {
      pair.a.Poll();
      pair.b.Poll();
    }
    pair.b.PostRecv();
  }
}

void ConnectAndClose(uint32_t times) {
  Pair pair(1);
  for (uint32_t i = 0; i < times; ++i) {
    {
      const Counted counted;
      pair.Connect();
      pair.Close();
    }
    pair.a.Renew();
    pair.b.Renew();
  }
}

constexpr std::array kScenarios = {
    Scenario{"round_trip_1", "a round trip of 1 byte, both NICs and both programs", 2000, 3,
             RoundTrip},
    Scenario{"stream_64", "a message of 64 bytes in a stream of them, end to end", 8192, 3,
             Streamed<64>},
    Scenario{"stream_16384", "the same with 16 KiB", 2048, 3, Streamed<16384>},
    Scenario{"empty_poll", "a Poll that finds nothing, and drives the core", 10000, 3, EmptyPoll},
    Scenario{"post_send", "PostSend of 1 byte, inline", 2000, 3, PostSend},
    Scenario{"post_recv", "PostRecv", 2000, 3, PostRecv},
    Scenario{"full_poll", "a Poll that finds one message", 2000, 3, FullPoll},
    Scenario{"connect_close", "a connection opened and closed, both ends", 200, 25,
             ConnectAndClose},
};

}  // namespace

std::span<const Scenario> Scenarios() { return kScenarios; }

}  // namespace qpip::instructions
