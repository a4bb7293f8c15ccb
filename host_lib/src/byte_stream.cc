#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <string>

#include "qpip/stream.h"

namespace qpip {

namespace {

constexpr size_t kPollBatch = 32;
constexpr size_t kMinReservation = size_t{64} << 10;
constexpr size_t kMaxReservation = size_t{1} << 30;

}  // namespace

ByteStream::ByteStream(Nic& nic, ProtectionDomain& pd, const ByteStreamOptions& options)
    : timeout_(options.timeout) {
  cq_ = nic.CreateCq(std::bit_ceil(options.send_depth) + std::bit_ceil(options.reader.buffers));
  QpOptions qp_options;
  qp_options.framing = Framing::kStream;
  qp_options.send_cq = cq_.get();
  qp_options.recv_cq = cq_.get();
  qp_options.send_depth = options.send_depth;
  qp_options.recv_depth = options.reader.buffers;
  // The window follows the posted buffers; more overflow room than those could never be used.
  qp_options.receive_reservation = static_cast<uint32_t>(std::clamp(
      options.reader.buffer_bytes * options.reader.buffers, kMinReservation, kMaxReservation));
  qp_ = nic.CreateQp(pd, qp_options);
  reader_ = std::make_unique<StreamReader>(pd, *qp_, options.reader);
  writer_ = std::make_unique<StreamWriter>(pd, *qp_, options.writer);
}

ByteStream::~ByteStream() = default;

void ByteStream::Connect(const Endpoint& peer) { qp_->Connect(peer, timeout_); }

std::span<const std::byte> ByteStream::WaitReadable() {
  while (reader_->available() == 0 && reader_->state() == StreamState::kOpen) Pump();
  if (reader_->available() == 0) ThrowIfReadFailed();
  return reader_->Readable();
}

size_t ByteStream::Read(MutableBytes out) {
  if (out.empty()) return 0;
  WaitReadable();
  return reader_->ReadSome(out);
}

bool ByteStream::ReadExact(MutableBytes out) {
  size_t total = 0;
  while (total < out.size()) {
    const size_t bytes = Read(out.subspan(total));
    if (bytes == 0) {
      if (total == 0) return false;
      throw Error(EPIPE, "the stream ended after " + std::to_string(total) + " of " +
                             std::to_string(out.size()) + " bytes");
    }
    total += bytes;
  }
  return true;
}

void ByteStream::Write(ConstBytes bytes) {
  std::span<const std::byte> data = bytes;
  while (!data.empty()) {
    data = data.subspan(writer_->Write(data));
    if (data.empty()) return;
    ThrowIfWriteFailed();
    Pump();
  }
}

StreamWriter::Ticket ByteStream::WriteRegistered(std::span<const ibv_sge> payload,
                                                 ConstBytes header) {
  for (;;) {
    if (const auto ticket = writer_->WriteRegistered(payload, header)) return *ticket;
    ThrowIfWriteFailed();
    Pump();
  }
}

void ByteStream::Flush(std::optional<StreamWriter::Ticket> ticket) {
  const StreamWriter::Ticket until = ticket.value_or(writer_->last());
  while (!writer_->Done(until)) Pump();
  ThrowIfWriteFailed();
}

void ByteStream::CloseWrite() { qp_->Shutdown(); }

void ByteStream::Pump() {
  std::array<WorkCompletion, kPollBatch> completions;
  const size_t count = cq_->Wait(completions, timeout_);
  if (count == 0) {
    throw Error(ETIMEDOUT, "stream with " + qp_->peer().ToString() +
                               ": nothing was received or acknowledged within the time-out");
  }
  for (const WorkCompletion& completion : std::span(completions).first(count)) {
    if (!reader_->OnCompletion(completion)) writer_->OnCompletion(completion);
  }
}

void ByteStream::ThrowIfWriteFailed() const {
  if (writer_->state() != StreamState::kError) return;
  Throw("writing", writer_->error(), writer_->reason());
}

void ByteStream::ThrowIfReadFailed() const {
  if (reader_->state() != StreamState::kError) return;
  Throw("reading", reader_->error(), reader_->reason());
}

void ByteStream::Throw(const char* doing, ibv_wc_status status, DisconnectReason reason) const {
  const std::string what = std::string(doing) + " failed: ";
  if (reason == DisconnectReason::kNone || reason == DisconnectReason::kLocalError) {
    throw Error(EIO, what + "stream with " + qp_->peer().ToString() + ": " + ToString(status));
  }
  throw Error(ErrnoOf(reason), what + qp_->DescribeEnd());
}

}  // namespace qpip
