#include "sim/ns3/model/link.h"

#include <ns3/packet.h>
#include <ns3/simulator.h>

#include <algorithm>
#include <boost/smart_ptr/make_local_shared.hpp>
#include <cmath>
#include <utility>

#include "sim/ns3/model/virtual_time.h"

namespace qpip::sim {

LinkTransmitter::LinkTransmitter(const LinkOptions& options)
    : options_(options),
      self_(boost::make_local_shared<LinkTransmitter*>(this)),
      credit_bytes_(options.receiver_buffer_bytes) {}

LinkTransmitter::~LinkTransmitter() { *self_ = nullptr; }

void LinkTransmitter::Send(FramePtr frame, uint64_t earliest_ns, uint64_t tail_ns) {
  queued_bytes_ += WireBytes(frame->length());
  queue_.push_back({std::move(frame), earliest_ns, tail_ns});
  if (queue_.size() == 1) TryStart();
}

uint64_t LinkTransmitter::BytesBefore(uint64_t at_ns) const {
  if (free_at_ns_ <= at_ns) return queued_bytes_;
  const double on_line = static_cast<double>(free_at_ns_ - at_ns) * 1000 / options_.per_byte_ps;
  return queued_bytes_ + static_cast<uint64_t>(std::ceil(on_line));
}

void LinkTransmitter::ReturnCredit(uint32_t room, uint64_t at_ns) {
  credits_.push_back({at_ns, room});
  for (size_t i = credits_.size() - 1; i > 0 && credits_[i - 1].at_ns > at_ns; --i) {
    std::swap(credits_[i - 1], credits_[i]);
  }
  if (blocked_) TryStart();
}

void LinkTransmitter::TakeCredits() {
  const uint64_t now = NowNs();
  while (!credits_.empty() && credits_.front().at_ns <= now) {
    credit_bytes_ += credits_.front().bytes;
    credits_.pop_front();
  }
}

/// A credit counts from its time on, though it may be known before: a sender in another process
/// would not know it.
void LinkTransmitter::TryStart() {
  const uint64_t now = NowNs();
  TakeCredits();
  while (!queue_.empty()) {
    const Waiting& head = queue_.front();
    const uint32_t needed = WireBytes(head.frame->length());
    const uint64_t ready = std::max({now, free_at_ns_, head.earliest_ns});
    if (credit_bytes_ < needed) {
      if (!blocked_) blocked_since_ns_ = ready;
      blocked_ = true;
      WaitForCredit();
      return;
    }
    if (blocked_) {
      blocked_ = false;
      if (ready > blocked_since_ns_) blocked_ns += ready - blocked_since_ns_;
    }
    credit_bytes_ -= needed;
    Waiting waiting = std::move(queue_.front());
    queue_.pop_front();
    queued_bytes_ -= needed;
    // A start that lies ahead is decided now: this sender's frames leave in order.
    Start(std::move(waiting), ready);
  }
}

void LinkTransmitter::WaitForCredit() {
  if (credits_.empty() || credits_.front().at_ns >= wakes_at_ns_) return;
  wakes_at_ns_ = credits_.front().at_ns;
  ScheduleAt(wakes_at_ns_, [self = self_] {
    if (*self == nullptr) return;
    if (NowNs() >= (*self)->wakes_at_ns_) (*self)->wakes_at_ns_ = UINT64_MAX;
    (*self)->TryStart();
  });
}

void LinkTransmitter::Start(Waiting waiting, uint64_t start_ns) {
  const uint32_t on_wire = WireBytes(waiting.frame->length());
  const auto serial = static_cast<uint64_t>(std::ceil(on_wire * options_.per_byte_ps / 1000.0));
  // Cut-through behind a slower line: the tail cannot leave before it is there.
  const uint64_t end = std::max(start_ns + serial, waiting.tail_ns);
  free_at_ns_ = end;
  ++frames;
  bytes += on_wire;
  busy_ns += end - start_ns;
  if (on_start_) on_start_(*waiting.frame, start_ns, end);
  if (error_model_ != nullptr && Lost(*waiting.frame)) {
    ++lost;
    // The receiver's buffer never holds it: its room is free again as if it had passed.
    ReturnCredit(on_wire, end + 2 * options_.delay_ns);
    return;
  }
  const uint64_t tail = end + options_.delay_ns;
  if (remote_ != nullptr) {
    remote_->SendFrame(std::move(waiting.frame), start_ns + options_.delay_ns, tail);
    return;
  }
  const uint64_t at = receiver_->wants_head() ? start_ns + options_.delay_ns : tail;
  SchedulePhase(at, phase_,
                [receiver = receiver_, frame = std::move(waiting.frame), tail]() mutable {
                  receiver->OnFrame(std::move(frame), tail);
                });
}

bool LinkTransmitter::Lost(const Frame& frame) {
  // The models of ns-3 look at the size only.
  return error_model_->IsCorrupt(ns3::Create<ns3::Packet>(frame.length()));
}

}  // namespace qpip::sim
