// A QPIP NIC and ns-3's own Internet stack over IPv6: conventional TCP sockets at one end, queue
// pairs of Framing::kStream at the other.
#include <gmock/gmock.h>
#include <ns3/config.h>
#include <ns3/csma-helper.h>
#include <ns3/data-rate.h>
#include <ns3/double.h>
#include <ns3/error-model.h>
#include <ns3/internet-stack-helper.h>
#include <ns3/ipv6-address-helper.h>
#include <ns3/ipv6-static-routing-helper.h>
#include <ns3/point-to-point-helper.h>
#include <ns3/pointer.h>
#include <ns3/rng-seed-manager.h>
#include <ns3/string.h>
#include <ns3/uinteger.h>

#include "qpip/stream.h"
#include "sim/ns3/helper/qpip_helper.h"
#include "sim/ns3/model/fibre.h"
#include "sim/ns3/model/virtual_time.h"
#include "stack_peer.h"

namespace qpip::sim::test {
namespace {

using namespace std::chrono_literals;

constexpr uint16_t kPort = 5001;
constexpr uint64_t kBytes = 3'000'000;
constexpr auto kPatience = 120s;  // of virtual time

struct Network {
  const char* name;
  const char* link;  ///< "ppp" or "csma"
  bool router;
  double loss;
};

void PrintTo(const Network& network, std::ostream* out) { *out << network.name; }

/// A node with a NIC and one with a stack, on one link or with a router in between.
class Interop : public ::testing::TestWithParam<Network> {
 protected:
  Interop() {
    ns3::RngSeedManager::SetSeed(7);
    ns3::RngSeedManager::SetRun(1);
    nodes_.Create(GetParam().router ? 3 : 2);
    const ns3::Ptr<ns3::Node> host = nodes_.Get(0);
    const ns3::Ptr<ns3::Node> stack = nodes_.Get(nodes_.GetN() - 1);
    ns3::NodeContainer stacks;
    for (uint32_t i = 1; i < nodes_.GetN(); ++i) stacks.Add(nodes_.Get(i));
    // The default of 536 bytes only makes more events; more than 1428 would be fragmented.
    ns3::Config::SetDefault("ns3::TcpSocket::SegmentSize", ns3::UintegerValue(1400));
    internet_.SetIpv4StackInstall(false);
    internet_.Install(stacks);
    addresses_.SetBase("fd00:1::", 64);
    const ns3::NetDeviceContainer near = Join(host, stacks.Get(0));
    near_ = addresses_.Assign(near.Get(1));
    qpip_.SetDeviceAttribute("Profile", ns3::StringValue("lanai9-hardware-checksum"));
    const ns3::NetDeviceContainer nics = qpip_.InstallOver(near.Get(0), addresses_);
    device_ = NicAt(nics, 0);
    QpipHelper::IntroduceNeighbours(nics);
    stack_address_ = near_.GetAddress(0, 1);
    if (GetParam().router) AddRouter(stacks.Get(0), stack, near.Get(1));
    peer_ = std::make_unique<StackPeer>(stack, kBytes);
  }
  ~Interop() override {
    Context::DestroyAll();
    stream_.reset();
    pd_.reset();
    nic_.reset();
    device_ = nullptr;
    ns3::Simulator::Destroy();
  }

  ns3::NetDeviceContainer Join(ns3::Ptr<ns3::Node> a, ns3::Ptr<ns3::Node> b) {
    ns3::NetDeviceContainer devices;
    if (std::string(GetParam().link) == "ppp") {
      ns3::PointToPointHelper link;
      link.SetDeviceAttribute("DataRate", ns3::StringValue("1Gbps"));
      link.SetChannelAttribute("Delay", ns3::StringValue("20us"));
      devices = link.Install(a, b);
    } else {
      ns3::CsmaHelper link;
      link.SetChannelAttribute("DataRate", ns3::StringValue("1Gbps"));
      link.SetChannelAttribute("Delay", ns3::StringValue("1us"));
      devices = link.Install(ns3::NodeContainer(a, b));
    }
    if (GetParam().loss > 0) {
      for (uint32_t i = 0; i < 2; ++i) {
        auto errors = ns3::CreateObject<ns3::RateErrorModel>();
        errors->SetUnit(ns3::RateErrorModel::ERROR_UNIT_PACKET);
        errors->SetRate(GetParam().loss);
        errors->AssignStreams(next_stream_++);  // the same whatever ran before
        devices.Get(i)->SetAttribute("ReceiveErrorModel", ns3::PointerValue(errors));
      }
    }
    return devices;
  }

  void AddRouter(ns3::Ptr<ns3::Node> router, ns3::Ptr<ns3::Node> stack,
                 ns3::Ptr<ns3::NetDevice> near_side) {
    const ns3::NetDeviceContainer far = Join(router, stack);
    addresses_.SetBase("fd00:2::", 64);
    ns3::Ipv6InterfaceContainer interfaces = addresses_.Assign(far);
    near_.SetForwarding(0, true);
    interfaces.SetForwarding(0, true);
    interfaces.SetDefaultRouteInAllNodes(0);
    QpipHelper::SetDefaultRouter(ns3::NetDeviceContainer(device_), near_side);
    stack_address_ = interfaces.GetAddress(1, 1);
  }

  void OpenNic() {
    nic_ = device_->OpenNic();
    pd_ = nic_->AllocatePd();
    ByteStreamOptions options;
    options.timeout = kPatience;
    stream_ = std::make_unique<ByteStream>(*nic_, *pd_, options);
  }

  Endpoint PeerAt(uint16_t port) const {
    Endpoint peer;
    stack_address_.GetBytes(peer.address.s6_addr);
    peer.port = port;
    return peer;
  }

  /// Sends pattern 0 while it receives and checks pattern 1; ends when the peer has.
  void Exchange() {
    StreamWriter& writer = stream_->writer();
    StreamReader& reader = stream_->reader();
    uint64_t sent = 0;
    bool shut = false;
    while (!shut || reader.available() > 0 || reader.state() == StreamState::kOpen) {
      sent += Write(writer, sent);
      if (sent == kBytes && !shut) {
        stream_->CloseWrite();
        shut = true;
      }
      Read(reader);
      WorkCompletion done[16];
      if (reader.state() != StreamState::kOpen && writer.idle()) continue;
      const size_t count = stream_->cq().Wait(done, kPatience);
      ASSERT_GT(count, 0u) << "stalled: sent " << sent << ", received " << received_;
      for (size_t i = 0; i < count; ++i) {
        if (!reader.OnCompletion(done[i])) writer.OnCompletion(done[i]);
      }
    }
    EXPECT_EQ(reader.state(), StreamState::kEndOfStream);
    EXPECT_EQ(writer.state(), StreamState::kOpen) << ToString(writer.error());
  }

  static uint64_t Write(StreamWriter& writer, uint64_t sent) {
    uint64_t taken = 0;
    std::vector<std::byte> bytes;
    while (sent + taken < kBytes) {
      bytes.resize(std::min<uint64_t>(kBytes - sent - taken, 8192));
      for (size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::byte>(PatternByte(sent + taken + i, 0));
      }
      const size_t now = writer.Write(bytes);
      taken += now;
      if (now < bytes.size()) break;
    }
    return taken;
  }

  void Read(StreamReader& reader) {
    while (reader.available() > 0) {
      const auto run = reader.Readable();
      for (const std::byte byte : run) {
        wrong_ += byte != static_cast<std::byte>(PatternByte(received_++, 1)) ? 1 : 0;
      }
      reader.Consume(run.size());
    }
  }

  /// Both have everything, and have seen an orderly end.
  void ExpectExchanged() {
    Exchange();
    EXPECT_TRUE(stream_->qp().Disconnect(kPatience));
    EXPECT_EQ(stream_->qp().disconnect_reason(), DisconnectReason::kClosed);
    Context::Current().SleepNs(1'000'000'000);  // the last ACK on its way
    EXPECT_EQ(received_, kBytes);
    EXPECT_EQ(wrong_, 0u);
    EXPECT_EQ(peer_->received, kBytes);
    EXPECT_EQ(peer_->wrong, 0u);
    EXPECT_TRUE(peer_->peer_ended);
    EXPECT_TRUE(peer_->closed);
    EXPECT_FALSE(peer_->failed);
    if (GetParam().loss > 0) {
      EXPECT_GT(nic_->Counters()["tcp_retransmissions"], 0u);
    }
    EXPECT_EQ(nic_->Counters()["drop.bad_tcp_checksum"], 0u);
  }

  ns3::NodeContainer nodes_;
  ns3::InternetStackHelper internet_;
  ns3::Ipv6AddressHelper addresses_;
  ns3::Ipv6InterfaceContainer near_;
  QpipHelper qpip_;
  ns3::Ptr<QpipNetDevice> device_;
  ns3::Ipv6Address stack_address_;
  std::unique_ptr<StackPeer> peer_;
  std::shared_ptr<Nic> nic_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::unique_ptr<ByteStream> stream_;
  int64_t next_stream_ = 1;
  uint64_t received_ = 0;
  uint64_t wrong_ = 0;
};

INSTANTIATE_TEST_SUITE_P(All, Interop,
                         ::testing::Values(Network{"PointToPoint", "ppp", false, 0},
                                           Network{"PointToPointLoss", "ppp", false, 0.01},
                                           Network{"Csma", "csma", false, 0},
                                           Network{"CsmaLoss", "csma", false, 0.01},
                                           Network{"Router", "ppp", true, 0},
                                           Network{"RouterLoss", "ppp", true, 0.01},
                                           Network{"CsmaRouter", "csma", true, 0}),
                         [](const auto& test) { return test.param.name; });

TEST_P(Interop, GivenQueuePairListensWhenSocketConnectsThenEveryByteBothWaysAndOrderlyEnd) {
  OpenNic();
  auto listener = nic_->Listen(kPort);
  listener->Offer(stream_->qp());
  ScheduleAt(2'000'000'000, [this] { peer_->Connect(device_->GetIpv6(), kPort); });
  ASSERT_EQ(listener->Accept(kPatience), &stream_->qp());
  ExpectExchanged();
}

TEST_P(Interop, GivenSocketListensWhenQueuePairConnectsThenEveryByteBothWaysAndOrderlyEnd) {
  OpenNic();
  peer_->Listen(kPort);
  Context::Current().SleepNs(2'000'000'000);  // the stack's addresses are tentative at first
  stream_->Connect(PeerAt(kPort));
  ExpectExchanged();
}

}  // namespace
}  // namespace qpip::sim::test
