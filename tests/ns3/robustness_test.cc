// What users get wrong, and programs that end in the middle: clear errors, no crash.
#include <ns3/node-container.h>
#include <ns3/point-to-point-helper.h>
#include <ns3/string.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>

#include "sim/ns3/helper/qpip_helper.h"
#include "sim/ns3/helper/qpip_program.h"
#include "sim/ns3/model/fibre.h"
#include "two_sim_nics.h"

namespace qpip::sim::test {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// Ends the simulation with the test.
struct Simulation {
  ~Simulation() { ns3::Simulator::Destroy(); }
};

QpOptions OptionsOf(const SimSide& side) {
  QpOptions options;
  options.send_cq = options.recv_cq = side.cq.get();
  return options;
}

/// A QP whose sends are under way.
struct Transfer {
  explicit Transfer(TwoSimNics& nics)
      : from(nics.client.nic->CreateQp(*nics.client.pd, OptionsOf(nics.client))),
        to(nics.server.nic->CreateQp(*nics.server.pd, OptionsOf(nics.server))),
        source(nics.client.pd->Allocate(1 << 20)),
        sink(nics.server.pd->Allocate(1 << 20)) {
    for (uint64_t i = 0; i < 16; ++i) EXPECT_EQ(to->PostRecv(i, sink->Sge(0, 65536)), 0);
    nics.Connect(*from, *to);
    for (uint64_t i = 0; i < 16; ++i) EXPECT_EQ(from->PostSend(i, source->Sge(0, 65536)), 0);
    Context::Current().SleepNs(3'000'000);
  }
  std::unique_ptr<QueuePair> from, to;
  std::unique_ptr<MemoryRegion> source, sink;
};

TEST(Misuse, GivenUnknownProfileWhenSetThenTheErrorNamesAttributeAndProfile) {
  QpipHelper qpip;
  EXPECT_DEATH(qpip.SetDeviceAttribute("Profile", ns3::StringValue("lanai77")),
               "attribute Profile of ns3::QpipNetDevice: .*lanai77");
}

TEST(Misuse, GivenNicJoinedToNothingWhenOpenedThenTheErrorSaysWhatToDo) {
  Simulation simulation;
  ns3::NodeContainer nodes(1);
  const auto nic = NicAt(QpipHelper().Install(nodes), 0);
  EXPECT_THAT([&] { nic->OpenNic(); },
              ThrowsMessage<std::logic_error>(HasSubstr("joined to nothing")));
}

TEST(Misuse, GivenNicOnNoNodeWhenOpenedThenTheErrorSaysWhatToDo) {
  Simulation simulation;
  const auto nic = ns3::CreateObject<QpipNetDevice>();
  EXPECT_THAT([&] { nic->OpenNic(); }, ThrowsMessage<std::logic_error>(HasSubstr("AddDevice")));
}

TEST(Misuse, GivenNicWithoutAddressWhenOpenedThenTheErrorSaysWhatToDo) {
  Simulation simulation;
  ns3::NodeContainer nodes(2);
  const auto nics = QpipHelper().InstallOnCable(nodes);
  NicAt(nics, 0)->SetIpv6(ns3::Ipv6Address::GetAny());
  EXPECT_THAT([&] { NicAt(nics, 0)->OpenNic(); },
              ThrowsMessage<std::logic_error>(HasSubstr("no address")));
}

TEST(Misuse, GivenOneAddressTwiceWhenOpenedThenTheErrorNamesIt) {
  Simulation simulation;
  ns3::NodeContainer nodes(2);
  const auto nics = QpipHelper().InstallOnCable(nodes);
  NicAt(nics, 0)->SetIpv6(NicAt(nics, 1)->GetIpv6());
  EXPECT_THAT([&] { NicAt(nics, 0)->OpenNic(); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("fd00::2")));
}

TEST(Misuse, GivenOpenNicWhenOpenedAgainThenRefusedUntilItIsClosed) {
  TwoSimNics nics;
  auto first = nics.client.device->OpenNic();
  EXPECT_THAT([&] { nics.client.device->OpenNic(); },
              ThrowsMessage<std::logic_error>(HasSubstr("it is open")));
  first.reset();
  EXPECT_NE(nics.client.device->OpenNic(), nullptr);
}

TEST(Misuse, GivenJoinedNicWhenJoinedAgainThenRefusedAndStillUsable) {
  TwoSimNics nics;
  EXPECT_THAT([&] { nics.fabric->Connect(nics.client.device, 0, 2); },
              ThrowsMessage<std::logic_error>(HasSubstr("joined already")));
  nics.Open();
  Transfer transfer(nics);
}

TEST(Misuse, GivenThreeNodesWhenJoinedByACableThenRefused) {
  Simulation simulation;
  EXPECT_THAT([] { QpipHelper().InstallOnCable(ns3::NodeContainer(3)); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("two NICs")));
}

TEST(Misuse, GivenDeviceOfAnotherNodeWhenAttachedThenRefused) {
  Simulation simulation;
  ns3::NodeContainer nodes(2);
  const auto link = ns3::PointToPointHelper().Install(nodes);
  const auto nic = NicAt(QpipHelper().Install(nodes.Get(0)), 0);
  EXPECT_THAT([&] { nic->AttachToDevice(link.Get(1)); },
              ThrowsMessage<std::logic_error>(HasSubstr("on one node")));
}

TEST(Misuse, GivenTooManyQueuePairsWhenOpenedThenTheErrorSaysWhatToLower) {
  TwoSimNics nics;
  nics.client.device->max_queue_pairs = 1u << 30;
  EXPECT_THAT([&] { nics.client.device->OpenNic(); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("queue pairs")));
}

TEST(MidTransfer, GivenSendsUnderWayWhenEverythingIsClosedAndOpenedAgainThenItWorksAsNew) {
  TwoSimNics nics;
  for (int round = 0; round < 3; ++round) {
    nics.Open();
    Transfer transfer(nics);
    WorkCompletion wc;
    EXPECT_EQ(nics.server.cq->Wait({&wc, 1}, std::chrono::seconds(10)), 1u);
    EXPECT_EQ(wc.status, IBV_WC_SUCCESS);
    nics.CloseListener();
    // Neither the order nor the state of the others matters.
    transfer.source.reset();
    transfer.from.reset();
    nics.client.Close();
    transfer.to.reset();
    transfer.sink.reset();
    nics.server.Close();
  }
}

TEST(MidTransfer,
     GivenFramesOnALongCableWhenAbortedThenTheirMemoryIsFreeAtOnceAndTheyKeepTheirBytes) {
  Profile profile = Profile::Load("lanai9-hardware-checksum");
  profile.Set("link.delay_us", 100'000, "the test");
  TwoSimNics nics(profile);
  nics.Open();
  auto from = nics.client.nic->CreateQp(*nics.client.pd, OptionsOf(nics.client));
  auto to = nics.server.nic->CreateQp(*nics.server.pd, OptionsOf(nics.server));
  auto source = nics.client.pd->Allocate(4096);
  auto sink = nics.server.pd->Allocate(4096);
  ASSERT_EQ(to->PostRecv(1, sink->Sge(0, 4096)), 0);
  nics.Connect(*from, *to);
  std::memset(source->data(), 'a', 4096);
  ASSERT_EQ(from->PostSend(2, source->Sge(0, 4096)), 0);
  Context::Current().SleepNs(10'000'000);  // the frame has left, and is far from its receiver
  const uint64_t aborted_ns = NowNs();
  from->Abort();
  WorkCompletion wc;
  ASSERT_EQ(nics.client.cq->Wait({&wc, 1}), 1u);
  EXPECT_EQ(wc.status, IBV_WC_WR_FLUSH_ERR);
  EXPECT_LT(NowNs() - aborted_ns, 1'000'000u);
  std::memset(source->data(), 'b', 4096);
  ASSERT_EQ(nics.server.cq->Wait({&wc, 1}), 1u);
  EXPECT_EQ(wc.status, IBV_WC_SUCCESS);
  EXPECT_EQ(static_cast<const char*>(sink->data())[4095], 'a');
}

TEST(MidTransfer, GivenSendsUnderWayWhenTheSimulatorIsDestroyedThenObjectsCanStillBeDestroyed) {
  TwoSimNics nics;
  nics.Open();
  Transfer transfer(nics);
  ns3::Simulator::Destroy();
  WorkCompletion wc[64];
  EXPECT_THAT(
      [&] {
        while (nics.client.cq->Wait(wc) > 0) {
        }
      },
      ThrowsMessage<Error>(HasSubstr("has left the simulation")));
}

TEST(MidTransfer, GivenProgramsThatWaitWhenTheSimulationEndsThenTheyAreUnwound) {
  int unwound = 0;
  struct Count {
    int& count;
    ~Count() { ++count; }
  };
  {
    TwoSimNics nics;
    for (const auto& device : {nics.client.device, nics.server.device}) {
      Context::Spawn("waits", [&unwound, device] {
        const Count count{unwound};
        auto nic = device->OpenNic();
        auto pd = nic->AllocatePd();
        auto memory = pd->Allocate(4096);
        auto cq = nic->CreateCq(128);
        QpOptions options;
        options.send_cq = options.recv_cq = cq.get();
        auto qp = nic->CreateQp(*pd, options);
        WorkCompletion wc;
        (void)cq->Wait({&wc, 1});
      });
    }
    Context::Current().SleepNs(1'000'000);
    EXPECT_EQ(unwound, 0);
  }
  EXPECT_EQ(unwound, 2);
}

TEST(MidTransfer, GivenProgramsThatWaitWhenOnlyTheSimulatorIsDestroyedThenTheyAreUnwound) {
  bool unwound = false;
  struct Note {
    bool& flag;
    ~Note() { flag = true; }
  };
  ns3::NodeContainer nodes(2);
  QpipHelper().InstallOnSwitch(nodes);
  const auto program = ns3::CreateObject<QpipProgram>("waits", [&](QpipNetDevice& device) {
    const Note note{unwound};
    auto nic = device.OpenNic();
    auto cq = nic->CreateCq(16);
    WorkCompletion wc;
    (void)cq->Wait({&wc, 1});
  });
  nodes.Get(0)->AddApplication(program);
  ns3::Simulator::Stop(ns3::Seconds(1));
  ns3::Simulator::Run();
  EXPECT_FALSE(program->done());
  ns3::Simulator::Destroy();
  EXPECT_TRUE(unwound);
}

TEST(Programs, GivenProgramThatThrowsWhenRunThenSimulatorRunThrows) {
  Simulation simulation;
  ns3::NodeContainer nodes(2);
  QpipHelper().InstallOnSwitch(nodes);
  nodes.Get(0)->AddApplication(ns3::CreateObject<QpipProgram>(
      "throws", [](QpipNetDevice&) { throw std::runtime_error("out of luck"); }));
  EXPECT_THAT([] { ns3::Simulator::Run(); },
              ThrowsMessage<std::runtime_error>(HasSubstr("out of luck")));
}

TEST(Programs, GivenExceptionsHandledInTurnsWhenFibresSwitchInsideHandlersThenEachKeepsItsOwn) {
  Simulation simulation;
  const auto program = [](const std::string& name, uint64_t pause_ns) {
    try {
      throw std::runtime_error(name);
    } catch (const std::exception& error) {
      Context::Current().SleepNs(pause_ns);
      EXPECT_EQ(error.what(), name);
      try {
        throw;
      } catch (const std::exception& again) {
        EXPECT_EQ(again.what(), name);
      }
    }
    EXPECT_EQ(std::uncaught_exceptions(), 0);
  };
  // The first to enter its handler is the first to leave it.
  auto first = Context::Spawn("first", [&] { program("first", 10); });
  auto second = Context::Spawn("second", [&] { program("second", 20); });
  first->Join();
  second->Join();
}

TEST(Tracing, GivenPcapAndAsciiWhenPacketsPassThenBothFilesHaveThem) {
  const std::string prefix = ::testing::TempDir() + "qpip-trace";
  {
    Simulation simulation;
    ns3::NodeContainer nodes(2);
    QpipHelper qpip;
    const auto nics = qpip.InstallOnSwitch(nodes);
    qpip.EnablePcap(prefix, nics);
    qpip.EnableAscii(prefix, nics);
    auto nic = NicAt(nics, 0)->OpenNic();
    auto pd = nic->AllocatePd();
    auto memory = pd->Allocate(100);
    auto cq = nic->CreateCq(128);
    QpOptions options;
    options.type = QpType::kUdp;
    options.send_cq = options.recv_cq = cq.get();
    auto qp = nic->CreateQp(*pd, options);
    qp->Bind(7);
    Endpoint peer{NicAt(nics, 1)->OpenNic()->address(), 9};
    EXPECT_EQ(qp->PostSendTo(1, memory->Sge(0, 100), peer), 0);
    WorkCompletion wc;
    EXPECT_EQ(cq->Wait({&wc, 1}), 1u);
    Context::Current().SleepNs(1'000'000);
  }
  const auto read = [](const std::string& name) {
    std::ifstream file(name, std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::remove(name.c_str());
    return text;
  };
  // 24 bytes of file header, 16 a packet; 40 + 8 + 100 bytes of IPv6, UDP and payload.
  EXPECT_EQ(read(prefix + "-0-0.pcap").size(), 24u + 16 + 148);
  EXPECT_EQ(read(prefix + "-1-0.pcap").size(), 24u + 16 + 148);
  const std::string sent = read(prefix + "-0-0.tr");
  EXPECT_THAT(sent, ::testing::StartsWith("t "));
  EXPECT_THAT(sent, HasSubstr("/NodeList/0/DeviceList/0 ns3::Ipv6Header ("));
  EXPECT_THAT(sent, HasSubstr("ns3::UdpHeader (length: 108 7 > 9) Payload (size=100)"));
  EXPECT_THAT(read(prefix + "-1-0.tr"), ::testing::StartsWith("r "));
}

}  // namespace
}  // namespace qpip::sim::test
