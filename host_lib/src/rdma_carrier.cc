#include "rdma_carrier.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "nic_impl.h"
#include "protocols/iwarp/message_layout.h"
#include "protocols/iwarp/rdmap.h"
#include "protocols/iwarp/terminate.h"
#include "queue_pair.h"
#include "status.h"

namespace qpip::internal {

namespace {

std::span<const uint8_t> Octets(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

void CheckParameters(const RdmaParameters& parameters) {
  if (parameters.private_data.size() > kMaxPrivateData) {
    throw Error(EINVAL, "RDMA connection: " + std::to_string(parameters.private_data.size()) +
                            " bytes of private data; there is room for " +
                            std::to_string(kMaxPrivateData));
  }
  if (parameters.ird > kMaxRdmaDepth || parameters.ord > kMaxRdmaDepth) {
    throw Error(EINVAL,
                "RDMA connection: ird and ord are at most " + std::to_string(kMaxRdmaDepth));
  }
}

RdmaAgreement AgreementOf(const iwarp::Startup& startup) {
  const iwarp::StartupAgreement& agreed = startup.agreement;
  return {.ird = std::min(agreed.ird, kMaxRdmaDepth),
          .ord = std::min(agreed.ord, kMaxRdmaDepth),
          .crc = agreed.crc,
          .peer_to_peer = agreed.peer_to_peer,
          .revision = agreed.revision,
          .peer_ird = agreed.enhanced ? agreed.peer.ird : iwarp::kNotNegotiated,
          .peer_ord = agreed.enhanced ? agreed.peer.ord : iwarp::kNotNegotiated};
}

/// For whoever is told that it is over, and then closes.
constexpr std::chrono::seconds kPatience(2);

/// The FPDU of a Terminate, which is the first message of its queue. Its CRC is good, whether they
/// are looked at or not. Returns its bytes.
size_t EmitTerminateFpdu(iwarp::Cause cause, std::span<uint8_t> out) {
  iwarp::DdpHeader ddp;
  ddp.last = true;
  ddp.ulp_control = iwarp::RdmapControl(iwarp::Opcode::kTerminate);
  ddp.queue = iwarp::kTerminateQueue;
  ddp.message_sequence = 1;
  uint8_t ulpdu[iwarp::kUntaggedBytes + iwarp::kMaxTerminateBytes];
  size_t length = iwarp::EmitDdp(ddp, ulpdu);
  length += iwarp::EmitTerminate(iwarp::MakeTerminate(cause, nullptr, 0, nullptr),
                                 std::span(ulpdu).subspan(length));
  const iwarp::Fpdu fpdu = {0, static_cast<uint32_t>(length), false};
  iwarp::EmitFpdu(fpdu, std::span<const uint8_t>(ulpdu, length), /*crc=*/true,
                  out.first(iwarp::FpduBytes(fpdu)));
  return iwarp::FpduBytes(fpdu);
}

}  // namespace

RdmaCarrier::RdmaCarrier(std::shared_ptr<Nic> nic, std::shared_ptr<CompletionQueue> cq,
                         uint32_t receive_reservation)
    : nic_(std::move(nic)), cq_(std::move(cq)) {
  constexpr uint32_t kDepth = 2;
  if (cq_ == nullptr) cq_ = nic_->CreateCq(2 * kDepth);
  pd_ = nic_->AllocatePd();
  memory_ = pd_->Allocate(2 * kBufferBytes);
  qp_ = nic_->CreateQp(*pd_, {.framing = Framing::kStream,
                              .send_cq = cq_.get(),
                              .recv_cq = cq_.get(),
                              .send_depth = kDepth,
                              .recv_depth = kDepth,
                              .max_send_sge = 1,
                              .max_recv_sge = 1,
                              .receive_reservation = receive_reservation});
  PostReceive();
}

RdmaCarrier::~RdmaCarrier() = default;

uint64_t RdmaCarrier::NowNs() const { return NicImpl::Impl(*qp_)->nic()->platform().NowNs(); }

void RdmaCarrier::PostReceive() {
  // Fails only when the connection is over, which its completions say.
  if (qp_->PostRecv(id_, memory_->Sge(received_, kBufferBytes - received_)) != 0) broken_ = true;
}

void RdmaCarrier::Send(const iwarp::StartupFrame& frame) {
  SendBytes(iwarp::EmitStartup(frame, SendBuffer()));
}

std::span<uint8_t> RdmaCarrier::SendBuffer() {
  return {static_cast<uint8_t*>(memory_->data()) + kBufferBytes, kBufferBytes};
}

void RdmaCarrier::SendBytes(size_t bytes) {
  if (qp_->PostSend(id_, memory_->Sge(kBufferBytes, static_cast<uint32_t>(bytes))) != 0) {
    broken_ = true;
  }
}

iwarp::StartupOptions RdmaCarrier::OptionsOf(const RdmaParameters& parameters) const {
  iwarp::StartupOptions options;
  const bool trusted = NicImpl::Impl(*qp_)->nic()->info().wire_trusted;
  options.enhanced = parameters.enhanced;
  options.crc = parameters.crc.value_or(!trusted);
  options.ird = parameters.ird;
  options.most_ird = parameters.ird;
  options.ord = parameters.ord;
  options.peer_to_peer = parameters.enhanced && parameters.peer_to_peer;
  options.ready = iwarp::kReadyByWrite | iwarp::kReadyByRead;
  options.timeout_ms = static_cast<uint32_t>(parameters.timeout.count());
  return options;
}

void RdmaCarrier::Begin(const RdmaParameters& parameters) {
  begun_ = true;
  iwarp::StartupOptions options = OptionsOf(parameters);
  options.ready = iwarp::kReadyByWrite;
  Send(iwarp::BeginInitiator(startup_, options, Octets(parameters.private_data), NowNs()));
}

void RdmaCarrier::AwaitRequest(std::chrono::milliseconds timeout) {
  begun_ = true;
  iwarp::StartupOptions options = OptionsOf({});
  options.timeout_ms = static_cast<uint32_t>(timeout.count());
  iwarp::BeginResponder(startup_, options, NowNs());
}

void RdmaCarrier::OnCompletion(const WorkCompletion& completion) {
  if (completion.status != IBV_WC_SUCCESS || completion.end_of_stream) {
    broken_ = true;
    return;
  }
  if (completion.opcode != IBV_WC_RECV) return;
  if (terminated()) {  // what else the peer says is nothing to anybody
    PostReceive();
    return;
  }
  received_ += completion.byte_len;
  const std::span<const uint8_t> bytes(static_cast<const uint8_t*>(memory_->data()), received_);
  const iwarp::StartupEvent event = iwarp::OnStartupBytes(startup_, bytes);
  if (event.kind == iwarp::StartupEvent::Kind::kNone) {
    PostReceive();
    return;
  }
  const std::span<const std::byte> data = std::as_bytes(event.frame.private_data);
  private_data_.assign(data.begin(), data.end());
}

bool RdmaCarrier::OnTime() { return begun_ && iwarp::OnStartupTimer(startup_, NowNs()); }

RdmaAgreement RdmaCarrier::Agreement() const { return AgreementOf(startup_); }

RdmaAgreement RdmaCarrier::Offer() const {
  iwarp::Startup trial = startup_;
  RdmaParameters most;
  most.ird = kMaxRdmaDepth;
  most.ord = kMaxRdmaDepth;
  iwarp::Accept(trial, OptionsOf(most), {});
  return AgreementOf(trial);
}

void RdmaCarrier::CheckTarget(const QueuePair& qp) const {
  const std::shared_ptr<QpImpl>& target = NicImpl::Impl(qp);
  if (target->options().framing != Framing::kMpa) {
    throw Error(EINVAL, "RDMA connection: the queue pair's framing is not mpa");
  }
  if (target->nic() != NicImpl::Impl(*qp_)->nic()) {
    throw Error(EINVAL, "RDMA connection: the queue pair is another NIC's");
  }
  if (target->options().receive_reservation < NicImpl::Impl(*qp_)->options().receive_reservation) {
    throw Error(EINVAL,
                "RDMA connection: the queue pair's receive_reservation is less than the one that "
                "the connection was made with");
  }
}

void RdmaCarrier::GiveTo(QueuePair& qp) {
  CheckTarget(qp);
  const RdmaAgreement agreed = Agreement();
  const bool ready = startup_.state == iwarp::StartupState::kSendReady;
  NicImpl::Impl(qp)->Adopt(*NicImpl::Impl(*qp_), {}, ready && agreed.peer_to_peer,
                           {.flags = static_cast<uint16_t>(agreed.crc ? abi::kAdoptCrc : 0),
                            .ird = agreed.ird,
                            .ord = agreed.ord});
}

void RdmaCarrier::Accept(QueuePair& qp, const RdmaParameters& parameters) {
  CheckParameters(parameters);
  CheckTarget(qp);
  if (broken_ || startup_.state != iwarp::StartupState::kDeciding) {
    throw Error(ECONNRESET, "accept an RDMA connection: it is over");
  }
  if (startup_.peer_markers) {
    Reject({});
    throw Error(EPROTO, "accept an RDMA connection: the peer wants markers, which are not sent");
  }
  const iwarp::StartupFrame reply =
      iwarp::Accept(startup_, OptionsOf(parameters), Octets(parameters.private_data));
  uint8_t bytes[iwarp::kMaxStartupBytes];
  const size_t length = iwarp::EmitStartup(reply, bytes);
  const RdmaAgreement agreed = Agreement();
  const uint16_t crc = agreed.crc ? abi::kAdoptCrc : 0;
  NicImpl::Impl(qp)->Adopt(*NicImpl::Impl(*qp_), std::as_bytes(std::span(bytes, length)),
                           /*ready=*/false,
                           {.flags = static_cast<uint16_t>(crc | abi::kAdoptResponder),
                            .ird = agreed.ird,
                            .ord = agreed.ord});
}

void RdmaCarrier::Reject(ConstBytes private_data) {
  if (private_data.size() > kMaxPrivateData) {
    throw Error(EINVAL, "reject an RDMA connection: too much private data");
  }
  if (broken_ || startup_.state != iwarp::StartupState::kDeciding) return;
  Send(iwarp::Reject(startup_, Octets(private_data)));
  if (broken_) return;
  // Whoever is rejected closes; for the others, a bound.
  qp_->Disconnect(kPatience);
}

void RdmaCarrier::Terminate(iwarp::Cause cause) {
  if (broken_ || terminated()) return;
  // The Request, which lay there, has been answered.
  SendBytes(EmitTerminateFpdu(cause, SendBuffer()));
  if (broken_) return;
  qp_->Shutdown();
  gives_up_ns_ = NowNs() + std::chrono::nanoseconds(kPatience).count();
  received_ = 0;
  PostReceive();
}

}  // namespace qpip::internal
