// iWARP's headers: every parser on the same bytes; what one accepts emits again to bytes that parse
// to the same values, and what it points to lies inside the input.
#include <array>

#include "property.h"
#include "protocols/iwarp/startup_frame.h"
#include "protocols/iwarp/terminate.h"

namespace {

using namespace qpip::iwarp;
using Bytes = std::span<const uint8_t>;

void Ddp(Bytes bytes) {
  DdpHeader header;
  const DdpError error = ParseDdp(bytes, &header);
  QPIP_FUZZ_CHECK(std::strcmp(DdpErrorName(error), "unknown") != 0);
  if (error == DdpError::kTooShort) return;
  QPIP_FUZZ_CHECK((error == DdpError::kNone) == (header.version == kDdpVersion));
  std::vector<uint8_t> out(DdpHeaderBytes(header));
  QPIP_FUZZ_CHECK(EmitDdp(header, out) == out.size() && out.size() <= bytes.size());
  DdpHeader again;
  QPIP_FUZZ_CHECK(ParseDdp(out, &again) == error && again == header);
}

void Rdmap(Bytes bytes) {
  ReadRequest read;
  if (ParseReadRequest(bytes, &read) == RdmapError::kNone) {
    std::array<uint8_t, kReadRequestBytes> out;
    EmitReadRequest(read, out);
    QPIP_FUZZ_CHECK(qpip::fuzz::SameBytes(out, bytes.first(out.size())));
  }
  AtomicRequest atomic;
  if (ParseAtomicRequest(bytes, &atomic) == RdmapError::kNone) {
    std::array<uint8_t, kAtomicRequestBytes> out;
    EmitAtomicRequest(atomic, out);
    AtomicRequest again;
    QPIP_FUZZ_CHECK(ParseAtomicRequest(out, &again) == RdmapError::kNone);
    QPIP_FUZZ_CHECK(ApplyAtomic(again, read.source_offset) ==
                    ApplyAtomic(atomic, read.source_offset));
  }
  AtomicResponse response;
  if (ParseAtomicResponse(bytes, &response) == RdmapError::kNone) {
    std::array<uint8_t, kAtomicResponseBytes> out;
    EmitAtomicResponse(response, out);
    QPIP_FUZZ_CHECK(qpip::fuzz::SameBytes(out, bytes.first(out.size())));
  }
  uint64_t data = 0;
  if (ParseImmediate(bytes, &data) == RdmapError::kNone) {
    std::array<uint8_t, kImmediateBytes> out;
    EmitImmediate(data, out);
    QPIP_FUZZ_CHECK(qpip::fuzz::SameBytes(out, bytes.first(out.size())));
  }
}

void Terminates(Bytes bytes) {
  Terminate terminate;
  const TerminateError error = ParseTerminate(bytes, &terminate);
  QPIP_FUZZ_CHECK(std::strcmp(TerminateErrorName(error), "unknown") != 0);
  if (error != TerminateError::kNone) return;
  QPIP_FUZZ_CHECK(TerminateBytes(terminate) <= bytes.size());
  QPIP_FUZZ_CHECK(TerminateBytes(terminate) <= kMaxTerminateBytes);
  QPIP_FUZZ_CHECK(std::strcmp(CauseName(GuessCause(terminate.code)), "invalid") != 0);
  std::vector<uint8_t> out(TerminateBytes(terminate));
  QPIP_FUZZ_CHECK(EmitTerminate(terminate, out) == out.size());
  Terminate again;
  QPIP_FUZZ_CHECK(ParseTerminate(out, &again) == TerminateError::kNone && again == terminate);
}

void Startup(Bytes bytes, bool reply) {
  StartupFrame frame;
  size_t size = 0;
  const StartupError error = ParseStartup(bytes, reply, &frame, &size);
  QPIP_FUZZ_CHECK(std::strcmp(StartupErrorName(error), "unknown") != 0);
  QPIP_FUZZ_CHECK(error != StartupError::kTooShort || size > bytes.size());
  if (error != StartupError::kNone) return;
  QPIP_FUZZ_CHECK(size <= bytes.size() && size == StartupBytes(frame) && size <= kMaxStartupBytes);
  QPIP_FUZZ_CHECK(frame.private_data.empty() ||
                  frame.private_data.data() + frame.private_data.size() == bytes.data() + size);
  std::vector<uint8_t> out(size);
  QPIP_FUZZ_CHECK(EmitStartup(frame, out) == size);
  StartupFrame again;
  QPIP_FUZZ_CHECK(ParseStartup(out, reply, &again, &size) == StartupError::kNone);
  QPIP_FUZZ_CHECK(again.depths == frame.depths && again.enhanced == frame.enhanced &&
                  again.crc == frame.crc && again.markers == frame.markers &&
                  again.reject == frame.reject && again.revision == frame.revision);
  QPIP_FUZZ_CHECK(qpip::fuzz::SameBytes(again.private_data, frame.private_data));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<uint8_t> bytes = qpip::fuzz::Exact({data, size});
  Ddp(bytes);
  Rdmap(bytes);
  Terminates(bytes);
  // Most of a frame is its key: nobody guesses that.
  for (const bool reply : {false, true}) {
    Startup(bytes, reply);
    const char* key = reply ? "MPA ID Rep Frame" : "MPA ID Req Frame";
    std::vector<uint8_t> framed(key, key + 16);
    framed.insert(framed.end(), bytes.begin(), bytes.end());
    Startup(qpip::fuzz::Exact(framed), reply);
  }
  return 0;
}
