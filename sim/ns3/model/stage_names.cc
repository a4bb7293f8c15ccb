#include "sim/ns3/model/stage_names.h"

#include <array>

namespace qpip::sim {
namespace {

struct StageFacts {
  const char* title;
  bool receive;
};
#define QPIP_STAGE_FACTS(enumerator, text, receive) {text, receive},
constexpr StageFacts kFacts[] = {QPIP_STAGES(QPIP_STAGE_FACTS)};
#undef QPIP_STAGE_FACTS

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

constexpr const char* kVariants[] = {"data", "ack", "data-ack", "control", "datagram"};
static_assert(std::size(kVariants) == kVariantCount);

}  // namespace

const char* StageKey(fw::Stage stage) { return kKeys[static_cast<uint32_t>(stage)]; }
const char* StageTitle(fw::Stage stage) { return kFacts[static_cast<uint32_t>(stage)].title; }
bool IsReceiveStage(fw::Stage stage) { return kFacts[static_cast<uint32_t>(stage)].receive; }
const char* VariantKey(fw::Variant variant) { return kVariants[static_cast<uint32_t>(variant)]; }

std::string StageParameter(fw::Stage stage) { return std::string("stage.") + StageKey(stage); }
std::string StageParameter(fw::Stage stage, fw::Variant variant) {
  return StageParameter(stage) + "." + VariantKey(variant);
}

}  // namespace qpip::sim
