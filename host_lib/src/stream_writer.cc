#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "qpip/stream.h"
#include "queue_pair.h"
#include "status.h"

namespace qpip {

namespace {

constexpr size_t kMinRingBytes = 4096;
constexpr size_t kMaxSge = 16;  // no queue pair has more

}  // namespace

StreamWriter::StreamWriter(ProtectionDomain& pd, QueuePair& qp, const StreamWriterOptions& options)
    : qp_(qp.impl_), ring_bytes_(options.buffer_bytes), max_message_(options.max_message) {
  if (ring_bytes_ < kMinRingBytes || ring_bytes_ > UINT32_MAX || max_message_ == 0) {
    throw Error(EINVAL,
                "stream writer: buffer_bytes must be 4096 to 4 GiB and max_message at least 1");
  }
  memory_ = pd.Allocate(ring_bytes_);
  qp_->GiveTo(internal::QpImpl::kSends, memory_);
}

bool StreamWriter::OnCompletion(const WorkCompletion& completion) {
  if (completion.opcode != IBV_WC_SEND || completion.qp_num != qp_->qp_num()) return false;
  // Sends complete in order, each exactly once: the oldest is the one.
  if (!outstanding_.empty()) {
    ring_tail_ = std::max(ring_tail_, outstanding_.front().ring_end);
    outstanding_.pop_front();
    ++completed_;
  }
  if (completion.status != IBV_WC_SUCCESS && state_ == StreamState::kOpen) {
    state_ = StreamState::kError;
    reason_ = completion.reason;
    error_ =
        completion.status == IBV_WC_WR_FLUSH_ERR ? internal::StatusOf(reason_) : completion.status;
  }
  return true;
}

size_t StreamWriter::room() const { return ring_bytes_ - (ring_head_ - ring_tail_); }

std::byte* StreamWriter::RingAt(uint64_t position) const {
  return static_cast<std::byte*>(memory_->data()) + position % ring_bytes_;
}

// Copies `parts`, for which there is room, to the head of the ring and names them in `list`: two
// elements when they go around the end. Returns how many.
size_t StreamWriter::CopyIn(std::span<const ConstBytes> parts, ibv_sge* list) const {
  uint64_t position = ring_head_;
  for (std::span<const std::byte> data : parts) {
    const size_t first = std::min(data.size(), ring_bytes_ - position % ring_bytes_);
    if (first != 0) std::memcpy(RingAt(position), data.data(), first);
    if (first != data.size()) std::memcpy(RingAt(0), data.data() + first, data.size() - first);
    position += data.size();
  }
  const size_t at = ring_head_ % ring_bytes_;
  const size_t total = position - ring_head_;
  const size_t first = std::min(total, ring_bytes_ - at);
  list[0] = memory_->Sge(at, static_cast<uint32_t>(first));
  if (first == total) return 1;
  list[1] = memory_->Sge(0, static_cast<uint32_t>(total - first));
  return 2;
}

bool StreamWriter::Post(std::span<ibv_sge> list, uint64_t ring_end) {
  ibv_send_wr wr{};
  wr.wr_id = posted_ + 1;
  wr.sg_list = list.data();
  wr.num_sge = static_cast<int>(list.size());
  wr.opcode = IBV_WR_SEND;
  wr.send_flags = IBV_SEND_SIGNALED;
  const int error = qp_->PostSend(&wr, nullptr);
  if (error == ENOMEM) return false;
  if (error == ENOTCONN) {
    // There may be no send outstanding whose completion could tell.
    state_ = StreamState::kError;
    if (error_ == IBV_WC_SUCCESS) {
      reason_ = qp_->reason();
      error_ = internal::StatusOf(reason_);
    }
    return false;
  }
  if (error != 0) {
    qp_->ThrowIfForked("write to a stream");
    throw Error(error, "stream writer: a send of " + std::to_string(list.size()) +
                           " elements was refused; see the queue pair's max_send_sge");
  }
  ++posted_;
  ring_head_ = ring_end;
  outstanding_.push_back({.ring_end = ring_end});
  return true;
}

size_t StreamWriter::Write(ConstBytes data) {
  size_t total = 0;
  while (total < data.size() && state_ == StreamState::kOpen) {
    // One element a send, so that the queue pair may have max_send_sge 1.
    const size_t contiguous = ring_bytes_ - ring_head_ % ring_bytes_;
    const size_t bytes = std::min({data.size() - total, room(), contiguous, size_t{max_message_}});
    if (bytes == 0) break;
    std::array<ibv_sge, 2> list;
    const ConstBytes part = data.subspan(total, bytes);
    const size_t count = CopyIn({&part, 1}, list.data());
    if (!Post(std::span(list).first(count), ring_head_ + bytes)) break;
    total += bytes;
  }
  return total;
}

bool StreamWriter::WriteAll(ConstBytes data) {
  return data.empty() || WriteParts({&data, 1}, {}).has_value();
}

std::optional<StreamWriter::Ticket> StreamWriter::WriteParts(std::span<const ConstBytes> copied,
                                                             std::span<const ibv_sge> payload) {
  size_t bytes = 0;
  for (const ConstBytes& part : copied) bytes += part.size();
  std::array<ibv_sge, kMaxSge> list;
  if (state_ != StreamState::kOpen || bytes > room() || payload.size() + 2 > list.size()) {
    return std::nullopt;
  }
  size_t count = CopyIn(copied, list.data());
  for (const ibv_sge& sge : payload) list[count++] = sge;
  if (!Post(std::span(list).first(count), ring_head_ + bytes)) return std::nullopt;
  return posted_;
}

std::optional<StreamWriter::Ticket> StreamWriter::WriteRegistered(std::span<const ibv_sge> payload,
                                                                  ConstBytes header) {
  std::array<ibv_sge, kMaxSge> list;
  if (payload.size() + (header.empty() ? 0 : 1) > list.size() || header.size() > ring_bytes_) {
    throw Error(EINVAL,
                "stream writer: the payload has too many elements or the header is longer "
                "than the ring");
  }
  if (state_ != StreamState::kOpen) return std::nullopt;
  size_t count = 0;
  uint64_t ring_end = ring_head_;
  uint64_t ring_tail = ring_tail_;
  if (!header.empty()) {
    // In one piece: what is left before the wrap is skipped if it is too short.
    const size_t before_wrap = ring_bytes_ - ring_head_ % ring_bytes_;
    const size_t gap = header.size() > before_wrap ? before_wrap : 0;
    const uint64_t at = ring_head_ + gap;
    // What is skipped of an empty ring is in nobody's way.
    if (ring_tail == ring_head_) ring_tail = at;
    if (at + header.size() - ring_tail > ring_bytes_) return std::nullopt;
    std::memcpy(RingAt(at), header.data(), header.size());
    list[count++] = memory_->Sge(at % ring_bytes_, static_cast<uint32_t>(header.size()));
    ring_end = at + header.size();
  }
  for (const ibv_sge& sge : payload) list[count++] = sge;
  if (!Post(std::span(list).first(count), ring_end)) return std::nullopt;
  ring_tail_ = ring_tail;
  return posted_;
}

}  // namespace qpip
