// What a peer may send to an RDMA queue pair, byte by byte, and a queue pair that receives it.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "rdma_bench.h"

namespace qpip::fw::test {

inline Bytes Octets(std::string_view text) { return {text.begin(), text.end()}; }

/// An ULPDU with a header of these fields.
inline Bytes Ulpdu(const iwarp::DdpHeader& ddp, const Bytes& payload = {}) {
  Bytes out(iwarp::DdpHeaderBytes(ddp));
  iwarp::EmitDdp(ddp, out);
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}
inline iwarp::DdpHeader SendHeader(uint32_t sequence = 1) {
  iwarp::DdpHeader ddp;
  ddp.last = true;
  ddp.ulp_control = iwarp::RdmapControl(iwarp::Opcode::kSend);
  ddp.message_sequence = sequence;
  return ddp;
}
inline iwarp::DdpHeader Tagged(iwarp::Opcode opcode, uint32_t stag, uint64_t offset) {
  iwarp::DdpHeader ddp;
  ddp.tagged = ddp.last = true;
  ddp.ulp_control = iwarp::RdmapControl(opcode);
  ddp.stag = stag;
  ddp.tagged_offset = offset;
  return ddp;
}

struct RdmaReceive : ::testing::Test {
  std::unique_ptr<ScriptedPeer> script = std::make_unique<ScriptedPeer>();
  abi::Sge Sge(uint64_t offset, uint32_t length) {
    return SgeOf(script->memory, script->key, offset, length);
  }
  uint8_t* Memory() { return script->memory.data(); }
  std::vector<abi::Cqe> Poll() { return script->nic.Poll(*script->cq); }
  void PostRecv(uint64_t offset, uint32_t length) {
    script->nic.PostRecv(*script->qp, {Sge(offset, length)});
    script->cable.Run();
  }
  /// The peer has found `cause`, and says of what no more than that.
  void PeerTerminates(iwarp::Cause cause) {
    Bytes payload(iwarp::kMaxTerminateBytes);
    payload.resize(iwarp::EmitTerminate(iwarp::MakeTerminate(cause, nullptr, 0, nullptr), payload));
    iwarp::DdpHeader ddp = SendHeader();
    ddp.queue = iwarp::kTerminateQueue;
    ddp.ulp_control = iwarp::RdmapControl(iwarp::Opcode::kTerminate);
    script->Say(script->Raw(Ulpdu(ddp, payload)));
  }
};

}  // namespace qpip::fw::test
