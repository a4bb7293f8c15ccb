// WireGuard's configuration files: what is read, what is refused and with which words.
#include "sim/wire/wg_config.h"

#include <gmock/gmock.h>

#include <stdexcept>

#include "protocols/wireguard/key_text.h"
#include "sim/wire/wg_setup.h"
#include "wire_test_support.h"
#include "wire_wg_test_support.h"

namespace qpip::wire::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class WireguardConfigFile : public ::testing::Test {
 protected:
  WireguardConfig Parse(const std::string& text) {
    return ReadWireguardConfig(files.Write("wg.conf", text));
  }
  std::string Refusal(const std::string& text) {
    try {
      Parse(text);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "(accepted)";
  }
  std::string SetupRefusal(const WireguardOptions& options) {
    try {
      SetUpWireguard(options);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "(accepted)";
  }
  Files files;
};

TEST_F(WireguardConfigFile, GivenAFileOfWgQuicksWhenReadThenEverySettingHasItsValue) {
  const WireguardConfig config = Parse(
      "# a comment\n[Interface]\n  PrivateKey=MPesUbq5+8em8Qq7Di/kHP4ayC2Ye21ouF9FHyKIIUA= # ours\n"
      "address = 10.0.0.1/24, fd00::1/64\r\nAddress = fd00::9\nListenPort = 51820\nMTU = 1380\n"
      "DNS = 1.1.1.1\nPostUp = iptables -A X = Y\n\n[peer]\n"
      "PublicKey = WFp2TkxMkRL8wQYG87h+PpmAhCBIVXxjXu1PsWvGnhw=\n"
      "PresharedKey = sI5vqWJj/pxJ5lgen6fipHMmkDsnd6Z6idkEgH3Q5Vw=\n"
      "AllowedIPs = fd00::2/128, 10.0.0.2/32,::/0\nEndpoint = [2001:db8::2]:51821\n"
      "PersistentKeepalive = 25\n[Peer]\nPublicKey = vzaWRUG2pSIu+XZzqOcb3WJs8yCDuLwernd3EYwFoDE=\n"
      "Endpoint = vpn.example.org:443\nPersistentKeepalive = off\nDNS = again");
  EXPECT_EQ(wireguard::FormatKey(config.private_key.bytes()), kKeys[1].private_key);
  ASSERT_EQ(config.addresses.size(), 2u);
  EXPECT_EQ(config.addresses[0], Address(1));
  EXPECT_EQ(config.addresses[1], Address(9));
  EXPECT_EQ(config.listen_port, 51820);
  EXPECT_EQ(config.mtu, 1380u);
  EXPECT_THAT(config.ignored, ElementsAre("DNS", "PostUp"));
  EXPECT_FALSE(config.readable_by_others);
  ASSERT_EQ(config.peers.size(), 2u);
  const WireguardPeer& peer = config.peers[0];
  EXPECT_EQ(wireguard::FormatKey(peer.config.public_key), kKeys[2].public_key);
  EXPECT_EQ(wireguard::FormatKey(peer.config.preshared_key.bytes()), kKeys[3].private_key);
  ASSERT_EQ(peer.config.allowed.size(), 3u);
  EXPECT_TRUE(peer.config.allowed[0].ipv6);
  EXPECT_EQ(peer.config.allowed[0].length, 128);
  EXPECT_FALSE(peer.config.allowed[1].ipv6);
  EXPECT_EQ(peer.config.allowed[1].length, 32);
  EXPECT_EQ(peer.config.allowed[2].length, 0);
  EXPECT_EQ(peer.host, "2001:db8::2");
  EXPECT_EQ(peer.port, 51821);
  EXPECT_EQ(peer.config.persistent_keepalive_s, 25);
  EXPECT_EQ(config.peers[1].host, "vpn.example.org");
  EXPECT_EQ(config.peers[1].config.persistent_keepalive_s, 0);
}

TEST_F(WireguardConfigFile, GivenWhatIsWrongWhenReadThenItsLineIsNamedAndNoSecretIs) {
  const struct {
    const char* text;
    const char* words;
  } kCases[] = {
      {"[Interface]\nPrivateKey = secretsecret\n",
       "wg.conf:2: PrivateKey is no key: 44 characters"},
      {"[Peer]\nPublicKey =\n", ":2: PublicKey is no key"},
      {"[Peer]\nPresharedKey = secretsecret\n", ":2: PresharedKey is no key"},
      {"[Peer]\nAllowedIPs = fd00::/64\n", "peer 1 of this file has no PublicKey"},
      {"[Peer]\nAllowedIPs = fd00::/129\n", "AllowedIPs has something that is no ADDRESS/LENGTH"},
      {"[Peer]\nAllowedIPs = 10.0.0.0/33\n", "AllowedIPs has something"},
      {"[Peer]\nAllowedIPs = host\n", "AllowedIPs has something"},
      {"[Interface]\nAddress = fd00::x\n", "Address has something"},
      {"[Interface]\nListenPort = 65536\n", "ListenPort is no whole number up to 65535"},
      {"[Interface]\nMTU = -1\n", "MTU is no whole number"},
      {"[Peer]\nEndpoint = 192.0.2.1\n", "Endpoint is no HOST:PORT"},
      {"[Peer]\nEndpoint = 2001:db8::1:51820\n", "Endpoint is no HOST:PORT"},
      {"[Peer]\nEndpoint = host:0\n", "Endpoint is no HOST:PORT"},
      {"[Peer]\nPersistentKeepalive = 65536\n", "PersistentKeepalive is no whole number"},
      {"PrivateKey = secretsecret\n", ":1: a setting before any section"},
      {"[Interface]\nsecretsecret\n", ":2: no NAME = VALUE"},
      {"[Other]\n", ":1: a section that is neither"},
  };
  for (const auto& row : kCases) {
    EXPECT_THAT(Refusal(row.text), HasSubstr(row.words));
    EXPECT_THAT(Refusal(row.text), Not(HasSubstr("secretsecret")));
  }
}

TEST_F(WireguardConfigFile, GivenFilesThatCannotBeReadWhenOpenedThenThatIsSaid) {
  EXPECT_THAT(SetupRefusal({.config = files.Path("none.conf")}),
              HasSubstr("none.conf: No such file"));
  EXPECT_THAT(SetupRefusal({.config = files.Path("")}), HasSubstr("not a file"));
  const std::string peers = files.Write("peers", PeerText(2));
  EXPECT_THAT(SetupRefusal({.key_file = files.Write("key", "nonsense"), .peers_file = peers}),
              HasSubstr("holds no private key; make one: (umask 077; wg genkey > "));
  EXPECT_THAT(SetupRefusal({.peers_file = peers}), HasSubstr("no key=FILE is given"));
}

TEST_F(WireguardConfigFile, GivenAKeyAndPeersApartWhenSetUpThenTheyAreOneConfiguration) {
  const WireguardSetup setup =
      SetUpWireguard({.key_file = files.Write("key", std::string(kKeys[1].private_key) + "\n"),
                      .peers_file = files.Write("peers", PeerText(2) + PeerText(3)),
                      .address = Address(1)});
  EXPECT_EQ(setup.config.peers.size(), 2u);
  EXPECT_EQ(setup.address, Address(1));
  EXPECT_EQ(setup.mtu, kWireguardMtu);
  EXPECT_TRUE(setup.remarks.empty());
}

TEST_F(WireguardConfigFile, GivenPeersThatOthersMayReadWhenOneHasASecretThenALineSaysSo) {
  const auto remarks = [&](const std::string& more) {
    return SetUpWireguard({.key_file = files.Write("key", std::string(kKeys[1].private_key) + "\n"),
                           .peers_file = files.Write("peers", PeerText(2, more), 0644),
                           .address = Address(1)})
        .remarks;
  };
  EXPECT_TRUE(remarks("").empty()) << "public keys are no secret";
  const auto told = remarks("PresharedKey = " + std::string(kKeys[3].private_key) + "\n");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_THAT(told[0].what, HasSubstr("peers holds a secret and others may read it: chmod 600"));
}

TEST_F(WireguardConfigFile, GivenWhatIsOddWhenSetUpThenALineSaysSo) {
  const WireguardSetup setup = SetUpWireguard(
      {.config = files.Write("wg.conf", InterfaceText(1) + "DNS = x\n" + PeerText(2), 0644)});
  ASSERT_EQ(setup.remarks.size(), 2u);
  EXPECT_THAT(setup.remarks[0].what, HasSubstr("others may read it: chmod 600"));
  EXPECT_THAT(setup.remarks[1].what, HasSubstr("are not known: DNS"));
}

TEST_F(WireguardConfigFile, GivenWhatIsMissingWhenSetUpThenALineSaysWhatToDo) {
  const auto with = [&](const std::string& text, uint32_t mtu = 0) {
    return SetupRefusal({.config = files.Write("wg.conf", text), .mtu = mtu});
  };
  EXPECT_THAT(with("[Interface]\nAddress = fd00::1\n" + PeerText(2)), HasSubstr("no PrivateKey"));
  EXPECT_THAT(with(InterfaceText(1)), HasSubstr("there are no peers"));
  EXPECT_THAT(with("[Interface]\nPrivateKey = " + std::string(kKeys[1].private_key) +
                   "\nAddress = 10.0.0.1/24\n" + PeerText(2)),
              HasSubstr("no IPv6 address"));
  EXPECT_THAT(with(InterfaceText(1) + "MTU = 1279\n" + PeerText(2)), HasSubstr("bad mtu 1279"));
  EXPECT_THAT(with(InterfaceText(1) + PeerText(2), 65507), HasSubstr("bad mtu 65507"));
}

}  // namespace
}  // namespace qpip::wire::test
