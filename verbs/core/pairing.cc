// ibv_modify_qp to RTR: two queue pairs that know each other's GID and number become one
// connection.
//
// The pair's numbers are the TCP ports of the connection: its four addresses are the pair's
// identity, and no message of ours is needed. Both sides know which of them is the MPA initiator:
// the one with the higher (GID, number). It connects until the other listens (decision 0059).
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "qpip/rdma.h"
#include "verbs/core/queue_pair.h"

namespace qpip::verbs {

namespace {

using std::chrono::milliseconds;

// Between attempts to reach a peer that is not in RTR yet.
constexpr milliseconds kFirstPause{1};
constexpr milliseconds kLongestPause{50};
// Programs enter RTR some time apart, and InfiniBand has no time-out for that.
constexpr milliseconds kLeastPatience{15000};
// InfiniBand tells nobody that a peer has gone; who only receives waits for ever. Here it is known
// when a peer's process has died, and programs that wait are told, unless they end by themselves
// within this time.
constexpr milliseconds kUntilTold{1000};

/// 4.096 us times 2^timeout an attempt, as InfiniBand has it, at least kLeastPatience.
milliseconds Patience(const ibv_qp_attr& attributes) {
  const double attempt_ms =
      4.096e-3 * static_cast<double>(uint64_t{1} << (attributes.timeout & 31));
  const auto all = static_cast<int64_t>(attempt_ms * (attributes.retry_cnt + 1));
  return std::clamp(milliseconds(all), kLeastPatience, milliseconds(600000));
}

class Pairing : public Task {
 public:
  explicit Pairing(Qp& qp) : qp_(qp) {
    std::memcpy(&peer_.address, qp.attributes.ah_attr.grh.dgid.raw, sizeof peer_.address);
    peer_.port = static_cast<uint16_t>(qp.attributes.dest_qp_num);
    const in6_addr own = Nic().address();
    const int order = std::memcmp(&own, &peer_.address, sizeof own);
    initiator_ = order > 0 || (order == 0 && qp.number() > peer_.port);
    if (!initiator_) StartListener();
  }

  int fd() override {
    if (connector_) return connector_->fd();
    return listener_ ? listener_->fd() : -1;
  }

  Clock::time_point OnTurn() override {
    if (done_) return WatchEnd();
    try {
      if (adopted_) {
        AwaitConnected();
      } else if (initiator_) {
        Initiate();
      } else {
        Answer();
      }
    } catch (const Error&) {
      GiveUp();
    }
    if (done_) return WatchEnd();
    const Clock::time_point deadline = Deadline();
    if (Clock::now() >= deadline) {
      GiveUp();
      return Clock::time_point::max();
    }
    return connector_ || listener_ ? deadline : std::min(deadline, again_);
  }

 private:
  // Programs say `timeout` and `retry_cnt` when they go on to RTS.
  Clock::time_point Deadline() const { return began_ + Patience(qp_.attributes); }

  qpip::Nic& Nic() { return qp_.context->session->nic(); }

  RdmaParameters Parameters() const {
    return {.ird = kMaxRdmaDepth, .ord = kMaxRdmaDepth, .timeout = kLeastPatience};
  }

  void Initiate() {
    if (!connector_) {
      if (Clock::now() < again_) return;
      StartConnector();
      if (!connector_) return;
    }
    switch (connector_->Poll()) {
      case RdmaConnector::State::kConnecting:
      case RdmaConnector::State::kEstablished:
        return;
      case RdmaConnector::State::kAccepted:
        connector_->Establish(*qp_.real);
        adopted_ = true;
        AwaitConnected();
        return;
      case RdmaConnector::State::kRejected:
      case RdmaConnector::State::kFailed:
        break;
    }
    // Not in RTR yet, or with somebody else.
    connector_.reset();
    Pause();
  }

  void StartConnector() {
    try {
      connector_.emplace(Nic(), peer_, Parameters(), static_cast<uint16_t>(qp_.number()));
    } catch (const Error& error) {
      // The connection that the queue pair had before it was reset is ending; or there are as many
      // on their way as the NIC has places for.
      if (error.code() != EADDRINUSE && error.code() != ENOMEM) throw;
      Pause();
    }
  }

  // The NIC has places for some at a time; meanwhile the peer's attempts are refused.
  void StartListener() {
    try {
      listener_.emplace(Nic(), static_cast<uint16_t>(qp_.number()),
                        RdmaListenerOptions{.backlog = 1});
    } catch (const Error& error) {
      if (error.code() != ENOMEM) throw;
      Pause();
    }
  }

  void Pause() {
    again_ = Clock::now() + pause_;
    pause_ = std::min(2 * pause_, kLongestPause);
  }

  void Answer() {
    if (!listener_) {
      if (Clock::now() < again_) return;
      StartListener();
      if (!listener_) return;
    }
    while (auto request = listener_->Next(std::chrono::nanoseconds(0))) {
      // Others are let go of: their attempts fail.
      if (request->peer() != peer_) continue;
      request->Accept(*qp_.real, Parameters());
      adopted_ = true;
      AwaitConnected();
      return;
    }
  }

  // The NIC's event that says so comes behind its answer.
  void AwaitConnected() {
    switch (qp_.real->state()) {
      case QpState::kConnected:
      case QpState::kPeerClosed:
        break;
      case QpState::kClosed:
        GiveUp();
        return;
      default:
        return;
    }
    done_ = true;
    qp_.Open();
    connector_.reset();
    listener_.reset();
  }

  /// Of a connection that there was.
  Clock::time_point WatchEnd() {
    const auto never = Clock::time_point::max();
    const QpState state = qp_.real->state();
    if (state == QpState::kPeerClosed) told_ = true;  // the peer has ended in an orderly way
    if (told_ || state != QpState::kClosed || qp_.path.load() != Path::kOpen) return never;
    switch (qp_.real->disconnect_reason()) {
      case DisconnectReason::kReset:
      case DisconnectReason::kTimedOut:
      case DisconnectReason::kUnreachable:
      case DisconnectReason::kWireFailed:
        break;
      default:
        return never;
    }
    if (tell_at_ == never) tell_at_ = Clock::now() + kUntilTold;
    if (Clock::now() < tell_at_) return tell_at_;
    told_ = true;
    qp_.Fail();
    return never;
  }

  void GiveUp() {
    done_ = true;
    told_ = true;
    connector_.reset();
    listener_.reset();
    qp_.Fail(IBV_WC_RETRY_EXC_ERR);
  }

  Qp& qp_;
  Endpoint peer_;
  const Clock::time_point began_ = Clock::now();
  Clock::time_point again_ = Clock::time_point::min();
  milliseconds pause_ = kFirstPause;
  bool initiator_ = false;
  bool adopted_ = false;  ///< the queue pair has the connection
  bool done_ = false;     ///< connected, or given up
  bool told_ = false;     ///< nothing more is to be told
  Clock::time_point tell_at_ = Clock::time_point::max();
  std::optional<RdmaConnector> connector_;
  std::optional<RdmaListener> listener_;
};

}  // namespace

void StartPairing(Qp& qp) {
  if (qp.attributes.dest_qp_num > UINT16_MAX) {
    throw Error(EINVAL, "connect queue pair: the number is no QPIP queue pair's");
  }
  auto pairing = std::make_shared<Pairing>(qp);
  qp.task = pairing;
  qp.context->session->engine().Add(std::move(pairing));
}

}  // namespace qpip::verbs
