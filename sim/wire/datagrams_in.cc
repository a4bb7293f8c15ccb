#include "sim/wire/datagrams_in.h"

#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sim/wire/layout.h"

namespace qpip::wire {
namespace {

constexpr uint32_t kTrainBytes = 65536;
constexpr uint32_t kTrainBatch = 16;  ///< trains to a system call

size_t BufferBytes(uint32_t longest, bool trains) {
  const size_t bytes = trains ? std::max(longest + 1, kTrainBytes) : longest + 1;
  return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
}

}  // namespace

DatagramsIn::DatagramsIn(uint32_t longest, uint32_t buffers, bool trains)
    : pool_(buffers + kMaxBatch, BufferBytes(longest, trains)),
      start_(pool_.At(0)),
      batch_(trains ? kTrainBatch : kMaxBatch),
      trains_(trains),
      holds_(buffers + kMaxBatch, 0) {
  buffers_.fill(FramePool::kNone);
}

bool DatagramsIn::Enable(int socket) {
  const int on = 1;
  trains_ = trains_ && ::setsockopt(socket, IPPROTO_UDP, UDP_GRO, &on, sizeof on) == 0;
  return trains_;
}

bool DatagramsIn::Fill(int socket) {
  if (drained_) return drained_ = false;
  uint32_t room = 0;
  while (room < batch_) {
    uint32_t& buffer = buffers_[room];
    if (buffer == FramePool::kNone) buffer = pool_.Take();
    if (buffer == FramePool::kNone) break;
    pieces_[room] = {pool_.At(buffer), pool_.bytes()};
    msghdr& message = messages_[room].msg_hdr;
    message.msg_name = &from_[room].base;
    message.msg_namelen = sizeof from_[room].v6;
    message.msg_iov = &pieces_[room];
    message.msg_iovlen = 1;
    message.msg_control = trains_ ? controls_[room].bytes.data() : nullptr;
    message.msg_controllen = trains_ ? controls_[room].bytes.size() : 0;
    message.msg_flags = 0;
    ++room;
  }
  next_ = filled_ = 0;
  if (room == 0) return false;
  ++statistics_.calls;
  const int got = ::recvmmsg(socket, messages_.data(), room, MSG_DONTWAIT, nullptr);
  if (got <= 0) {
    ++statistics_.empty_calls;
    failed_ = errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
    return false;
  }
  filled_ = static_cast<uint32_t>(got);
  Open(0);
  // Behind a train there is mostly more, by the time it has been dealt with.
  drained_ = filled_ < room && segment_size_ == messages_[0].msg_len;
  return true;
}

// Begins with a message.
void DatagramsIn::Open(uint32_t slot) {
  const mmsghdr& message = messages_[slot];
  at_ = 0;
  segment_size_ = message.msg_len;
  holds_[buffers_[slot]] = 1;
  if (!trains_) return;
  for (const cmsghdr* control = CMSG_FIRSTHDR(&message.msg_hdr); control != nullptr;
       control =
           CMSG_NXTHDR(const_cast<msghdr*>(&message.msg_hdr), const_cast<cmsghdr*>(control))) {
    if (control->cmsg_level != IPPROTO_UDP || control->cmsg_type != UDP_GRO) continue;
    int bytes = 0;
    std::memcpy(&bytes, CMSG_DATA(control), sizeof bytes);
    if (bytes > 0) segment_size_ = static_cast<uint32_t>(bytes);
  }
  statistics_.trains += segment_size_ < message.msg_len ? 1 : 0;
}

DatagramsIn::Datagram DatagramsIn::Peek() const {
  const uint32_t rest = messages_[next_].msg_len - at_;
  uint8_t* bytes = static_cast<uint8_t*>(pieces_[next_].iov_base) + at_;
  return {{bytes, std::min(rest, segment_size_)},
          &from_[next_],
          (messages_[next_].msg_hdr.msg_flags & MSG_TRUNC) != 0};
}

void DatagramsIn::Pass() {
  const uint32_t length = messages_[next_].msg_len;
  at_ += std::min(length - at_, segment_size_);
  if (at_ < length) return;
  const uint32_t slot = next_++;
  const void* bytes = pieces_[slot].iov_base;
  buffers_[slot] = FramePool::kNone;
  if (next_ != filled_) Open(next_);
  GiveBack(bytes);
}

void DatagramsIn::GiveBack(const void* bytes) {
  const uint32_t buffer = IndexOf(bytes);
  if (--holds_[buffer] == 0) pool_.Give(buffer);
}

}  // namespace qpip::wire
