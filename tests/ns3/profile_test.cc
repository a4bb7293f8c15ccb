// Profiles: the file format and its errors, composition, and the what-if deltas that are built in.
#include "sim/ns3/model/profile.h"

#include <gmock/gmock.h>

#include <cstdio>
#include <fstream>

#include "sim/ns3/model/nic_model.h"
#include "sim/ns3/model/parameter.h"
#include "sim/ns3/scenario/scenario.h"

namespace qpip::sim {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const char kPrototype[] = "lanai9-hardware-checksum";
const char kOverlapped[] = "lanai9-hardware-checksum+overlapped-dma";

std::string ParseFailure(const std::string& text) {
  try {
    Profile::Parse(text, "some/where.toml");
  } catch (const ProfileError& error) {
    return error.what();
  }
  return "no error";
}

template <typename Action>
std::string FailureOf(Action action) {
  try {
    action();
  } catch (const ProfileError& error) {
    return error.what();
  }
  return "no error";
}

double Metric(const std::string& profile, const std::string& scenario, const std::string& metric,
              const std::map<std::string, std::string>& arguments = {}, double mtu = 0) {
  Profile loaded = Profile::Load(profile);
  if (mtu != 0) loaded.Set("link.mtu", mtu, "the test");
  return RunScenario(scenario, loaded, arguments).Metric(metric);
}
double Throughput(const std::string& profile, double mtu = 0) {
  return Metric(profile, "ttcp", "throughput_MB_per_s", {{"bytes", "2000000"}}, mtu);
}
double RoundTripUs(const std::string& profile, const std::string& transport = "tcp") {
  return Metric(profile, "ping", "rtt_mean_us", {{"count", "20"}, {"transport", transport}});
}

// --- The file format

TEST(ProfileFormatTest, GivenAFileThenValuesKindsAndSourcesAreKept) {
  const Profile profile = Profile::Parse(
      "summary = \"a test\"\n[stage.tx-send]\n"
      "data = {value = 2.5, kind = \"assumed\", source = \"a guess\"}\n",
      "dir/mine.toml");
  EXPECT_EQ(profile.name(), "mine");
  EXPECT_EQ(profile.summary(), "a test");
  const ProfileValue& value = profile.values().at("stage.tx-send.data");
  EXPECT_EQ(value.value, 2.5);
  EXPECT_EQ(value.kind, ValueKind::kAssumed);
  EXPECT_EQ(value.source, "a guess");
  EXPECT_EQ(value.profile, "mine");
}

TEST(ProfileFormatTest, GivenAnUnknownNameThenTheErrorHasTheLineAndASuggestion) {
  EXPECT_THAT(ParseFailure("[core]\n\nhertz = {value = 1e8, kind = \"chosen\", source = \"x\"}\n"),
              AllOf(StartsWith("some/where.toml:3: "), HasSubstr("core.hertz"),
                    HasSubstr("did you mean \"core.hz\"")));
}

TEST(ProfileFormatTest, GivenNoSourceOrKindThenTheErrorSaysSo) {
  EXPECT_THAT(ParseFailure("[core]\nhz = {value = 1e8, kind = \"chosen\"}\n"),
              AllOf(StartsWith("some/where.toml:2: "), HasSubstr("needs a kind and a source")));
  EXPECT_THAT(ParseFailure("[core]\nhz = {value = 1e8, source = \"x\"}\n"),
              AllOf(StartsWith("some/where.toml:2: "), HasSubstr("needs a kind and a source")));
  EXPECT_THAT(ParseFailure("[core]\nhz = 1e8\n"),
              AllOf(StartsWith("some/where.toml:2: "), HasSubstr("where its number comes from")));
}

TEST(ProfileFormatTest, GivenAnUnknownKindOrKeyThenTheErrorNamesTheOnesThereAre) {
  EXPECT_THAT(
      ParseFailure("[core]\nhz = {value = 1e8, kind = \"rumour\", source = \"x\"}\n"),
      AllOf(StartsWith("some/where.toml:2: "), HasSubstr("published, derived, fitted, assumed")));
  EXPECT_THAT(ParseFailure("[core]\nhz = {value = 1e8, unit = \"Hz\"}\n"),
              AllOf(StartsWith("some/where.toml:2: "), HasSubstr("accepted: value or scale")));
}

TEST(ProfileFormatTest, GivenAValueOutOfRangeThenTheErrorGivesTheRange) {
  EXPECT_THAT(ParseFailure("\n[link]\nmtu = {value = 576, kind = \"chosen\", source = \"x\"}\n"),
              AllOf(StartsWith("some/where.toml:3: "), HasSubstr("1280 to 65575 B")));
  EXPECT_THAT(ParseFailure("[link]\nmtu = {value = nan, kind = \"chosen\", source = \"x\"}\n"),
              HasSubstr("1280 to 65575"));
}

TEST(ProfileFormatTest, GivenNoNumberThenTheErrorSaysSo) {
  EXPECT_THAT(ParseFailure("[core]\nhz = {value = \"fast\", kind = \"chosen\", source = \"x\"}\n"),
              AllOf(StartsWith("some/where.toml:2: "), HasSubstr("\"core.hz\" is no number")));
}

TEST(ProfileFormatTest, GivenBrokenTomlThenTheErrorHasTheLine) {
  EXPECT_THAT(ParseFailure("[core]\nhz = {value = 1\n"), StartsWith("some/where.toml:"));
}

TEST(ProfileFormatTest, GivenABadBaseThenTheErrorNamesIt) {
  EXPECT_THAT(ParseFailure("base = \"lanai10\"\n"),
              AllOf(StartsWith("some/where.toml:1: "), HasSubstr("no profile \"lanai10\"")));
  EXPECT_THAT(ParseFailure("base = 3\n"), HasSubstr("base must be the name of a profile"));
}

TEST(ProfileFormatTest, GivenBasesInACircleThenItIsAnErrorAndNotTheEndOfTheStack) {
  const std::string path = ::testing::TempDir() + "circular.toml";
  std::ofstream(path) << "base = \"" << path << "\"\n";
  EXPECT_THAT(FailureOf([&] { Profile::Load(path); }), HasSubstr("each other's base"));
  std::remove(path.c_str());
}

TEST(ProfileFormatTest, GivenAnUnreadableFileThenTheErrorSaysWhatToDo) {
  EXPECT_THAT(FailureOf([] { Profile::Load("/nowhere/x.toml"); }),
              AllOf(HasSubstr("/nowhere/x.toml"), HasSubstr("qpip-sim list profiles")));
}

// --- Composition

TEST(ProfileCompositionTest, GivenABaseThatIsNotBelowThenItIsRefusedWithBothNames) {
  EXPECT_THAT(FailureOf([] { Profile::Load("paper-2002+lanai9-firmware-checksum"); }),
              AllOf(HasSubstr("lanai9-firmware-checksum changes lanai9-hardware-checksum"),
                    HasSubstr("paper-2002 is not made of that")));
}

TEST(ProfileCompositionTest, GivenTheBaseBelowThenTheFilesOwnValuesAreOnTop) {
  const Profile alone = Profile::Load("lanai9-firmware-checksum");
  const Profile composed = Profile::Load("lanai9-hardware-checksum+lanai9-firmware-checksum");
  ASSERT_EQ(composed.values().size(), alone.values().size());
  for (const auto& [name, value] : alone.values()) EXPECT_EQ(composed.Get(name), value.value);
}

TEST(ProfileCompositionTest, GivenDeltasInTheBaseThenTheyHaveToBeBelowToo) {
  const std::string path = ::testing::TempDir() + "on-overlapped.toml";
  std::ofstream(path) << "base = \"" << kOverlapped << "\"\n";
  EXPECT_THAT(FailureOf([&] { Profile::Load(kPrototype + ("+" + path)); }),
              HasSubstr("on-overlapped changes overlapped-dma"));
  EXPECT_EQ(Profile::Load(kOverlapped + ("+" + path)).Get("dma.bytes_per_s"),
            Profile::Load(path).Get("dma.bytes_per_s"));
  std::remove(path.c_str());
}

// --- Scaling

TEST(ProfileScaleTest, GivenAScaleThenWhatIsBelowIsMultipliedAndTheSourceSaysSo) {
  const double serial = Profile::Load(kPrototype).Get("dma.bytes_per_s");
  const double overlapped = Profile::Load(kOverlapped).Get("dma.bytes_per_s");
  const Profile faster = Profile::Load(std::string(kPrototype) + "+pci-x");
  EXPECT_DOUBLE_EQ(faster.Get("dma.bytes_per_s"), 4.03 * serial);
  EXPECT_THAT(faster.values().at("dma.bytes_per_s").source, StartsWith("4.03 times"));
  EXPECT_DOUBLE_EQ(Profile::Load(std::string(kOverlapped) + "+pci-x").Get("dma.bytes_per_s"),
                   4.03 * overlapped);
}

TEST(ProfileScaleTest, GivenABadScaleThenTheErrorHasTheLine) {
  EXPECT_THAT(ParseFailure("[dma]\nbytes_per_s = {scale = 0, kind = \"chosen\", source = \"x\"}\n"),
              AllOf(StartsWith("some/where.toml:2: "), HasSubstr("greater than 0")));
  EXPECT_THAT(ParseFailure("[dma]\nbytes_per_s = {value = 1e6, scale = 2, kind = \"chosen\", "
                           "source = \"x\"}\n"),
              AllOf(StartsWith("some/where.toml:2: "), HasSubstr("give one")));
  EXPECT_THAT(ParseFailure("base = \"lanai9-hardware-checksum\"\n[link]\n"
                           "mtu = {scale = 0.01, kind = \"chosen\", source = \"x\"}\n"),
              HasSubstr("1280 to 65575"));
}

TEST(ProfileScaleTest, GivenOnlyAScaleThenTheProfileIsNotComplete) {
  EXPECT_THAT(FailureOf([] { Profile::Load("pci-x").RequireComplete(); }),
              AllOf(HasSubstr("is a delta"), HasSubstr("dma.bytes_per_s")));
}

// --- Setting

TEST(ProfileSetTest, GivenAnAssignmentThenTheValueIsChosen) {
  Profile profile = Profile::Load(kPrototype);
  profile.Set("link.mtu=9000");
  EXPECT_EQ(profile.Get("link.mtu"), 9000);
  EXPECT_EQ(profile.values().at("link.mtu").kind, ValueKind::kChosen);
}

TEST(ProfileSetTest, GivenABadAssignmentThenTheErrorSaysWhatIsAccepted) {
  Profile profile = Profile::Load(kPrototype);
  EXPECT_THAT(FailureOf([&] { profile.Set("link.mtu"); }), HasSubstr("name=number"));
  EXPECT_THAT(FailureOf([&] { profile.Set("link.mtu=9000x"); }), HasSubstr("name=number"));
  EXPECT_THAT(FailureOf([&] { profile.Set("link.mtv=9000"); }), HasSubstr("\"link.mtu\""));
  EXPECT_THAT(FailureOf([&] { profile.Set("link.mtu=100"); }), HasSubstr("1280 to 65575"));
  EXPECT_EQ(profile.Get("link.mtu"), 16456);
}

// --- What is built in

TEST(BuiltInProfileTest, ThenEachLoadsAndComposesWithEitherReadingOfTheDma) {
  for (const BuiltInProfile& built_in : BuiltInProfiles()) {
    EXPECT_FALSE(Profile::Load(built_in.name).summary().empty()) << built_in.name;
    for (const std::string base : {kPrototype, kOverlapped}) {
      if (built_in.name == "host-gm-9000") {  // it changes another host's stack, not an interface
        EXPECT_THROW(Profile::Load(base + "+" + built_in.name), ProfileError);
        continue;
      }
      const Profile profile = Profile::Load(base + "+" + built_in.name);
      EXPECT_NO_THROW(NicModel{profile}) << profile.name();
    }
  }
}

TEST(BuiltInProfileTest, ThenEveryValueHasAKnownNameAndASource) {
  for (const BuiltInProfile& built_in : BuiltInProfiles()) {
    const Profile profile = Profile::Load(built_in.name);
    for (const auto& [name, value] : profile.values()) {
      EXPECT_NE(FindParameter(name), nullptr) << built_in.name << " " << name;
      EXPECT_FALSE(value.source.empty()) << built_in.name << " " << name;
    }
  }
}

/// Both readings of how DMA and link share the work.
class WhatIfTest : public ::testing::TestWithParam<const char*> {
 protected:
  std::string With(const std::string& delta) const { return GetParam() + ("+" + delta); }
};
INSTANTIATE_TEST_SUITE_P(DmaReadings, WhatIfTest, ::testing::Values(kPrototype, kOverlapped),
                         [](const auto& reading) {
                           return reading.param == std::string(kPrototype) ? "Serial"
                                                                           : "Overlapped";
                         });

TEST_P(WhatIfTest, GivenAMultiplierThenTcpAnswersSoonerAndUdpDoesNot) {
  EXPECT_LT(RoundTripUs(With("hardware-multiplier")), 0.95 * RoundTripUs(GetParam()));
  EXPECT_DOUBLE_EQ(RoundTripUs(With("hardware-multiplier"), "udp"), RoundTripUs(GetParam(), "udp"));
}

TEST_P(WhatIfTest, GivenDoorbellsInHardwareThenBothAnswerSooner) {
  EXPECT_LT(RoundTripUs(With("doorbell-assist")), RoundTripUs(GetParam()) - 3);
  EXPECT_LT(RoundTripUs(With("doorbell-assist"), "udp"), RoundTripUs(GetParam(), "udp") - 3);
}

TEST_P(WhatIfTest, GivenADemultiplexerThenReceivingIsCheaper) {
  EXPECT_LT(RoundTripUs(With("demux-engine")), RoundTripUs(GetParam()) - 3);
  EXPECT_GT(Throughput(With("demux-engine"), 1500), Throughput(GetParam(), 1500));
}

TEST_P(WhatIfTest, GivenAFasterCoreThenSmallPacketsGainMost) {
  EXPECT_GT(Throughput(With("faster-core-266"), 1500), 1.3 * Throughput(GetParam(), 1500));
  EXPECT_GT(Throughput(With("faster-core-533"), 1500), Throughput(With("faster-core-266"), 1500));
  EXPECT_LT(Throughput(With("faster-core-533")), 1.1 * Throughput(GetParam()));
}

TEST_P(WhatIfTest, GivenAFasterBusThenLargePacketsGain) {
  EXPECT_GT(Throughput(With("pci-x")), 1.5 * Throughput(GetParam()));
  EXPECT_GE(Throughput(With("pcie")), Throughput(With("pci-x")));
}

TEST_P(WhatIfTest, GivenAllFasterThenMoreThanAnyAlone) {
  const double all = Throughput(With("pcie+link-100g+faster-core-533"));
  EXPECT_GT(all, Throughput(With("pcie+link-100g")));
  EXPECT_GT(all, Throughput(With("pcie+link-10g+faster-core-533")));
}

TEST_P(WhatIfTest, GivenFullSupportThenTheLinkIsTheLimit) {
  EXPECT_GT(Throughput(With("infiniband-class")), 0.9 * 250);
  EXPECT_GT(Throughput(With("infiniband-class"), 1500), 0.9 * 250 * 1428 / 1500);
  EXPECT_LT(RoundTripUs(With("infiniband-class")), 15);
}

TEST(WhatIfLinkTest, GivenAFasterLinkThenOnlySerialDmaGains) {
  EXPECT_GT(Throughput(std::string(kPrototype) + "+link-10g"), 1.2 * Throughput(kPrototype));
  EXPECT_LT(Throughput(std::string(kOverlapped) + "+link-10g"), 1.05 * Throughput(kOverlapped));
}

TEST(WhatIfChecksumTest, GivenAReceiveChecksumEngineThenTheFirmwareIsRidOfIt) {
  EXPECT_DOUBLE_EQ(Throughput("lanai9-firmware-checksum+receive-checksum-engine"),
                   Throughput(kPrototype));
  EXPECT_LT(Throughput("lanai9-firmware-checksum"), 0.5 * Throughput(kPrototype));
}

}  // namespace
}  // namespace qpip::sim
