// The registration of framings. Alone in its file: a program that has a row of its own links a
// table of its own in its place.
#include "nic_fw/abi/command.h"
#include "nic_fw/framing.h"

namespace qpip::fw {

const Framing* FindFraming(uint8_t id) {
  switch (id) {
    case static_cast<uint8_t>(abi::Framing::kSegment):
      return &kSegmentFraming;
    case static_cast<uint8_t>(abi::Framing::kStream):
      return &kStreamFraming;
    case kFramingDatagram:
      return &kDatagramFraming;
    default:
      return nullptr;
  }
}

}  // namespace qpip::fw
