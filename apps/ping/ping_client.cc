#include "apps/ping/ping_client.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "apps/common/connection.h"

namespace qpip::apps {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;

namespace {

constexpr uint32_t kReceives = 8;
constexpr uint32_t kSendDepth = 64;
/// Sends that complete silently between two that are signalled, to give back the send queue.
constexpr uint64_t kSendsPerSignal = 16;
constexpr uint32_t kInlineBytes = 64;
constexpr uint64_t kSendId = UINT64_MAX;  ///< wr_id of sends; receives carry their slot
constexpr size_t kCacheLine = 64;
constexpr auto kCloseTimeout = std::chrono::seconds(2);

size_t RoundUp(size_t bytes) { return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine; }

}  // namespace

PingClient::PingClient(Nic& nic, const PingOptions& options, const StopToken& stop)
    : nic_(nic),
      options_(options),
      stop_(stop),
      pd_(nic.AllocatePd()),
      slot_bytes_(RoundUp(options.bytes)),
      cq_(nic.CreateCq(kReceives + kSendDepth)) {
  const bool udp = options.type == QpType::kUdp;
  if (udp && options.bytes > nic.max_datagram()) {
    throw Failure("datagram too long: " + std::to_string(options.bytes) +
                  " bytes: give --length at most " + std::to_string(nic.max_datagram()));
  }
  memory_ = pd_->Allocate(slot_bytes_ * (kReceives + 1));
  if (udp) {
    FreshQp().Bind(0);
  } else {
    ConnectPatiently(
        nic, [this]() -> QueuePair& { return FreshQp(); }, options.peer, options.patience, stop_);
  }
}

QueuePair& PingClient::FreshQp() {
  qp_.reset();
  std::array<WorkCompletion, kReceives> flushed;
  (void)cq_->Poll(flushed);  // receives of the queue pair before
  qp_ = nic_.CreateQp(*pd_, {.type = options_.type,
                             .send_cq = cq_.get(),
                             .recv_cq = cq_.get(),
                             .send_depth = kSendDepth,
                             .recv_depth = kReceives,
                             .max_send_sge = 1,
                             .max_recv_sge = 1,
                             .max_inline = kInlineBytes});
  for (uint64_t slot = 1; slot <= kReceives; ++slot) PostReceive(slot);
  return *qp_;
}

uint8_t* PingClient::Slot(uint64_t slot) const {
  return static_cast<uint8_t*>(memory_->data()) + slot * slot_bytes_;
}

void PingClient::PostReceive(uint64_t slot) {
  const int error = qp_->PostRecv(slot, memory_->Sge(slot * slot_bytes_, options_.bytes));
  // ENOTCONN: the connection is over, and a flushed completion tells why.
  if (error != 0 && error != ENOTCONN) {
    throw Failure(std::string("cannot post a receive: ") + std::strerror(error));
  }
}

void PingClient::Send(uint64_t sequence) {
  // As much of the sequence number as fits tells an echo from a late one of an earlier message.
  std::memcpy(Slot(0), &sequence, std::min<size_t>(sizeof sequence, options_.bytes));
  int flags = options_.bytes <= kInlineBytes ? IBV_SEND_INLINE : 0;
  if (sequence % kSendsPerSignal == 0) flags |= IBV_SEND_SIGNALED;
  const ibv_sge element = memory_->Sge(0, options_.bytes);
  const int error = options_.type == QpType::kUdp
                        ? qp_->PostSendTo(kSendId, element, options_.peer, flags)
                        : qp_->PostSend(kSendId, element, flags);
  if (error != 0 && error != ENOTCONN) {
    throw Failure(std::string("cannot post a send: ") + options_.peer.ToString() + ": " +
                  std::strerror(error));
  }
}

bool PingClient::IsEcho(const WorkCompletion& completion) {
  if (completion.status != IBV_WC_SUCCESS) {
    throw Failure("connection broken: " + options_.peer.ToString() + ": " +
                  BrokenText(completion.status, completion.reason) +
                  ": is the server running with --length at least " +
                  std::to_string(options_.bytes) + "?");
  }
  if (completion.wr_id == kSendId) return false;
  if (completion.end_of_stream) {
    throw Failure("connection closed: " + options_.peer.ToString() +
                  ": the server has ended: start it again");
  }
  const bool same = completion.byte_len == options_.bytes &&
                    std::memcmp(Slot(completion.wr_id), Slot(0), options_.bytes) == 0;
  PostReceive(completion.wr_id);
  if (!same && options_.type == QpType::kTcp) {
    throw Failure("wrong echo: " + options_.peer.ToString() + ": got " +
                  std::to_string(completion.byte_len) +
                  " bytes that differ: is it a qpip-ping -s?");
  }
  return same;
}

std::optional<nanoseconds> PingClient::RoundTrip(uint64_t sequence) {
  const auto start = steady_clock::now();
  const auto deadline = start + options_.timeout;
  Send(sequence);
  std::array<WorkCompletion, 16> completions;
  for (;;) {
    const auto left = deadline - steady_clock::now();
    if (left <= nanoseconds(0)) break;
    const size_t count =
        NextCompletions(*cq_, completions, options_.mode, std::min<nanoseconds>(left, kStopCheck));
    bool echoed = false;
    for (size_t i = 0; i < count; ++i) echoed |= IsEcho(completions[i]);
    if (echoed) return steady_clock::now() - start;
    if (count > 0) continue;
    if (stop_.requested()) return std::nullopt;
    ThrowIfUnreachable();
  }
  if (options_.type == QpType::kUdp) return std::nullopt;
  throw Failure("no echo: " + options_.peer.ToString() + ": is it a qpip-ping -s? (--timeout)");
}

std::optional<nanoseconds> PingClient::FirstRoundTrip() {
  if (options_.type == QpType::kTcp) return RoundTrip(0);
  const Patience waiting(options_.patience, stop_);
  for (;;) {
    try {
      const auto latency = RoundTrip(0);
      if (latency || stop_.requested() || waiting.over()) return latency;
    } catch (const Failure&) {
      if (waiting.over()) throw;
      if (!waiting.Pause()) return std::nullopt;
    }
  }
}

void PingClient::ThrowIfUnreachable() {
  if (options_.type != QpType::kUdp) return;
  const std::string why = UnreachableText(*qp_);
  if (why.empty()) return;
  throw Failure("datagrams do not arrive: " + options_.peer.ToString() + ": " + why +
                ": is a qpip-ping -s running there?");
}

void PingClient::RunRoundTrips(PingResult* result, LatencyRecorder* latencies) {
  const uint64_t rounds = options_.warm_up + options_.count;
  Progress progress("round trips", rounds);
  for (uint64_t i = 0; i < rounds && !stop_.requested(); ++i) {
    if (i == options_.warm_up) Begin();
    const bool measured = i >= options_.warm_up;
    if (measured) ++result->sent;
    const auto latency = i == 0 ? FirstRoundTrip() : RoundTrip(i);
    if (!measured) continue;
    if (latency) {
      latencies->Add(*latency);
    } else if (stop_.requested()) {
      --result->sent;  // neither answered nor lost
    }
    progress.Update(i);
  }
}

void PingClient::Begin() {
  cpu_before_ = ProcessCpuSeconds();
  start_ = steady_clock::now();
}

PingResult PingClient::Run() {
  PingResult result;
  LatencyRecorder latencies;
  latencies.Reserve(options_.count);
  // The payload behind the sequence number: anything but zeroes.
  for (uint32_t i = 0; i < options_.bytes; ++i) Slot(0)[i] = static_cast<uint8_t>(i * 7 + 1);
  Begin();
  try {
    RunRoundTrips(&result, &latencies);
  } catch (const Failure& failure) {
    result.failure = failure.what();
  }
  result.seconds = std::chrono::duration<double>(steady_clock::now() - start_).count();
  result.cpu_seconds = ProcessCpuSeconds() - cpu_before_;
  if (options_.type == QpType::kTcp && result.failure.empty()) {
    CloseOrStop(*qp_, kCloseTimeout, stop_);
  }
  result.latency = latencies.Summarise();
  result.histogram = latencies.Histogram();
  result.received = result.latency.count;
  return result;
}

}  // namespace qpip::apps
