// The registration of framings. Alone in its file: a program that has a row of its own links a
// table of its own in its place.
#include "nic_fw/abi/command.h"
#include "nic_fw/framing.h"

namespace qpip::fw {

constinit const FramingTable kFramings = [] {
  FramingTable rows = {};
  rows[static_cast<uint8_t>(abi::Framing::kSegment)] = &kSegmentFraming;
  rows[static_cast<uint8_t>(abi::Framing::kStream)] = &kStreamFraming;
  rows[static_cast<uint8_t>(abi::Framing::kMpa)] = &kMpaFraming;
  rows[kFramingDatagram] = &kDatagramFraming;
  return rows;
}();

}  // namespace qpip::fw
