#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "qpip/stream.h"
#include "queue_pair.h"
#include "status.h"

namespace qpip {

StreamReader::StreamReader(ProtectionDomain& pd, QueuePair& qp, const StreamReaderOptions& options)
    : qp_(qp.impl_), buffer_bytes_(options.buffer_bytes) {
  if (options.buffer_bytes == 0 || options.buffer_bytes > UINT32_MAX || options.buffers == 0) {
    throw Error(EINVAL, "stream reader: needs at least one buffer of 1 byte to 4 GiB");
  }
  memory_ = pd.Allocate(buffer_bytes_ * options.buffers);
  qp_->GiveTo(internal::QpImpl::kReceives, memory_);
  for (uint32_t buffer = 0; buffer < options.buffers; ++buffer) {
    if (const int error = PostBuffer(buffer); error != 0) {
      throw Error(error, "stream reader: cannot post receive " + std::to_string(buffer + 1) +
                             " of " + std::to_string(options.buffers) +
                             "; the queue pair's recv_depth must be at least that");
    }
  }
}

int StreamReader::PostBuffer(uint32_t buffer) {
  ibv_sge sge = memory_->Sge(buffer * buffer_bytes_, static_cast<uint32_t>(buffer_bytes_));
  ibv_recv_wr wr{.wr_id = buffer, .next = nullptr, .sg_list = &sge, .num_sge = 1};
  const int error = qp_->PostRecv(&wr, nullptr);
  if (error == 0) ++outstanding_;
  return error;
}

void StreamReader::EndIfRefused() {
  if (!refused_ || outstanding_ != 0 || state_ != StreamState::kOpen) return;
  if (qp_->reason() == DisconnectReason::kClosed) {
    state_ = StreamState::kEndOfStream;
    return;
  }
  state_ = StreamState::kError;
  reason_ = qp_->reason();
  error_ = internal::StatusOf(reason_);
}

const std::byte* StreamReader::BufferAt(uint32_t buffer) const {
  return static_cast<const std::byte*>(memory_->data()) + buffer * buffer_bytes_;
}

bool StreamReader::OnCompletion(const WorkCompletion& completion) {
  if (completion.opcode != IBV_WC_RECV || completion.qp_num != qp_->qp_num()) return false;
  --outstanding_;
  if (completion.status != IBV_WC_SUCCESS) {
    // Receives left over at the end of a stream are flushed when the connection closes.
    if (state_ == StreamState::kOpen) {
      state_ = StreamState::kError;
      reason_ = completion.reason;
      error_ = completion.status == IBV_WC_WR_FLUSH_ERR ? internal::StatusOf(reason_)
                                                        : completion.status;
    }
    return true;
  }
  if (completion.byte_len != 0) {
    filled_.push_back({.buffer = static_cast<uint32_t>(completion.wr_id),
                       .offset = 0,
                       .end = completion.byte_len});
    available_ += completion.byte_len;
  }
  if (completion.end_of_stream) state_ = StreamState::kEndOfStream;
  EndIfRefused();
  return true;
}

std::span<const std::byte> StreamReader::Readable() const {
  if (filled_.empty()) return {};
  const Filled& first = filled_.front();
  return {BufferAt(first.buffer) + first.offset, first.end - first.offset};
}

size_t StreamReader::Readable(std::span<std::span<const std::byte>> out) const {
  const size_t count = std::min(out.size(), filled_.size());
  for (size_t i = 0; i < count; ++i) {
    const Filled& run = filled_[i];
    out[i] = {BufferAt(run.buffer) + run.offset, run.end - run.offset};
  }
  return count;
}

void StreamReader::Consume(size_t bytes) {
  qp_->ThrowIfForked("read a stream");
  bytes = std::min(bytes, available_);
  available_ -= bytes;
  while (bytes != 0) {
    Filled& first = filled_.front();
    const auto taken = static_cast<uint32_t>(std::min<size_t>(bytes, first.end - first.offset));
    first.offset += taken;
    bytes -= taken;
    if (first.offset != first.end) break;
    const uint32_t buffer = first.buffer;
    filled_.pop_front();
    // A refusal means that the connection is over; its completions tell how, or, when no receive
    // was left for them, the queue pair.
    if (state_ == StreamState::kOpen && PostBuffer(buffer) != 0) refused_ = true;
  }
  EndIfRefused();
}

bool StreamReader::TryReadExact(MutableBytes out) {
  return available_ >= out.size() && ReadSome(out) == out.size();
}

size_t StreamReader::ReadSome(MutableBytes out) {
  size_t total = 0;
  while (total < out.size() && available_ != 0) {
    const std::span<const std::byte> run = Readable();
    const size_t bytes = std::min(run.size(), out.size() - total);
    std::memcpy(out.data() + total, run.data(), bytes);
    Consume(bytes);
    total += bytes;
  }
  return total;
}

}  // namespace qpip
