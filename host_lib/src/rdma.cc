// RDMA connections: both sides' set-up, and the readiness of descriptors.
#include "qpip/rdma.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <initializer_list>
#include <string>
#include <utility>

#include "completion_queue.h"
#include "nic_impl.h"
#include "queue_pair.h"
#include "rdma_carrier.h"
#include "status.h"

namespace qpip {

namespace internal {

/// One descriptor for several. Not in the anonymous namespace: classes that others name have it.
class RdmaReadiness {
 public:
  RdmaReadiness() = default;
  ~RdmaReadiness() {
    if (kick_ >= 0) close(kick_);
    if (epoll_ >= 0) close(epoll_);
  }
  RdmaReadiness(const RdmaReadiness&) = delete;
  RdmaReadiness& operator=(const RdmaReadiness&) = delete;

  bool open() const { return epoll_ >= 0; }
  int fd() const { return epoll_; }
  int kick() const { return kick_; }
  /// Readable from the start. Throws Error.
  void Open(std::initializer_list<int> others) {
    kick_ = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    if (kick_ < 0 || epoll_ < 0) throw Error(errno, "RDMA connection: cannot create a descriptor");
    Watch(kick_);
    for (const int fd : others) Watch(fd);
  }
  void Kick() const {
    const uint64_t one = 1;
    // Fails only when the counter is full, and then it is readable anyway.
    if (open()) [[maybe_unused]]
      const ssize_t written = write(kick_, &one, sizeof(one));
  }
  void Clear() const {
    uint64_t count;
    if (open()) [[maybe_unused]]
      const ssize_t taken = read(kick_, &count, sizeof(count));
  }

 private:
  void Watch(int fd) const {
    epoll_event event{};
    event.events = EPOLLIN;
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) {
      throw Error(errno, "RDMA connection: cannot watch a descriptor");
    }
  }

  int epoll_ = -1;
  int kick_ = -1;
};

namespace {

/// Of a wait that is to end at `deadline_ns` at the latest, how long until then or until `other`.
Timeout Until(uint64_t now, uint64_t deadline_ns, uint64_t other) {
  uint64_t end = deadline_ns;
  if (other != 0) end = std::min(end, other);
  if (end == UINT64_MAX) return std::nullopt;
  return std::chrono::nanoseconds(end > now ? end - now : 0);
}

}  // namespace

/// The active side.
class RdmaConnecting {
 public:
  RdmaConnecting(Nic& nic, const Endpoint& peer, const RdmaParameters& parameters,
                 uint16_t local_port, uint32_t receive_reservation)
      : carrier_(nic.shared_from_this(), nullptr, receive_reservation),
        peer_(peer),
        data_(parameters.private_data.begin(), parameters.private_data.end()),
        parameters_(parameters) {
    if (data_.size() > kMaxPrivateData || parameters.ird > kMaxRdmaDepth ||
        parameters.ord > kMaxRdmaDepth) {
      throw Error(EINVAL, "connect to " + peer.ToString() +
                              ": private data, ird or ord are more than an RDMA connection has");
    }
    parameters_.private_data = data_;
    if (parameters.timeout.count() != 0) {
      deadline_ns_ =
          Platform().NowNs() + static_cast<uint64_t>(parameters.timeout.count()) * 1000000;
    }
    carrier_.qp().StartConnect(peer, local_port);
  }
  ~RdmaConnecting() {
    if (readiness_.open() && !Impl().nic()->forked()) {
      Impl().nic()->event_fds().Remove(readiness_.kick());
    }
  }

  RdmaConnector::State Poll() {
    readiness_.Clear();
    if (readiness_.open()) carrier_.cq().Acknowledge();
    Step();
    if (readiness_.open() && state_ == RdmaConnector::State::kConnecting) {
      try {
        if (!carrier_.cq().Arm()) readiness_.Kick();
      } catch (const Error& error) {
        Fail(error);
      }
    }
    return state_;
  }

  RdmaConnector::State Wait(Timeout timeout) {
    const uint64_t deadline = DeadlineNs(Platform(), timeout);
    for (;;) {
      Step();
      const uint64_t now = Platform().NowNs();
      if (state_ != RdmaConnector::State::kConnecting || now >= deadline) return state_;
      try {
        const uint64_t own = carrier_.begun() ? carrier_.deadline_ns() : deadline_ns_;
        const Timeout rest = Until(now, deadline, own);
        if (!carrier_.begun()) {
          (void)carrier_.qp().WaitConnected(rest);
          continue;
        }
        std::array<WorkCompletion, 4> done;
        const size_t count = carrier_.cq().Wait(done, rest);
        for (size_t i = 0; i < count; ++i) carrier_.OnCompletion(done[i]);
      } catch (const Error& error) {
        Fail(error);
      }
    }
  }

  int fd() {
    if (!readiness_.open()) {
      readiness_.Open({carrier_.cq().fd()});
      Impl().nic()->event_fds().Add(readiness_.kick());
    }
    return readiness_.fd();
  }

  void Establish(QueuePair& qp) {
    if (state_ != RdmaConnector::State::kAccepted) {
      throw Error(ENOTCONN, "establish an RDMA connection: the peer has not accepted it");
    }
    carrier_.GiveTo(qp);
    state_ = RdmaConnector::State::kEstablished;
  }

  RdmaCarrier& carrier() { return carrier_; }
  const Endpoint& peer() const { return peer_; }
  const RdmaAgreement& agreement() const { return agreement_; }
  const Error& error() const { return error_; }

 private:
  QpImpl& Impl() { return *NicImpl::Impl(carrier_.qp()); }
  abi::HostPlatform& Platform() { return Impl().nic()->platform(); }

  void Fail(const Error& error) {
    if (state_ != RdmaConnector::State::kConnecting) return;
    error_ = error;
    state_ = RdmaConnector::State::kFailed;
  }

  void Step() {
    if (state_ != RdmaConnector::State::kConnecting) return;
    try {
      std::array<WorkCompletion, 4> done;
      const size_t count = carrier_.cq().Poll(done);
      if (!carrier_.begun()) {
        if (carrier_.qp().WaitConnected(std::chrono::nanoseconds(0))) {
          RdmaParameters rest = parameters_;
          if (deadline_ns_ != 0) {  // of the whole set-up: what TCP's has left of it
            const uint64_t now = Platform().NowNs();
            const uint64_t left = deadline_ns_ > now ? deadline_ns_ - now : 0;
            rest.timeout = std::chrono::milliseconds(std::max<uint64_t>(left / 1000000, 1));
          }
          carrier_.Begin(rest);
        } else if (deadline_ns_ != 0 && Platform().NowNs() >= deadline_ns_) {
          carrier_.qp().GiveUpConnecting();
        }
      }
      for (size_t i = 0; i < count; ++i) carrier_.OnCompletion(done[i]);
      Judge();
    } catch (const Error& error) {
      Fail(error);
    }
  }

  /// Fails: at once where the peer is not told (kNone), or else when it has taken the Terminate,
  /// which an RST could overtake.
  void Terminate(iwarp::Cause cause, const std::string& why) {
    error_ = Error(EPROTO, why);
    if (cause != iwarp::Cause::kNone) carrier_.Terminate(cause);
    if (!carrier_.terminated()) state_ = RdmaConnector::State::kFailed;
  }

  void Judge() {
    if (carrier_.terminated()) {
      if (carrier_.over()) state_ = RdmaConnector::State::kFailed;
      return;
    }
    const std::string what = "connect to " + peer_.ToString() + ": ";
    if (carrier_.OnTime()) {
      Fail(Error(ETIMEDOUT, what + "the peer does not answer the MPA Request"));
      return;
    }
    const iwarp::Startup& startup = carrier_.startup();
    switch (startup.state) {
      case iwarp::StartupState::kSendReady:
      case iwarp::StartupState::kOperational:
        if (startup.agreement.send_markers) {
          Terminate(iwarp::Cause::kMpaCatastrophic,
                    what + "the peer wants markers, which are not sent");
          return;
        }
        agreement_ = carrier_.Agreement();
        state_ = RdmaConnector::State::kAccepted;
        return;
      case iwarp::StartupState::kRejected:
        agreement_ = {.peer_ird = carrier_.Agreement().peer_ird,
                      .peer_ord = carrier_.Agreement().peer_ord};
        error_ = Error(ECONNREFUSED, what + "the peer has rejected the RDMA connection");
        state_ = RdmaConnector::State::kRejected;
        return;
      case iwarp::StartupState::kFailed:
        Terminate(startup.cause, what + "the peer's answer is no MPA Reply that fits: " +
                                     (startup.error != iwarp::StartupError::kNone
                                          ? iwarp::StartupErrorName(startup.error)
                                          : iwarp::CauseName(startup.cause)));
        return;
      default:
        break;
    }
    if (carrier_.broken() && carrier_.begun()) {
      Fail(Error(ECONNRESET, what + "closed by the peer before it has answered"));
    }
  }

  RdmaCarrier carrier_;
  Endpoint peer_;
  std::vector<std::byte> data_;
  RdmaParameters parameters_;
  uint64_t deadline_ns_ = 0;
  RdmaReadiness readiness_;
  RdmaConnector::State state_ = RdmaConnector::State::kConnecting;
  RdmaAgreement agreement_;
  Error error_{0, "no error"};
};

/// The passive side.
class RdmaListenerImpl {
 public:
  RdmaListenerImpl(Nic& nic, uint16_t port, const RdmaListenerOptions& options)
      : nic_(nic.shared_from_this()), options_(options) {
    if (options.backlog == 0 || options.backlog > 1024) {
      throw Error(EINVAL, "RDMA listener: backlog is 1 to 1024");
    }
    // Room for the carriers that have been handed out, too.
    cq_ = nic_->CreateCq(8u * options.backlog);
    listener_ = nic_->Listen(port, options.backlog);
    while (carriers_.size() < options.backlog) Offer();
  }
  ~RdmaListenerImpl() { carriers_.clear(); }

  uint16_t port() const { return listener_->port(); }
  uint64_t refused() const { return refused_; }

  std::unique_ptr<RdmaRequest> Next(Timeout timeout) {
    abi::HostPlatform& platform = NicImpl::Impl(*cq_)->nic()->platform();
    const uint64_t deadline = DeadlineNs(platform, timeout);
    readiness_.Clear();
    if (readiness_.open()) cq_->Acknowledge();
    for (;;) {
      Harvest(std::chrono::nanoseconds(0));
      if (!ready_.empty()) break;
      const uint64_t now = platform.NowNs();
      if (now >= deadline) {
        if (readiness_.open() && !cq_->Arm()) readiness_.Kick();
        return nullptr;
      }
      // A connection makes no completion: it is looked for now and then, so that its time begins.
      Harvest(Until(now, std::min(deadline, now + kLookNs), Earliest()));
    }
    std::unique_ptr<RdmaCarrier> carrier = std::move(ready_.front());
    ready_.pop_front();
    readiness_.Kick();  // there may be more, and the queue is not armed
    return std::unique_ptr<RdmaRequest>(new RdmaRequest(std::move(carrier)));
  }

  int fd() {
    if (!readiness_.open()) readiness_.Open({cq_->fd(), listener_->fd()});
    return readiness_.fd();
  }

 private:
  static constexpr uint64_t kLookNs = 100'000'000;

  void Offer() {
    auto carrier = std::make_unique<RdmaCarrier>(nic_, cq_, options_.receive_reservation);
    listener_->Offer(carrier->qp());
    carriers_.push_back(std::move(carrier));
  }

  uint64_t Earliest() const {
    uint64_t earliest = 0;
    for (const auto& carrier : carriers_) {
      const uint64_t deadline = carrier->begun() ? carrier->deadline_ns() : 0;
      if (deadline != 0 && (earliest == 0 || deadline < earliest)) earliest = deadline;
    }
    return earliest;
  }

  void Harvest(Timeout timeout) {
    std::array<WorkCompletion, 16> done;
    const bool look = timeout.has_value() && timeout->count() == 0;
    const size_t count = look ? cq_->Poll(done) : cq_->Wait(done, timeout);
    // After the completions: those connected by now have all that theirs say.
    while (QueuePair* qp = listener_->Accept(std::chrono::nanoseconds(0))) {
      for (const auto& carrier : carriers_) {
        if (&carrier->qp() == qp) carrier->AwaitRequest(options_.timeout);
      }
    }
    for (size_t i = 0; i < count; ++i) {
      for (const auto& carrier : carriers_) {
        if (carrier->id() == done[i].wr_id) carrier->OnCompletion(done[i]);
      }
    }
    Sort();
  }

  /// Those whose request is here are handed out, those that have failed let go of; others take
  /// their places.
  void Sort() {
    std::erase_if(carriers_, [&](std::unique_ptr<RdmaCarrier>& carrier) {
      const bool late = carrier->OnTime();
      const iwarp::StartupState state = carrier->startup().state;
      const bool is_ready = state == iwarp::StartupState::kDeciding && !carrier->broken();
      if (is_ready) {
        ready_.push_back(std::move(carrier));
      } else if (late || carrier->broken() || state == iwarp::StartupState::kFailed) {
        ++refused_;
      } else {
        return false;
      }
      return true;
    });
    while (carriers_.size() < options_.backlog) {
      try {
        Offer();
      } catch (const Error&) {
        return;  // no room now: tried again at the next look
      }
    }
  }

  std::shared_ptr<Nic> nic_;
  RdmaListenerOptions options_;
  std::shared_ptr<CompletionQueue> cq_;
  std::unique_ptr<Listener> listener_;
  std::vector<std::unique_ptr<RdmaCarrier>> carriers_;
  std::deque<std::unique_ptr<RdmaCarrier>> ready_;
  uint64_t refused_ = 0;
  RdmaReadiness readiness_;
};

}  // namespace internal

RdmaConnector::RdmaConnector(Nic& nic, const Endpoint& peer, const RdmaParameters& parameters,
                             uint16_t local_port, uint32_t receive_reservation)
    : impl_(std::make_unique<internal::RdmaConnecting>(nic, peer, parameters, local_port,
                                                       receive_reservation)) {}
RdmaConnector::~RdmaConnector() = default;
RdmaConnector::State RdmaConnector::Poll() { return impl_->Poll(); }
RdmaConnector::State RdmaConnector::Wait(Timeout timeout) { return impl_->Wait(timeout); }
int RdmaConnector::fd() { return impl_->fd(); }
Endpoint RdmaConnector::local() const { return impl_->carrier().qp().local(); }
Endpoint RdmaConnector::peer() const { return impl_->peer(); }
std::span<const std::byte> RdmaConnector::private_data() const {
  return impl_->carrier().private_data();
}
const RdmaAgreement& RdmaConnector::agreement() const { return impl_->agreement(); }
Error RdmaConnector::error() const { return impl_->error(); }
void RdmaConnector::Establish(QueuePair& qp) { impl_->Establish(qp); }

RdmaAgreement RdmaConnect(Nic& nic, QueuePair& qp, const Endpoint& peer,
                          const RdmaParameters& parameters, Timeout timeout,
                          std::vector<std::byte>* private_data) {
  const uint32_t reservation = internal::NicImpl::Impl(qp)->options().receive_reservation;
  RdmaConnector connector(nic, peer, parameters, 0, reservation);
  const RdmaConnector::State state = connector.Wait(timeout);
  if (private_data != nullptr) {
    private_data->assign(connector.private_data().begin(), connector.private_data().end());
  }
  if (state == RdmaConnector::State::kConnecting) {
    throw Error(ETIMEDOUT, "connect to " + peer.ToString() + ": timed out");
  }
  if (state != RdmaConnector::State::kAccepted) throw connector.error();
  connector.Establish(qp);
  return connector.agreement();
}

RdmaRequest::RdmaRequest(std::unique_ptr<internal::RdmaCarrier> carrier)
    : carrier_(std::move(carrier)), offer_(carrier_->Offer()) {}
RdmaRequest::~RdmaRequest() = default;
std::span<const std::byte> RdmaRequest::private_data() const { return carrier_->private_data(); }
Endpoint RdmaRequest::local() const { return carrier_->qp().local(); }
Endpoint RdmaRequest::peer() const { return carrier_->qp().peer(); }
const RdmaAgreement& RdmaRequest::offer() const { return offer_; }
bool RdmaRequest::alive() {
  return !carrier_->OnTime() && carrier_->qp().state() == QpState::kConnected;
}
RdmaAgreement RdmaRequest::Accept(QueuePair& qp, const RdmaParameters& parameters) {
  carrier_->Accept(qp, parameters);
  return carrier_->Agreement();
}
void RdmaRequest::Reject(ConstBytes private_data) { carrier_->Reject(private_data); }

RdmaListener::RdmaListener(Nic& nic, uint16_t port, const RdmaListenerOptions& options)
    : impl_(std::make_unique<internal::RdmaListenerImpl>(nic, port, options)) {}
RdmaListener::~RdmaListener() = default;
uint16_t RdmaListener::port() const { return impl_->port(); }
std::unique_ptr<RdmaRequest> RdmaListener::Next(Timeout timeout) { return impl_->Next(timeout); }
int RdmaListener::fd() { return impl_->fd(); }
uint64_t RdmaListener::refused() const { return impl_->refused(); }

}  // namespace qpip
