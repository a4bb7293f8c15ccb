// What ns-3 scripts set and hear by name: attributes of single numbers, trace sources of
// connections, flows for FlowMonitor.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <ns3/boolean.h>
#include <ns3/config.h>
#include <ns3/data-rate.h>
#include <ns3/double.h>
#include <ns3/nstime.h>
#include <ns3/simulator.h>
#include <ns3/string.h>
#include <ns3/uinteger.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "sim/ns3/helper/flow_probe.h"
#include "sim/ns3/model/parameter_attribute.h"
#include "two_sim_nics.h"

namespace qpip::sim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;

ns3::Ptr<QpipNetDevice> MakeNic() { return ns3::CreateObject<QpipNetDevice>(); }

TEST(ParameterAttributes, GivenValuesOfNs3sTypesWhenSetThenTheModelHasThem) {
  const auto nic = MakeNic();

  nic->SetAttribute("ProtocolAckEvery", ns3::UintegerValue(3));
  nic->SetAttribute("ProtocolAckDelay", ns3::TimeValue(ns3::MilliSeconds(7)));
  nic->SetAttribute("LinkDataRate", ns3::DataRateValue(ns3::DataRate("10Gbps")));
  nic->SetAttribute("ProtocolSack", ns3::BooleanValue(true));
  nic->SetAttribute("DmaBytesPerS", ns3::DoubleValue(1e9));

  EXPECT_EQ(nic->model().firmware.tcp.ack_every, 3);
  EXPECT_EQ(nic->model().firmware.tcp.ack_delay_us, 7000u);
  EXPECT_DOUBLE_EQ(nic->model().link_per_byte_ps, 800);
  EXPECT_EQ(nic->model().firmware.tcp.sack, 1);
  EXPECT_DOUBLE_EQ(nic->model().dma.per_byte_ps, 1000);
}

TEST(ParameterAttributes, GivenTextsWhenSetThenSuffixesAndUnitsCount) {
  const auto nic = MakeNic();

  nic->SetAttribute("LinkDataRate", ns3::StringValue("2.5Gbps"));
  nic->SetAttribute("SramReceiveBytes", ns3::StringValue("64K"));
  nic->SetAttribute("ProtocolRtoMin", ns3::StringValue("0.2s"));

  EXPECT_DOUBLE_EQ(nic->model().link_per_byte_ps, 3200);
  EXPECT_EQ(nic->model().receive_bytes, 65536u);
  EXPECT_EQ(nic->model().firmware.tcp.rto_min_us, 200000u);
}

TEST(ParameterAttributes, GivenNothingSetWhenReadThenItIsTheProfiles) {
  const auto nic = MakeNic();
  ns3::UintegerValue every;
  ns3::TimeValue delay;
  ns3::StringValue rate;

  nic->GetAttribute("ProtocolAckEvery", every);
  nic->GetAttribute("ProtocolAckDelay", delay);
  nic->GetAttribute("LinkDataRate", rate);

  EXPECT_EQ(every.Get(), 2u);
  EXPECT_EQ(delay.Get(), ns3::MilliSeconds(200));
  EXPECT_EQ(rate.Get(), "2000000000");
}

TEST(ParameterAttributes, GivenAValueWhenItIsTakenBackThenTheProfileCountsAgain) {
  const auto nic = MakeNic();
  nic->SetAttribute("ProtocolAckEvery", ns3::UintegerValue(4));

  nic->SetAttribute("ProtocolAckEvery", ns3::StringValue(""));

  EXPECT_EQ(nic->model().firmware.tcp.ack_every, 2);
}

TEST(ParameterAttributes, GivenAProfileSetBehindThemWhenUsedThenTheyStayOnTop) {
  const auto nic = MakeNic();
  nic->SetAttribute("ProtocolSack", ns3::UintegerValue(0));

  nic->SetAttribute("Profile", ns3::StringValue("lanai9-hardware-checksum+modern-tcp"));

  EXPECT_EQ(nic->model().firmware.tcp.sack, 0);
  EXPECT_EQ(nic->model().firmware.tcp.reassembly, 32);
}

TEST(ParameterAttributes, GivenADefaultWhenNicsAreMadeThenAllHaveIt) {
  ns3::Config::SetDefault("ns3::QpipNetDevice::ProtocolAckEvery", ns3::UintegerValue(5));
  const auto nic = MakeNic();
  ns3::Config::SetDefault("ns3::QpipNetDevice::ProtocolAckEvery", ns3::StringValue(""));

  EXPECT_EQ(nic->model().firmware.tcp.ack_every, 5);
  EXPECT_EQ(MakeNic()->model().firmware.tcp.ack_every, 2);
}

TEST(ParameterAttributes, GivenAValueThatIsRefusedWhenSetThenTheReasonNamesTheAttribute) {
  const auto nic = MakeNic();
  const auto refused = [&nic](const char* name, const ns3::AttributeValue& value) {
    testing::internal::CaptureStderr();
    const bool set = nic->SetAttributeFailSafe(name, value);
    const std::string said = testing::internal::GetCapturedStderr();
    return set ? "was set" : said;
  };
  EXPECT_THAT(refused("ProtocolAckEvery", ns3::UintegerValue(256)),
              HasSubstr("attribute ProtocolAckEvery of ns3::QpipNetDevice"));
  EXPECT_THAT(refused("ProtocolAckEvery", ns3::DoubleValue(1.5)), HasSubstr("whole number"));
  EXPECT_THAT(refused("ProtocolAckDelay", ns3::UintegerValue(40)), HasSubstr("with its unit"));
  EXPECT_THAT(refused("ProtocolAckDelay", ns3::StringValue("40")), HasSubstr("with its unit"));
  EXPECT_THAT(refused("LinkDataRate", ns3::StringValue("fast")), HasSubstr("LinkDataRate"));
  EXPECT_THAT(refused("Profile", ns3::StringValue("no-such")),
              HasSubstr("attribute Profile of ns3::QpipNetDevice"));
  EXPECT_EQ(nic->model().firmware.tcp.ack_every, 2);
}

TEST(ParameterAttributes, GivenAJoinedNicWhenSetThenItIsRefused) {
  test::TwoSimNics nics;
  testing::internal::CaptureStderr();

  EXPECT_FALSE(nics.client.device->SetAttributeFailSafe("ProtocolAckEvery", ns3::UintegerValue(3)));

  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("ProtocolAckEvery"));
}

TEST(ParameterAttributes, GivenTheDocumentWhenComparedThenItHasEveryAttribute) {
  std::ifstream file(QPIP_SOURCE_DIR "/docs/ns3-scripts.md");
  std::ostringstream text;
  text << file.rdbuf();
  for (const ParameterSpec& spec : ParameterSpecs()) {
    const std::string name = AttributeName(spec);
    EXPECT_EQ(name.empty(), spec.name.starts_with("stage.")) << spec.name;
    if (name.empty()) continue;
    EXPECT_THAT(text.str(), HasSubstr("| " + name + " | " + spec.name + " |"));
  }
}

struct Heard {
  std::vector<std::string> states;
  std::vector<uint32_t> windows;
  std::vector<ns3::Time> round_trips;
  uint32_t sends = 0;
  uint32_t receives = 0;
  std::vector<std::string> drops;

  void State(uint32_t, const char* from, const char* to) {
    EXPECT_EQ(from, states.empty() ? "CLOSED" : states.back());
    states.emplace_back(to);
  }
  void Window(uint32_t, uint32_t before, uint32_t now) {
    EXPECT_EQ(before, windows.empty() ? 0 : windows.back());
    windows.push_back(now);
  }
  void RoundTrip(uint32_t, ns3::Time, ns3::Time now) { round_trips.push_back(now); }
  void Completion(uint32_t, bool send, uint32_t status) {
    EXPECT_EQ(status, 0u);
    ++(send ? sends : receives);
  }
  void Drop(const char* reason) { drops.emplace_back(reason); }

  void ListenTo(ns3::Ptr<QpipNetDevice> nic) {
    const auto connect = [&](const char* name, auto member) {
      ASSERT_TRUE(nic->TraceConnectWithoutContext(name, ns3::MakeCallback(member, this))) << name;
    };
    connect("TcpState", &Heard::State);
    connect("CongestionWindow", &Heard::Window);
    connect("RoundTripTime", &Heard::RoundTrip);
    connect("Completion", &Heard::Completion);
    connect("Drop", &Heard::Drop);
  }
};

TEST(ConnectionTraces, GivenSinksWhenMessagesAreSentThenTheyHearOfTheConnection) {
  Heard client;  // outlive the NICs
  Heard server;
  test::TwoSimNics nics;
  client.ListenTo(nics.client.device);
  server.ListenTo(nics.server.device);
  nics.Open();
  QpOptions options;
  options.send_cq = options.recv_cq = nics.client.cq.get();
  auto from = nics.client.nic->CreateQp(*nics.client.pd, options);
  options.send_cq = options.recv_cq = nics.server.cq.get();
  auto to = nics.server.nic->CreateQp(*nics.server.pd, options);
  constexpr uint32_t kBytes = 16384;  // so many at a time fill the first window
  auto memory = nics.client.pd->Allocate(kBytes);
  auto place = nics.server.pd->Allocate(8 * kBytes);
  for (uint64_t i = 0; i < 8; ++i) ASSERT_EQ(to->PostRecv(i, place->Sge(kBytes * i, kBytes)), 0);
  nics.Connect(*from, *to);
  for (uint64_t i = 0; i < 8; ++i) ASSERT_EQ(from->PostSend(i, memory->Sge(0, kBytes)), 0);
  for (int done = 0; done < 8;) {
    WorkCompletion wc;
    if (nics.client.cq->Wait({&wc, 1}) != 0) ++done;
  }

  EXPECT_THAT(client.states, ElementsAre("SYN-SENT", "ESTABLISHED"));
  EXPECT_THAT(server.states, ElementsAre("SYN-RECEIVED", "ESTABLISHED"));
  ASSERT_FALSE(client.windows.empty());
  EXPECT_GT(client.windows.back(), client.windows.front());  // slow start
  ASSERT_FALSE(client.round_trips.empty());
  EXPECT_GT(client.round_trips.back(), ns3::MicroSeconds(20));
  EXPECT_LT(client.round_trips.back(), ns3::MilliSeconds(300));
  EXPECT_EQ(client.sends, 8u);
  EXPECT_EQ(client.receives, 0u);
  EXPECT_EQ(server.receives, 8u);
  EXPECT_THAT(client.drops, ElementsAre());
}

class PacketsInFlightTest : public testing::Test {
 protected:
  ~PacketsInFlightTest() override { ns3::Simulator::Destroy(); }
  static ns3::Ptr<ns3::Packet> Packet(uint8_t sequence, uint8_t hop_limit = 64,
                                      uint8_t traffic_class = 0) {
    std::vector<uint8_t> bytes(80, 1);
    bytes[0] = 0x60;
    bytes[1] = static_cast<uint8_t>(traffic_class << 4);
    bytes[7] = hop_limit;
    bytes[44] = sequence;
    return ns3::Create<ns3::Packet>(bytes.data(), static_cast<uint32_t>(bytes.size()));
  }
  PacketsInFlight flight_;
};

TEST_F(PacketsInFlightTest, GivenPacketsUnderWayWhenOneArrivesThenItIsKnownAgain) {
  flight_.Sent(*Packet(1), {7, 100});
  flight_.Sent(*Packet(2), {7, 101});

  const auto second = flight_.Arrived(*Packet(2, 61, 3));  // behind routers, marked

  ASSERT_TRUE(second);
  EXPECT_EQ(second->packet, 101u);
  EXPECT_FALSE(flight_.Arrived(*Packet(2)));
  EXPECT_FALSE(flight_.Arrived(*Packet(3)));
}

TEST_F(PacketsInFlightTest, GivenTwoThatAreAlikeWhenTheyArriveThenInTheirOrder) {
  flight_.Sent(*Packet(1), {7, 100});
  flight_.Sent(*Packet(1), {7, 101});

  EXPECT_EQ(flight_.Arrived(*Packet(1))->packet, 100u);
  EXPECT_EQ(flight_.Arrived(*Packet(1))->packet, 101u);
}

TEST_F(PacketsInFlightTest, GivenAPacketThatWasLostWhenLongAfterAnotherIsSentThenItIsForgotten) {
  flight_.Sent(*Packet(1), {7, 100});
  ns3::Simulator::Schedule(ns3::Seconds(PacketsInFlight::kForgottenAfterSeconds + 1), [this] {
    flight_.Sent(*Packet(1), {7, 101});
    EXPECT_EQ(flight_.Arrived(*Packet(1))->packet, 101u);
  });
  ns3::Simulator::Run();

  EXPECT_FALSE(flight_.Arrived(*Packet(1)));
}

}  // namespace
}  // namespace qpip::sim
