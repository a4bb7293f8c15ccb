#include "rdma_bench.h"

#include <algorithm>

#include "protocols/iwarp/crc32c.h"

namespace qpip::fw::test {
namespace {

constexpr size_t kMemoryBytes = size_t{256} << 10;
constexpr uint32_t kPortNumber = 7;

/// A conventional connection of two streams.
void ConnectStreams(Cable& cable, const TestQp& from, const TestQp& to) {
  const uint32_t listener = cable.b.Listen(kPortNumber).result[0];
  EXPECT_EQ(cable.b.Offer(listener, to).status, 0);
  EXPECT_EQ(cable.a.Connect(from, 2, kPortNumber).status, 0);
  cable.Run();
  EXPECT_EQ(EventsOf(cable.a, abi::EventKind::kEstablished).size(), 1u);
  EXPECT_EQ(EventsOf(cable.b, abi::EventKind::kEstablished).size(), 1u);
}

/// A stream that `setup.qp` can take over: it advertises no more.
QpSpec CarrierFor(const RdmaSetup& setup) {
  QpSpec spec = StreamQp();
  const bool waits = (setup.qp.flags & abi::kQpWaitForReceive) != 0;
  spec.overflow_bytes = setup.qp.overflow_bytes - (waits ? abi::kRdmaWaitingBytes : 0);
  return spec;
}

}  // namespace

NicConfig RdmaNic() {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.max_rdma_qps = 4;
  return config;
}

QpSpec RdmaQp() {
  QpSpec spec;
  spec.framing = abi::Framing::kMpa;
  return spec;
}

QpSpec StreamQp() {
  QpSpec spec;
  spec.framing = abi::Framing::kStream;
  return spec;
}

void Post(FirmwareBench& bench, TestQp& qp, const RdmaWork& work, bool ring) {
  const uint32_t slot = qp.send_producer++ & ((1u << qp.create.send_log2_depth) - 1);
  uint8_t* entry = qp.send_ring->data() + (size_t{slot} << qp.create.send_log2_stride);
  abi::SendWqe wqe;
  wqe.opcode = static_cast<uint8_t>(work.opcode);
  wqe.flags = work.flags;
  wqe.remote_address = work.remote_address;
  wqe.remote_key = work.remote_key;
  wqe.immediate = work.immediate;
  wqe.operand = work.operand;
  wqe.compare = work.compare;
  if ((work.flags & abi::kSendInline) != 0) {
    wqe.length = static_cast<uint32_t>(work.bytes.size());
    wqe.inline_length = static_cast<uint16_t>(work.bytes.size());
    std::memcpy(entry + sizeof(wqe), work.bytes.data(), work.bytes.size());
  } else {
    wqe.sge_count = static_cast<uint8_t>(work.list.size());
    for (const abi::Sge& sge : work.list) wqe.length += sge.length;
    if (!work.list.empty()) {
      std::memcpy(entry + sizeof(wqe), work.list.data(), work.list.size() * sizeof(abi::Sge));
    }
  }
  std::memcpy(entry, &wqe, sizeof(wqe));
  if (ring) bench.RingSend(qp);
}

abi::Event Adopt(FirmwareBench& bench, const TestQp& qp, const TestQp& carrier,
                 const RdmaSetup& setup) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kAdopt);
  uint16_t flags = 0;
  if (setup.crc) flags |= abi::kAdoptCrc;
  if (setup.responder) flags |= abi::kAdoptResponder;
  command.adopt = {qp.handle, carrier.handle, flags, setup.ird, setup.ord, 0};
  return bench.Command(command);
}

std::optional<Terminated> WhyTerminated(FirmwareBench& bench, const TestQp& qp) {
  const abi::Event event = bench.QpCommand(abi::CommandOpcode::kQueryTerminate, qp);
  if (event.status != 0 || event.result[0] == 0) return std::nullopt;
  const uint32_t code = event.result[1];
  return Terminated{(event.result[0] & abi::kTerminateReceived) != 0,
                    iwarp::CauseOf({static_cast<uint8_t>(code >> 16),
                                    static_cast<uint8_t>(code >> 8), static_cast<uint8_t>(code)})};
}

ScriptedPeer::ScriptedPeer(const RdmaSetup& setup)
    : memory(nic.hardware, kMemoryBytes),
      crc(setup.crc),
      source_(peer.hardware, kMemoryBytes),
      sink_(peer.hardware, kMemoryBytes) {
  key = nic.Register(memory, kEveryRight);
  source_key_ = peer.Register(source_);
  sink_key_ = peer.Register(sink_);
  stream_ = peer.CreateQp(*peer_cq_, StreamQp());
  carrier_ = nic.CreateQp(*cq, CarrierFor(setup));
  qp = nic.CreateQp(*cq, setup.qp);
  ConnectStreams(cable, *stream_, *carrier_);
  for (uint32_t i = 0; i < kSlots; ++i) PostSlot();
  cable.Run();
  EXPECT_EQ(Adopt(nic, *qp, *carrier_, setup).status, 0);
  EXPECT_EQ(EventsOf(nic, abi::EventKind::kEstablished).size(), 1u);
  cable.Run();  // the carrier had no receives, and no window
  cable.filter = [this](const Frame& frame, bool from_a) {
    const size_t header = 40 + (frame.size() > 52 ? (frame[52] >> 4) * size_t{4} : 0);
    if (!from_a && frame[6] == ipv6::kTcp && frame.size() > header) nic_segments.push_back(frame);
    return true;
  };
}

Bytes ScriptedPeer::Fpdus(const iwarp::Message& message, const Bytes& payload, uint32_t mulpdu) {
  const iwarp::MessageLayout layout = iwarp::LayOut(message, at_, mulpdu, false);
  Bytes out;
  for (uint64_t done = 0; done < iwarp::StreamBytes(layout);) {
    const iwarp::SegmentAt segment = iwarp::FindSegment(layout, done);
    Bytes ulpdu(segment.fpdu.ulpdu_length);
    const size_t header =
        iwarp::EmitDdp(iwarp::HeaderOf(message, segment.message_offset, segment.last), ulpdu);
    std::copy_n(payload.begin() + segment.message_offset, ulpdu.size() - header,
                ulpdu.begin() + static_cast<int64_t>(header));
    const Bytes fpdu = Raw(ulpdu);
    out.insert(out.end(), fpdu.begin(), fpdu.end());
    done += fpdu.size();
  }
  at_ += static_cast<uint32_t>(out.size());
  return out;
}

Bytes ScriptedPeer::Raw(const Bytes& ulpdu) {
  const iwarp::Fpdu fpdu = {0, static_cast<uint32_t>(ulpdu.size()), false};
  Bytes bytes(iwarp::FpduBytes(fpdu));
  iwarp::EmitFpdu(fpdu, ulpdu, crc, bytes);
  return bytes;
}

Bytes ScriptedPeer::Send(const Bytes& payload, iwarp::Opcode opcode, uint32_t invalidate) {
  iwarp::Message message;
  message.opcode = opcode;
  message.length = static_cast<uint32_t>(payload.size());
  message.message_sequence = sends_++;
  message.invalidate_stag = invalidate;
  return Fpdus(message, payload);
}

Bytes ScriptedPeer::Write(uint32_t stag, uint64_t offset, const Bytes& payload) {
  iwarp::Message message;
  message.opcode = iwarp::Opcode::kWrite;
  message.length = static_cast<uint32_t>(payload.size());
  message.stag = stag;
  message.tagged_offset = offset;
  return Fpdus(message, payload);
}

Bytes ScriptedPeer::Read(const iwarp::ReadRequest& request) {
  Bytes payload(iwarp::kReadRequestBytes);
  iwarp::EmitReadRequest(request, std::span<uint8_t, iwarp::kReadRequestBytes>(payload.data(), 28));
  iwarp::Message message;
  message.opcode = iwarp::Opcode::kReadRequest;
  message.length = iwarp::kReadRequestBytes;
  message.message_sequence = requests_++;
  return Fpdus(message, payload);
}

Bytes ScriptedPeer::Atomic(const iwarp::AtomicRequest& request) {
  Bytes payload(iwarp::kAtomicRequestBytes);
  iwarp::EmitAtomicRequest(request,
                           std::span<uint8_t, iwarp::kAtomicRequestBytes>(payload.data(), 52));
  iwarp::Message message;
  message.opcode = iwarp::Opcode::kAtomicRequest;
  message.length = iwarp::kAtomicRequestBytes;
  message.message_sequence = requests_++;
  return Fpdus(message, payload);
}

Bytes ScriptedPeer::ReadResponse(uint32_t stag, const Bytes& payload) {
  iwarp::Message message;
  message.opcode = iwarp::Opcode::kReadResponse;
  message.length = static_cast<uint32_t>(payload.size());
  message.stag = stag;
  return Fpdus(message, payload);
}

void ScriptedPeer::Say(const Bytes& bytes) {
  ASSERT_LE(bytes.size(), source_.size());
  std::copy(bytes.begin(), bytes.end(), source_.data());
  peer.PostSend(*stream_, {SgeOf(source_, source_key_, 0, static_cast<uint32_t>(bytes.size()))});
  Listen();
}

void ScriptedPeer::Shutdown() {
  EXPECT_EQ(peer.QpCommand(abi::CommandOpcode::kShutdown, *stream_).status, 0);
  cable.Run();
}

void ScriptedPeer::PostSlot() {
  const uint32_t slot = stream_->recv_producer % kSlots;
  peer.PostRecv(*stream_, {SgeOf(sink_, sink_key_, slot * kSlotBytes, kSlotBytes)});
}

void ScriptedPeer::Listen() {
  cable.Run();
  for (const abi::Cqe& cqe : Only(peer.Poll(*peer_cq_), /*recv=*/true)) {
    const uint8_t* slot = sink_.data() + size_t{cqe.wqe_index % kSlots} * kSlotBytes;
    heard_.insert(heard_.end(), slot, slot + cqe.byte_length);
    PostSlot();
  }
  cable.Run();
}

std::vector<ReceivedFpdu> ScriptedPeer::Hear() {
  Listen();
  std::vector<ReceivedFpdu> out;
  for (;;) {
    if (heard_.size() < iwarp::kLengthBytes) return out;
    const uint32_t length = LoadBe16(heard_.data());
    const size_t total = iwarp::ContentBytes(length);
    if (heard_.size() < total) return out;
    const std::span<const uint8_t> bytes(heard_.data(), total);
    ReceivedFpdu fpdu;
    EXPECT_EQ(iwarp::ParseDdp(bytes.subspan(2, length), &fpdu.ddp), iwarp::DdpError::kNone);
    fpdu.opcode = iwarp::OpcodeOf(fpdu.ddp.ulp_control);
    const size_t header = 2 + iwarp::DdpHeaderBytes(fpdu.ddp);
    fpdu.payload.assign(bytes.begin() + static_cast<int64_t>(header), bytes.begin() + 2 + length);
    fpdu.crc_good = iwarp::Crc32c(bytes.first(total - 4)) == iwarp::LoadCrc(&bytes[total - 4]);
    out.push_back(std::move(fpdu));
    heard_.erase(heard_.begin(), heard_.begin() + static_cast<int64_t>(total));
  }
}

iwarp::Terminate ScriptedPeer::HearTerminate() {
  iwarp::Terminate terminate;
  for (const ReceivedFpdu& fpdu : Hear()) {
    if (fpdu.opcode != iwarp::Opcode::kTerminate) continue;
    EXPECT_EQ(iwarp::ParseTerminate(fpdu.payload, &terminate), iwarp::TerminateError::kNone);
    return terminate;
  }
  ADD_FAILURE() << "no Terminate has come";
  return terminate;
}

RdmaPair::RdmaPair(const RdmaSetup& setup)
    : memory_a(a.hardware, kMemoryBytes), memory_b(b.hardware, kMemoryBytes) {
  key_a = a.Register(memory_a, kEveryRight);
  key_b = b.Register(memory_b, kEveryRight);
  carrier_a_ = a.CreateQp(*cq_a, CarrierFor(setup));
  carrier_b_ = b.CreateQp(*cq_b, CarrierFor(setup));
  qp_a = a.CreateQp(*cq_a, setup.qp);
  qp_b = b.CreateQp(*cq_b, setup.qp);
  ConnectStreams(cable, *carrier_a_, *carrier_b_);
  cable.Advance(50 * kMs);  // the handshake's last acknowledgement
  EXPECT_EQ(Adopt(a, *qp_a, *carrier_a_, setup).status, 0);
  EXPECT_EQ(Adopt(b, *qp_b, *carrier_b_, setup).status, 0);
  a.Events();
  b.Events();
}

}  // namespace qpip::fw::test
