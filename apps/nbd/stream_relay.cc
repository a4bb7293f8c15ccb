#include "apps/nbd/stream_relay.h"

#include "apps/common/connection.h"

namespace qpip::nbd {

namespace {

constexpr size_t kReceiveBytes = 64 * 1024;
constexpr size_t kMaxRuns = 32;

}  // namespace

StreamRelay::StreamRelay(Nic& nic, ProtectionDomain& pd, FileDescriptor local,
                         std::chrono::seconds keepalive)
    : Relay(nic, pd, std::move(local), keepalive) {
  CreateQp();
}

// The queue pair goes first: after that nothing refers to the memory.
StreamRelay::~StreamRelay() { EndQp(); }

std::unique_ptr<QueuePair> StreamRelay::MakeQp() {
  auto qp = nic().CreateQp(pd(), {.framing = Framing::kStream,
                                  .send_cq = &send_cq(),
                                  .recv_cq = &recv_cq(),
                                  .send_depth = kSends * 2,
                                  .recv_depth = kReceives,
                                  .max_send_sge = 1,
                                  .max_recv_sge = 1,
                                  .receive_reservation = kReceives * kReceiveBytes,
                                  .keepalive = keepalive()});
  reader_ = std::make_unique<StreamReader>(
      pd(), *qp, StreamReaderOptions{.buffer_bytes = kReceiveBytes, .buffers = kReceives});
  // Nothing is copied into the writer's ring here, so it may be small.
  writer_ = std::make_unique<StreamWriter>(pd(), *qp, StreamWriterOptions{.buffer_bytes = 4096});
  return qp;
}

void StreamRelay::RunUpstream() {
  for (size_t index = 0;; index = (index + 1) % kSends) {
    if (!AwaitSendBuffer(index)) return;
    const size_t bytes = ReadFromTool(SendBuffer(index), kSendBytes);
    if (bytes == 0) break;
    if (!Send(index, bytes)) return;
  }
  qp().Shutdown();
}

bool StreamRelay::AwaitSendBuffer(size_t index) {
  while (!writer_->Done(tickets_[index])) PumpSends();
  return writer_->state() != StreamState::kError;
}

bool StreamRelay::Send(size_t index, size_t bytes) {
  const ibv_sge element = send_memory().Sge(index * kSendBytes, static_cast<uint32_t>(bytes));
  for (;;) {
    if (const auto ticket = writer_->WriteRegistered({&element, 1})) {
      tickets_[index] = *ticket;
      return true;
    }
    if (writer_->state() == StreamState::kError) return false;
    PumpSends();
  }
}

void StreamRelay::PumpSends() {
  std::array<WorkCompletion, kSends> completions;
  const size_t count = send_cq().Wait(completions);
  for (size_t i = 0; i < count; ++i) writer_->OnCompletion(completions[i]);
}

void StreamRelay::RunDownstream() {
  while (!reader_->drained()) {
    if (reader_->available() > 0) {
      if (WriteReceived()) continue;
      break;
    }
    std::array<WorkCompletion, kReceives> completions;
    const size_t count = recv_cq().Wait(completions);
    for (size_t i = 0; i < count; ++i) reader_->OnCompletion(completions[i]);
  }
  // A broken connection ends the local tool's direction too: it could go nowhere.
  EndTool(reader_->state() != StreamState::kEndOfStream);
}

bool StreamRelay::WriteReceived() {
  std::array<std::span<const std::byte>, kMaxRuns> runs;
  std::array<iovec, kMaxRuns> list;
  const size_t count = reader_->Readable(runs);
  for (size_t i = 0; i < count; ++i) {
    list[i] = {const_cast<std::byte*>(runs[i].data()), runs[i].size()};
  }
  const auto written = WriteToTool(std::span(list).first(count));
  if (written) reader_->Consume(*written);
  return written.has_value();
}

std::optional<std::string> StreamRelay::WhyBroken() const {
  const bool reading = reader_->state() == StreamState::kError;
  const bool writing = writer_->state() == StreamState::kError;
  if (!reading && !writing) return std::nullopt;
  // Of the two directions one names the cause, the other may only have been flushed.
  const bool by_writer = writing && (!reading || reader_->error() == IBV_WC_WR_FLUSH_ERR);
  return by_writer ? apps::BrokenText(writer_->error(), writer_->reason())
                   : apps::BrokenText(reader_->error(), reader_->reason());
}

}  // namespace qpip::nbd
