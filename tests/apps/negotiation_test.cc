#include "apps/nbd/negotiation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <fstream>

#include "apps/common/command_line.h"
#include "memory_transport.h"

namespace qpip::nbd::testing {
namespace {

using ::testing::ElementsAre;

struct ReceivedReply {
  uint32_t option;
  uint32_t reply;
  Bytes data;
};

/// The server's bytes behind the greeting, as option replies.
std::vector<ReceivedReply> ParseReplies(const Bytes& output) {
  std::vector<ReceivedReply> replies;
  size_t at = kGreetingBytes;
  while (at < output.size()) {
    OptionReplyHeader header;
    EXPECT_EQ(ParseOptionReplyHeader(std::span(output).subspan(at), &header),
              HandshakeError::kNone);
    at += kOptionReplyHeaderBytes;
    const auto data = std::span(output).subspan(at, header.length);
    replies.push_back({header.option, header.reply, Bytes(data.begin(), data.end())});
    at += header.length;
  }
  return replies;
}

std::vector<uint32_t> ReplyCodes(const Bytes& output) {
  std::vector<uint32_t> codes;
  for (const ReceivedReply& reply : ParseReplies(output)) codes.push_back(reply.reply);
  return codes;
}

/// Given a server with a writable export "disk" (the default) and a read-only one "cd".
class NegotiationTest : public ::testing::TestWithParam<size_t> {
 protected:
  NegotiationTest() {
    exports_.Add({.name = "disk",
                  .description = "spins",
                  .device = std::make_shared<ScriptedDevice>(1 << 20)});
    exports_.Add({.name = "cd", .device = std::make_shared<ScriptedDevice>(4096, true)});
  }

  /// Runs a negotiation whose client sends `input`, in receives of the parameter's size.
  const Export* Run(const Bytes& input) {
    transport_ = std::make_unique<MemoryTransport>(input, GetParam());
    agreement_ = Negotiation(*transport_, exports_).Run();
    return agreement_.chosen;
  }
  const Bytes& output() const { return transport_->output; }

  ExportTable exports_;
  Agreement agreement_;
  std::unique_ptr<MemoryTransport> transport_;
};

INSTANTIATE_TEST_SUITE_P(ReceiveSizes, NegotiationTest, ::testing::Values(1, 7, 4096));

/// Larger each time that one asks.
class GrowingDevice : public ScriptedDevice {
 public:
  using ScriptedDevice::ScriptedDevice;
  storage::Geometry geometry() const override {
    storage::Geometry now = ScriptedDevice::geometry();
    now.bytes += ++asked_;
    return now;
  }

 private:
  mutable uint64_t asked_ = 0;
};

TEST_P(NegotiationTest, GivenADeviceThatGrowsMeanwhileThenTheClientMayUseWhatItWasTold) {
  exports_.Add({.name = "grows", .device = std::make_shared<GrowingDevice>(4096)});
  const Bytes info = OptionBytes(kOptionInfo, InfoBytes("grows"));
  Run(FlagBytes() + info + OptionBytes(kOptionGo, InfoBytes("grows")));
  std::vector<uint64_t> told;
  for (const ReceivedReply& reply : ParseReplies(output())) {
    ExportInfo size;
    if (reply.reply == kReplyInfo && ParseExportInfo(reply.data, &size) == HandshakeError::kNone) {
      told.push_back(size.size_bytes);
    }
  }
  EXPECT_THAT(told, ElementsAre(4097, 4098));
  EXPECT_EQ(agreement_.limits.size_bytes, 4098u);
}

TEST_P(NegotiationTest, GivenAClientThatClosesWhenGreetedThenTheServerEnds) {
  EXPECT_EQ(Run({}), nullptr);
  Greeting greeting;
  ASSERT_EQ(ParseGreeting(output(), &greeting), HandshakeError::kNone);
  EXPECT_EQ(greeting.handshake_flags, kFixedNewstyle | kNoZeroes);
  EXPECT_EQ(output().size(), kGreetingBytes);
}

TEST_P(NegotiationTest, GivenUnknownClientFlagsThenTheServerHangsUp) {
  EXPECT_THROW(Run(FlagBytes(kClientFixedNewstyle | 1u << 9)), ConnectionLost);
}

TEST_P(NegotiationTest, GivenAnOptionWithBadMagicThenTheServerHangsUp) {
  Bytes option = OptionBytes(kOptionList);
  option[3] ^= 1;
  EXPECT_THROW(Run(FlagBytes() + option), ConnectionLost);
}

TEST_P(NegotiationTest, GivenAnOptionCutShortThenTheServerHangsUp) {
  Bytes option = OptionBytes(kOptionGo, InfoBytes("disk"));
  option.pop_back();
  EXPECT_THROW(Run(FlagBytes() + option), ConnectionLost);
}

TEST_P(NegotiationTest, GivenGoForTheDefaultExportThenTheFirstOneIsServed) {
  const Export* chosen = Run(FlagBytes() + OptionBytes(kOptionGo, InfoBytes("")));
  ASSERT_NE(chosen, nullptr);
  EXPECT_EQ(chosen->name, "disk");
  EXPECT_THAT(ReplyCodes(output()), ElementsAre(kReplyInfo, kReplyAck));
}

TEST_P(NegotiationTest, GivenGoThenTheReplyTellsSizeAndFlags) {
  const Export* chosen = Run(FlagBytes() + OptionBytes(kOptionGo, InfoBytes("cd")));
  ASSERT_NE(chosen, nullptr);
  EXPECT_EQ(chosen->name, "cd");
  ExportInfo info;
  ASSERT_EQ(ParseExportInfo(ParseReplies(output()).front().data, &info), HandshakeError::kNone);
  EXPECT_EQ(info.size_bytes, 4096u);
  EXPECT_EQ(info.transmission_flags,
            kHasFlags | kReadOnly | kSendFlush | kSendFua | kSendCache | kCanMultiConn);
}

TEST_P(NegotiationTest, GivenInfoWithWishesThenTheyAreAnsweredAndHagglingGoesOn) {
  const uint32_t wishes = InfoBit(kInfoName) | InfoBit(kInfoBlockSize) | InfoBit(kInfoDescription);
  const Export* chosen = Run(FlagBytes() + OptionBytes(kOptionInfo, InfoBytes("", wishes)) +
                             OptionBytes(kOptionGo, InfoBytes("cd")));
  ASSERT_NE(chosen, nullptr);
  EXPECT_EQ(chosen->name, "cd");
  const auto replies = ParseReplies(output());
  ASSERT_THAT(ReplyCodes(output()), ElementsAre(kReplyInfo, kReplyInfo, kReplyInfo, kReplyInfo,
                                                kReplyAck, kReplyInfo, kReplyAck));
  Text name;
  ASSERT_EQ(ParseTextInfo(replies[1].data, kInfoName, &name), HandshakeError::kNone);
  EXPECT_EQ(std::string(name.begin(), name.end()), "disk");
  ASSERT_EQ(ParseTextInfo(replies[2].data, kInfoDescription, &name), HandshakeError::kNone);
  EXPECT_EQ(std::string(name.begin(), name.end()), "spins");
  BlockSizeInfo sizes;
  ASSERT_EQ(ParseBlockSizeInfo(replies[3].data, &sizes), HandshakeError::kNone);
  EXPECT_EQ(sizes.minimum, 1u);
  EXPECT_EQ(sizes.maximum, kMaxPayloadBytes);
}

TEST_P(NegotiationTest, GivenOptionsThatAreNotImplementedThenEachIsRefusedAndHagglingGoesOn) {
  Bytes input = FlagBytes();
  const std::vector<uint32_t> options = {kOptionStartTls, kOptionPeekExport, 0, 77, 0xffffffff};
  for (const uint32_t option : options) input = input + OptionBytes(option);
  EXPECT_NE(Run(input + OptionBytes(kOptionGo, InfoBytes("disk"))), nullptr);
  const auto replies = ParseReplies(output());
  ASSERT_EQ(replies.size(), options.size() + 2);
  for (size_t i = 0; i < options.size(); ++i) {
    EXPECT_EQ(replies[i].option, options[i]);
    EXPECT_EQ(replies[i].reply, kReplyErrUnsup);
    EXPECT_FALSE(replies[i].data.empty());  // a text for people
  }
}

TEST_P(NegotiationTest, GivenOptionsThatTakeNoDataWhenTheyHaveSomeThenTheyAreInvalid) {
  Bytes input = FlagBytes();
  for (const uint32_t option : {kOptionStructuredReply, kOptionExtendedHeaders}) {
    input = input + OptionBytes(option, Ramp(3));
  }
  EXPECT_NE(Run(input + OptionBytes(kOptionGo, InfoBytes(""))), nullptr);
  EXPECT_THAT(ReplyCodes(output()),
              ElementsAre(kReplyErrInvalid, kReplyErrInvalid, kReplyInfo, kReplyAck));
  EXPECT_FALSE(agreement_.structured);
}

TEST_P(NegotiationTest, GivenTlsThatIsRequiredThenEveryOtherOptionIsRefusedUntilItHasBegun) {
  const std::string keys = ::testing::TempDir() + "qpip-keys-" + std::to_string(getpid());
  std::ofstream(keys) << "# comment\nalice:0011\n";
  const auto make = [&](bool optional) {
    TlsOptions options;
    options.psk_file = keys;
    options.optional = optional;
    return std::make_unique<TlsContext>(options);
  };
  const std::unique_ptr<TlsContext> tls = make(false);
  const Bytes data = FlagBytes() + OptionBytes(kOptionList) + OptionBytes(kOptionStructuredReply) +
                     OptionBytes(99) + OptionBytes(kOptionStartTls, Ramp(2)) +
                     OptionBytes(kOptionGo, InfoBytes("disk")) + OptionBytes(kOptionAbort);
  MemoryTransport transport(data, GetParam());
  EXPECT_EQ(Negotiation(transport, exports_, tls.get()).Run().chosen, nullptr);
  EXPECT_THAT(ReplyCodes(transport.output),
              ElementsAre(kReplyErrTlsRequired, kReplyErrTlsRequired, kReplyErrTlsRequired,
                          kReplyErrInvalid, kReplyErrTlsRequired, kReplyAck));
  MemoryTransport by_name(FlagBytes() + OptionBytes(kOptionExportName), GetParam());
  EXPECT_THROW(Negotiation(by_name, exports_, tls.get()).Run(), ConnectionLost);
  MemoryTransport without(FlagBytes() + OptionBytes(kOptionGo, InfoBytes("disk")), GetParam());
  EXPECT_NE(Negotiation(without, exports_, make(true).get()).Run().chosen, nullptr);
  std::ofstream(keys) << "alice\n";
  EXPECT_THROW(make(false), apps::Failure);
  unlink(keys.c_str());
}

TEST_P(NegotiationTest, GivenStructuredRepliesThenTheyAreAgreedOnAndDfIsAnnounced) {
  ASSERT_NE(Run(FlagBytes() + OptionBytes(kOptionStructuredReply) +
                OptionBytes(kOptionGo, InfoBytes("disk"))),
            nullptr);
  EXPECT_TRUE(agreement_.structured);
  EXPECT_EQ(agreement_.limits.headers, Headers::kCompact);
  ExportInfo info;
  ASSERT_EQ(ParseExportInfo(ParseReplies(output())[1].data, &info), HandshakeError::kNone);
  EXPECT_EQ(info.transmission_flags, kHasFlags | kSendFlush | kSendFua | kSendCache |
                                         kCanMultiConn | kSendTrim | kSendWriteZeroes |
                                         kSendFastZero | kSendDf);
}

TEST_P(NegotiationTest, GivenExtendedHeadersThenStructuredRepliesCanNoLongerBeAskedFor) {
  ASSERT_NE(Run(FlagBytes() + OptionBytes(kOptionExtendedHeaders) +
                OptionBytes(kOptionStructuredReply) + OptionBytes(kOptionGo, InfoBytes(""))),
            nullptr);
  EXPECT_TRUE(agreement_.structured);
  EXPECT_EQ(agreement_.limits.headers, Headers::kExtended);
  EXPECT_THAT(ReplyCodes(output()),
              ElementsAre(kReplyAck, kReplyErrExtendedHeadersRequired, kReplyInfo, kReplyAck));
}

TEST_P(NegotiationTest, GivenContextsWithoutStructuredRepliesThenTheyAreInvalid) {
  const Bytes query = MetaBytes("disk", {"base:allocation"});
  Run(FlagBytes() + OptionBytes(kOptionListMetaContext, query) +
      OptionBytes(kOptionSetMetaContext, query) + OptionBytes(kOptionGo, InfoBytes("disk")));
  EXPECT_THAT(ReplyCodes(output()),
              ElementsAre(kReplyErrInvalid, kReplyErrInvalid, kReplyInfo, kReplyAck));
  EXPECT_FALSE(agreement_.limits.block_status);
}

TEST_P(NegotiationTest, GivenContextsWhenListedThenTheOneThereIsIsFoundByAllAndByNamespace) {
  Bytes input = FlagBytes() + OptionBytes(kOptionStructuredReply);
  const std::vector<std::vector<std::string_view>> found = {
      {}, {"base:"}, {"x:y", "base:allocation"}};
  const std::vector<std::vector<std::string_view>> none = {{"x-q:"}, {"base:other"}, {"base"}};
  for (const auto& queries : found) {
    input = input + OptionBytes(kOptionListMetaContext, MetaBytes("disk", queries));
  }
  for (const auto& queries : none) {
    input = input + OptionBytes(kOptionListMetaContext, MetaBytes("disk", queries));
  }
  Run(input + OptionBytes(kOptionListMetaContext, MetaBytes("tape", {})) +
      OptionBytes(kOptionListMetaContext, Ramp(9)));
  EXPECT_THAT(ReplyCodes(output()),
              ElementsAre(kReplyAck, kReplyMetaContext, kReplyAck, kReplyMetaContext, kReplyAck,
                          kReplyMetaContext, kReplyAck, kReplyAck, kReplyAck, kReplyAck,
                          kReplyErrUnknown, kReplyErrInvalid));
}

TEST_P(NegotiationTest, GivenAContextThatWasSetThenItHoldsForThatExportAndUntilTheNextSet) {
  const Bytes start = FlagBytes() + OptionBytes(kOptionStructuredReply) +
                      OptionBytes(kOptionSetMetaContext, MetaBytes("disk", {"base:allocation"}));
  Run(start + OptionBytes(kOptionGo, InfoBytes("disk")));
  EXPECT_TRUE(agreement_.limits.block_status);
  Run(start + OptionBytes(kOptionGo, InfoBytes("cd")));
  EXPECT_FALSE(agreement_.limits.block_status);
  Run(start + OptionBytes(kOptionSetMetaContext, MetaBytes("disk", {})) +
      OptionBytes(kOptionGo, InfoBytes("disk")));
  EXPECT_FALSE(agreement_.limits.block_status);
  Run(start + OptionBytes(kOptionSetMetaContext, Ramp(7)) +
      OptionBytes(kOptionGo, InfoBytes("disk")));
  EXPECT_FALSE(agreement_.limits.block_status);
  Run(start + OptionBytes(kOptionSetMetaContext, MetaBytes("disk", {"base:"})) +
      OptionBytes(kOptionGo, InfoBytes("disk")));
  EXPECT_FALSE(agreement_.limits.block_status);  // the namespace is for listing
}

TEST_P(NegotiationTest, GivenListThenEveryExportIsNamed) {
  EXPECT_EQ(Run(FlagBytes() + OptionBytes(kOptionList) + OptionBytes(kOptionAbort)), nullptr);
  const auto replies = ParseReplies(output());
  ASSERT_THAT(ReplyCodes(output()), ElementsAre(kReplyServer, kReplyServer, kReplyAck, kReplyAck));
  ServerEntry entry;
  ASSERT_EQ(ParseServerEntry(replies[1].data, &entry), HandshakeError::kNone);
  EXPECT_EQ(std::string(entry.name.begin(), entry.name.end()), "cd");
}

TEST_P(NegotiationTest, GivenListWithDataThenItIsInvalid) {
  Run(FlagBytes() + OptionBytes(kOptionList, Ramp(1)));
  EXPECT_THAT(ReplyCodes(output()), ElementsAre(kReplyErrInvalid));
}

TEST_P(NegotiationTest, GivenGoForWhatDoesNotExistThenItIsUnknownAndHagglingGoesOn) {
  const Export* chosen = Run(FlagBytes() + OptionBytes(kOptionGo, InfoBytes("tape")) +
                             OptionBytes(kOptionGo, InfoBytes("disk")));
  EXPECT_NE(chosen, nullptr);
  EXPECT_THAT(ReplyCodes(output()), ElementsAre(kReplyErrUnknown, kReplyInfo, kReplyAck));
}

TEST_P(NegotiationTest, GivenGoWhoseLengthsDisagreeThenItIsInvalid) {
  Run(FlagBytes() + OptionBytes(kOptionGo, Ramp(5)));
  EXPECT_THAT(ReplyCodes(output()), ElementsAre(kReplyErrInvalid));
}

TEST_P(NegotiationTest, GivenAnOversizedOptionThenItIsSkippedAndTooBig) {
  const Export* chosen = Run(FlagBytes() + OptionBytes(kOptionInfo, Bytes(kMaxOptionBytes + 1)) +
                             OptionBytes(kOptionGo, InfoBytes("disk")));
  EXPECT_NE(chosen, nullptr);
  EXPECT_THAT(ReplyCodes(output()), ElementsAre(kReplyErrTooBig, kReplyInfo, kReplyAck));
}

TEST_P(NegotiationTest, GivenAnAbsurdlyLongOptionThenTheServerHangsUpWithoutReadingIt) {
  Bytes header(kOptionHeaderBytes);
  EmitOptionHeader({kOptionInfo, 0xffffffff},
                   std::span<uint8_t, kOptionHeaderBytes>(header.data(), kOptionHeaderBytes));
  EXPECT_THROW(Run(FlagBytes() + header), ConnectionLost);
}

TEST_P(NegotiationTest, GivenAbortThenItIsAcknowledgedAndTheServerEnds) {
  EXPECT_EQ(Run(FlagBytes() + OptionBytes(kOptionAbort)), nullptr);
  EXPECT_THAT(ReplyCodes(output()), ElementsAre(kReplyAck));
}

TEST_P(NegotiationTest, GivenExportNameThenSizeAndFlagsFollowWithoutZeroes) {
  const Bytes name = {'c', 'd'};
  EXPECT_NE(Run(FlagBytes() + OptionBytes(kOptionExportName, name)), nullptr);
  ASSERT_EQ(output().size(), kGreetingBytes + kExportNameReplyBytes);
  ExportNameReply reply;
  ASSERT_EQ(ParseExportNameReply(std::span(output()).subspan(kGreetingBytes), &reply),
            HandshakeError::kNone);
  EXPECT_EQ(reply.size_bytes, 4096u);
}

TEST_P(NegotiationTest, GivenAClientThatWantsZeroesWhenExportNameThenTheyFollow) {
  EXPECT_NE(Run(FlagBytes(kClientFixedNewstyle) + OptionBytes(kOptionExportName)), nullptr);
  EXPECT_EQ(output().size(), kGreetingBytes + kExportNameReplyBytes + kExportNameZeroes);
}

TEST_P(NegotiationTest, GivenExportNameOfWhatDoesNotExistThenTheServerHangsUp) {
  const Bytes name = {'t', 'a', 'p', 'e'};
  EXPECT_THROW(Run(FlagBytes() + OptionBytes(kOptionExportName, name)), ConnectionLost);
}

}  // namespace
}  // namespace qpip::nbd::testing
