#include "sim/ns3/model/parameter.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "sim/ns3/model/stage_names.h"

namespace qpip::sim {
namespace {

struct PlainSpec {
  const char* name;
  const char* unit;
  double minimum;
  double maximum;
  bool required;
  const char* meaning;
};

constexpr PlainSpec kPlainSpecs[] = {
    {"core.hz", "Hz", 1e6, 1e11, true, "clock of the NIC's core"},
    {"core.reference_hz", "Hz", 1e6, 1e11, true,
     "clock of the core on which the stage times were measured; stage cycles are time times "
     "this"},
    {"core.multiply_cycles", "cycles", 0, 1e6, true,
     "one multiplication of the RTT estimator (five a sample)"},
    {"core.checksum_cycles_per_byte", "cycles/B", 0, 1e3, true,
     "the core's own Internet checksum of received bytes"},
    {"core.checksum_in_firmware", "", 0, 1, true,
     "1: the receive engine does not sum, the core does"},
    {"core.get_wr_per_segment", "", 0, 1, true,
     "1: Get WR is spent for every segment; 0: for every fetch of work requests"},
    {"core.on_host", "", 0, 1, false,
     "1: the core is a processor of the host, and its time the host's (a host-based stack)"},
    {"core.runs_programs", "", 0, 1, false,
     "with core.on_host, 1: the host's programs run on the core too, behind its own work; 0: on "
     "other processors"},
    {"core.receive_interrupt_us", "us", 0, 1e4, false,
     "core time of an interrupt that announces received frames; frames that arrive before the "
     "core has taken the last one come without"},
    {"core.receive_interrupt_delay_us", "us", 0, 1e5, false,
     "moderation: from the first frame's arrival to the interrupt that announces it"},
    {"core.receive_interrupt_restart", "", 0, 1, false,
     "1: every frame that arrives starts the delay anew"},
    {"core.receive_interrupt_frames", "", 0, 65535, false,
     "so many waiting frames interrupt at once; 0: the delay alone decides"},
    {"core.runs_image", "", 0, 1, false,
     "1: the core runs the firmware's image for RV32I: a stage takes what its instructions take"},
    {"image.cycles", "cycles", 0.01, 1e3, false, "of core.runs_image: an instruction"},
    {"image.load_cycles", "cycles", 0, 1e3, false, "added for a load"},
    {"image.store_cycles", "cycles", 0, 1e3, false, "added for a store of a word"},
    {"image.narrow_store_cycles", "cycles", 0, 1e3, false,
     "added for a store of a byte or half-word"},
    {"image.taken_branch_cycles", "cycles", 0, 1e3, false,
     "added for a jump, and for a branch that is taken"},
    {"dma.bytes_per_s", "B/s", 1e3, 1e13, true, "effective rate of each host DMA engine"},
    {"dma.setup_us", "us", 0, 1e4, true, "an engine's fixed time an operation"},
    {"sram.transmit_buffers", "", 1, 65535, true, "packet buffers of the transmit side"},
    {"sram.transmit_buffer_until_sent", "", 0, 1, true,
     "1: a transmit buffer is free again when the link has sent it (DMA in series with the "
     "link); 0: when it is handed to the link (overlapped)"},
    {"sram.receive_bytes", "B", 1500, 1e9, true, "packet memory of the receive side"},
    {"doorbell.entries", "", 1, 65536, true, "depth of the doorbell FIFO"},
    {"doorbell.write_us", "us", 0, 1e3, true, "a host write's way to the FIFO"},
    {"link.bits_per_s", "bit/s", 1e3, 1e13, true, "rate of the link in each direction"},
    {"link.delay_us", "us", 0, 1e6, true, "propagation of one cable, with its interfaces"},
    {"link.overhead_bytes", "B", 0, 1000, true, "framing a packet: route, type, CRC, gap"},
    {"link.mtu", "B", 1280, 65575, true, "largest IPv6 packet"},
    {"switch.latency_us", "us", 0, 1e3, true, "head of a packet through one switch"},
    {"switch.buffer_bytes", "B", 1500, 1e9, true, "input buffer of a switch port"},
    {"switch.mark_bytes", "B", 0, 1e9, false,
     "more bytes than that before an output mark ECN-capable packets that come; without it none is "
     "marked"},
    {"switch.drop_bytes", "B", 1500, 1e9, false,
     "bytes before an output at most, and packets beyond are dropped; without it none is"},
    {"host.hz", "Hz", 1e6, 1e11, true, "clock of the host's processors"},
    {"host.post_send_cycles", "cycles", 0, 1e7, true, "PostSend"},
    {"host.post_recv_cycles", "cycles", 0, 1e7, true, "PostRecv"},
    {"host.poll_cycles", "cycles", 0, 1e7, true, "Poll that finds a completion"},
    {"host.poll_empty_cycles", "cycles", 1, 1e7, true, "Poll that finds none"},
    {"host.interrupt_us", "us", 0, 1e4, true, "processor time of an interrupt and its handler"},
    {"host.wakeup_us", "us", 0, 1e4, true, "from the handler to the sleeping thread's return"},
    {"host.socket_buffer_bytes", "B", 4096, 1 << 30, false,
     "largest receive window of a connection; without it the posted receives alone decide"},
    {"storage.copy_cycles_per_byte", "cycles/B", 0, 1e3, false,
     "copy between page cache and user buffer, client and server of nbd"},
    {"storage.write_page_cycles", "cycles", 0, 1e7, false,
     "client's file system and block layer for a page of 4096 bytes written"},
    {"storage.read_page_cycles", "cycles", 0, 1e7, false, "as write_page_cycles, read"},
    {"storage.request_cycles", "cycles", 0, 1e8, false,
     "client's request queue and block driver, and the server's system calls, a request"},
    {"storage.request_bytes", "B", 4096, 1 << 22, false, "bytes of a block request"},
    {"storage.write_requests", "", 1, 1024, false, "block requests outstanding while writing"},
    {"storage.read_ahead_requests", "", 1, 1024, false,
     "block requests outstanding while the reader uses the data of one"},
    {"storage.disk_bytes_per_s", "B/s", 1e3, 1e13, false,
     "rate of the server's disk; without it the file is in the server's page cache"},
    {"protocol.ack_every", "", 1, 255, true, "segments acknowledged at the latest together"},
    {"protocol.ack_on_batch_end", "", 0, 1, true,
     "1: acknowledge as soon as the receive queue has drained"},
    {"protocol.ack_delay_us", "us", 0, 499999, true, "delayed acknowledgement timer"},
    {"protocol.timestamps", "", 0, 1, true, "RFC 7323 timestamps"},
    {"protocol.window_scaling", "", 0, 1, true, "RFC 7323 window scaling"},
    {"protocol.sack", "", 0, 1, true, "RFC 2018 selective acknowledgements"},
    {"protocol.reassembly", "", 0, 1024, true, "ranges a connection holds behind a gap"},
    {"protocol.scoreboard", "", 8, 1024, true, "runs a connection tells apart in flight"},
    {"protocol.congestion", "", 0, 2, true, "congestion control: 0 NewReno, 1 CUBIC, 2 DCTCP"},
    {"protocol.ecn", "", 0, 2, true, "RFC 3168: 0 never, 1 when the peer asks, 2 ask"},
    {"protocol.hystart", "", 0, 1, true, "HyStart++ (RFC 9406)"},
    {"protocol.pacing", "", 0, 1, true, "new text spread over the round trip"},
    {"protocol.undo", "", 0, 1, true, "spurious reductions are taken back (RFC 3522, 5682)"},
    {"protocol.mtu_probing", "", 0, 2, true, "RFC 4821: 0 never, 1 for a black hole, 2 always"},
    {"protocol.rto_min_us", "us", 1, 6e7, true, "least retransmission time-out"},
    {"protocol.rto_initial_us", "us", 1, 6e7, true, "retransmission time-out before a sample"},
    {"protocol.wqe_prefetch", "", 1, 8, true, "work requests fetched by one DMA"},
    {"protocol.transmit_contexts", "", 1, 65536, true, "segments being fetched at a time"},
    {"protocol.receive_contexts", "", 1, 65536, true, "segments being placed at a time"},
};

/// Counts, switches and sizes; and the firmware's own times, which are whole microseconds.
bool IsWhole(const PlainSpec& plain) {
  const std::string_view unit = plain.unit;
  const std::string_view name = plain.name;
  return unit.empty() || unit == "B" || (name.starts_with("protocol.") && unit == "us");
}

std::vector<ParameterSpec> MakeSpecs() {
  std::vector<ParameterSpec> specs;
  for (const PlainSpec& plain : kPlainSpecs) {
    specs.push_back({plain.name, plain.unit, plain.minimum, plain.maximum, plain.required,
                     IsWhole(plain), plain.meaning});
  }
  for (uint32_t s = 0; s < fw::kStageCount; ++s) {
    const auto stage = static_cast<fw::Stage>(s);
    if (stage == fw::Stage::kChecksum) continue;  // has its own parameters
    for (uint32_t v = 0; v < kVariantCount; ++v) {
      const auto variant = static_cast<fw::Variant>(v);
      specs.push_back({StageParameter(stage, variant), "us", 0, 1e6, false, false,
                       "time of the stage on the reference core"});
    }
    specs.push_back({StageParameter(stage) + ".cycles_per_byte", "cycles/B", 0, 1e3, false, false,
                     "added for every byte of payload"});
  }
  specs.push_back({kIdleAckUpdate, "us", 0, 1e6, false, false,
                   "rx-update of an acknowledgement that completes no work request (else as ack)"});
  return specs;
}

}  // namespace

std::span<const ParameterSpec> ParameterSpecs() {
  static const std::vector<ParameterSpec> specs = MakeSpecs();
  return specs;
}

const ParameterSpec* FindParameter(std::string_view name) {
  static const auto index = [] {
    std::unordered_map<std::string_view, const ParameterSpec*> map;
    for (const ParameterSpec& spec : ParameterSpecs()) map.emplace(spec.name, &spec);
    return map;
  }();
  const auto found = index.find(name);
  return found == index.end() ? nullptr : found->second;
}

}  // namespace qpip::sim
