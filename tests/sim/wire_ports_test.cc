// Ports that come, go and come again on both fabrics; options that are refused.
#include <sys/resource.h>

#include <cerrno>
#include <system_error>
#include <thread>

#include "sim/wire/slot_set.h"
#include "wire_fabric.h"

namespace qpip::wire::test {
namespace {

class FabricPorts : public FabricTest {};

INSTANTIATE_TEST_SUITE_P(Kinds, FabricPorts, kFabricKinds,
                         [](const auto& tested) { return tested.param.name; });

TEST_P(FabricPorts, GivenASenderThatLeavesWhenReceivingThenItsFramesComeBeforeOnePeerDown) {
  auto b = Open(2);
  auto a = Open(1);
  const iovec piece = {a->AllocateShared(5000), 5000};
  std::memset(piece.iov_base, 0x11, piece.iov_len);
  const Bytes header = MakeFrame(Address(2), 60, 1);
  uint64_t lease = 0;
  ASSERT_EQ(a->Send({header, {&piece, 1}, true}, &lease), SendResult::kSent);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 100, 2)), SendResult::kSent);
  InFrame first;
  ASSERT_TRUE(b->Receive(&first));
  a.reset();

  InFrame second;
  ASSERT_TRUE(b->Receive(&second));
  EXPECT_FALSE(second.peer_down);
  EXPECT_EQ(Content(second), MakeFrame(Address(2), 100, 2));
  InFrame event;
  ASSERT_TRUE(b->Receive(&event));
  EXPECT_TRUE(event.peer_down);
  EXPECT_EQ(event.peer, Address(1));
  // Borrowed frames outlive the peer.
  EXPECT_EQ(Content(first).back(), 0x11);
  EXPECT_EQ(Content(first).size(), 5060u);
  b->Release(event);
  b->Release(second);
  b->Release(first);
  EXPECT_FALSE(b->Receive(&event));
}

TEST_P(FabricPorts, GivenAPortThatSentAndLeftBeforeItWasNoticedThenItsFramesStillArrive) {
  auto b = Open(2);
  {
    auto a = Open(1);
    ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 77, 5)), SendResult::kSent);
  }
  InFrame frame;
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_EQ(Content(frame), MakeFrame(Address(2), 77, 5));
  b->Release(frame);
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_TRUE(frame.peer_down);
  EXPECT_FALSE(b->Receive(&frame));
}

TEST_P(FabricPorts, GivenAQuickRestartWhenReceivingThenOldFramesPeerDownNewFrames) {
  auto b = Open(2);
  for (int incarnation = 0; incarnation < 3; ++incarnation) {
    auto a = Open(1);
    ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 10 + incarnation)), SendResult::kSent);
  }
  auto last = Open(1);
  ASSERT_EQ(SendBytes(last.get(), MakeFrame(Address(2), 50, 13)), SendResult::kSent);
  InFrame frame;
  for (int incarnation = 0; incarnation < 4; ++incarnation) {
    ASSERT_TRUE(b->Receive(&frame));
    ASSERT_FALSE(frame.peer_down);
    EXPECT_EQ(Content(frame), MakeFrame(Address(2), 50, 10 + incarnation));
    b->Release(frame);
    if (incarnation == 3) break;
    ASSERT_TRUE(b->Receive(&frame));
    EXPECT_TRUE(frame.peer_down);
    EXPECT_EQ(frame.peer, Address(1));
  }
  EXPECT_FALSE(b->Receive(&frame));
}

TEST_P(FabricPorts, GivenARestartedReceiverWhenSendingThenPeerDownComesBeforeTheNewRouteWorks) {
  auto a = Open(1);
  auto b = Open(2);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 1)), SendResult::kSent);
  b.reset();
  b = Open(2);
  EXPECT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 2)), SendResult::kBusy);
  InFrame frame;
  ASSERT_TRUE(a->Receive(&frame));
  EXPECT_TRUE(frame.peer_down);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 3)), SendResult::kSent);
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_EQ(Content(frame), MakeFrame(Address(2), 50, 3)) << "nothing of the predecessor's";
  b->Release(frame);
}

TEST_P(FabricPorts, GivenALiveAddressWhenAnotherPortWantsItThenAnErrorSaysSo) {
  auto a = Open(1);
  try {
    Open(1);
    FAIL() << "two ports with one address";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code().value(), EADDRINUSE);
    EXPECT_EQ(std::string(error.what()), "address fd00::1 is in use on fabric " + fabric_ +
                                             " by a live port; choose another with ?address=");
  }
  a.reset();
  EXPECT_NO_THROW(Open(1));
}

/// Address of a port by number, from 1.
abi::Ip6Address NumberedAddress(uint32_t number) {
  abi::Ip6Address address = Address(static_cast<uint8_t>(number));
  address.bytes[14] = static_cast<uint8_t>(number >> 8);
  return address;
}

/// For a test that opens many ports: each has descriptors.
class ManyDescriptors {
 public:
  ManyDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit most = {before_.rlim_max, before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &most);
  }
  ~ManyDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_ = {};
};

class ManyPorts : public FabricTest {
 protected:
  std::unique_ptr<Wire> OpenNumber(uint32_t number) {
    FabricOptions options = Options(fabric_, 1);
    options.address = NumberedAddress(number);
    return Open(options);
  }
  /// What `wire` receives until there is nothing more.
  static std::vector<Bytes> Drain(Wire& wire) {
    std::vector<Bytes> frames;
    InFrame frame;
    while (wire.Receive(&frame)) {
      frames.push_back(frame.peer_down ? Bytes() : Content(frame));
      wire.Release(frame);
    }
    return frames;
  }

 private:
  const ManyDescriptors descriptors_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, ManyPorts, kFabricKinds,
                         [](const auto& tested) { return tested.param.name; });

TEST_P(ManyPorts,
       GivenAThousandAndTwentyFourPortsWhenOneMoreComesThenTheFabricIsFullAndAllCanTalk) {
  std::vector<std::unique_ptr<Wire>> ports;
  for (uint32_t i = 1; i <= kMaxPorts; ++i) ports.push_back(OpenNumber(i));
  EXPECT_THROW(OpenNumber(kMaxPorts + 1), std::runtime_error);
  uint32_t sent = 0;
  for (uint32_t i = 31; i < kMaxPorts; i += 32, ++sent) {  // each takes 1 MiB for its ring
    ASSERT_EQ(SendBytes(ports[i].get(), MakeFrame(NumberedAddress(1), 60, i)), SendResult::kSent);
    ports[i]->Flush();
  }
  EXPECT_EQ(Drain(*ports[0]).size(), sent);
  // A slot in the last word of the table is as good as any: it goes, it is told, it is taken again.
  ports.back().reset();
  EXPECT_EQ(Drain(*ports[0]), std::vector<Bytes>{Bytes()});
  EXPECT_NO_THROW(OpenNumber(kMaxPorts + 1));
}

class SilentSources : public ManyPorts {
 protected:
  static constexpr uint32_t kSources = 40;

  /// All of them have sent something, which has been received, and have been silent since.
  void SetUp() override {
    receiver_ = OpenNumber(1);
    for (uint32_t i = 0; i < kSources; ++i) {
      sources_.push_back(OpenNumber(2 + i));
      Speak(i, 1);
    }
    EXPECT_EQ(Drain(*receiver_).size(), kSources);
    for (int look = 0; look < 10; ++look) EXPECT_EQ(Drain(*receiver_).size(), 0u);
  }
  void Speak(uint32_t source, uint64_t seed) {
    ASSERT_EQ(SendBytes(sources_[source].get(), MakeFrame(NumberedAddress(1), 60, seed)),
              SendResult::kSent);
    sources_[source]->Flush();
  }

  std::unique_ptr<Wire> receiver_;
  std::vector<std::unique_ptr<Wire>> sources_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, SilentSources, kFabricKinds,
                         [](const auto& tested) { return tested.param.name; });

TEST_P(SilentSources, GivenManyWhenOneAfterTheOtherSpeaksThenEachIsHeardAtTheNextLook) {
  for (int round = 0; round < 3; ++round) {
    for (uint32_t i = 0; i < kSources; ++i) {
      Speak(i, 100 + i);
      ASSERT_EQ(Drain(*receiver_), std::vector<Bytes>{MakeFrame(NumberedAddress(1), 60, 100 + i)});
    }
  }
}

TEST_P(SilentSources, GivenManyWhenAllSpeakAtOnceThenAllIsHeard) {
  for (uint32_t i = 0; i < kSources; ++i) {
    Speak(i, 200);
    Speak(i, 201);
  }
  EXPECT_EQ(Drain(*receiver_).size(), 2 * kSources);
}

TEST_P(SilentSources, GivenManyWhenOneSpeaksAndLeavesThenItsFrameComesBeforeItsEnd) {
  Speak(7, 300);
  sources_[7].reset();
  const std::vector<Bytes> expected = {MakeFrame(NumberedAddress(1), 60, 300), Bytes()};
  EXPECT_EQ(Drain(*receiver_), expected);
}

TEST_P(SilentSources, GivenAReceiverThatIsAboutToSleepWhenOneSpeaksThenItDoesNotSleep) {
  receiver_->PrepareSleep();
  Speak(20, 400);
  // Would hang otherwise.
  receiver_->Sleep(UINT64_MAX);
  EXPECT_EQ(Drain(*receiver_).size(), 1u);
}

TEST_P(SilentSources, GivenAReceiverThatLooksAwayAgainAndAgainWhenSourcesSpeakThenNothingIsMissed) {
  constexpr uint64_t kEach = 300;
  std::vector<std::thread> speakers;
  for (uint32_t thread = 0; thread < 2; ++thread) {
    speakers.emplace_back([this, thread] {
      for (uint64_t i = 0; i < kEach; ++i) {
        for (uint32_t source = thread; source < kSources; source += 2) {
          EXPECT_TRUE(SendWithin(sources_[source].get(), MakeFrame(NumberedAddress(1), 60, i)));
        }
      }
    });
  }
  for (uint64_t received = 0; received < kEach * kSources; ++received) {
    InFrame frame;
    ASSERT_TRUE(ReceiveWithin(receiver_.get(), &frame));
    ASSERT_FALSE(frame.peer_down);
    receiver_->Release(frame);
  }
  for (std::thread& speaker : speakers) speaker.join();
  EXPECT_TRUE(Drain(*receiver_).empty());
}

TEST_P(FabricPorts, GivenBadOptionsWhenOpeningThenAnErrorNamesThem) {
  FabricOptions options = Options("no/slashes", 1);
  EXPECT_THROW(Open(options), std::runtime_error);
  options = Options(fabric_, 1);
  options.mtu = 1279;
  EXPECT_THROW(Open(options), std::runtime_error);
  options.mtu = 65576;
  EXPECT_THROW(Open(options), std::runtime_error);
  options = Options(fabric_, 1);
  options.address = {};
  EXPECT_THROW(Open(options), std::runtime_error);
  options.address.bytes[0] = 0xff;
  EXPECT_THROW(Open(options), std::runtime_error);
}

TEST_P(FabricPorts, GivenTheChecksumOptionWhenOpenedThenTheWireIsNotTrusted) {
  FabricOptions options = Options(fabric_, 1);
  EXPECT_TRUE(Open(options)->trusted());
  options.checksum = true;
  EXPECT_FALSE(Open(options)->trusted());
}

TEST_P(FabricPorts, GivenEndsThatDisagreeOnChecksumsWhenFramesAreSentThenEachSaysForItself) {
  FabricOptions options = Options(fabric_, 1);
  auto plain = Open(options);
  options = Options(fabric_, 2);
  options.checksum = true;
  auto summing = Open(options);
  const auto send = [](Wire* from, uint8_t to, bool summed) {
    const Bytes bytes = MakeFrame(Address(to), 100, 1);
    OutFrame frame;
    frame.header = bytes;
    frame.summed = summed;
    uint64_t lease = 0;
    EXPECT_EQ(from->Send(frame, &lease), SendResult::kSent);
  };
  InFrame frame;
  send(plain.get(), 2, false);
  ASSERT_TRUE(summing->Receive(&frame));
  EXPECT_TRUE(frame.checksum_vouched) << "there is none to verify, and nothing to damage it";
  summing->Release(frame);
  send(summing.get(), 1, true);
  ASSERT_TRUE(plain->Receive(&frame));
  EXPECT_FALSE(frame.checksum_vouched) << "it may have been damaged before it was sent";
  plain->Release(frame);
}

}  // namespace
}  // namespace qpip::wire::test
