// The firmware against fragments and ICMPv6 errors: any sequence of fragments of datagrams, echo
// requests and segments, in any order and with any offsets, and of errors that quote what was sent.
// Nothing is touched outside host memory, and no frame, packet buffer or transfer is left behind.
#include <cstring>

#include "packets.h"
#include "property.h"
#include "script.h"

namespace {

namespace ipv6 = qpip::ipv6;
using qpip::StoreBe32;
using namespace qpip::fw;
using namespace qpip::fw::test;
using qpip::fuzz::Script;

NicConfig SmallNic() {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.max_qps = 4;
  config.send_depth_log2 = 6;
  config.reassembly_slots = 2;
  config.path_mtu_entries = 4;
  return config;
}

/// A fragment of `packet`, where the script says, changed as it says.
Frame AnyFragment(const Frame& packet, uint8_t operation, Script* script) {
  const auto total = static_cast<uint32_t>(packet.size() - 40);
  const uint32_t offset = script->Byte() * 8u % total;
  uint32_t length = script->Byte() * 8u;
  if (offset + length > total) length = total - offset;
  const bool more = offset + length < total;
  Frame fragment = MakeFragment(packet, offset, length, more, operation >> 6);
  if ((operation & 32) != 0) {  // a field of its headers
    fragment[script->Byte() % std::min<size_t>(fragment.size(), 56)] ^= script->Byte();
    fragment[0] = 0x60;
    std::memcpy(fragment.data() + 24, packet.data() + 24, 16);
  }
  return fragment;
}

Frame AnyError(const Frame& sent, Script* script) {
  Bytes message(8);
  message[0] = static_cast<uint8_t>(1 + script->Byte() % 4);
  message[1] = static_cast<uint8_t>(script->Byte() & 7);
  StoreBe32(message.data() + 4, 1200u + script->Byte());
  Frame quoted = sent;
  quoted[script->Byte() % quoted.size()] ^= script->Byte();
  quoted.resize(std::min<size_t>(quoted.size(), script->Byte()));
  message.insert(message.end(), quoted.begin(), quoted.end());
  return MakePacket(ipv6::kIcmpv6, message, 9, 2);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  QpSpec tcp;
  tcp.overflow_bytes = 16384;
  ConnectedPair pair(tcp, SmallNic());
  FirmwareBench& nic = pair.b;
  nic.hardware.trusted = true;  // checksums would hide what is behind them
  HostMemory memory(nic.hardware, 65536);
  const uint32_t key = nic.Register(memory);
  QpSpec udp = tcp;
  udp.type = qpip::abi::QpType::kUdp;
  auto datagrams = nic.CreateQp(*pair.cq_b, udp);
  nic.Bind(*datagrams, 9);
  for (uint32_t i = 0; i < 16; ++i) {
    nic.PostRecv(*datagrams, {{memory.address(), 2000, key}});
    nic.PostRecv(*pair.qp_b, {{memory.address(), 2000, key}});
  }
  HostMemory source(pair.a.hardware, 4096);
  const uint32_t source_key = pair.a.Register(source, 0);
  pair.a.PostRecv(*pair.qp_a, {{source.address(), 4096, source_key}});
  pair.cable.Run();
  pair.a.PostInline(*pair.qp_a, "raw material for segments");
  pair.a.Run();
  const Frame segment = pair.a.hardware.outgoing.front();
  pair.a.hardware.outgoing.clear();
  const Frame packets[] = {MakeDatagram(1000, 9, Pattern(1500)), MakeEcho(Pattern(1500)),
                           MakeDatagram(1000, 77, Pattern(1500)), segment};

  Script script(data, size);
  Frame sent = segment;
  while (!script.done()) {
    const uint8_t operation = script.Byte();
    switch (operation & 7) {
      case 5:
        nic.hardware.incoming.push_back(AnyError(sent, &script));
        break;
      case 6:  // time passes: up to minutes
        nic.Advance(kMs << (operation >> 3 & 17));
        break;
      case 7:  // something is sent, small or in fragments
        if (datagrams->send_producer < 32) {
          nic.PostSend(*datagrams, {{memory.address(), script.Word(), key}}, true, 1, 1000);
        }
        if (pair.qp_b->send_producer < 32) {
          nic.PostSend(*pair.qp_b, {{memory.address(), 1u + script.Byte(), key}});
        }
        break;
      default:
        nic.hardware.incoming.push_back(AnyFragment(packets[operation & 3], operation, &script));
    }
    nic.hardware.wire_full = (operation & 16) != 0 && (operation & 8) != 0;
    // Not until it has nothing to do: what a full wire refuses stays due.
    for (int i = 0; i < 20 && nic.hardware.wire_full; ++i) {
      qpip_fw_step(nic.arena.data(), &nic.hardware.platform(), nic.now, 8);
    }
    nic.hardware.wire_full = false;
    nic.Advance(kMs);
    QPIP_FUZZ_CHECK(nic.hardware.frames_borrowed() == 0);
    QPIP_FUZZ_CHECK(nic.hardware.illegal_accesses == 0);
    QPIP_FUZZ_CHECK(nic.hardware.dma_pending() == 0);
    QPIP_FUZZ_CHECK(nic.hardware.payloads_held() == 0);
    for (const Frame& frame : nic.hardware.outgoing) QPIP_FUZZ_CHECK(frame.size() <= 1500);
    if (!nic.hardware.outgoing.empty()) sent = nic.hardware.outgoing.front();
    nic.hardware.outgoing.clear();
    nic.hardware.traces.clear();
    nic.hardware.charges.clear();
  }
  for (const auto& cqe : nic.Poll(*pair.cq_b)) QPIP_FUZZ_CHECK(cqe.byte_length <= 65535);
  return 0;
}
