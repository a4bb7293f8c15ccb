#include "protocols/iwarp/rdmap.h"

#include "protocols/common/byte_order.h"

namespace qpip::iwarp {

const char* OpcodeName(Opcode opcode) {
  switch (opcode) {
#define QPIP_RDMAP_CASE(name, code, text) \
  case Opcode::name:                      \
    return text;
    QPIP_RDMAP_OPCODES(QPIP_RDMAP_CASE)
#undef QPIP_RDMAP_CASE
  }
  return "unknown";
}

const char* RdmapErrorName(RdmapError error) {
  switch (error) {
    case RdmapError::kNone:
      return "none";
    case RdmapError::kTooShort:
      return "too_short";
    case RdmapError::kUnknownAtomic:
      return "unknown_atomic";
  }
  return "unknown";
}

RdmapError ParseReadRequest(std::span<const uint8_t> bytes, ReadRequest* request) {
  if (bytes.size() < kReadRequestBytes) return RdmapError::kTooShort;
  request->sink_stag = LoadBe32(&bytes[0]);
  request->sink_offset = LoadBe64(&bytes[4]);
  request->length = LoadBe32(&bytes[12]);
  request->source_stag = LoadBe32(&bytes[16]);
  request->source_offset = LoadBe64(&bytes[20]);
  return RdmapError::kNone;
}

void EmitReadRequest(const ReadRequest& request, std::span<uint8_t, kReadRequestBytes> out) {
  StoreBe32(&out[0], request.sink_stag);
  StoreBe64(&out[4], request.sink_offset);
  StoreBe32(&out[12], request.length);
  StoreBe32(&out[16], request.source_stag);
  StoreBe64(&out[20], request.source_offset);
}

RdmapError ParseImmediate(std::span<const uint8_t> bytes, uint64_t* data) {
  if (bytes.size() < kImmediateBytes) return RdmapError::kTooShort;
  *data = LoadBe64(bytes.data());
  return RdmapError::kNone;
}

void EmitImmediate(uint64_t data, std::span<uint8_t, kImmediateBytes> out) {
  StoreBe64(out.data(), data);
}

RdmapError ParseAtomicRequest(std::span<const uint8_t> bytes, AtomicRequest* request) {
  if (bytes.size() < kAtomicRequestBytes) return RdmapError::kTooShort;
  request->operation = static_cast<AtomicOperation>(LoadBe32(&bytes[0]) & 0x0f);
  request->identifier = LoadBe32(&bytes[4]);
  request->stag = LoadBe32(&bytes[8]);
  request->offset = LoadBe64(&bytes[12]);
  request->operand = LoadBe64(&bytes[20]);
  request->mask = LoadBe64(&bytes[28]);
  request->compare = LoadBe64(&bytes[36]);
  request->compare_mask = LoadBe64(&bytes[44]);
  switch (request->operation) {
    case AtomicOperation::kFetchAdd:
    case AtomicOperation::kCompareSwap:
      return RdmapError::kNone;
  }
  return RdmapError::kUnknownAtomic;
}

void EmitAtomicRequest(const AtomicRequest& request, std::span<uint8_t, kAtomicRequestBytes> out) {
  const bool swap = request.operation == AtomicOperation::kCompareSwap;
  StoreBe32(&out[0], static_cast<uint32_t>(request.operation));
  StoreBe32(&out[4], request.identifier);
  StoreBe32(&out[8], request.stag);
  StoreBe64(&out[12], request.offset);
  StoreBe64(&out[20], request.operand);
  StoreBe64(&out[28], request.mask);
  StoreBe64(&out[36], swap ? request.compare : 0);  // not applicable: as 5.2.1 has it
  StoreBe64(&out[44], swap ? request.compare_mask : ~uint64_t{0});
}

RdmapError ParseAtomicResponse(std::span<const uint8_t> bytes, AtomicResponse* response) {
  if (bytes.size() < kAtomicResponseBytes) return RdmapError::kTooShort;
  response->identifier = LoadBe32(&bytes[0]);
  response->original = LoadBe64(&bytes[4]);
  return RdmapError::kNone;
}

void EmitAtomicResponse(const AtomicResponse& response,
                        std::span<uint8_t, kAtomicResponseBytes> out) {
  StoreBe32(&out[0], response.identifier);
  StoreBe64(&out[4], response.original);
}

uint64_t ApplyAtomic(const AtomicRequest& request, uint64_t original) {
  if (request.operation == AtomicOperation::kCompareSwap) {
    if (((request.compare ^ original) & request.compare_mask) != 0) return original;
    return (original & ~request.mask) | (request.operand & request.mask);
  }
  // A sum whose carries stop at the bits of the mask, the highest of each field: those are added
  // without what comes out of them.
  const uint64_t tops = request.mask;
  const uint64_t sum = (original & ~tops) + (request.operand & ~tops);
  return sum ^ ((original ^ request.operand) & tops);
}

}  // namespace qpip::iwarp
