#include "sim/wire/datagrams_out.h"

#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sim/wire/udp_errors.h"

namespace qpip::wire {
namespace {

constexpr uint32_t kTrainPieces = 1024;  ///< UIO_MAXIOV
constexpr uint32_t kSomeAtATime = 64;    ///< datagrams of a refused train, to a system call

// What is wrong with the train, rather than with the path or the moment.
bool ConcernsTrain(int error) {
  return error == EIO || error == EINVAL || error == EMSGSIZE || error == EOPNOTSUPP ||
         error == ENOPROTOOPT;
}

// As sendmmsg(2), which takes a tenth of a microsecond longer for one message.
int SendSome(int socket, mmsghdr* messages, uint32_t count) {
  constexpr int kFlags = MSG_DONTWAIT | MSG_NOSIGNAL;
  if (count > 1) return ::sendmmsg(socket, messages, count, kFlags);
  return ::sendmsg(socket, &messages->msg_hdr, kFlags) < 0 ? -1 : 1;
}

bool Blocks(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

}  // namespace

DatagramsOut::DatagramsOut(size_t copied_bytes, bool trains, Events events)
    : events_(std::move(events)),
      trains_(trains),
      memory_(new uint8_t[copied_bytes]),
      memory_bytes_(copied_bytes),
      messages_(new std::array<Message, kMessages>),
      headers_(new std::array<mmsghdr, kMessages>{}),
      controls_(new std::array<Control, kMessages>),
      datagrams_(new std::array<Datagram, kDatagrams>),
      pieces_(new std::array<iovec, kPieces>) {}

bool DatagramsOut::HasRoom(uint32_t datagrams, size_t pieces, size_t bytes) const {
  return datagrams <= kDatagrams - datagram_count_ && pieces <= kPieces - piece_count_ &&
         bytes <= memory_bytes_ - memory_used_;
}

uint8_t* DatagramsOut::Take(size_t bytes) {
  uint8_t* taken = memory_.get() + memory_used_;
  memory_used_ += bytes;
  return taken;
}

bool DatagramsOut::Extends(const Message& message, const SocketAddress& to, size_t pieces,
                           uint32_t length) const {
  const Datagram& previous = (*datagrams_)[datagram_count_ - 1];
  const uint32_t first_piece = (*datagrams_)[message.first_datagram].first_piece;
  return message.count < kTrainDatagrams && previous.length == message.segment_size &&
         length <= message.segment_size && message.bytes + length <= kTrainBytes &&
         piece_count_ - first_piece + pieces <= kTrainPieces && message.gone == 0 &&
         !message.one_by_one && message.to == to;
}

uint64_t DatagramsOut::Add(const SocketAddress& to, std::span<const iovec> pieces,
                           uint32_t length) {
  const bool extends =
      trains_ && first_ != last_ && Extends((*messages_)[last_ - 1], to, pieces.size(), length);
  if (!extends) {
    (*messages_)[last_++] = {.to = to, .first_datagram = datagram_count_, .segment_size = length};
    ++numbered_;
  }
  Message& message = (*messages_)[last_ - 1];
  ++message.count;
  message.bytes += length;
  bytes_ += length;
  (*datagrams_)[datagram_count_++] = {piece_count_, length};
  std::copy(pieces.begin(), pieces.end(), pieces_->begin() + piece_count_);
  piece_count_ += static_cast<uint32_t>(pieces.size());
  return numbered_;
}

std::span<iovec> DatagramsOut::PiecesOf(uint32_t datagram) {
  const uint32_t from = (*datagrams_)[datagram].first_piece;
  const bool is_last = datagram + 1 == datagram_count_;
  const uint32_t to = is_last ? piece_count_ : (*datagrams_)[datagram + 1].first_piece;
  return {pieces_->data() + from, to - from};
}

void DatagramsOut::Address(const SocketAddress& to, msghdr* header) const {
  if (connected_.has_value() && *connected_ == to) return;
  header->msg_name = const_cast<sockaddr*>(&to.base);  // only read
  header->msg_namelen = to.length();
}

void DatagramsOut::Prepare(uint32_t index) {
  Message& message = (*messages_)[index];
  const std::span<iovec> first = PiecesOf(message.first_datagram);
  const std::span<iovec> last = PiecesOf(message.first_datagram + message.count - 1);
  msghdr& header = (*headers_)[index].msg_hdr;
  header = {};
  Address(message.to, &header);
  header.msg_iov = first.data();
  header.msg_iovlen = static_cast<size_t>(last.data() + last.size() - first.data());
  if (message.count == 1) return;
  header.msg_control = (*controls_)[index].bytes.data();
  header.msg_controllen = (*controls_)[index].bytes.size();
  cmsghdr* control = CMSG_FIRSTHDR(&header);
  control->cmsg_level = IPPROTO_UDP;
  control->cmsg_type = UDP_SEGMENT;
  control->cmsg_len = CMSG_LEN(sizeof(uint16_t));
  const auto segment_size = static_cast<uint16_t>(message.segment_size);
  std::memcpy(CMSG_DATA(control), &segment_size, sizeof segment_size);
}

bool DatagramsOut::Send(int socket) {
  while (first_ != last_) {
    Message& message = (*messages_)[first_];
    if (message.count > 1 && !trains_) message.one_by_one = true;
    if (message.one_by_one ? !SendOneByOne(socket) : !SendWhole(socket)) return false;
  }
  first_ = last_ = datagram_count_ = piece_count_ = bytes_ = 0;
  memory_used_ = 0;
  return true;
}

// Messages taken, or -1 with errno.
int DatagramsOut::Give(int socket, mmsghdr* messages, uint32_t count) {
  bool again = false;
  for (;;) {
    ++statistics_.calls;
    const int sent = SendSome(socket, messages, count);
    if (sent >= 0 || Blocks(errno)) return sent;
    if (errno == EINTR) continue;
    const int error = errno;
    if (again || !events_.was_earlier()) {
      errno = error;
      return sent;
    }
    again = true;
  }
}

// Those from the oldest on that need no cutting here. Returns false when the socket is full.
bool DatagramsOut::SendWhole(int socket) {
  uint32_t end = first_;
  while (end != last_ &&
         ((*messages_)[end].count == 1 || (trains_ && !(*messages_)[end].one_by_one)))
    Prepare(end++);
  const int sent = Give(socket, &(*headers_)[first_], end - first_);
  if (sent < 0) {
    if (Blocks(errno)) return false;
    OnRefusal((*messages_)[first_], errno);
    return true;
  }
  for (uint32_t i = 0; i < static_cast<uint32_t>(sent); ++i) {
    const Message& message = (*messages_)[first_ + i];
    statistics_.datagrams += message.count;
    statistics_.bytes += message.bytes;
    statistics_.trains += message.count > 1 ? 1 : 0;
  }
  Done(static_cast<uint32_t>(sent));
  return true;
}

// What befalls the oldest message alone: no route, a filter, a full device. A single datagram is
// lost, as on any network, but not without a word.
void DatagramsOut::OnRefusal(Message& message, int error) {
  if (message.count > 1 && ConcernsTrain(error)) {
    ++statistics_.train_errors;
    message.one_by_one = true;
    message.refusal = error;
    if (error == EIO) GiveUpTrains(error);  // the device cannot sum, and never will
    return;
  }
  for (uint32_t i = 0; i < message.count; ++i) ++statistics_.errors;
  Tell(message, message.first_datagram, error);
  Done(1);
}

bool DatagramsOut::SendOneByOne(int socket) {
  Message& message = (*messages_)[first_];
  while (message.gone != message.count) {
    std::array<mmsghdr, kSomeAtATime> some = {};
    const uint32_t count = std::min(message.count - message.gone, kSomeAtATime);
    for (uint32_t i = 0; i < count; ++i) {
      const std::span<iovec> pieces = PiecesOf(message.first_datagram + message.gone + i);
      msghdr& header = some[i].msg_hdr;
      Address(message.to, &header);
      header.msg_iov = pieces.data();
      header.msg_iovlen = pieces.size();
    }
    const int sent = Give(socket, some.data(), count);
    if (sent < 0 && Blocks(errno)) return false;
    const uint32_t datagram = message.first_datagram + message.gone;
    if (sent < 0) {
      ++statistics_.errors;
      message.all_taken = false;
      Tell(message, datagram, errno);
      ++message.gone;
      continue;
    }
    for (uint32_t i = 0; i < static_cast<uint32_t>(sent); ++i) {
      statistics_.bytes += (*datagrams_)[datagram + i].length;
    }
    statistics_.datagrams += static_cast<uint32_t>(sent);
    message.gone += static_cast<uint32_t>(sent);
  }
  // The datagrams were taken that would not go as a train: trains it is that are not understood,
  // unless the path is narrow and the kernel has cut the datagrams themselves.
  if (message.refusal != 0 && message.all_taken &&
      PathMtu(message.to) >= OuterBytes(message.to) + message.segment_size) {
    GiveUpTrains(message.refusal);
  }
  Done(1);
  return true;
}

void DatagramsOut::Tell(const Message& message, uint32_t datagram, int error) {
  events_.refused({error, message.to, (*datagrams_)[datagram].length, PiecesOf(datagram)});
}

void DatagramsOut::Done(uint32_t messages) {
  first_ += messages;
  sent_ += messages;
}

void DatagramsOut::GiveUpTrains(int error) {
  if (!trains_) return;
  trains_ = false;
  events_.gave_up_trains(error);
}

}  // namespace qpip::wire
