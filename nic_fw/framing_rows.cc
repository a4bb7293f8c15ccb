// The registration of framings. Alone in its file: a program that has a row of its own links a
// table of its own in its place.
#include "nic_fw/framing.h"

namespace qpip::fw {

constexpr const Framing* kFramings[kFramingIds] = {
    nullptr,
    &kSegmentFraming,  // abi::Framing::kSegment
    &kStreamFraming,   // abi::Framing::kStream
    nullptr,           // abi::Framing::kMpa
    nullptr,           nullptr, nullptr,
    &kDatagramFraming,  // kFramingDatagram
};

}  // namespace qpip::fw
