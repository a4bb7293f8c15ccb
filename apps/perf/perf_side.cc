#include "apps/perf/perf_side.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "apps/common/connection.h"
#include "apps/common/pattern.h"

namespace qpip::apps {

using std::chrono::steady_clock;

namespace {

constexpr uint32_t kInlineBytes = 64;
/// More than a plan has under way: words need room too.
constexpr uint32_t kMoreSends = 16;
constexpr uint32_t kWordReceives = 16;
constexpr uint64_t kWordId = UINT64_MAX;  ///< wr_id of a word, sent or received
constexpr size_t kBatch = 32;
constexpr uint32_t kLooksPerYield = 256;
constexpr int kForPeers = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                          IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

ibv_wr_opcode OpcodeOf(Operation operation) {
  switch (operation) {
    case Operation::kWrite:
      return IBV_WR_RDMA_WRITE;
    case Operation::kRead:
      return IBV_WR_RDMA_READ;
    case Operation::kAtomic:
      return IBV_WR_ATOMIC_FETCH_AND_ADD;
    case Operation::kSend:
      break;
  }
  return IBV_WR_SEND;
}

}  // namespace

PerfSide::PerfSide(Nic& nic, const Plan& plan, bool messages, const PerfSettings& settings,
                   const StopToken& stop)
    : plan_(plan), settings_(settings), stop_(stop), pd_(nic.AllocatePd()) {
  out_ = pd_->Allocate(BufferBytes(plan), kForPeers);
  in_ = pd_->Allocate(BufferBytes(plan), kForPeers);
  words_ = pd_->Allocate(1);
  const uint32_t sends = std::max(plan.depth, 32u) + kMoreSends;
  const uint32_t receives = Slots(plan) + kWordReceives;
  cq_ = nic.CreateCq(2 * (sends + receives));  // depths are rounded up
  qp_ = nic.CreateQp(*pd_, {.framing = Framing::kMpa,
                            .send_cq = cq_.get(),
                            .recv_cq = cq_.get(),
                            .send_depth = sends,
                            .recv_depth = receives,
                            .max_send_sge = 1,
                            .max_recv_sge = 1,
                            .max_inline = kInlineBytes,
                            .keepalive = settings_.keepalive});
  for (uint64_t slot = 0; messages && slot < Slots(plan); ++slot) PostReceive(slot);
  for (uint32_t i = 0; !messages && i < kWordReceives; ++i) PostReceive(kWordId);
}

RdmaParameters PerfSide::Parameters(ConstBytes private_data) const {
  RdmaParameters parameters;
  parameters.private_data = private_data;
  parameters.ird = parameters.ord = kMaxRdmaDepth;
  parameters.crc = settings_.crc;
  return parameters;
}

Window PerfSide::window() const { return {reinterpret_cast<uintptr_t>(in_->data()), in_->rkey()}; }

std::span<uint8_t> PerfSide::Buffer(const MemoryRegion& region, uint64_t message) const {
  const uint64_t slot = message % Slots(plan_);
  return {static_cast<uint8_t*>(region.data()) + slot * SlotBytes(plan_), plan_.bytes};
}

void PerfSide::Post(uint64_t message, bool signal) {
  const size_t offset = message % Slots(plan_) * SlotBytes(plan_);
  const bool incoming =
      plan_.operation == Operation::kRead || plan_.operation == Operation::kAtomic;
  ibv_sge element = (incoming ? in_ : out_)->Sge(offset, plan_.bytes);
  ibv_send_wr wr{};
  wr.wr_id = message;
  wr.sg_list = &element;
  wr.num_sge = 1;
  wr.opcode = OpcodeOf(plan_.operation);
  if (signal) wr.send_flags |= IBV_SEND_SIGNALED;
  if (!incoming && plan_.bytes <= kInlineBytes) wr.send_flags |= IBV_SEND_INLINE;
  if (plan_.operation == Operation::kAtomic) {
    wr.wr.atomic = {peer_.address, 1, 0, peer_.key};  // all add to one word
  } else {
    wr.wr.rdma = {peer_.address + offset, peer_.key};
  }
  const int error = qp_->PostSend(&wr);
  // ENOTCONN: a flushed completion is about to say why.
  if (error != 0 && error != ENOTCONN) {
    throw Failure("cannot post a work request: " + qp_->peer().ToString() + ": " +
                  std::strerror(error));
  }
}

void PerfSide::PostWord() {
  ibv_send_wr wr{};
  wr.wr_id = kWordId;
  wr.opcode = IBV_WR_SEND;
  wr.send_flags = IBV_SEND_SIGNALED;
  const int error = qp_->PostSend(&wr);
  if (error != 0 && error != ENOTCONN) {
    throw Failure("cannot post a send: " + qp_->peer().ToString() + ": " + std::strerror(error));
  }
}

void PerfSide::PostReceive(uint64_t slot) {
  const ibv_sge place =
      slot == kWordId ? words_->Sge(0, 1) : in_->Sge(slot * SlotBytes(plan_), plan_.bytes);
  const int error = qp_->PostRecv(slot, place);
  if (error != 0 && error != ENOTCONN) {
    throw Failure(std::string("cannot post a receive: ") + std::strerror(error));
  }
}

void PerfSide::ThrowIfStopped() const {
  if (stop_.requested()) {
    throw Interrupted("interrupted: " + qp_->peer().ToString() + ": after " +
                      std::to_string(done_) + " messages");
  }
}

void PerfSide::ThrowBroken(const WorkCompletion& completion) const {
  // A peer that closes while this end has not: receives are flushed without a reason.
  const bool in_order =
      completion.status == IBV_WC_WR_FLUSH_ERR && (completion.reason == DisconnectReason::kClosed ||
                                                   completion.reason == DisconnectReason::kNone);
  if (in_order || completion.end_of_stream) {
    throw PeerClosed();
  }
  std::string text = BrokenText(completion.status, completion.reason);
  if (const auto why = qp_->terminate()) {
    text += std::string(": ") + why->name + (why->by_peer ? ", says the peer" : "");
  }
  throw Failure("connection broken: " + qp_->peer().ToString() + ": " + text);
}

void PerfSide::Take(std::span<const WorkCompletion> completions) {
  for (const WorkCompletion& completion : completions) {
    if (completion.status != IBV_WC_SUCCESS || completion.end_of_stream) ThrowBroken(completion);
    if (completion.opcode == IBV_WC_RECV) {
      if (completion.wr_id == kWordId) {
        ++words_received_;
        PostReceive(kWordId);
      } else {
        received_.push_back(completion.wr_id);
      }
    } else if (completion.wr_id != kWordId) {
      done_ = completion.wr_id + 1;
    }
  }
}

void PerfSide::Poll() {
  std::array<WorkCompletion, kBatch> completions;
  Take(std::span(completions).first(cq_->Poll(completions)));
}

void PerfSide::Gather() {
  std::array<WorkCompletion, kBatch> completions;
  std::optional<steady_clock::time_point> quiet_since;
  for (;;) {
    ThrowIfStopped();  // first: a test that never stands still is ended too
    const size_t count = NextCompletions(*cq_, completions, settings_.mode, kStopCheck);
    if (count > 0) return Take(std::span(completions).first(count));
    const auto now = steady_clock::now();
    if (!quiet_since) quiet_since = now;
    if (settings_.timeout.count() > 0 && now - *quiet_since >= settings_.timeout) {
      throw Failure("the test stands still: " + qp_->peer().ToString() + ": after " +
                    std::to_string(done_) + " messages: is the other end stopped? (--timeout)");
    }
  }
}

void PerfSide::AwaitDone(uint64_t messages) {
  while (done_ < messages) Gather();
}

uint64_t PerfSide::AwaitReceive() {
  while (received_.empty()) Gather();
  const uint64_t slot = received_.front();
  received_.pop_front();
  return slot;
}

uint64_t PerfSide::TakeWords() { return std::exchange(words_received_, 0); }

void PerfSide::AwaitTag(uint64_t message, uint8_t tag) {
  std::atomic_ref<uint8_t> last(In(message).back());
  std::optional<steady_clock::time_point> quiet_since;
  ThrowIfStopped();
  for (uint32_t look = 1; last.load(std::memory_order_acquire) != tag; ++look) {
    Poll();
    if (look % kLooksPerYield != 0) continue;
    ThrowIfStopped();
    const auto now = steady_clock::now();
    if (!quiet_since) quiet_since = now;
    if (settings_.timeout.count() > 0 && now - *quiet_since >= settings_.timeout) {
      throw Failure("the test stands still: " + qp_->peer().ToString() +
                    ": nothing is written: is the other end stopped? (--timeout)");
    }
    // More pollers than processors would otherwise wait for each other for whole time slices.
    sched_yield();
  }
}

void PerfSide::CheckPattern(uint64_t message, std::span<const uint8_t> bytes) const {
  const uint64_t begin = PatternAt(message, plan_);
  if (const auto bad = FindPatternError(begin, bytes)) {
    throw Failure("data differs from the pattern: byte " + std::to_string(*bad - begin) +
                  " of message " + std::to_string(message) + ": " + qp_->peer().ToString());
  }
}

}  // namespace qpip::apps
