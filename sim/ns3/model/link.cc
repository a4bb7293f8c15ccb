#include "sim/ns3/model/link.h"

#include <ns3/packet.h>
#include <ns3/simulator.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "sim/ns3/model/virtual_time.h"

namespace qpip::sim {

LinkTransmitter::LinkTransmitter(const LinkOptions& options)
    : options_(options), credit_bytes_(options.receiver_buffer_bytes) {}

void LinkTransmitter::Send(FramePtr frame, uint64_t earliest_ns, uint64_t tail_ns) {
  queue_.push_back({std::move(frame), earliest_ns, tail_ns});
  if (queue_.size() == 1) TryStart();
}

void LinkTransmitter::ReturnCredit(uint32_t room, uint64_t at_ns) {
  credits_.push_back({at_ns, room});
  if (blocked_) TryStart();
}

void LinkTransmitter::TryStart() {
  const uint64_t now = NowNs();
  while (!queue_.empty()) {
    const Waiting& head = queue_.front();
    // A start that lies ahead is decided now only for what nothing can come before: this sender's
    // own frames leave in order, and credits are known with their times.
    uint64_t start = std::max({now, free_at_ns_, head.earliest_ns});
    const uint32_t needed = WireBytes(head.frame->length());
    while (!credits_.empty() && (credits_.front().at_ns <= start || credit_bytes_ < needed)) {
      start = std::max(start, credits_.front().at_ns);
      credit_bytes_ += credits_.front().bytes;
      credits_.pop_front();
    }
    if (credit_bytes_ < needed) {
      if (!blocked_) blocked_since_ns_ = std::max({now, free_at_ns_, head.earliest_ns});
      blocked_ = true;
      return;  // until ReturnCredit
    }
    if (blocked_) {
      blocked_ = false;
      if (start > blocked_since_ns_) blocked_ns += start - blocked_since_ns_;
    }
    credit_bytes_ -= needed;
    Waiting waiting = std::move(queue_.front());
    queue_.pop_front();
    Start(std::move(waiting), start);
  }
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
  const uint64_t at = receiver_->wants_head() ? start_ns + options_.delay_ns : tail;
  ScheduleAt(at, [receiver = receiver_, frame = std::move(waiting.frame), tail]() mutable {
    receiver->OnFrame(std::move(frame), tail);
  });
}

bool LinkTransmitter::Lost(const Frame& frame) {
  // The models of ns-3 look at the size only.
  return error_model_->IsCorrupt(ns3::Create<ns3::Packet>(frame.length()));
}

}  // namespace qpip::sim
