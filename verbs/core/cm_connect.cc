// Identifiers: connections, from asking to the end.
#include <arpa/inet.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "verbs/core/cm.h"

namespace qpip::verbs {

namespace {

constexpr std::chrono::milliseconds kConnectTimeout{20000};
constexpr std::chrono::milliseconds kAnswerTimeout{60000};
// A listener is asked as often, or who connects and says nothing would keep its place for ever.
constexpr std::chrono::milliseconds kRequestPatience = kAnswerTimeout;
// Programs close a listener and open it again while their peers connect once more, and count on
// connection managers that take their time: a refusal is believed when it has lasted so long.
constexpr std::chrono::milliseconds kRefusedAfter{250};
constexpr std::chrono::milliseconds kRefusedPause{5};
// For the peer's end of the stream, after ours.
constexpr std::chrono::seconds kEndPatience{5};
constexpr int kDefaultBacklog = 32;
constexpr int kMostBacklog = 256;

uint16_t Depth(uint8_t asked) { return std::min<uint16_t>(asked, kMaxRdmaDepth); }

void SetParameters(CmId& id, const rdma_conn_param* given) {
  RdmaParameters& parameters = id.parameters;
  parameters = {.timeout = kConnectTimeout};
  if (given == nullptr) return;
  const auto* data = static_cast<const std::byte*>(given->private_data);
  id.private_data.assign(data, data + (data == nullptr ? 0 : given->private_data_len));
  parameters.private_data = id.private_data;
  parameters.ird = Depth(given->responder_resources);
  parameters.ord = Depth(given->initiator_depth);
}

// Throws Error.
void StartConnector(CmId& id) {
  const Endpoint peer = *EndpointOf(&id.base.route.addr.dst_addr);
  id.connector = std::make_unique<RdmaConnector>(id.context->session->nic(), peer, id.parameters,
                                                 id.local_port);
}

rdma_conn_param ParametersOf(uint16_t ird, uint16_t ord) {
  rdma_conn_param parameters = {};
  parameters.responder_resources = static_cast<uint8_t>(std::min<uint16_t>(ird, UINT8_MAX));
  parameters.initiator_depth = static_cast<uint8_t>(std::min<uint16_t>(ord, UINT8_MAX));
  return parameters;
}

// --- RDMA_PS_UDP: a question and its answer, before datagrams go their way. Both are private data
// of a connection that is asked for and always rejected, so that they are repeated and bounded as
// others.

/// In front of the program's own. Numbers in network byte order.
struct ServiceHeader {
  uint32_t magic;
  uint32_t number;  ///< answers: of the queue pair; 0: no
  uint32_t queue_key;
};
constexpr uint32_t kServiceMagic = 0x51505351;  // "QPSQ"

std::vector<std::byte> ServiceData(uint32_t number, uint32_t queue_key, ConstBytes own) {
  const ServiceHeader header = {
      .magic = htonl(kServiceMagic), .number = htonl(number), .queue_key = htonl(queue_key)};
  std::vector<std::byte> data(sizeof header + own.size());
  std::memcpy(data.data(), &header, sizeof header);
  std::copy(own.begin(), own.end(), data.begin() + sizeof header);
  return data;
}

// Takes the header off. nullopt: there is none.
std::optional<ServiceHeader> TakeServiceHeader(std::span<const std::byte>* data) {
  ServiceHeader header;
  if (data->size() < sizeof header) return std::nullopt;
  std::memcpy(&header, data->data(), sizeof header);
  if (header.magic != htonl(kServiceMagic)) return std::nullopt;
  *data = data->subspan(sizeof header);
  return ServiceHeader{
      .magic = header.magic, .number = ntohl(header.number), .queue_key = ntohl(header.queue_key)};
}

/// What goes on by itself with one identifier.
class CmTask : public Task {
 public:
  explicit CmTask(CmId& id) : id_(id) {}

  int fd() override {
    if (id_.state == CmState::kListening) return id_.listener->fd();
    return id_.state == CmState::kConnecting && id_.connector ? id_.connector->fd() : -1;
  }

  Clock::time_point OnTurn() override {
    try {
      switch (id_.state) {
        case CmState::kListening:
          TakeRequests();
          if (id_.state != CmState::kListening) break;
          return Clock::now() + kRequestPatience;
        case CmState::kConnecting:
          OnAnswer();
          if (id_.state != CmState::kConnecting) break;
          // The connector's own time-out counts when it is asked.
          return id_.connector != nullptr ? id_.deadline : again_;
        case CmState::kEstablishing:
          OnEstablished();
          break;
        case CmState::kConnected:
        case CmState::kPeerEnded:
        case CmState::kEnding:
          return WatchEnd();
        default:
          break;
      }
    } catch (const Error& error) {
      OnError(error);
    }
    return NextLook();
  }

 private:
  void TakeRequests() {
    while (auto request = id_.listener->Next(std::chrono::nanoseconds(0))) {
      // Who asks for the other sort of service is hung up on.
      std::span<const std::byte> data = request->private_data();
      if (TakeServiceHeader(&data).has_value() != id_.datagrams()) continue;
      CmId& child = *CmCreateId(&Of(id_.base.channel), id_.base.context, id_.base.ps);
      child.context = id_.context;
      child.base.verbs = id_.context->base();
      child.base.port_num = 1;
      child.base.pd = id_.base.pd;
      SetAddress(&child.base.route.addr.src_storage, request->local());
      SetAddress(&child.base.route.addr.dst_storage, request->peer());
      child.state = CmState::kRequested;
      const RdmaAgreement offer = request->offer();
      child.request = std::move(request);
      if (child.datagrams()) {
        CmRaiseDatagram(child, RDMA_CM_EVENT_CONNECT_REQUEST, {}, data, &id_);
        continue;
      }
      CmRaise(child, RDMA_CM_EVENT_CONNECT_REQUEST, 0, ParametersOf(offer.ird, offer.ord),
              child.request->private_data(), &id_);
    }
  }

  // The answer to a request for a service.
  void OnServiceAnswer(std::span<const std::byte> data) {
    const auto header = TakeServiceHeader(&data);
    if (!header || header->number == 0) {
      End(RDMA_CM_EVENT_UNREACHABLE, -ECONNREFUSED, data);
      return;
    }
    rdma_ud_param parameters = {};
    parameters.ah_attr.is_global = 1;
    parameters.ah_attr.port_num = 1;
    const in6_addr peer = EndpointOf(&id_.base.route.addr.dst_addr)->address;
    std::memcpy(parameters.ah_attr.grh.dgid.raw, &peer, sizeof peer);
    parameters.qp_num = header->number;
    parameters.qkey = header->queue_key;
    id_.state = CmState::kOver;
    CmRaiseDatagram(id_, RDMA_CM_EVENT_ESTABLISHED, parameters, data);
    id_.connector.reset();
  }

  void OnAnswer() {
    if (id_.connector == nullptr) {
      if (Clock::now() < again_) return;
      StartConnector(id_);
    }
    RdmaConnector& connector = *id_.connector;
    switch (connector.Poll()) {
      case RdmaConnector::State::kAccepted:
        Establish();
        return;
      case RdmaConnector::State::kRejected:
        if (id_.datagrams()) {
          OnServiceAnswer(connector.private_data());
          return;
        }
        End(RDMA_CM_EVENT_REJECTED, -ECONNREFUSED, connector.private_data());
        return;
      case RdmaConnector::State::kFailed: {
        const int code = connector.error().code();
        if (code == ECONNREFUSED && Clock::now() < began_ + kRefusedAfter) {
          again_ = Clock::now() + kRefusedPause;
          id_.connector.reset();
          return;
        }
        const bool refused = code == ECONNREFUSED || code == ECONNRESET;
        const bool away = code == ETIMEDOUT || code == EHOSTUNREACH || code == ENETUNREACH;
        End(refused ? RDMA_CM_EVENT_REJECTED
                    : (away ? RDMA_CM_EVENT_UNREACHABLE : RDMA_CM_EVENT_CONNECT_ERROR),
            -code, {});
        return;
      }
      default:
        return;
    }
  }

  void Establish() {
    const RdmaConnector& connector = *id_.connector;
    SetAddress(&id_.base.route.addr.src_storage, connector.local());
    const bool usable = id_.qp != nullptr && !id_.datagrams() && id_.qp->real != nullptr &&
                        id_.qp->path.load() != Path::kDead;
    if (!usable) {
      End(RDMA_CM_EVENT_CONNECT_ERROR, -EINVAL, {});
      return;
    }
    id_.connector->Establish(*id_.qp->real);
    id_.state = CmState::kEstablishing;
    OnEstablished();
  }

  void OnEstablished() {
    switch (id_.qp->real->state()) {
      case QpState::kConnecting:
        return;
      case QpState::kClosed:
        End(RDMA_CM_EVENT_CONNECT_ERROR, -ECONNRESET, {});
        return;
      default:
        break;
    }
    id_.state = CmState::kConnected;
    // Of a queue pair of its own the program sets the states.
    if (id_.base.qp != nullptr) Of(id_.base.qp).SetState(IBV_QPS_RTS);
    id_.qp->Open();
    if (id_.connector != nullptr) {
      // A queue pair of the program's own is modified by the program before it goes on.
      const bool own = id_.base.qp == nullptr;
      const RdmaAgreement agreement = id_.connector->agreement();
      CmRaise(id_, own ? RDMA_CM_EVENT_CONNECT_RESPONSE : RDMA_CM_EVENT_ESTABLISHED, 0,
              ParametersOf(agreement.ird, agreement.ord), id_.connector->private_data());
      id_.connector.reset();
    } else {
      id_.request.reset();
      CmRaise(id_, RDMA_CM_EVENT_ESTABLISHED, 0);
    }
    WatchEnd();
  }

  Clock::time_point WatchEnd() {
    if (id_.qp == nullptr || id_.qp->real == nullptr) return Clock::time_point::max();
    QueuePair& real = *id_.qp->real;
    const QpState state = real.state();
    if (state == QpState::kClosed) {
      id_.state = CmState::kOver;
      id_.qp->Fail();
      TellEnd();
      if (id_.qp->roce()) CmRaise(id_, RDMA_CM_EVENT_TIMEWAIT_EXIT, 0);
      return Clock::time_point::max();
    }
    // The peer has ended. The NIC ends this side too, behind what is posted, but not before what
    // still waits for receives has been received: the peer knows that to be done.
    if (state == QpState::kPeerClosed && id_.state == CmState::kConnected) {
      id_.state = CmState::kPeerEnded;
      id_.deadline = Clock::now() + kEndPatience;
    }
    if (id_.state == CmState::kPeerEnded && Clock::now() >= id_.deadline) {
      TellEnd();  // the program decides how long it goes on receiving
      id_.deadline = Clock::time_point::max();
    }
    if (id_.state == CmState::kEnding && Clock::now() >= id_.deadline) {
      real.Abort();  // which its state will tell
      id_.deadline = Clock::time_point::max();
    }
    return NextLook();
  }

  Clock::time_point NextLook() const {
    const bool ending = id_.state == CmState::kEnding || id_.state == CmState::kPeerEnded;
    return ending ? id_.deadline : Clock::time_point::max();
  }

  void TellEnd() {
    if (id_.told_end) return;
    id_.told_end = true;
    CmRaise(id_, RDMA_CM_EVENT_DISCONNECTED, 0);
  }

  void End(rdma_cm_event_type type, int status, std::span<const std::byte> private_data) {
    id_.state = CmState::kOver;
    CmRaise(id_, type, status, {}, private_data);
    id_.connector.reset();
    if (id_.qp != nullptr && !id_.datagrams()) id_.qp->Fail();
  }

  void OnError(const Error& error) {
    switch (id_.state) {
      case CmState::kConnecting:
      case CmState::kEstablishing:
        End(RDMA_CM_EVENT_CONNECT_ERROR, -error.code(), {});
        break;
      case CmState::kListening:
        CmRaise(id_, RDMA_CM_EVENT_DEVICE_REMOVAL, 0);
        id_.state = CmState::kOver;
        break;
      default:
        break;  // its queue pair has ended, and says so
    }
  }

  CmId& id_;
  const Clock::time_point began_ = Clock::now();
  Clock::time_point again_ = Clock::time_point::min();  ///< after a refusal
};

void StartTask(CmId& id) {
  auto task = std::make_shared<CmTask>(id);
  id.task = task;
  id.context->session->engine().Add(std::move(task));
}

// The identifier's queue pair, or the one of the program's own that `parameters` names, or the one
// that stands in for it. With the control lock. nullptr: there is none.
Qp* FindQp(CmId& id, const rdma_conn_param* parameters) {
  if (id.base.qp != nullptr) return &Of(id.base.qp);
  if (parameters == nullptr) return nullptr;
  Qp* own = id.context->session->qps().Find(parameters->qp_num);
  return own != nullptr ? own : id.stand_in;
}

// Sees to it that FindQp finds one for a connection, if the program has said anything about it.
void ProvideQp(CmId& id, const rdma_conn_param* parameters) {
  if (id.datagrams() || parameters == nullptr) return;
  {
    const std::lock_guard lock(id.context->session->control());
    if (FindQp(id, parameters) != nullptr) return;
  }
  CmMakeStandIn(id);
}

void Attach(CmId& id, Qp* qp) {
  if (qp->on_destroy) qp->on_destroy();  // the identifier that had it before lets go of it
  id.qp = qp;
  qp->managed = true;
  qp->on_destroy = [&id] {
    id.qp = nullptr;
    const bool connected = id.state == CmState::kConnected || id.state == CmState::kPeerEnded ||
                           id.state == CmState::kEnding;
    if (connected && !id.told_end) CmRaise(id, RDMA_CM_EVENT_DISCONNECTED, 0);
    if (id.state == CmState::kEstablishing) {
      CmRaise(id, RDMA_CM_EVENT_CONNECT_ERROR, -ECONNRESET);
    }
    id.told_end = true;
    id.state = CmState::kOver;
    id.connector.reset();
  };
}

}  // namespace

int CmListen(CmId& id, int backlog) {
  if (id.state == CmState::kIdle) {
    const sockaddr_in any = {.sin_family = AF_INET, .sin_port = 0, .sin_addr = {}, .sin_zero = {}};
    if (const int error = CmBind(id, reinterpret_cast<const sockaddr*>(&any)); error != 0) {
      return error;
    }
  }
  const std::lock_guard lock(id.context->session->control());
  if (id.state != CmState::kBound) return EINVAL;
  const Endpoint local = *EndpointOf(&id.base.route.addr.src_addr);
  const int room = backlog <= 0 ? kDefaultBacklog : std::min(backlog, kMostBacklog);
  id.listener = std::make_unique<RdmaListener>(
      id.context->session->nic(), local.port,
      RdmaListenerOptions{.backlog = static_cast<uint16_t>(room), .timeout = kAnswerTimeout});
  // Behind the family in both sorts of addresses.
  id.base.route.addr.src_sin.sin_port = htons(id.listener->port());
  id.state = CmState::kListening;
  StartTask(id);
  return 0;
}

int CmConnect(CmId& id, const rdma_conn_param* given) {
  if (id.context == nullptr) return EINVAL;
  ProvideQp(id, given);
  const std::lock_guard lock(id.context->session->control());
  const std::optional<Endpoint> peer = EndpointOf(&id.base.route.addr.dst_addr);
  if (id.state != CmState::kBound || !peer) return EINVAL;
  Qp* qp = FindQp(id, given);
  if (qp == nullptr && !id.datagrams()) return EINVAL;
  id.local_port = id.chosen_port ? 0 : ntohs(id.base.route.addr.src_sin.sin_port);
  SetParameters(id, given);
  if (id.datagrams()) {
    id.private_data = ServiceData(0, 0, id.private_data);
    id.parameters.private_data = id.private_data;
  }
  StartConnector(id);
  if (!id.datagrams()) Attach(id, qp);
  id.deadline = Clock::now() + kConnectTimeout + std::chrono::milliseconds(10);
  id.state = CmState::kConnecting;
  StartTask(id);
  return 0;
}

namespace {

// By the number of the queue pair that serves.
int AcceptService(CmId& id, const rdma_conn_param* given) {
  std::vector<std::byte> answer;
  std::unique_ptr<RdmaRequest> request;
  {
    const std::lock_guard lock(id.context->session->control());
    if (id.state != CmState::kRequested) return EINVAL;
    const Qp* qp = FindQp(id, given);
    if (qp == nullptr || qp->datagrams == nullptr) return EINVAL;
    SetParameters(id, given);
    answer = ServiceData(qp->number(), qp->attributes.qkey, id.private_data);
    request = std::move(id.request);
    id.state = CmState::kOver;
  }
  request->Reject(answer);  // as CmReject
  return 0;
}

}  // namespace

int CmAccept(CmId& id, const rdma_conn_param* given) {
  if (id.context == nullptr) return EINVAL;
  if (id.datagrams()) return AcceptService(id, given);
  ProvideQp(id, given);
  const std::lock_guard lock(id.context->session->control());
  if (id.state != CmState::kRequested) return EINVAL;
  Qp* qp = FindQp(id, given);
  if (qp == nullptr || qp->real == nullptr) return EINVAL;
  SetParameters(id, given);
  id.request->Accept(*qp->real, id.parameters);
  Attach(id, qp);
  id.state = CmState::kEstablishing;
  StartTask(id);
  return 0;
}

int CmReject(CmId& id, ConstBytes private_data) {
  if (id.context == nullptr) return EINVAL;
  std::unique_ptr<RdmaRequest> request;
  {
    const std::lock_guard lock(id.context->session->control());
    if (id.state != CmState::kRequested) return EINVAL;
    request = std::move(id.request);
    id.state = CmState::kOver;
  }
  if (id.datagrams()) {
    request->Reject(ServiceData(0, 0, private_data));
    return 0;
  }
  request->Reject(private_data);  // without the lock: it waits for the peer's end of the stream
  return 0;
}

int CmDisconnect(CmId& id) {
  if (id.context == nullptr) return EINVAL;
  const std::lock_guard lock(id.context->session->control());
  if (id.state == CmState::kOver && id.sync()) {
    CmChannel& channel = Of(id.base.channel);
    const std::lock_guard events(channel.mutex);
    if (channel.waiting.empty()) return EINVAL;  // nothing more comes that could be waited for
  }
  if (id.state == CmState::kEnding || id.state == CmState::kOver) return 0;
  if (id.state != CmState::kConnected && id.state != CmState::kPeerEnded) return EINVAL;
  if (id.qp == nullptr || id.qp->real == nullptr) return EINVAL;
  id.state = CmState::kEnding;
  id.deadline = Clock::now() + kEndPatience;
  try {
    id.qp->real->Shutdown();
  } catch (const Error&) {
    // It has ended meanwhile, which its task will find.
  }
  id.context->session->engine().Wake();
  return 0;
}

}  // namespace qpip::verbs
