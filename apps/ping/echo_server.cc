#include "apps/ping/echo_server.h"

#include <algorithm>
#include <array>

namespace qpip::apps {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;

namespace {

/// Messages of one client that may be on their way through the server, and datagrams of all.
constexpr uint32_t kDepth = 16;
constexpr uint32_t kDatagramDepth = 256;
constexpr uint32_t DepthOf(QpType type) { return type == QpType::kUdp ? kDatagramDepth : kDepth; }
/// Queue pairs: one for datagrams, one a TCP client.
constexpr size_t kMaxSessions = 1 + kMaxTcpClients;
/// Queue pairs on offer for clients to come; more clients wait in the listener's backlog.
constexpr size_t kIdleSessions = 2;
constexpr uint16_t kBacklog = 64;
/// How often clients that connect but do not send are noticed, and ended ones are removed.
constexpr nanoseconds kTick = std::chrono::seconds(1);
/// How long a client may take to close after the server has.
constexpr auto kCloseTimeout = std::chrono::seconds(5);

// A work request's id: its session, its slot and whether it is the echo.
constexpr uint64_t kEchoBit = 1u << 31;
constexpr uint64_t MakeId(uint32_t session, uint32_t slot, bool echo) {
  return (static_cast<uint64_t>(session) << 32) | (echo ? kEchoBit : 0) | slot;
}
constexpr uint32_t SessionOf(uint64_t id) { return static_cast<uint32_t>(id >> 32); }
constexpr uint32_t SlotOf(uint64_t id) { return static_cast<uint32_t>(id & (kEchoBit - 1)); }
constexpr bool IsEcho(uint64_t id) { return (id & kEchoBit) != 0; }

}  // namespace

/// One queue pair and its buffers. A message is sent back from the buffer it was received in, and
/// the buffer is posted again when the echo has been acknowledged.
class EchoServer::Session {
 public:
  Session(Nic& nic, ProtectionDomain& pd, CompletionQueue& cq, uint32_t id, QpType type,
          const EchoOptions& options)
      : id_(id),
        type_(type),
        max_bytes_(type == QpType::kUdp ? std::min(options.max_bytes, nic.max_datagram())
                                        : options.max_bytes),
        memory_(pd.Allocate(size_t{max_bytes_} * DepthOf(type))),
        qp_(nic.CreateQp(pd, {.type = type,
                              .send_cq = &cq,
                              .recv_cq = &cq,
                              .send_depth = DepthOf(type),
                              .recv_depth = DepthOf(type),
                              .max_send_sge = 1,
                              .max_recv_sge = 1,
                              .keepalive = options.keepalive})) {
    for (uint32_t slot = 0; slot < DepthOf(type); ++slot) PostReceive(slot);
  }
  ~Session() { qp_.reset(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  QueuePair& qp() { return *qp_; }
  uint32_t id() const { return id_; }
  QpType type() const { return type_; }
  bool accepted = false;

  /// To be called now and then: hangs up a client that has sent nothing for `idle`.
  void HangUpIfIdle(nanoseconds idle) {
    const auto now = steady_clock::now();
    if (!accepted || active_) {
      active_ = false;
      last_active_ = now;
    } else if (idle.count() > 0 && now - last_active_ >= idle) {
      StartClose();
    }
  }

  /// Returns how many bytes were echoed, 0 when the completion was something else.
  uint32_t OnCompletion(const WorkCompletion& wc) {
    if (wc.status != IBV_WC_SUCCESS) {
      // Datagrams fail one at a time; a connection that failed is over.
      if (type_ == QpType::kTcp) {
        broken_ = true;
      } else if (wc.status != IBV_WC_WR_FLUSH_ERR) {
        PostReceive(SlotOf(wc.wr_id));
      }
      return 0;
    }
    if (IsEcho(wc.wr_id)) {
      PostReceive(SlotOf(wc.wr_id));
      return 0;
    }
    if (wc.end_of_stream) {
      StartClose();
      return 0;
    }
    return Echo(wc);
  }

  /// True when nothing is left to do for the client.
  bool ended() const {
    if (broken_ || qp_->state() == QpState::kClosed) return true;
    return close_deadline_ && steady_clock::now() > *close_deadline_;
  }

 private:
  void StartClose() {
    if (close_deadline_) return;
    close_deadline_ = steady_clock::now() + kCloseTimeout;
    qp_->Shutdown();
  }

  uint32_t Echo(const WorkCompletion& wc) {
    active_ = true;
    const uint32_t slot = SlotOf(wc.wr_id);
    const uint64_t id = MakeId(id_, slot, true);
    const ibv_sge element = memory_->Sge(size_t{slot} * max_bytes_, wc.byte_len);
    const int error =
        type_ == QpType::kUdp ? qp_->PostSendTo(id, element, wc.peer) : qp_->PostSend(id, element);
    if (error == 0) return wc.byte_len;
    if (type_ == QpType::kUdp) PostReceive(slot);
    return 0;  // TCP: the connection is over; its completions say so
  }

  void PostReceive(uint32_t slot) {
    // Fails only when the connection is over, which its completions say.
    (void)qp_->PostRecv(MakeId(id_, slot, false),
                        memory_->Sge(size_t{slot} * max_bytes_, max_bytes_));
  }

  uint32_t id_;
  QpType type_;
  uint32_t max_bytes_;
  std::unique_ptr<MemoryRegion> memory_;
  std::unique_ptr<QueuePair> qp_;
  bool broken_ = false;
  bool active_ = false;  ///< since HangUpIfIdle looked
  steady_clock::time_point last_active_ = steady_clock::now();
  std::optional<steady_clock::time_point> close_deadline_;
};

EchoServer::EchoServer(Nic& nic, const EchoOptions& options)
    : nic_(nic),
      options_(options),
      pd_(nic.AllocatePd()),
      cq_(nic.CreateCq((static_cast<uint32_t>(kMaxSessions) * kDepth + kDatagramDepth) * 2)) {
  if (options.mode == WaitMode::kWait) cq_->fd();  // now, while descriptors can be had
  Add(NewSession(QpType::kUdp)).qp().Bind(options.port);
  if (!options.udp_only) {
    listener_ = nic.Listen(options.port, kBacklog);
    OfferOne();  // without room for one client there is nothing to serve
    TryToOfferIdle();
  }
}

EchoServer::~EchoServer() { listener_.reset(); }

std::unique_ptr<EchoServer::Session> EchoServer::NewSession(QpType type) {
  return std::make_unique<Session>(nic_, *pd_, *cq_, next_id_++, type, options_);
}

EchoServer::Session& EchoServer::Add(std::unique_ptr<Session> session) {
  const uint32_t id = session->id();
  return *sessions_.emplace(id, std::move(session)).first->second;
}

void EchoServer::OfferIdle() {
  if (!listener_) return;
  for (size_t idle = Idle(); idle < kIdleSessions && sessions_.size() < kMaxSessions; ++idle) {
    OfferOne();
  }
}

size_t EchoServer::Idle() const {
  return static_cast<size_t>(
      std::count_if(sessions_.begin(), sessions_.end(), [](const auto& entry) {
        return entry.second->type() == QpType::kTcp && !entry.second->accepted;
      }));
}

void EchoServer::OfferOne() {
  // Offered before it is in the list: one whose offer fails is no client's.
  auto session = NewSession(QpType::kTcp);
  listener_->Offer(session->qp());
  Add(std::move(session));
}

void EchoServer::TryToOfferIdle() {
  try {
    OfferIdle();
    lacking_ = false;
    const bool full = listener_ != nullptr && Idle() == 0;
    if (full && !full_) {
      PrintErrorLine("qpip-ping", std::to_string(kMaxTcpClients) +
                                      " clients are connected, which is the most: others wait "
                                      "until one leaves");
    }
    full_ = full;
  } catch (const std::exception& error) {
    if (nic_.failure()) throw;
    if (!lacking_) {
      PrintErrorLine("qpip-ping", std::string("no room for more clients: ") + error.what() +
                                      ": they wait until one leaves");
    }
    lacking_ = true;
  }
}

void EchoServer::AcceptAll() {
  if (!listener_) return;
  while (QueuePair* connected = listener_->Accept(nanoseconds(0))) {
    ++counts_.clients;
    for (auto& [id, session] : sessions_) {
      if (&session->qp() == connected) session->accepted = true;
    }
  }
}

void EchoServer::RemoveEnded() {
  std::erase_if(sessions_, [this](const auto& entry) {
    const Session& session = *entry.second;
    if (session.type() == QpType::kUdp || !session.ended()) return false;
    ++ended_clients_;
    return true;
  });
}

size_t EchoServer::Next(std::span<WorkCompletion> out, const StopToken& stop) {
  if (options_.mode == WaitMode::kPoll) {
    return NextCompletions(*cq_, out, WaitMode::kPoll, std::chrono::milliseconds(10));
  }
  return WaitOrStop(*cq_, out, stop, kTick);
}

void EchoServer::Run(const StopToken& stop) {
  std::array<WorkCompletion, 32> completions;
  auto next_tick = steady_clock::now();
  while (!stop.requested() && !(options_.once && ended_clients_ > 0)) {
    const size_t count = Next(completions, stop);
    bool unusual = count == 0;
    for (const WorkCompletion& wc : std::span(completions).first(count)) {
      const auto session = sessions_.find(SessionOf(wc.wr_id));
      if (session == sessions_.end()) continue;
      if (const uint32_t bytes = session->second->OnCompletion(wc); bytes > 0) {
        ++counts_.messages;
        counts_.bytes += bytes;
      }
      unusual |= wc.status != IBV_WC_SUCCESS || wc.end_of_stream || !session->second->accepted;
    }
    // Connections come and go seldom: their part is kept out of the round trips' way.
    if (!unusual && steady_clock::now() < next_tick) continue;
    next_tick = steady_clock::now() + kTick;
    AcceptAll();
    for (auto& [id, session] : sessions_) session->HangUpIfIdle(options_.idle);
    RemoveEnded();
    TryToOfferIdle();
  }
}

}  // namespace qpip::apps
