#include "sim/ns3/model/stage_names.h"

#include <iterator>

#include "nic_fw/stage_names.h"

namespace qpip::sim {
namespace {

constexpr const char* kKeys[] = {"tx-doorbell-process",
                                 "tx-schedule",
                                 "tx-get-wr",
                                 "tx-get-data",
                                 "tx-build-transport-header",
                                 "tx-build-ip-header",
                                 "tx-send",
                                 "tx-update",
                                 "rx-doorbell-process",
                                 "rx-media-receive",
                                 "rx-ip-parse",
                                 "rx-transport-parse",
                                 "rx-get-wr",
                                 "rx-put-data",
                                 "rx-update",
                                 "checksum",
                                 "management",
                                 "timer"};
static_assert(std::size(kKeys) == fw::kStageCount);

}  // namespace

const char* StageKey(fw::Stage stage) { return kKeys[static_cast<uint32_t>(stage)]; }
const char* StageTitle(fw::Stage stage) {
  return fw::kStageFacts[static_cast<uint32_t>(stage)].title;
}
bool IsReceiveStage(fw::Stage stage) {
  return fw::kStageFacts[static_cast<uint32_t>(stage)].receive_side;
}
const char* VariantKey(fw::Variant variant) {
  return fw::kVariantNames[static_cast<uint32_t>(variant)];
}

std::string StageParameter(fw::Stage stage) { return std::string("stage.") + StageKey(stage); }
std::string StageParameter(fw::Stage stage, fw::Variant variant) {
  return StageParameter(stage) + "." + VariantKey(variant);
}

}  // namespace qpip::sim
