#include "apps/ttcp/transfer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "apps/common/connection.h"
#include "apps/common/interval.h"
#include "apps/common/pattern.h"
#include "apps/common/statistics.h"

namespace qpip::apps {

using std::chrono::steady_clock;

namespace {

constexpr auto kCloseTimeout = std::chrono::seconds(5);
constexpr uint64_t kEndOfStreamId = UINT64_MAX;
constexpr size_t kBatch = 64;

/// One connection's objects, and the clocks.
class Transfer {
 public:
  Transfer(Nic& nic, const TransferOptions& options, const StopToken& stop)
      : options_(options),
        stop_(stop),
        pd_(nic.AllocatePd()),
        memory_(pd_->Allocate(size_t{options.length} * options.depth)),
        cq_(nic.CreateCq(options.depth * 2 + 2)),
        reports_(options.interval, options.on_interval) {}

  /// `send_depth` and `recv_depth` 1 to options.depth.
  void CreateQp(Nic& nic, uint32_t send_depth, uint32_t recv_depth) {
    // The receiver's window: everything it has posted.
    const uint64_t posted = uint64_t{options_.length} * recv_depth;
    const auto reservation =
        static_cast<uint32_t>(std::clamp<uint64_t>(posted, 256u << 10, 64u << 20));
    qp_ = nic.CreateQp(*pd_, {.framing = options_.framing,
                              .send_cq = cq_.get(),
                              .recv_cq = cq_.get(),
                              .send_depth = send_depth,
                              .recv_depth = recv_depth,
                              .max_send_sge = 1,
                              .max_recv_sge = 1,
                              .receive_reservation = reservation,
                              .keepalive = options_.keepalive});
  }

  void StartClocks() {
    cpu_before_ = ProcessCpuSeconds();
    start_ = steady_clock::now();
    reports_.Start(start_);
  }
  void StopClocks() {
    const auto now = steady_clock::now();
    reports_.Finish(now, result_.bytes);
    result_.seconds = std::chrono::duration<double>(now - start_).count();
    result_.cpu_seconds = ProcessCpuSeconds() - cpu_before_;
  }

  /// Throws Interrupted, also of a busy transfer, and Failure of one that stands still.
  size_t Next(std::span<WorkCompletion> out) {
    std::optional<steady_clock::time_point> quiet_since;
    for (;;) {
      if (stop_.requested()) {
        throw Interrupted("interrupted after " + std::to_string(result_.bytes) +
                          " bytes: " + qp_->peer().ToString());
      }
      const size_t count = NextCompletions(*cq_, out, options_.mode, kStopCheck);
      if (reports_.wanted()) reports_.Look(steady_clock::now(), result_.bytes);
      if (count != 0) return count;
      const auto now = steady_clock::now();
      if (!quiet_since) quiet_since = now;
      if (options_.timeout.count() > 0 && now - *quiet_since >= options_.timeout)
        ThrowStandsStill();
    }
  }

  [[noreturn]] void ThrowStandsStill() const {
    const auto seconds = std::chrono::duration<double>(options_.timeout).count();
    throw Failure("transfer stands still after " + std::to_string(result_.bytes) +
                  " bytes: " + qp_->peer().ToString() + ": nothing for " +
                  std::to_string(static_cast<uint64_t>(seconds)) +
                  " s: is the other end stopped? (--timeout)");
  }

  /// What has been done, when a transfer ends before its time. Throws when that is nothing.
  template <typename Body>
  TransferResult Keep(Body body) {
    try {
      body();
    } catch (const Failure& failure) {
      if (result_.bytes == 0) throw;
      StopClocks();
      result_.failure = failure.what();
    }
    return result_;
  }

  void ThrowUnlessSuccess(const WorkCompletion& wc, const char* advice) const {
    if (wc.status != IBV_WC_SUCCESS) ThrowBroken(wc.status, wc.reason, advice);
  }
  [[noreturn]] void ThrowBroken(ibv_wc_status status, DisconnectReason reason,
                                const char* advice) const {
    throw Failure("transfer broken after " + std::to_string(result_.bytes) + " bytes: " +
                  qp_->peer().ToString() + ": " + BrokenText(status, reason) + ": " + advice);
  }

  std::span<uint8_t> Buffer(uint64_t slot) const {
    return {static_cast<uint8_t*>(memory_->data()) + slot * options_.length, options_.length};
  }
  ibv_sge Element(uint64_t slot) const {
    return memory_->Sge(slot * options_.length, options_.length);
  }

 protected:
  TransferOptions options_;
  const StopToken& stop_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::unique_ptr<MemoryRegion> memory_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<QueuePair> qp_;
  TransferResult result_;

  /// Whether the time that was given for it is over.
  bool DurationOver() const {
    return options_.duration.count() != 0 && steady_clock::now() - start_ >= options_.duration;
  }

 private:
  double cpu_before_ = 0;
  steady_clock::time_point start_;
  IntervalReports reports_;
};

class Transmitter : public Transfer {
 public:
  using Transfer::Transfer;

  TransferResult Run(Nic& nic) {
    end_of_stream_memory_ = pd_->Allocate(sizeof(uint64_t));
    ConnectPatiently(
        nic, [&]() -> QueuePair& { return FreshQp(nic); }, options_.peer, options_.patience, stop_);
    for (uint64_t slot = 0; slot < options_.depth; ++slot) FillPattern(0, Buffer(slot));
    StartClocks();
    return Keep([this] {
      SendAll();
      qp_->Shutdown();
      while (!peer_closed_) TakeCompletions();
      StopClocks();
      CloseOrStop(*qp_, kCloseTimeout, stop_);
    });
  }

 private:
  QueuePair& FreshQp(Nic& nic) {
    qp_.reset();
    std::array<WorkCompletion, kBatch> flushed;
    (void)cq_->Poll(flushed);  // the receive of the queue pair before
    CreateQp(nic, options_.depth, 1);
    const ibv_sge end = end_of_stream_memory_->Sge(0, sizeof(uint64_t));
    if (const int error = qp_->PostRecv(kEndOfStreamId, end); error != 0) {
      throw Error(error, "post the receive for the end of the stream");
    }
    return *qp_;
  }

  void SendAll() {
    const bool timed = options_.duration.count() != 0;
    Progress progress("buffers", timed ? 0 : options_.buffers);
    while (!all_posted_ || completed_ < posted_) {
      while (!all_posted_ && posted_ - completed_ < options_.depth) {
        PostNext();
        all_posted_ = timed ? DurationOver() : posted_ == options_.buffers;
      }
      TakeCompletions();
      progress.Update(completed_);
    }
  }

  void PostNext() {
    // Sends complete in order, so the slot of the oldest one is the free one.
    const uint64_t slot = posted_ % options_.depth;
    if (options_.verify) FillPattern(posted_ * options_.length, Buffer(slot));
    const int error = qp_->PostSend(slot, Element(slot));
    // ENOTCONN: a flushed completion is about to say why.
    if (error != 0 && error != ENOTCONN) {
      throw Failure("cannot post a send: " + options_.peer.ToString() + ": " +
                    std::strerror(error));
    }
    ++posted_;
  }

  void TakeCompletions() {
    std::array<WorkCompletion, kBatch> completions;
    const size_t count = Next(completions);
    for (const WorkCompletion& wc : std::span(completions).first(count)) {
      ThrowUnlessSuccess(wc,
                         "is the receiver running, with a buffer length (-l) of at least ours?");
      if (wc.wr_id != kEndOfStreamId) {
        ++completed_;
        ++result_.messages;
        result_.bytes += options_.length;
        continue;
      }
      if (!wc.end_of_stream) throw Failure("the peer sends data: is it a qpip-ttcp -r?");
      peer_closed_ = true;
      if (!all_posted_ || completed_ < posted_) {
        throw Failure("the receiver closed early: " + options_.peer.ToString() + ": see its error");
      }
    }
  }

  std::unique_ptr<MemoryRegion> end_of_stream_memory_;
  uint64_t posted_ = 0;
  bool all_posted_ = false;  ///< there will be no more
  uint64_t completed_ = 0;
  bool peer_closed_ = false;
};

class Receiver : public Transfer {
 public:
  using Transfer::Transfer;

  TransferResult Run(Nic& nic, const std::function<void(const Endpoint&)>& on_listening) {
    CreateQp(nic, 1, options_.depth);
    for (uint64_t slot = 0; slot < options_.depth; ++slot) PostReceive(slot);
    const auto listener = nic.Listen(options_.peer.port);
    listener->Offer(*qp_);
    on_listening({nic.address(), listener->port()});
    AcceptOrStop(*listener, stop_);
    StartClocks();
    return Keep([this] {
      ReceiveAll();
      // The close tells the transmitter that everything has arrived, so it comes first.
      qp_->Shutdown();
      StopClocks();
      CloseOrStop(*qp_, kCloseTimeout, stop_);
      result_.verified = options_.verify;
    });
  }

 private:
  static constexpr const char* kBrokenAdvice =
      "did the transmitter end, or is its buffer (-l) longer than ours?";

  void PostReceive(uint64_t slot) {
    const int error = qp_->PostRecv(slot, Element(slot));
    if (error == 0) {
      ++outstanding_;
    } else if (error != ENOTCONN) {
      throw Failure(std::string("cannot post a receive: ") + std::strerror(error));
    } else if (outstanding_ == 0) {
      // The connection is over, and no receive is left whose flush would tell.
      ThrowBroken(IBV_WC_WR_FLUSH_ERR, qp_->disconnect_reason(), kBrokenAdvice);
    }
  }

  void ReceiveAll() {
    Progress progress("bytes received", 0);
    std::array<WorkCompletion, kBatch> completions;
    for (;;) {
      const size_t count = Next(completions);
      outstanding_ -= count;
      for (const WorkCompletion& wc : std::span(completions).first(count)) {
        ThrowUnlessSuccess(wc, kBrokenAdvice);
        if (wc.end_of_stream) return;
        Check(wc);
        result_.bytes += wc.byte_len;
        ++result_.messages;
        PostReceive(wc.wr_id);
      }
      progress.Update(result_.bytes);
    }
  }

  void Check(const WorkCompletion& wc) const {
    if (!options_.verify) return;
    if (const auto bad = FindPatternError(result_.bytes, Buffer(wc.wr_id).first(wc.byte_len))) {
      throw Failure("data differs from the pattern: byte " + std::to_string(*bad) +
                    " of the stream: does the transmitter use --verify too?");
    }
  }

  size_t outstanding_ = 0;  ///< receives posted and not completed
};

}  // namespace

TransferResult Transmit(Nic& nic, const TransferOptions& options, const StopToken& stop) {
  return Transmitter(nic, options, stop).Run(nic);
}

TransferResult Receive(Nic& nic, const TransferOptions& options, const StopToken& stop,
                       const std::function<void(const Endpoint&)>& on_listening) {
  return Receiver(nic, options, stop).Run(nic, on_listening);
}

}  // namespace qpip::apps
