// URIs: what is accepted, what is refused and with which words.

#include "sim/lanai/uri.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "protocols/tcp/congestion_control.h"
#include "protocols/tcp/tcb.h"
#include "sim/lanai/scheme.h"

namespace qpip::lanai {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// What the wire is opened with.
template <typename Options>
Options Completed(const NicUri& uri) {
  return std::any_cast<Options>(uri.scheme->complete(uri));
}

std::string Refusal(std::string_view text) {
  try {
    ParseUri(text);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(accepted)";
}

TEST(Uri, GivenOnlyAnAddressWhenParsedThenTheRestIsTheRealTimeProfile) {
  const NicUri uri = ParseUri("shm:lab?address=fd00::1");
  EXPECT_EQ(uri.scheme->name, "shm");
  EXPECT_EQ(uri.Wire<wire::FabricOptions>().name, "lab");
  EXPECT_EQ(uri.address.bytes[0], 0xfd);
  EXPECT_EQ(uri.address.bytes[15], 1);
  EXPECT_EQ(uri.mtu, wire::FabricOptions().mtu);
  EXPECT_EQ(uri.nic.max_qps, 1024u);
  EXPECT_EQ(uri.doorbells, 1024u);
  EXPECT_FALSE(uri.fault.any());
  EXPECT_FALSE(uri.occupancy);
  EXPECT_TRUE(uri.timeline.empty());
}

TEST(Uri, GivenAWireguardFileWhenParsedThenTheFileHasAddressAndMtu) {
  const NicUri uri = ParseUri("wg:/etc/wireguard/lab.conf");
  const auto options = Completed<wire::WireguardOptions>(uri);
  EXPECT_EQ(options.config, "/etc/wireguard/lab.conf");
  EXPECT_EQ(options.address, abi::Ip6Address{});
  EXPECT_EQ(options.mtu, 0u);
  EXPECT_TRUE(options.offload);
  EXPECT_EQ(options.rekey_after_s, 120u);
  EXPECT_TRUE(uri.nic.tcp.pacing);
  const std::string text = FormatUri(uri);
  EXPECT_THAT(text, HasSubstr("wg:/etc/wireguard/lab.conf?checksum=0"));
  EXPECT_EQ(FormatUri(ParseUri(text)), text);
}

TEST(Uri, GivenWireguardsKeyAndPeersApartWhenParsedThenEachFieldHasItsValue) {
  const NicUri uri = ParseUri(
      "wg:[2001:db8::1]:51820?address=fd00::1&key=/k&peers=./p&keylog=/l&offload=0&mtu=1280"
      "&rekey_after_s=7");
  const auto options = Completed<wire::WireguardOptions>(uri);
  EXPECT_EQ(options.config, "");
  EXPECT_EQ(options.host, "2001:db8::1");
  EXPECT_EQ(options.port, 51820);
  EXPECT_EQ(options.key_file, "/k");
  EXPECT_EQ(options.peers_file, "./p");
  EXPECT_EQ(options.key_log, "/l");
  EXPECT_EQ(options.address.bytes[15], 1);
  EXPECT_EQ(options.mtu, 1280u);
  EXPECT_FALSE(options.offload);
  EXPECT_EQ(options.rekey_after_s, 7u);
  const std::string text = FormatUri(uri);
  EXPECT_THAT(text, HasSubstr("wg:[2001:db8::1]:51820?address=fd00::1&mtu=1280"));
  EXPECT_EQ(FormatUri(ParseUri(text)), text);
}

TEST(Uri, GivenWireguardWithADecoratorWhenCompletedThenPacketsGoOneByOne) {
  for (const char* what : {"pcap=/tmp/a.pcap", "loss=0.1", "checksum=1"}) {
    const NicUri uri = ParseUri("wg:/a.conf?" + std::string(what));
    EXPECT_FALSE(Completed<wire::WireguardOptions>(uri).offload) << what;
  }
}

TEST(Uri, GivenEveryParameterWhenParsedThenEachFieldHasItsValue) {
  const NicUri uri = ParseUri(
      "mem:a-B_c.9?address=fd00::2&mtu=9000&copy=1&checksum=1&loss=0.01&duplicate=0.5&reorder=1"
      "&corrupt=1e-3&delay_us=7&flap_period_ms=100&flap_down_ms=10&cut_after_frames=12&seed=99"
      "&pcap=/tmp/"
      "a.pcap&occupancy=1&timeline=t.json&max_qps=5&max_rdma_qps=3&doorbells=4&ack_every=3&ack_"
      "delay_us=400"
      "&rto_min_us=1000&rto_initial_us=2000&user_timeout_ms=3000&connect_timeout_ms=4000"
      "&time_wait_ms=5&timestamps=0&spin_us=0&congestion=dctcp&ecn=request&hystart=0&pacing=1&undo="
      "0&mtu_probing=always&reassembly=7&scoreboard=8"
      "&keepalive_idle_s=7200&keepalive_interval_s=10&keepalive_probes=3&user_timeout_option=1");
  EXPECT_EQ(uri.scheme->name, "mem");
  EXPECT_EQ(uri.Wire<wire::FabricOptions>().name, "a-B_c.9");
  EXPECT_EQ(uri.mtu, 9000u);
  EXPECT_TRUE(uri.Wire<wire::FabricOptions>().copy);
  EXPECT_TRUE(uri.checksum);
  EXPECT_EQ(uri.fault.loss, 0.01);
  EXPECT_EQ(uri.fault.duplicate, 0.5);
  EXPECT_EQ(uri.fault.reorder, 1.0);
  EXPECT_EQ(uri.fault.corrupt, 0.001);
  EXPECT_EQ(uri.fault.delay_us, 7u);
  EXPECT_EQ(uri.fault.flap_period_ms, 100u);
  EXPECT_EQ(uri.fault.flap_down_ms, 10u);
  EXPECT_EQ(uri.fault.cut_after_frames, 12u);
  EXPECT_EQ(uri.fault.seed, 99u);
  EXPECT_EQ(uri.pcap, "/tmp/a.pcap");
  EXPECT_TRUE(uri.occupancy);
  EXPECT_EQ(uri.timeline, "t.json");
  EXPECT_EQ(uri.nic.max_qps, 5u);
  EXPECT_EQ(uri.nic.max_rdma_qps, 3u);
  EXPECT_EQ(uri.doorbells, 4u);
  EXPECT_EQ(uri.nic.tcp.ack_every, 3u);
  EXPECT_EQ(uri.nic.tcp.ack_delay_us, 400u);
  EXPECT_EQ(uri.nic.tcp.rto_min_us, 1000u);
  EXPECT_EQ(uri.nic.tcp.rto_initial_us, 2000u);
  EXPECT_EQ(uri.nic.tcp.user_timeout_ms, 3000u);
  EXPECT_EQ(uri.nic.tcp.connect_timeout_ms, 4000u);
  EXPECT_EQ(uri.nic.tcp.time_wait_ms, 5u);
  EXPECT_FALSE(uri.nic.tcp.timestamps);
  EXPECT_EQ(uri.nic.tcp.congestion, tcp::CongestionAlgorithm::kDctcp);
  EXPECT_EQ(uri.nic.tcp.ecn, tcp::EcnMode::kRequest);
  EXPECT_FALSE(uri.nic.tcp.hystart);
  EXPECT_TRUE(uri.nic.tcp.pacing);
  EXPECT_FALSE(uri.nic.tcp.undo);
  EXPECT_EQ(uri.nic.tcp.reassembly, 7u);
  EXPECT_EQ(uri.nic.tcp_scoreboard, 8u);
  EXPECT_EQ(uri.nic.tcp.mtu_probing, tcp::MtuProbing::kAlways);
  EXPECT_EQ(uri.nic.tcp.keepalive_idle_s, 7200u);
  EXPECT_EQ(uri.nic.tcp.keepalive_interval_s, 10u);
  EXPECT_EQ(uri.nic.tcp.keepalive_probes, 3u);
  EXPECT_TRUE(uri.nic.tcp.user_timeout_option);
  EXPECT_EQ(uri.spin_us, 0u);
}

TEST(Uri, GivenAWireThatMayLeadFarWhenParsedThenTextIsPacedUnlessTheUriSaysOtherwise) {
  const auto pacing = [](const char* wire, const char* rest) {
    return ParseUri(std::string(wire) + "?address=fd00::1" + rest).nic.tcp.pacing;
  };
  for (const char* wire : {"udp::4791", "tun:qpip0", "tap:qpip0"}) {
    EXPECT_TRUE(pacing(wire, "")) << wire;
    EXPECT_FALSE(pacing(wire, "&pacing=0")) << wire;
  }
  for (const char* wire : {"shm:lab", "mem:lab"}) {
    EXPECT_FALSE(pacing(wire, "")) << wire;
    EXPECT_TRUE(pacing(wire, "&pacing=1")) << wire;
  }
}

TEST(Uri, GivenAWordThatIsNoneOfThoseWhenParsedThenTheTextNamesThem) {
  EXPECT_THAT(Refusal("mem:a?address=fd00::2&congestion=bbr"),
              HasSubstr("\"bbr\" is none of reno, cubic, dctcp"));
}

TEST(Uri, GivenTheWordsOfCongestionControlThenTheyAreThePoliciesNames) {
  for (uint32_t i = 0; i < tcp::kCongestionAlgorithms; ++i) {
    const std::string name = tcp::PolicyOf(static_cast<tcp::CongestionAlgorithm>(i)).name;
    EXPECT_EQ(ParseUri("mem:a?address=fd00::2&congestion=" + name).nic.tcp.congestion,
              static_cast<tcp::CongestionAlgorithm>(i));
  }
}

TEST(Uri, GivenAParsedUriWhenFormattedThenItParsesToTheSame) {
  const NicUri uri = ParseUri(
      "mem:x?address=fd00::2&loss=0.125&seed=18446744073709551615&pcap=/tmp/a%20b%26c%25.pcap");
  EXPECT_EQ(uri.pcap, "/tmp/a b&c%.pcap");
  const std::string text = FormatUri(uri);
  EXPECT_THAT(text, HasSubstr("mem:x?address=fd00::2&mtu="));
  EXPECT_THAT(text, HasSubstr("loss=0.125"));
  EXPECT_THAT(text, Not(HasSubstr("timeline")));
  EXPECT_EQ(FormatUri(ParseUri(text)), text);
}

TEST(Uri, GivenBytesThatAreNoPlainTextWhenFormattedThenTheyArePercentEncodedAndParseToTheSame) {
  const NicUri uri = ParseUri(
      "tun:a%26%3f%ff?address=fd00::1&netns=a b\"&timeline=/tmp/\xff\xc3\xa4{}+%2b%23.json");
  EXPECT_EQ(uri.Wire<wire::KernelWireOptions>().interface, "a&?\xff");
  EXPECT_EQ(uri.timeline, "/tmp/\xff\xc3\xa4{}++#.json");
  const std::string text = FormatUri(uri);
  EXPECT_THAT(text, HasSubstr("tun:a%26%3F%FF?address=fd00::1"));
  EXPECT_THAT(text, HasSubstr("netns=a%20b%22"));
  EXPECT_THAT(text, HasSubstr("timeline=/tmp/%FF%C3%A4%7B%7D%2B%2B%23.json"));
  EXPECT_EQ(ParseUri(text).timeline, uri.timeline);
  EXPECT_EQ(FormatUri(ParseUri(text)), text);
}

TEST(Uri, GivenBytesThatAreNoTextWhenRefusedThenTheMessageIsText) {
  EXPECT_THAT(Refusal("shm:\xff\n?address=fd00::1"), HasSubstr("fabric name \"%FF%0A\""));
}

TEST(Uri, GivenEachSchemeThenItsRowIsComplete) {
  for (const Scheme* scheme : Schemes()) {
    EXPECT_EQ(NicUri(*scheme).scheme, scheme);
    EXPECT_TRUE(NicUri(*scheme).wire_options.has_value()) << scheme->name;
    for (const Parameter& parameter : scheme->parameters) {
      EXPECT_NE(parameter.set, nullptr) << scheme->name << " " << parameter.name;
      EXPECT_NE(parameter.get, nullptr) << scheme->name << " " << parameter.name;
    }
    EXPECT_THAT(Refusal("nothing"), HasSubstr(std::string(scheme->name) + ":"));
  }
}

TEST(Uri, GivenAUdpUriWhenParsedThenTheLocalSocketAndThePeersAreNamed) {
  const NicUri uri = ParseUri(
      "udp:[2001:db8::1]:4791?address=fd00::1&peer=fd00::2@192.0.2.2:5000,fd00::3@[2001:db8::3]:6"
      "&peer=gateway:7&mtu=9000");
  EXPECT_EQ(uri.scheme->name, "udp");
  const wire::UdpOptions udp = Completed<wire::UdpOptions>(uri);
  EXPECT_EQ(udp.host, "2001:db8::1");
  EXPECT_EQ(udp.port, 4791);
  EXPECT_EQ(udp.mtu, 9000u);
  EXPECT_EQ(udp.address.bytes[15], 1);
  EXPECT_FALSE(udp.learn.has_value());
  ASSERT_EQ(udp.peers.size(), 3u);
  EXPECT_EQ(udp.peers[0].address.bytes[15], 2);
  EXPECT_EQ(udp.peers[0].host, "192.0.2.2");
  EXPECT_EQ(udp.peers[0].port, 5000);
  EXPECT_EQ(udp.peers[1].host, "2001:db8::3");
  EXPECT_EQ(udp.peers[2].address, abi::Ip6Address{});
  EXPECT_EQ(udp.peers[2].host, "gateway");
  const std::string text = FormatUri(uri);
  EXPECT_THAT(text, HasSubstr("udp:[2001:db8::1]:4791?address=fd00::1&mtu=9000"));
  EXPECT_THAT(text, HasSubstr("learn=0"));
  EXPECT_EQ(FormatUri(ParseUri(text)), text);
}

TEST(Uri, GivenAUdpServerWithoutPeersWhenFormattedThenItLearnsAndItsMtuIsTheLinks) {
  const NicUri uri = ParseUri("udp::4791?address=fd00::1");
  EXPECT_EQ(uri.Wire<wire::UdpOptions>().host, "");
  EXPECT_THAT(FormatUri(uri), HasSubstr("udp::4791?address=fd00::1"));
  EXPECT_THAT(FormatUri(uri), HasSubstr("learn=1"));
}

TEST(Uri, GivenATunUriWhenParsedThenTheKernelsSideIsDescribed) {
  const NicUri uri = ParseUri("tun:qpip0?address=fd00::1&host=fd00::2/64&netns=lab&mtu=9000");
  EXPECT_EQ(uri.scheme->name, "tun");
  const wire::KernelWireOptions kernel = Completed<wire::KernelWireOptions>(uri);
  EXPECT_EQ(kernel.interface, "qpip0");
  EXPECT_EQ(kernel.address.bytes[15], 1);
  ASSERT_TRUE(kernel.host.has_value());
  EXPECT_EQ(kernel.host->address.bytes[15], 2);
  EXPECT_EQ(kernel.host->length, 64);
  EXPECT_EQ(kernel.netns, "lab");
  EXPECT_EQ(kernel.mtu, 9000u);
  EXPECT_TRUE(kernel.offload);
  EXPECT_FALSE(kernel.ethernet);
  EXPECT_EQ(FormatUri(ParseUri(FormatUri(uri))), FormatUri(uri));
  EXPECT_EQ(Completed<wire::KernelWireOptions>(ParseUri("tun:x?address=fd00::1")).mtu, 0u)
      << "the device's";
}

TEST(Uri, GivenATapUriWhenParsedThenTheLinkIsDescribed) {
  const NicUri uri = ParseUri(
      "tap:t?address=fd00::1&mac=02:00:0a:0B:00:7f&prefix=48&dad=0&route=::/0@fd00::fe"
      "&route=2001:db8::/32@fd00::fd");
  const wire::KernelWireOptions kernel = Completed<wire::KernelWireOptions>(uri);
  EXPECT_TRUE(kernel.ethernet);
  EXPECT_EQ(kernel.mac, (wire::LinkAddress{2, 0, 10, 11, 0, 0x7f}));
  EXPECT_EQ(uri.nic.link.prefix_length, 48);
  EXPECT_EQ(uri.nic.link.dad_transmits, 0);
  EXPECT_EQ(uri.nic.link.max_neighbours, 1024);
  EXPECT_EQ(ParseUri("tap:t?address=fd00::1&max_neighbours=4096").nic.link.max_neighbours, 4096);
  ASSERT_EQ(uri.nic.link.route_count, 2);
  EXPECT_EQ(uri.nic.link.routes[1].length, 32);
  EXPECT_EQ(uri.nic.link.routes[1].gateway.bytes[15], 0xfd);
  EXPECT_EQ(FormatUri(ParseUri(FormatUri(uri))), FormatUri(uri));
  const wire::LinkAddress made =
      Completed<wire::KernelWireOptions>(ParseUri("tap:t?address=fd00::1")).mac;
  EXPECT_EQ(made[0], 2) << "locally administered";
  EXPECT_NE(made, Completed<wire::KernelWireOptions>(ParseUri("tap:t?address=fd00::2")).mac);
}

TEST(Uri, GivenADecoratedTunWireWhenParsedThenNothingIsOffloaded) {
  for (const char* more : {"&pcap=/tmp/x.pcap", "&loss=0.1", "&checksum=1", "&offload=0"}) {
    const std::string text = std::string("tun:x?address=fd00::1") + more;
    EXPECT_FALSE(Completed<wire::KernelWireOptions>(ParseUri(text)).offload) << text;
  }
}

struct Bad {
  const char* uri;
  const char* says;
};

constexpr Bad kBadUris[] = {
    {"", "no scheme"},
    {"lab?address=fd00::1", "no scheme"},
    {"ip:lab?address=fd00::1", "unknown scheme \"ip\"; accepted: shm:FABRIC"},
    {"tun:?address=fd00::1", "interface name \"\": 1 to 15 characters"},
    {"tun:a/b?address=fd00::1", "without '/'"},
    {"tun:sixteencharacter?address=fd00::1", "1 to 15 characters"},
    {"tun:tun0?address=fd00::1&host=fd00::2", "has no prefix length; write host=fd00::2/64"},
    {"tun:tun0?address=fd00::1&host=fd00::2/129", "\"129\" is no whole number from 1 to 128"},
    {"tun:tun0?address=fd00::1&host=::/64", "unspecified or a multicast address"},
    {"shm:lab?address=fd00::1&host=fd00::2/64", "shm: has no parameter \"host\""},
    {"tap:t?address=fd00::1&max_neighbours=0", "\"0\" is no whole number from 1 to 4096"},
    {"tap:t?address=fd00::1&mac=02:00:00:00:00", "is no unicast Ethernet address"},
    {"tap:t?address=fd00::1&mac=01:00:00:00:00:01", "is no unicast Ethernet address"},
    {"tap:t?address=fd00::1&mac=02-00-00-00-00-01", "is no unicast Ethernet address"},
    {"tap:t?address=fd00::1&prefix=129", "from 0 to 128"},
    {"tap:t?address=fd00::1&route=::/0", "is no PREFIX/LENGTH@GATEWAY"},
    {"tap:t?address=fd00::1&route=::@fd00::2", "parameter route's prefix length: \"\""},
    {"tap:t?address=fd00::1&route=::/129@fd00::2", "\"129\" is no whole number"},
    {"tun:t?address=fd00::1&dad=0", "tun: has no parameter \"dad\""},
    {"udp:host?address=fd00::1", "\"host\" is no HOST:PORT; write 192.0.2.1:4791"},
    {"wg::51820?address=fd00::1", "wg: needs key=FILE and peers=FILE"},
    {"wg::51820?address=fd00::1&key=/k", "wg: needs key=FILE and peers=FILE"},
    {"wg:/a.conf?peers=/p", "\"/a.conf\" has key and peers: leave key=, peers= out"},
    {"wg:/a.conf?key=", "parameter key names no file"},
    {"wg:/a.conf?mtu=65500", "is more than the 65475 bytes that fit a datagram"},
    {"wg:/a.conf?rekey_after_s=121", "no whole number from 1 to 120"},
    {"udp:host:70000?address=fd00::1", "port \"70000\" in \"host:70000\": a number from 0"},
    {"udp:host:?address=fd00::1", "port \"\" in \"host:\": a number from 0 to 65535"},
    {"udp:[fe80::1%eth0]:1?address=fd00::1", "a % itself is written %25"},
    {"udp::1?address=fd00::1&peer=h:65536", "port \"65536\""},
    {"tun:a%20b?address=fd00::1", "without '/', ':' or blanks"},
    {"shm:lab?address=fd00::1&pcap=a%00b", "%00 stands for nothing"},
    {"udp:fd00::9:4791?address=fd00::1", "is no HOST:PORT"},
    {"udp::4791?address=fd00::1&peer=fd00::2@:9", "names no host or no port"},
    {"udp::4791?address=fd00::1&peer=fd00::2", "is no HOST:PORT"},
    {"udp::4791?address=fd00::1&peer=ff02::1@h:9", "unspecified or a multicast address"},
    {"udp::4791?address=fd00::1&peer=a:1&peer=b:1", "\"b:1\" is there twice"},
    {"udp::4791?address=fd00::1&peer=fd00::2@a:1,fd00::2@b:1", "is there twice"},
    {"udp::4791?address=fd00::1&mtu=65508", "more than the 65507 bytes that fit a datagram"},
    {"udp::4791?address=fd00::1&copy=1", "udp: has no parameter \"copy\""},
    {"shm:lab?address=fd00::1&peer=a:1", "shm: has no parameter \"peer\"; accepted are"},
    {"shm:?address=fd00::1", "fabric name \"\""},
    {"shm:a/b?address=fd00::1", "fabric name \"a/b\""},
    {"shm:lab", "no address; add ?address=IPV6"},
    {"shm:lab?", "no address"},
    {"shm:lab?mtu=1500", "no address"},
    {"shm:lab?address=", "\"\" is no IPv6 address"},
    {"shm:lab?address=10.0.0.1", "\"10.0.0.1\" is no IPv6 address"},
    {"shm:lab?address=::", "unspecified or a multicast address"},
    {"shm:lab?address=ff02::1", "unspecified or a multicast address"},
    {"shm:lab?address=::1", "\"::1\" is the loopback address"},
    {"udp::4791?address=fd00::1&peer=::1@h:9", "\"::1\" is the loopback address"},
    {"tun:tun0?address=fd00::1&host=::1/64", "\"::1\" is the loopback address"},
    {"shm:lab?adress=fd00::1",
     "unknown parameter \"adress\"; accepted are address, mtu, checksum, copy"},
    {"shm:lab?address", "parameter address has no value"},
    {"shm:lab?address=fd00::1&", "(accepted)"},
    {"shm:lab?address=fd00::1&&mtu=1500", "unknown parameter \"\""},
    {"shm:lab?address=fd00::1&address=fd00::2", "parameter address is given twice"},
    {"shm:lab?address=fd00::1&mtu=1279", "\"1279\" is no whole number from 1280 to 65575"},
    {"shm:lab?address=fd00::1&mtu=65576", "from 1280 to 65575"},
    {"shm:lab?address=fd00::1&mtu=1500x", "\"1500x\" is no whole number"},
    {"shm:lab?address=fd00::1&mtu=-1500", "\"-1500\" is no whole number"},
    {"shm:lab?address=fd00::1&mtu=", "\"\" is no whole number"},
    {"shm:lab?address=fd00::1&copy=yes", "parameter copy: \"yes\""},
    {"shm:lab?address=fd00::1&loss=1.01", "\"1.01\" is no probability from 0 to 1"},
    {"shm:lab?address=fd00::1&loss=nan", "\"nan\" is no probability"},
    {"shm:lab?address=fd00::1&loss=-0.1", "\"-0.1\" is no probability"},
    {"shm:lab?address=fd00::1&max_qps=0", "parameter max_qps: \"0\""},
    {"shm:lab?address=fd00::1&max_qps=65537", "from 1 to 65536"},
    {"shm:lab?address=fd00::1&doorbells=1", "\"1\" is no power of two from 2 to 65536"},
    {"shm:lab?address=fd00::1&doorbells=1000", "parameter doorbells: \"1000\" is no power of"},
    {"shm:lab?address=fd00::1&doorbells=131072", "from 2 to 65536"},
    {"shm:lab?address=fd00::1&doorbells=4k", "\"4k\" is no power of two"},
    {"shm:lab?address=fd00::1&doorbells=-4", "\"-4\" is no power of two"},
    {"shm:lab?address=fd00::1&ack_delay_us=500000", "from 0 to 499999"},
    {"shm:lab?address=fd00::1&seed=18446744073709551616", "parameter seed"},
    {"shm:lab?address=fd00::1&pcap=", "parameter pcap: no file name"},
    {"shm:lab?address=fd00::1&pcap=a%2", "not followed by two hex digits"},
    {"shm:lab?address=fd00::1&pcap=a%zz", "not followed by two hex digits"},
    {"shm:lab?address=fd00::1&flap_period_ms=5", "given together or not at all"},
    {"shm:lab?address=fd00::1&flap_period_ms=5&flap_down_ms=6", "the link would never be up"},
};

TEST(Uri, GivenABadUriWhenParsedThenTheMessageSaysWhatIsWrongInOneLine) {
  for (const Bad& bad : kBadUris) {
    const std::string refusal = Refusal(bad.uri);
    EXPECT_THAT(refusal, HasSubstr(bad.says)) << bad.uri;
    EXPECT_THAT(refusal, Not(HasSubstr("\n"))) << bad.uri;
    if (refusal != "(accepted)") {
      EXPECT_THAT(refusal, HasSubstr(bad.uri));
    }
  }
}

}  // namespace
}  // namespace qpip::lanai
