// Texts of the stages, for whoever shows them. Not part of what is flashed.
#pragma once

#include "nic_fw/platform.h"

namespace qpip::fw {

struct StageFacts {
  const char* title;  ///< "tx get wr", as in the paper's tables
  bool receive_side;  ///< of the paper's Table 3 rather than Table 2
};

#define QPIP_STAGE_FACTS(enumerator, text, receive) {text, receive},
inline constexpr StageFacts kStageFacts[] = {QPIP_STAGES(QPIP_STAGE_FACTS)};
#undef QPIP_STAGE_FACTS

inline constexpr const char* kVariantNames[] = {"data", "ack", "data-ack", "control", "datagram"};
static_assert(sizeof(kVariantNames) / sizeof(kVariantNames[0]) ==
              static_cast<uint32_t>(Variant::kCount));

}  // namespace qpip::fw
