// Tables 2 and 3, from what the simulated cores were busy with.
#include <gmock/gmock.h>

#include <cmath>

#include "sim/ns3/paper/published.h"
#include "sim/ns3/paper/stage_table.h"

namespace qpip::sim::paper {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kPrototype = "lanai9-hardware-checksum";

const StageRun& PrototypeRun() {
  static const StageRun run = RunStages(Profile::Load(kPrototype), {});
  return run;
}

/// The cells that the paper prints.
std::vector<std::pair<fw::Stage, fw::Variant>> PublishedCells() {
  std::vector<std::pair<fw::Stage, fw::Variant>> cells;
  for (const auto rows : {Table2(), Table3()}) {
    for (const StageRow& row : rows) {
      if (row.data_us) cells.emplace_back(row.stage, fw::Variant::kData);
      if (row.ack_us) cells.emplace_back(row.stage, fw::Variant::kAck);
    }
  }
  return cells;
}

/// Whether an activity is the core's in this stage.
auto IsOf(fw::Stage stage, fw::Variant variant) {
  return [=](const Activity& activity) {
    return activity.resource == Resource::kCore && activity.stage == stage &&
           activity.variant == variant;
  };
}

TEST(TablesTest, GivenOneWayMessagesWhenTabulatedThenEveryCellIsPublishedAndNothingIsMissing) {
  const StageTable table = Tabulate(PrototypeRun());
  EXPECT_THAT(Deviations(table), IsEmpty());
  EXPECT_EQ(table.data_segments, PrototypeRun().messages);
  EXPECT_EQ(table.ack_segments, PrototypeRun().messages / 2);  // protocol.ack_every
  EXPECT_GT(table.core_busy_ps, 0u);
}

TEST(TablesTest, GivenARecordingWhenOneChargeOfItIsLostThenTheCheckFails) {
  for (const auto& [stage, variant] : PublishedCells()) {
    StageRun run = PrototypeRun();
    auto& activities = run.recording.activities;
    const auto one = std::find_if(activities.begin(), activities.end(), IsOf(stage, variant));
    ASSERT_NE(one, activities.end()) << StageTitle(stage) << ' ' << VariantKey(variant);
    activities.erase(one);
    EXPECT_THAT(Deviations(Tabulate(run)), Not(IsEmpty())) << StageTitle(stage);
  }
}

TEST(TablesTest, GivenARecordingWhenAStageIsLostThenItsCellIsNamed) {
  for (const auto& [stage, variant] : PublishedCells()) {
    StageRun run = PrototypeRun();
    std::erase_if(run.recording.activities, IsOf(stage, variant));
    const std::vector<std::string> lines = Deviations(Tabulate(run));
    ASSERT_EQ(lines.size(), 2u) << StageTitle(stage);  // the cell and the sum
    EXPECT_THAT(lines[0], testing::HasSubstr("0.000 us a segment")) << StageTitle(stage);
    EXPECT_THAT(lines[1], testing::HasSubstr("the cores were busy")) << StageTitle(stage);
  }
}

TEST(TablesTest, GivenAProfileWithoutOneCostWhenRunThenTheCheckFails) {
  StageRunOptions options;
  options.messages = 8;
  for (const auto& [stage, variant] : PublishedCells()) {
    Profile profile = Profile::Load(kPrototype);
    profile.Set(StageParameter(stage, variant), 0, "left out");
    EXPECT_THAT(Deviations(Tabulate(RunStages(profile, options))), Not(IsEmpty()))
        << StageParameter(stage, variant);
  }
}

TEST(TablesTest, GivenARecordingWhenStagesOverlapThenTheCheckFails) {
  StageRun run = PrototypeRun();
  for (Activity& activity : run.recording.activities) {
    if (activity.resource != Resource::kCore || activity.DurationPs() == 0) continue;
    // Later by a little: the sum stays, the order does not.
    activity.start_ps += 1000000000;
    activity.end_ps += 1000000000;
    break;
  }
  EXPECT_THAT(Deviations(Tabulate(run)), Not(IsEmpty()));
}

}  // namespace
}  // namespace qpip::sim::paper
