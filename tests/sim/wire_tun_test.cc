// The tun: and tap: wires, against the kernel's stack in a network namespace of each test's own:
// devices and their ends. Needs root (or user namespaces' capabilities) and /dev/net/tun; fails
// without.
#include "wire_tun_support.h"

namespace qpip::wire::test {
namespace {

TEST(TunWire, GivenOneCommandsOptionsWhenOpenedThenTheKernelsSideIsUpWithItsAddressAndMtu) {
  InNamespace([] {
    KernelWireOptions options = TunOptions();
    options.mtu = 9000;
    auto wire = OpenKernelWire(options);
    EXPECT_EQ(wire->mtu(), 9000u);
    EXPECT_EQ(std::system("ip link show dev qpiptest | grep -q 'UP.*mtu 9000'"), 0);
    EXPECT_EQ(std::system("ip -6 addr show dev qpiptest | grep -q 'fd00::2/64.*nodad'"), 0);
    EXPECT_EQ(std::system("ip -6 addr show dev qpiptest | grep 'fd00::2' | grep -q tentative"),
              256);
    wire.reset();
    EXPECT_EQ(::if_nametoindex("qpiptest"), 0u) << "a device made here goes with its wire";
  });
}

TEST(TunWire, GivenNoMtuWhenOpenedThenItIsTheDevices) {
  InNamespace([] {
    ASSERT_EQ(std::system("ip tuntap add dev qpiptest mode tun vnet_hdr && "
                          "ip link set qpiptest mtu 4000"),
              0);
    EXPECT_EQ(OpenKernelWire(TunOptions())->mtu(), 4000u);
    EXPECT_NE(::if_nametoindex("qpiptest"), 0u) << "a device made by others stays";
    EXPECT_EQ(OpenKernelWire(TunOptions())->mtu(), 4000u) << "and can be attached to again";
  });
}

TEST(TunWire, GivenASleepingPortWhenTheKernelSendsOrItIsWokenThenItIsAwake) {
  InNamespace([] {
    auto wire = OpenKernelWire(TunOptions());
    const Descriptor socket = KernelSocket(SOCK_DGRAM, 700);
    const sockaddr_in6 to = SocketAddressOf(kNic, 900);
    for (uint8_t i = 0; i < 50; ++i) {
      std::thread sender([&] {
        EXPECT_EQ(
            ::sendto(socket.get(), &i, 1, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to), 1);
      });
      EXPECT_EQ(TakeFrame(wire.get(), ipv6::kUdp).Text(8), Bytes{i});
      sender.join();
      wire->PrepareSleep();
      wire->Wake();
      wire->Sleep(UINT64_MAX);
    }
  });
}

TEST(TunWire, GivenADeviceThatIsDeletedWhenUsedThenThatIsToldOnceAndTheWireGoesQuiet) {
  InNamespace([] {
    auto wire = OpenKernelWire(TunOptions());
    std::vector<abi::Trouble> troubles;
    wire->ReportTo([&](const abi::Trouble& trouble) { troubles.push_back(trouble); });
    ASSERT_EQ(std::system("ip link del qpiptest"), 0);
    InFrame frame;
    uint32_t link_events = 0;
    while (wire->Receive(&frame)) {
      if (frame.peer_down) {
        ++link_events;
        EXPECT_EQ(frame.peer, abi::Ip6Address{}) << "it is everybody that is down";
        EXPECT_EQ(troubles.size(), 1u) << "the reason comes first";
      } else {
        wire->Release(frame);
      }
    }
    EXPECT_EQ(link_events, 1u);
    ASSERT_EQ(troubles.size(), 1u);
    EXPECT_TRUE(troubles[0].fatal);
    EXPECT_EQ(troubles[0].code, ENETDOWN);
    EXPECT_NE(troubles[0].what.find("qpiptest has been deleted"), std::string::npos);
    EXPECT_EQ(SendBytes(wire.get(), Packet(ipv6::kUdp, Datagram(1, 2, {}))), SendResult::kNoRoute);
    wire->PrepareSleep();
    wire->Sleep(MonotonicNs() + 1'000'000);
    const uint64_t deadline = MonotonicNs() + 2'000'000;
    wire->PrepareSleep();
    wire->Sleep(deadline);
    EXPECT_GE(MonotonicNs(), deadline) << "an error on the descriptor does not keep it awake";
    EXPECT_EQ(Counter(*wire, "device_gone"), 1u);
  });
}

TEST(TunWire, GivenAnInterfaceNamedByOddBytesWhenItIsReportedThenTheReportIsJsonAndUtf8) {
  InNamespace([] {
    KernelWireOptions options = TunOptions();
    options.interface = "a\"\\\xff";
    const std::string json = OpenKernelWire(options)->StatisticsJson();
    EXPECT_NE(json.find(R"("interface": "a\"\\\u00ff")"), std::string::npos) << json;
  });
}

/// What a wire warns of when it is opened.
std::vector<std::string> Warnings(const KernelWireOptions& options) {
  std::vector<std::string> warnings;
  const auto wire = OpenKernelWire(options);
  wire->ReportTo([&](const abi::Trouble& trouble) {
    EXPECT_FALSE(trouble.fatal);
    warnings.push_back(trouble.what);
  });
  return warnings;
}

TEST(TunWire, GivenAHostWithARouteToThePrefixWhenOpenedThenItWarnsAndNamesTheInterface) {
  InNamespace([] {
    ASSERT_EQ(std::system("ip tuntap add dev other mode tun && ip link set other up && "
                          "ip addr add fd00::9/64 dev other nodad"),
              0);
    const auto warnings = Warnings(TunOptions());
    ASSERT_EQ(warnings.size(), 1u);
    EXPECT_NE(warnings[0].find("a route to fd00::1 already, by other"), std::string::npos);
    EXPECT_NE(warnings[0].find("another prefix, as fd"), std::string::npos) << warnings[0];
  });
}

TEST(TunWire, GivenAHostThatHasTheNicsAddressItselfWhenOpenedThenItWarns) {
  InNamespace([] {
    ASSERT_EQ(std::system("ip link set lo up && ip addr add fd00::1/128 dev lo nodad"), 0);
    EXPECT_EQ(Warnings(TunOptions()).size(), 1u);
  });
}

TEST(TunWire, GivenOnlyADefaultRouteOrThisDevicesOwnWhenOpenedThenThereIsNoWarning) {
  InNamespace([] {
    ASSERT_EQ(std::system("ip tuntap add dev other mode tun && ip link set other up && "
                          "ip -6 route add default dev other && "
                          "ip tuntap add dev qpiptest mode tun vnet_hdr && "
                          "ip link set qpiptest up && ip addr add fd00::2/64 dev qpiptest nodad"),
              0);
    EXPECT_TRUE(Warnings(TunOptions()).empty());
  });
}

TEST(TunWire, GivenANamespaceByPathWhenOpenedFromOutsideThenTheDeviceIsInThere) {
  InNamespace([] {
    const std::string path = "/proc/self/task/" + std::to_string(::gettid()) + "/ns/net";
    std::unique_ptr<Wire> wire;
    // Whoever opens the wire is somewhere else.
    std::thread([&] {
      ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
      KernelWireOptions options = TunOptions();
      options.netns = path;
      wire = OpenKernelWire(options);
      EXPECT_EQ(::if_nametoindex("qpiptest"), 0u);
    }).join();
    EXPECT_NE(::if_nametoindex("qpiptest"), 0u);
  });
}

TEST(TunWire, GivenOptionsThatCannotWorkWhenOpenedThenOneLineSaysWhatToDo) {
  InNamespace([] {
    auto wire = OpenKernelWire(TunOptions());
    EXPECT_NE(Refusal(TunOptions()).find("another process has the device open"), std::string::npos);
    KernelWireOptions options = TunOptions();
    options.interface = "lo";
    EXPECT_NE(Refusal(options).find("exists and is no tun device"), std::string::npos);
    options = TunOptions();
    options.netns = "nosuchspace";
    EXPECT_NE(Refusal(options).find("no network namespace /run/netns/nosuchspace"),
              std::string::npos);
    EXPECT_NE(Refusal(options).find("ip netns add nosuchspace"), std::string::npos);
    ASSERT_EQ(std::system("ip tuntap add dev small mode tun && ip link set small mtu 1000"), 0);
    options = TunOptions();
    options.interface = "small";
    options.host.reset();
    EXPECT_NE(Refusal(options).find("the MTU of small is 1000"), std::string::npos);
  });
}

TEST(TunWire, GivenNoPrivilegeWhenOpenedThenOneLineSaysHowRootMayPrepareTheDevice) {
  InNamespace([] {
    // Of this thread only: the system call, not glibc's function, which changes them all.
    ASSERT_EQ(::syscall(SYS_setresuid, 65534, 65534, 65534), 0);
    const std::string why = Refusal(TunOptions());
    EXPECT_NE(why.find("run as root, or let root make the device once: ip tuntap add dev qpiptest "
                       "mode tun user YOU vnet_hdr"),
              std::string::npos)
        << why;
    EXPECT_EQ(why.find('\n'), std::string::npos);
  });
}

}  // namespace
}  // namespace qpip::wire::test
