// apps/common and the small parts of the commands.
#include <gtest/gtest.h>
#include <signal.h>

#include <poll.h>

#include "apps/common/command_line.h"
#include "apps/common/completions.h"
#include "apps/common/connection.h"
#include "apps/common/json_output.h"
#include "apps/common/nic_options.h"
#include "apps/common/pattern.h"
#include "apps/common/statistics.h"
#include "apps/common/stop.h"

namespace qpip::apps {
namespace {

TEST(ParseNumberTest, GivenNumbersWithSuffixesThenTheyAreScaled) {
  EXPECT_EQ(ParseNumber("0", "x", 0, 10), 0u);
  EXPECT_EQ(ParseNumber("8192", "x", 1, UINT64_MAX), 8192u);
  EXPECT_EQ(ParseNumber("64K", "x", 1, UINT64_MAX), 65536u);
  EXPECT_EQ(ParseNumber("1M", "x", 1, UINT64_MAX), 1u << 20);
  EXPECT_EQ(ParseNumber("2g", "x", 1, UINT64_MAX), 2u << 30);
  EXPECT_EQ(ParseNumber("18446744073709551615", "x", 1, UINT64_MAX), UINT64_MAX);
}

TEST(ParseNumberTest, GivenAnythingElseThenItIsAUsageErrorThatNamesTheOption) {
  for (const char* text : {"", "K", "-1", "+1", " 1", "1 ", "1KB", "1.5", "0x10", "1T", "abc",
                           "18446744073709551616", "18014398509481984K", "17179869184G"}) {
    try {
      ParseNumber(text, "option --length", 0, UINT64_MAX);
      ADD_FAILURE() << text;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find("option --length"), std::string::npos) << text;
    }
  }
  EXPECT_THROW(ParseNumber("0", "x", 1, 10), UsageError);
  EXPECT_THROW(ParseNumber("11", "x", 1, 10), UsageError);
  EXPECT_THROW(ParseNumber("1K", "x", 1, 1023), UsageError);
}

class CommandLineTest : public ::testing::Test {
 protected:
  CommandLineTest()
      : line_({.name = "qpip-test", .summary = "s", .usage = "u", .notes = "", .examples = ""}) {
    namespace po = boost::program_options;
    line_.Options().add_options()("number,n", po::value<std::string>()->default_value("5"), "")(
        "time", po::value<std::string>()->default_value("1"), "")("flag", "");
    line_.Positional("thing", 2);
  }
  bool Parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "qpip-test");
    return line_.Parse(static_cast<int>(arguments.size()), arguments.data());
  }
  CommandLine line_;
};

TEST_F(CommandLineTest, GivenNothingThenDefaultsHold) {
  EXPECT_TRUE(Parse({}));
  EXPECT_EQ(line_.Number("number", 0, 10), 5u);
  EXPECT_FALSE(line_.Flag("flag"));
  EXPECT_FALSE(line_.json());
  EXPECT_TRUE(line_.Strings("thing").empty());
}

TEST_F(CommandLineTest, GivenOptionsAndArgumentsThenTheyAreRead) {
  EXPECT_TRUE(Parse({"a", "-n", "7", "--flag", "--json", "b", "--time=2.5"}));
  EXPECT_EQ(line_.Number("number", 0, 10), 7u);
  EXPECT_TRUE(line_.Flag("flag"));
  EXPECT_TRUE(line_.json());
  EXPECT_EQ(line_.Strings("thing"), (std::vector<std::string>{"a", "b"}));
  EXPECT_DOUBLE_EQ(line_.Seconds("time", 10), 2.5);
}

TEST_F(CommandLineTest, GivenBadUsageThenAUsageErrorSaysWhatAndWhere) {
  EXPECT_THROW(Parse({"--unknown"}), UsageError);
  EXPECT_THROW(Parse({"--fla"}), UsageError);  // no guessing
  EXPECT_THROW(Parse({"-n"}), UsageError);
  EXPECT_THROW(Parse({"-n", "1", "-n", "2"}), UsageError);
  EXPECT_THROW(Parse({"a", "b", "c"}), UsageError);
}

TEST_F(CommandLineTest, GivenTimesOutOfRangeThenTheyAreRefused) {
  for (const char* time : {"-1", "nan", "inf", "11", "1s", ""}) {
    CommandLine line({.name = "t", .summary = "", .usage = "", .notes = "", .examples = ""});
    line.Options().add_options()("time", boost::program_options::value<std::string>(), "");
    const std::string argument = std::string("--time=") + time;
    const std::vector<const char*> arguments = {"t", argument.c_str()};
    EXPECT_THROW(
        {
          line.Parse(2, arguments.data());
          line.Seconds("time", 10);
        },
        UsageError)
        << time;
  }
}

TEST(RunCommandTest, GivenExceptionsThenStatusAndOneLine) {
  const auto run = [](const std::function<int()>& body) {
    ::testing::internal::CaptureStderr();
    const int status = RunCommand("qpip-test", body);
    return std::pair(status, ::testing::internal::GetCapturedStderr());
  };
  EXPECT_EQ(run([] { return kExitOk; }), std::pair(0, std::string()));
  EXPECT_EQ(run([]() -> int { throw UsageError("a\nb"); }),
            std::pair(2, std::string("qpip-test: a b\n")));
  EXPECT_EQ(run([]() -> int { throw ParseError("uri"); }).first, 2);
  EXPECT_EQ(run([]() -> int { throw Failure("broken"); }),
            std::pair(1, std::string("qpip-test: broken\n")));
  EXPECT_EQ(run([]() -> int { throw Error(EADDRINUSE, "port"); }).first, 1);
  EXPECT_EQ(run([]() -> int { throw std::bad_alloc(); }).first, 1);
}

TEST(NicUriTest, GivenTwoClientsWithTheSameProcessIdThenTheirAddressesDiffer) {
  const std::string one = NicUri("udp::0", "", NicRole::kClient);
  const std::string other = NicUri("udp::0", "", NicRole::kClient);
  EXPECT_NE(one, other) << "two containers may well have the same process ids";
}

TEST(NicUriTest, GivenPartsThenTheUriHasOneAddress) {
  EXPECT_EQ(NicUri("shm:lab", "", NicRole::kServer), "shm:lab?address=fd00::1");
  EXPECT_EQ(NicUri("shm:lab", "fd00::9", NicRole::kServer), "shm:lab?address=fd00::9");
  EXPECT_EQ(NicUri("shm:lab?loss=0.1", "fd00::9", NicRole::kClient),
            "shm:lab?loss=0.1&address=fd00::9");
  EXPECT_EQ(NicUri("shm:lab?mtu=1500&address=fd00::5", "", NicRole::kClient),
            "shm:lab?mtu=1500&address=fd00::5");
  EXPECT_TRUE(NicUri("shm:lab", "", NicRole::kClient).starts_with("shm:lab?address=fd00::"));
  EXPECT_THROW(NicUri("shm:lab?address=fd00::5", "fd00::6", NicRole::kClient), UsageError);
  EXPECT_THROW(NicUri("shm:lab", "not an address", NicRole::kClient), ParseError);
}

TEST(ParsePeerTest, GivenTheFormsOfAPeerThenThePortIsItsOwnOrTheDefault) {
  EXPECT_EQ(ParsePeer("fd00::1", 7).ToString(), "[fd00::1]:7");
  EXPECT_EQ(ParsePeer("[fd00::1]", 7).ToString(), "[fd00::1]:7");
  EXPECT_EQ(ParsePeer("[fd00::1]:99", 7).ToString(), "[fd00::1]:99");
  for (const char* text : {"", "localhost", "127.0.0.1", "[fd00::1", "[fd00::1]:", "[fd00::1]:0x1",
                           "[fd00::1]:70000", "fd00::1:99:zz"}) {
    EXPECT_THROW(ParsePeer(text, 7), UsageError) << text;
  }
}

TEST(ParsePeerTest, GivenAnAddressOfNoOtherHostThenItIsRefused) {
  for (const char* text : {"::", "[::]:7", "::1", "ff02::1", "[ff0e::1234]:7"}) {
    EXPECT_THROW(ParsePeer(text, 7), UsageError) << text;
  }
}

TEST(ParsePeerTest, GivenABadPortThenItIsNotCalledABadAddress) {
  for (const char* text : {"[fd00::1]:0", "[fd00::1]:70000", "[fd00::1]:7x", "[fd00::1]:"}) {
    try {
      ParsePeer(text, 7);
      ADD_FAILURE() << text;
    } catch (const UsageError& error) {
      EXPECT_EQ(std::string(error.what()).find("address"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("1 to 65535"), std::string::npos) << error.what();
    }
  }
}

TEST(HasParameterTest, GivenAUriThenOnlyWholeNamesOfItsQueryCount) {
  EXPECT_TRUE(HasParameter("shm:x?loss=0.1", "loss"));
  EXPECT_TRUE(HasParameter("shm:x?mtu=1500&loss=0.1", "loss"));
  EXPECT_FALSE(HasParameter("shm:x?glossy=1", "loss"));
  EXPECT_FALSE(HasParameter("shm:x?lossy=1", "loss"));
  EXPECT_FALSE(HasParameter("shm:loss=1", "loss"));
}

TEST(JsonTextTest, GivenBytesThatAreNoUtf8ThenTheTextIs) {
  const nlohmann::json value = {{"name", "a\xff\xc3\"\n"}, {"\x80", 1}};
  const nlohmann::json back = nlohmann::json::parse(JsonText(value));
  EXPECT_EQ(back["name"], "a\xef\xbf\xbd\xef\xbf\xbd\"\n");
  EXPECT_EQ(back["\xef\xbf\xbd"], 1);
  EXPECT_EQ(JsonText({{"a", "\xc3\xa4"}}), "{\"a\":\"\xc3\xa4\"}");
}

TEST(PercentEncodedTest, GivenAPathThenWhatMeansSomethingInAUriIsEncoded) {
  EXPECT_EQ(PercentEncoded("/tmp/disk-1_2.sock~"), "/tmp/disk-1_2.sock~");
  EXPECT_EQ(PercentEncoded("/a b?c&d=e%f#\xff"), "/a%20b%3Fc%26d%3De%25f%23%FF");
}

TEST(LatencyRecorderTest, GivenSamplesThenPercentilesAreNearestRank) {
  LatencyRecorder recorder;
  EXPECT_EQ(recorder.Summarise().count, 0u);
  for (int i = 100; i >= 1; --i) recorder.Add(std::chrono::microseconds(i));
  const auto summary = recorder.Summarise();
  EXPECT_EQ(summary.count, 100u);
  EXPECT_DOUBLE_EQ(summary.min_us, 1);
  EXPECT_DOUBLE_EQ(summary.median_us, 50);
  EXPECT_DOUBLE_EQ(summary.p99_us, 99);
  EXPECT_DOUBLE_EQ(summary.max_us, 100);
  EXPECT_DOUBLE_EQ(summary.mean_us, 50.5);
}

TEST(LatencyRecorderTest, GivenTenThousandSamplesThenTheLastPercentilesAreToldApart) {
  LatencyRecorder recorder;
  for (int i = 1; i <= 10000; ++i) recorder.Add(std::chrono::microseconds(i));
  const auto summary = recorder.Summarise();
  EXPECT_DOUBLE_EQ(summary.p90_us, 9000);
  EXPECT_DOUBLE_EQ(summary.p99_us, 9900);
  EXPECT_DOUBLE_EQ(summary.p99_9_us, 9990);
  EXPECT_DOUBLE_EQ(summary.p99_99_us, 9999);
}

TEST(LatencyRecorderTest, GivenSamplesThenEachIsInOneBucketOfTheHistogram) {
  LatencyRecorder recorder;
  EXPECT_TRUE(recorder.Histogram().empty());
  for (const uint64_t ns : {0, 1, 2, 1023, 1024, 1025, 2048, 1000000}) {
    recorder.Add(std::chrono::nanoseconds(ns));
  }
  const auto histogram = recorder.Histogram();
  uint64_t count = 0;
  for (size_t i = 0; i < histogram.size(); ++i) {
    EXPECT_LT(histogram[i].above_us, histogram[i].to_us);
    if (i != 0) {
      EXPECT_DOUBLE_EQ(histogram[i].above_us, histogram[i - 1].to_us);
    }
    count += histogram[i].count;
  }
  EXPECT_EQ(count, 8u);
  EXPECT_EQ(histogram.front().count, 2u);  // up to 1 ns
  EXPECT_GE(histogram.back().to_us, 1000);
  EXPECT_LT(histogram.back().above_us, 1000);
}

TEST(StopTokenTest, GivenASignalThenTheTokenIsRequestedAndItsDescriptorReadable) {
  StopToken token;
  StopOnSignals(token);
  pollfd descriptor = {token.fd(), POLLIN, 0};
  EXPECT_FALSE(token.requested());
  EXPECT_EQ(poll(&descriptor, 1, 0), 0);
  raise(SIGTERM);
  EXPECT_TRUE(token.requested());
  EXPECT_EQ(poll(&descriptor, 1, 0), 1);
  raise(SIGTERM);  // the same request, delivered to the process group
  signal(SIGTERM, SIG_DFL);
  signal(SIGINT, SIG_DFL);
}

TEST(StatusTextTest, GivenStatusesThenTheVerbsNameIsInTheText) {
  EXPECT_NE(StatusText(IBV_WC_REM_ABORT_ERR).find("IBV_WC_REM_ABORT_ERR"), std::string::npos);
  EXPECT_NE(StatusText(IBV_WC_TM_ERR).find(std::to_string(IBV_WC_TM_ERR)), std::string::npos);
}

TEST(BrokenTextTest, GivenAConnectionsEndThenItsReasonIsToldWhateverTheStatus) {
  for (const ibv_wc_status status : {IBV_WC_RETRY_EXC_ERR, IBV_WC_WR_FLUSH_ERR}) {
    EXPECT_EQ(BrokenText(status, DisconnectReason::kTimedOut),
              "the peer does not answer any more (" + StatusName(status) + ")");
  }
}

TEST(BrokenTextTest, GivenNoEndOfTheConnectionThenTheStatusIsTold) {
  for (const auto reason : {DisconnectReason::kNone, DisconnectReason::kLocalError}) {
    EXPECT_EQ(BrokenText(IBV_WC_LOC_PROT_ERR, reason), StatusText(IBV_WC_LOC_PROT_ERR));
  }
}

TEST(PatternTest, GivenAnyCutThenThePatternDependsOnThePositionOnly) {
  std::vector<uint8_t> whole(1000);
  FillPattern(0, whole);
  for (size_t start = 0; start < 20; ++start) {
    for (size_t length = 0; length < 40; ++length) {
      std::vector<uint8_t> part(length);
      FillPattern(start, part);
      EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + static_cast<long>(start)));
      EXPECT_EQ(FindPatternError(start, part), std::nullopt);
    }
  }
}

TEST(PatternTest, GivenAWrongByteThenItsPositionIsFound) {
  std::vector<uint8_t> bytes(100);
  FillPattern(13, bytes);
  for (size_t at = 0; at < bytes.size(); ++at) {
    bytes[at] ^= 0x10;
    EXPECT_EQ(FindPatternError(13, bytes), 13 + at);
    bytes[at] ^= 0x10;
  }
}

TEST(PatternTest, GivenShiftedDataThenItIsFound) {
  std::vector<uint8_t> bytes(64);
  FillPattern(8, bytes);
  EXPECT_NE(FindPatternError(0, bytes), std::nullopt);
  EXPECT_NE(FindPatternError(16, bytes), std::nullopt);
}

}  // namespace
}  // namespace qpip::apps
