// The receiver of DDP segments: any segments, some near what is awaited. A refusal changes nothing
// but that the stream is over, has a Terminate that can be read, and whatever is placed fits.
#include "property.h"
#include "protocols/iwarp/rdma_receiver.h"
#include "script.h"

namespace {

using namespace qpip::iwarp;

/// A segment of any bytes whose DDP header is mostly what would be in order.
std::vector<uint8_t> MakeSegment(const RdmaReceiver& receiver, qpip::fuzz::Script& script) {
  const uint8_t choice = script.Byte();
  DdpHeader ddp;
  const auto opcode = static_cast<Opcode>(script.Byte() & 0x0f);
  ddp.tagged = IsTagged(opcode) != ((choice & 1) != 0 && (choice & 2) != 0);
  ddp.last = (choice & 4) == 0;
  ddp.version = (choice & 0xf0) == 0xf0 ? script.Byte() & 3 : kDdpVersion;
  ddp.ulp_control = (choice & 0xf0) == 0xe0 ? script.Byte() : RdmapControl(opcode);
  ddp.stag = receiver.awaited.stag ^ ((choice & 0xf0) == 0xd0 ? script.Byte() : 0);
  ddp.tagged_offset = receiver.awaited.offset + ((choice & 0xf0) == 0xc0 ? script.Byte() : 0);
  ddp.queue = (choice & 0xf0) == 0xb0 ? script.Byte() : QueueOf(opcode);
  const UntaggedQueue& queue = receiver.queues[ddp.queue % kQueues];
  ddp.message_sequence = queue.message_sequence + ((choice & 0xf0) == 0xa0 ? script.Byte() : 0);
  ddp.message_offset = queue.message_offset + ((choice & 0xf0) == 0x90 ? script.Byte() : 0);
  std::vector<uint8_t> ulpdu(DdpHeaderBytes(ddp));
  EmitDdp(ddp, ulpdu);
  const std::vector<uint8_t> payload = script.Bytes(script.Byte());
  ulpdu.insert(ulpdu.end(), payload.begin(), payload.end());
  if ((choice & 0xf0) == 0x80) ulpdu.resize(script.Byte() % (ulpdu.size() + 1));
  return ulpdu;
}

void CheckPlan(const RdmaReceiver& receiver, const SegmentPlan& plan, uint32_t length,
               const ReceiveRoom& room) {
  QPIP_FUZZ_CHECK(std::strcmp(CauseName(plan.refusal), "invalid") != 0);
  if (plan.refusal != Cause::kNone) {
    const Terminate terminate = TerminateFor(plan, plan.refusal, length);
    std::vector<uint8_t> out(TerminateBytes(terminate));
    EmitTerminate(terminate, out);
    Terminate again;
    QPIP_FUZZ_CHECK(ParseTerminate(out, &again) == TerminateError::kNone && again == terminate);
    QPIP_FUZZ_CHECK(CauseOf(again.code) == plan.refusal);
    return;
  }
  QPIP_FUZZ_CHECK(plan.header_bytes + plan.payload_bytes == length);
  if (IsSend(plan.opcode)) {
    QPIP_FUZZ_CHECK(room.posted && plan.message_length <= room.bytes);
    QPIP_FUZZ_CHECK(plan.ddp.message_offset + plan.payload_bytes == plan.message_length);
  }
  if (plan.opcode == Opcode::kReadResponse) {
    QPIP_FUZZ_CHECK(plan.payload_bytes <= receiver.awaited.left);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  qpip::fuzz::Script script(data, size);
  RdmaReceiver receiver;
  receiver.extensions = (script.Byte() & 1) != 0;
  receiver.most_requests = script.Byte() % 4;
  ReceiveRoom room{true, script.Word()};
  while (!script.done() && !receiver.over) {
    const uint8_t event = script.Byte();
    if (event < 32 && receiver.requests != 0) OnRequestAnswered(receiver);
    if (receiver.awaited.kind == AwaitedResponse::Kind::kNone && event % 4 == 0) {
      if (event % 8 == 0)
        AwaitRead(receiver, {script.Word(), script.Word(), script.Byte(), 0, 0});
      else
        AwaitAtomic(receiver, script.Byte() & 1);
    }
    room.posted = event < 240;
    const std::vector<uint8_t> ulpdu = MakeSegment(receiver, script);
    const auto length = static_cast<uint32_t>(ulpdu.size());
    const size_t wanted = HeadBytes(ulpdu, length);
    QPIP_FUZZ_CHECK(wanted <= length);
    const std::vector<uint8_t> head = qpip::fuzz::Exact({ulpdu.data(), wanted});
    const SegmentPlan plan = PlanSegment(receiver, head, length, room);
    CheckPlan(receiver, plan, length, room);
    CommitSegment(receiver, plan);
    QPIP_FUZZ_CHECK(receiver.over ==
                    (plan.refusal != Cause::kNone || plan.opcode == Opcode::kTerminate));
    QPIP_FUZZ_CHECK(receiver.requests <= receiver.most_requests);
  }
  return 0;
}
