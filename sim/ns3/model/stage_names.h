// Names of stages and variants in profiles ("stage.tx-get-wr.data") and results.
#pragma once

#include <string>

#include "nic_fw/platform.h"

namespace qpip::sim {

inline constexpr uint32_t kVariantCount = static_cast<uint32_t>(fw::Variant::kCount);

/// "tx-get-wr"
const char* StageKey(fw::Stage stage);
/// "tx get wr", as in the paper's tables
const char* StageTitle(fw::Stage stage);
/// Whether a stage belongs to Table 3 rather than Table 2.
bool IsReceiveStage(fw::Stage stage);
/// "data", "ack", "data-ack", "control", "datagram"
const char* VariantKey(fw::Variant variant);

/// "stage.tx-get-wr"
std::string StageParameter(fw::Stage stage);
/// "stage.tx-get-wr.data"
std::string StageParameter(fw::Stage stage, fw::Variant variant);
inline constexpr const char* kIdleAckUpdate = "stage.rx-update.ack-idle";

}  // namespace qpip::sim
