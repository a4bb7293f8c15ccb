// Writes a recording of iWARP connections, for tshark to look at: every message that there is, with
// and without CRCs and markers, in FPDUs that begin with segments and FPDUs that do not.
//
// Usage: qpip_iwarp_recording FILE. What tshark is to find in it: iwarp_dissection.py.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <vector>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/ipv6/header.h"
#include "protocols/iwarp/message_layout.h"
#include "protocols/iwarp/startup_frame.h"
#include "protocols/iwarp/terminate.h"
#include "protocols/tcp/header.h"

namespace qpip::iwarp {
namespace {

using ByteVector = std::vector<uint8_t>;

/// Most bytes of text in a packet.
constexpr uint32_t kEmss = 1440;

class PcapFile {
 public:
  explicit PcapFile(const char* name) : out_(name, std::ios::binary) {
    for (const uint32_t word : {0xa1b2c3d4u, 0x00040002u, 0u, 0u, 262144u, 101u}) Put(word);
  }
  void Write(const ByteVector& packet) {
    const auto size = static_cast<uint32_t>(packet.size());
    Put(1'700'000'000);
    Put(++microseconds_);
    Put(size);
    Put(size);
    out_.write(reinterpret_cast<const char*>(packet.data()), size);
  }
  bool ok() const { return out_.good(); }

 private:
  void Put(uint32_t word) { out_.write(reinterpret_cast<const char*>(&word), 4); }
  std::ofstream out_;
  uint32_t microseconds_ = 0;
};

/// One end of a connection in the recording.
struct End {
  ipv6::Address address;
  uint16_t port = 0;
  uint32_t next = 1000;
};

class Connection {
 public:
  Connection(PcapFile& file, uint16_t port, bool crc, bool markers, uint32_t packet_bytes)
      : file_(file), crc_(crc), markers_(markers), packet_bytes_(packet_bytes) {
    for (int i = 0; i < 2; ++i) {
      ends_[i].address.bytes[0] = 0xfd;
      ends_[i].address.bytes[15] = static_cast<uint8_t>(i + 1);
    }
    ends_[0].port = port;
    ends_[1].port = 4791;
    Packet(0, tcp::kSyn, {});
    Packet(1, tcp::kSyn | tcp::kAck, {});
    Packet(0, tcp::kAck, {});
    Startup();
  }

  /// A message in its FPDUs.
  void Send(int from, const Message& message, const ByteVector& bytes) {
    const MessageLayout layout = LayOut(message, offset_[from], Mulpdu(kEmss, markers_), markers_);
    const auto total = static_cast<uint32_t>(StreamBytes(layout));
    ByteVector stream;
    while (stream.size() < total) {
      const SegmentAt segment = FindSegment(layout, stream.size());
      ByteVector ulpdu(segment.fpdu.ulpdu_length);
      const size_t header = EmitDdp(HeaderOf(message, segment.message_offset, segment.last), ulpdu);
      std::copy_n(bytes.begin() + segment.message_offset, ulpdu.size() - header,
                  ulpdu.begin() + static_cast<std::ptrdiff_t>(header));
      ByteVector fpdu(FpduBytes(segment.fpdu));
      EmitFpdu(segment.fpdu, ulpdu, crc_, fpdu);
      if (packet_bytes_ == 0) Packet(from, tcp::kAck | tcp::kPsh, fpdu);  // aligned
      stream.insert(stream.end(), fpdu.begin(), fpdu.end());
    }
    offset_[from] += total;
    if (packet_bytes_ == 0) return;
    for (size_t at = 0; at < total; at += packet_bytes_) {
      const size_t size = std::min<size_t>(packet_bytes_, total - at);
      const auto begin = stream.begin() + static_cast<std::ptrdiff_t>(at);
      Packet(from, tcp::kAck | tcp::kPsh, {begin, begin + static_cast<std::ptrdiff_t>(size)});
    }
  }

 private:
  void Startup() {
    const ByteVector private_data = {'q', 'p', 'i', 'p'};
    for (const bool reply : {false, true}) {
      StartupFrame frame;
      frame.reply = reply;
      frame.crc = crc_;
      frame.markers = markers_;
      frame.private_data = private_data;
      ByteVector bytes(StartupBytes(frame));
      EmitStartup(frame, bytes);
      Packet(reply ? 1 : 0, tcp::kAck | tcp::kPsh, bytes);
    }
  }

  void Packet(int from, uint8_t flags, const ByteVector& text) {
    End& source = ends_[from];
    End& destination = ends_[1 - from];
    tcp::Header header;
    header.source_port = source.port;
    header.destination_port = destination.port;
    header.sequence = tcp::SequenceNumber{source.next};
    if ((flags & tcp::kAck) != 0) header.acknowledgement = tcp::SequenceNumber{destination.next};
    header.flags = flags;
    header.window = 65535;
    ByteVector segment(tcp::EmitSize(header));
    tcp::Emit(header, segment);
    segment.insert(segment.end(), text.begin(), text.end());
    const auto length = static_cast<uint32_t>(segment.size());
    const uint16_t pseudo = PseudoHeaderSum(source.address, destination.address, length, 6);
    StoreBe16(&segment[tcp::offset::kChecksum],
              static_cast<uint16_t>(~ChecksumAdd(segment, pseudo)));
    ipv6::Header ip;
    ip.payload_length = static_cast<uint16_t>(length);
    ip.next_header = 6;
    ip.hop_limit = 64;
    ip.source = source.address;
    ip.destination = destination.address;
    ByteVector packet(ipv6::kHeaderBytes);
    ipv6::Emit(ip, std::span(packet).first<ipv6::kHeaderBytes>());
    packet.insert(packet.end(), segment.begin(), segment.end());
    file_.Write(packet);
    source.next += static_cast<uint32_t>(text.size()) + ((flags & tcp::kSyn) != 0 ? 1 : 0);
  }

  PcapFile& file_;
  bool crc_;
  bool markers_;
  uint32_t packet_bytes_;  ///< of the stream in a packet; 0: an FPDU a packet
  End ends_[2];
  uint32_t offset_[2] = {};
};

ByteVector Counting(size_t size) {
  ByteVector out(size);
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<uint8_t>(i * 7);
  return out;
}

/// Every message, in an order that could be. `first`: bytes of the first Send.
void Talk(Connection& connection, uint32_t first) {
  uint32_t sequences[2][kQueues] = {{1, 1, 1, 1}, {1, 1, 1, 1}};
  const auto say = [&](int from, Opcode opcode, const ByteVector& bytes) {
    Message message;
    message.opcode = opcode;
    message.length = static_cast<uint32_t>(bytes.size());
    message.stag = 0x01020304;
    message.tagged_offset = 0x1000;
    message.invalidate_stag = 0x0a0b0c0d;
    if (!IsTagged(opcode)) message.message_sequence = sequences[from][QueueOf(opcode)]++;
    connection.Send(from, message, bytes);
  };
  say(0, Opcode::kWrite, {});
  say(0, Opcode::kSend, Counting(first));
  say(1, Opcode::kSend, Counting(5000));
  say(0, Opcode::kSendInvalidate, Counting(1));
  say(0, Opcode::kSendSolicited, Counting(2));
  say(0, Opcode::kSendSolicitedInvalidate, Counting(3));
  say(0, Opcode::kWrite, Counting(6000));
  ByteVector read(kReadRequestBytes);
  EmitReadRequest({0x01020304, 0x1000, 4000, 0x05060708, 0x2000},
                  std::span(read).first<kReadRequestBytes>());
  say(0, Opcode::kReadRequest, read);
  say(1, Opcode::kReadResponse, Counting(4000));
  ByteVector immediate(kImmediateBytes);
  EmitImmediate(42, std::span(immediate).first<kImmediateBytes>());
  say(0, Opcode::kImmediate, immediate);
  say(0, Opcode::kImmediateSolicited, immediate);
  for (const AtomicOperation operation :
       {AtomicOperation::kFetchAdd, AtomicOperation::kCompareSwap}) {
    AtomicRequest request;
    request.operation = operation;
    request.identifier = 9;
    request.stag = 0x05060708;
    ByteVector bytes(kAtomicRequestBytes);
    EmitAtomicRequest(request, std::span(bytes).first<kAtomicRequestBytes>());
    say(0, Opcode::kAtomicRequest, bytes);
    bytes.resize(kAtomicResponseBytes);
    EmitAtomicResponse({9, 77}, std::span(bytes).first<kAtomicResponseBytes>());
    say(1, Opcode::kAtomicResponse, bytes);
  }
  DdpHeader ddp;
  ddp.last = true;
  ddp.ulp_control = RdmapControl(Opcode::kReadRequest);
  ddp.queue = kRequestQueue;
  ddp.message_sequence = 2;
  const ReadRequest refused{1, 2, 3, 4, 5};
  const Terminate terminate = MakeTerminate(Cause::kBoundsViolation, &ddp, 46, &refused);
  ByteVector bytes(TerminateBytes(terminate));
  EmitTerminate(terminate, bytes);
  say(1, Opcode::kTerminate, bytes);
}

}  // namespace
}  // namespace qpip::iwarp

int main(int argc, char** argv) {
  using namespace qpip::iwarp;
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FILE\n", argv[0]);
    return 2;
  }
  PcapFile file(argv[1]);
  uint16_t port = 40000;
  for (const bool crc : {false, true}) {
    for (const uint32_t packet_bytes : {0u, 1000u}) {
      Connection connection(file, port++, crc, false, packet_bytes);
      Talk(connection, 64);
    }
    // tshark takes a segment for one FPDU where there are markers, and a marker behind an FPDU for
    // a part of it (its number_of_markers): so they are aligned, and none ends where a marker
    // stands.
    Connection connection(file, port++, crc, true, 0);
    Talk(connection, 68);
  }
  return file.ok() ? 0 : 1;
}
