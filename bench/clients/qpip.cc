// QPIP: a NIC a process on one fabric. The server has a queue pair a client, one completion queue
// for all; everybody waits, nobody polls.
#include <unistd.h>

#include <array>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bench/clients/crowd.h"
#include "qpip/qpip.h"

namespace qpip::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint16_t kPort = 7;
constexpr uint32_t kDepth = 4;  ///< of each queue: one message is under way at a time
constexpr seconds kStall{20};

void Check(int error, const char* what) {
  if (error != 0) throw std::system_error(error, std::generic_category(), what);
}

void CheckCompletion(const WorkCompletion& done) {
  if (done.status != IBV_WC_SUCCESS) {
    throw std::runtime_error(std::string("a message completed with ") + ToString(done.status));
  }
}

QpOptions Options(CompletionQueue& cq, uint32_t bytes) {
  QpOptions options{.send_cq = &cq, .recv_cq = &cq, .send_depth = kDepth, .recv_depth = kDepth};
  options.max_inline = bytes;
  options.receive_reservation = 1u << 16;
  return options;
}

/// A queue pair with its receives.
struct Line {
  Line(Nic& nic, ProtectionDomain& pd, CompletionQueue& cq, uint32_t message)
      : memory(pd.Allocate(size_t{message} * kDepth)),
        qp(nic.CreateQp(pd, Options(cq, message))),
        bytes(message) {
    for (uint32_t i = 0; i < kDepth; ++i) Receive(i);
  }
  void Receive(uint64_t slot) {
    Check(qp->PostRecv(slot, memory->Sge(slot * bytes, bytes)), "PostRecv");
  }
  void Send(uint64_t slot) {
    // Only some say that they are done: the queue is emptied by each of those.
    const int signal = ++sent % (kDepth / 2) == 0 ? IBV_SEND_SIGNALED : 0;
    Check(qp->PostSend(slot, memory->Sge(slot * bytes, bytes), IBV_SEND_INLINE | signal),
          "PostSend");
  }

  std::unique_ptr<MemoryRegion> memory;
  std::unique_ptr<QueuePair> qp;
  uint32_t bytes;
  uint64_t sent = 0;
};

class Qpip final : public Crowd {
 public:
  Qpip(std::string scheme, std::string settings)
      : fabric_(std::move(scheme) + ":clients-" + std::to_string(::getpid())),
        settings_(std::move(settings)) {}

  std::string name() const override { return "qpip"; }

  void Serve(uint32_t clients, uint32_t bytes, Board& board) override {
    const auto nic = Nic::Open(fabric_ + "?address=fd00::1&max_qps=1024" + settings_);
    const auto pd = nic->AllocatePd();
    const auto cq = nic->CreateCq(clients * 2 * kDepth);
    std::unordered_map<uint32_t, std::unique_ptr<Line>> lines;
    const auto listener = nic->Listen(kPort, 256);
    for (uint32_t i = 0; i < clients; ++i) {
      auto line = std::make_unique<Line>(*nic, *pd, *cq, bytes);
      listener->Offer(*line->qp);
      const uint32_t number = line->qp->qp_num();
      lines[number] = std::move(line);
    }
    board.server_port.store(kPort);
    std::array<WorkCompletion, 64> completions;
    while (board.left.load() < clients) {
      const size_t count = cq->Wait(completions, milliseconds(100));
      for (size_t i = 0; i < count; ++i) {
        const WorkCompletion& done = completions[i];
        const bool leaves = board.over.load() && done.status != IBV_WC_SUCCESS;
        if (!leaves) CheckCompletion(done);
        if (leaves || done.opcode != IBV_WC_RECV) continue;
        Line& line = *lines.at(done.qp_num);
        line.Send(done.wr_id);
        line.Receive(done.wr_id);
      }
    }
  }

  void Talk(uint32_t number, uint32_t bytes, Board& board) override {
    const auto nic = Nic::Open(fabric_ + "?address=fd00::" + Hex(number + 2) + settings_);
    const auto pd = nic->AllocatePd();
    const auto cq = nic->CreateCq(2 * kDepth);
    Line line(*nic, *pd, *cq, bytes);
    line.qp->Connect({ParseAddress("fd00::1"), kPort}, kStall);
    Tally& tally = board.clients[number];
    std::array<WorkCompletion, 2 * kDepth> completions;
    line.Send(0);
    for (uint64_t echoes = 0;;) {
      const size_t count = cq->Wait(completions, kStall);
      if (count == 0) throw std::runtime_error("no answer in 20 s");
      for (size_t i = 0; i < count; ++i) {
        CheckCompletion(completions[i]);
        if (completions[i].opcode != IBV_WC_RECV) continue;
        tally.echoes.store(++echoes, std::memory_order_relaxed);
        if (echoes == 1) AwaitTheOthers(board);
        if (board.over.load(std::memory_order_relaxed)) return;
        line.Receive(completions[i].wr_id);
        line.Send(completions[i].wr_id);
      }
    }
  }

 private:
  static std::string Hex(uint32_t value) {
    char text[9];
    snprintf(text, sizeof text, "%x", value);
    return text;
  }

  const std::string fabric_;
  const std::string settings_;
};

}  // namespace

std::unique_ptr<Crowd> QpipCrowd(std::string scheme, std::string settings) {
  return std::make_unique<Qpip>(std::move(scheme), std::move(settings));
}

}  // namespace qpip::bench
