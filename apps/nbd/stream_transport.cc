#include "apps/nbd/stream_transport.h"

#include <algorithm>
#include <array>

#include "apps/common/connection.h"

namespace qpip::nbd {

namespace {

constexpr size_t kReceiveBytes = 64 * 1024;
constexpr uint32_t kReceives = 32;
constexpr uint32_t kSendDepth = 64;
/// Header and one payload buffer.
constexpr uint32_t kSendElements = 2;

std::span<const std::byte> Bytes(std::span<const uint8_t> bytes) { return std::as_bytes(bytes); }

}  // namespace

StreamTransport::StreamTransport(Nic& nic, ProtectionDomain& pd, const apps::StopToken& stop,
                                 std::chrono::seconds keepalive)
    : QpTransport(nic, pd, stop, kReceives + kSendDepth) {
  Own(nic.CreateQp(pd, {.framing = Framing::kStream,
                        .send_cq = &cq(),
                        .recv_cq = &cq(),
                        .send_depth = kSendDepth,
                        .recv_depth = kReceives,
                        .max_send_sge = kSendElements,
                        .max_recv_sge = 1,
                        .receive_reservation = kReceives * kReceiveBytes,
                        .keepalive = keepalive}));
  reader_ = std::make_unique<StreamReader>(
      pd, qp(), StreamReaderOptions{.buffer_bytes = kReceiveBytes, .buffers = kReceives});
  writer_ = std::make_unique<StreamWriter>(pd, qp());
}

// The queue pair goes first: after that nothing refers to the memory.
StreamTransport::~StreamTransport() { EndQp(); }

void StreamTransport::OnCompletion(const WorkCompletion& completion) {
  if (!reader_->OnCompletion(completion)) writer_->OnCompletion(completion);
}

void StreamTransport::ThrowIfSendFailed() const {
  if (writer_->state() != StreamState::kError) return;
  throw ConnectionLost(apps::BrokenText(writer_->error(), writer_->reason()));
}

size_t StreamTransport::Runs(std::span<iovec> out) const {
  constexpr size_t kMaxRuns = 32;
  std::array<std::span<const std::byte>, kMaxRuns> runs;
  const size_t count = reader_->Readable(std::span(runs).first(std::min(kMaxRuns, out.size())));
  for (size_t i = 0; i < count; ++i) {
    out[i] = {const_cast<std::byte*>(runs[i].data()), runs[i].size()};
  }
  return count;
}

bool StreamTransport::ended() const {
  if (reader_->state() == StreamState::kError) {
    throw ConnectionLost(apps::BrokenText(reader_->error(), reader_->reason()));
  }
  return reader_->state() == StreamState::kEndOfStream;
}

void StreamTransport::Consume(size_t bytes) { reader_->Consume(bytes); }

void StreamTransport::Send(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const size_t taken = writer_->Write(Bytes(bytes));
    bytes = bytes.subspan(taken);
    if (taken > 0) continue;
    ThrowIfSendFailed();
    Pump(WaitFor::kRestOfMessage);
  }
}

uint64_t StreamTransport::SendPayload(std::span<const uint8_t> header,
                                      std::span<const std::byte> payload) {
  const ibv_sge element = PayloadElement(payload);
  for (;;) {
    if (const auto ticket = writer_->WriteRegistered({&element, 1}, Bytes(header))) return *ticket;
    ThrowIfSendFailed();
    Pump(WaitFor::kRestOfMessage);
  }
}

}  // namespace qpip::nbd
