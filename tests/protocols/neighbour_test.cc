// Neighbour discovery messages: the format, and every rule that makes one invalid.
#include "protocols/icmpv6/neighbour.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace qpip::icmpv6 {
namespace {

using Bytes = std::vector<uint8_t>;

ipv6::Address Unicast(uint8_t last) {
  return {{0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xaa, 0xbb, last}};
}
ipv6::Address LinkLocal(uint8_t last) {
  return {{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last}};
}

Bytes Emit(const NeighbourMessage& message) {
  std::array<uint8_t, kMaxNeighbourMessage> out;
  const size_t length = EmitNeighbour(message, out);
  return {out.begin(), out.begin() + static_cast<long>(length)};
}

std::string Refusal(const Bytes& bytes, const NeighbourEnvelope& envelope) {
  NeighbourMessage message;
  return NeighbourErrorName(ParseNeighbour(bytes, envelope, &message));
}

NeighbourMessage Solicitation() {
  NeighbourMessage message;
  message.type = kNeighbourSolicitation;
  message.target = Unicast(1);
  message.has_source_link = true;
  message.source_link = {2, 0, 0, 0, 0, 7};
  return message;
}
NeighbourEnvelope FromNeighbour() { return {Unicast(2), SolicitedNode(Unicast(1)), 255}; }

Bytes Advertisement() {  // of a router, with MTU, prefix and link address
  Bytes bytes = {134, 0, 0,  0,    64, 0, 0x07, 0x08, 0, 0, 0x75, 0x30, 0, 0, 0x03, 0xe8,
                 1,   1, 2,  0,    0,  0, 0,    9,     // source link-layer address
                 5,   1, 0,  0,    0,  0, 0x05, 0xdc,  // MTU 1500
                 3,   4, 64, 0xc0, 0,  1, 0x51, 0x80, 0, 0, 0x38, 0x40, 0, 0, 0,    0};
  const ipv6::Address prefix = {{0x20, 1, 0xd, 0xb8, 0, 1}};
  bytes.insert(bytes.end(), prefix.bytes, prefix.bytes + 16);
  return bytes;
}

TEST(Neighbour, GivenASolicitationWhenEmittedThenItsBytesAreTheRfcs) {
  const Bytes bytes = Emit(Solicitation());
  ASSERT_EQ(bytes.size(), 32u);
  EXPECT_EQ(bytes[0], 135);
  EXPECT_EQ(std::memcmp(&bytes[8], Unicast(1).bytes, 16), 0);
  EXPECT_EQ(Bytes(bytes.begin() + 24, bytes.end()), (Bytes{1, 1, 2, 0, 0, 0, 0, 7}));
}

TEST(Neighbour, GivenEachMessageAHostSendsWhenParsedAgainThenItMeansTheSame) {
  NeighbourMessage message = Solicitation();
  NeighbourMessage parsed;
  ASSERT_EQ(ParseNeighbour(Emit(message), FromNeighbour(), &parsed), NeighbourError::kNone);
  EXPECT_EQ(parsed.target, Unicast(1));
  EXPECT_TRUE(parsed.has_source_link);
  EXPECT_EQ(parsed.source_link, message.source_link);

  message.type = kNeighbourAdvertisement;
  message.solicited = message.override_entry = true;
  message.has_target_link = true;
  message.target_link = {2, 1, 2, 3, 4, 5};
  ASSERT_EQ(ParseNeighbour(Emit(message), {Unicast(1), Unicast(2), 255}, &parsed),
            NeighbourError::kNone);
  EXPECT_TRUE(parsed.solicited && parsed.override_entry && !parsed.router);
  EXPECT_EQ(parsed.target_link, message.target_link);
  EXPECT_FALSE(parsed.has_source_link);

  message.type = kRouterSolicitation;
  ASSERT_EQ(Emit(message).size(), 16u);
  ASSERT_EQ(ParseNeighbour(Emit(message), {Unicast(1), kAllRouters, 255}, &parsed),
            NeighbourError::kNone);
  EXPECT_EQ(parsed.source_link, message.source_link);

  message.type = kRouterAdvertisement;
  EXPECT_TRUE(Emit(message).empty()) << "hosts do not send these";
}

TEST(Neighbour, GivenALinkAddressOfAGroupWhenParsedThenItIsNobodys) {
  for (const LinkAddress& group :
       {LinkAddress{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, LinkAddress{0x33, 0x33, 0, 0, 0, 1}}) {
    NeighbourMessage message = Solicitation();
    message.source_link = group;
    NeighbourMessage parsed;
    ASSERT_EQ(ParseNeighbour(Emit(message), FromNeighbour(), &parsed), NeighbourError::kNone);
    EXPECT_FALSE(parsed.has_source_link);
    message.type = kNeighbourAdvertisement;
    message.has_target_link = true;
    message.target_link = group;
    ASSERT_EQ(ParseNeighbour(Emit(message), {Unicast(1), Unicast(2), 255}, &parsed),
              NeighbourError::kNone);
    EXPECT_FALSE(parsed.has_target_link);
  }
}

TEST(Neighbour, GivenARouterAdvertisementWhenParsedThenEveryFieldHasItsValue) {
  NeighbourMessage parsed;
  ASSERT_EQ(ParseNeighbour(Advertisement(), {LinkLocal(9), kAllNodes, 255}, &parsed),
            NeighbourError::kNone);
  EXPECT_EQ(parsed.hop_limit, 64);
  EXPECT_EQ(parsed.router_lifetime, 1800);
  EXPECT_EQ(parsed.reachable_ms, 30000u);
  EXPECT_EQ(parsed.retransmit_ms, 1000u);
  EXPECT_TRUE(parsed.has_source_link);
  EXPECT_EQ(parsed.source_link, (LinkAddress{2, 0, 0, 0, 0, 9}));
  EXPECT_TRUE(parsed.has_mtu);
  EXPECT_EQ(parsed.mtu, 1500u);
  ASSERT_EQ(parsed.prefix_count, 1u);
  EXPECT_EQ(parsed.prefixes[0].length, 64);
  EXPECT_TRUE(parsed.prefixes[0].on_link && parsed.prefixes[0].autonomous);
  EXPECT_EQ(parsed.prefixes[0].valid_lifetime, 86400u);
  EXPECT_EQ(parsed.prefixes[0].preferred_lifetime, 14400u);
  EXPECT_EQ(parsed.prefixes[0].prefix.bytes[1], 1);
}

TEST(Neighbour, GivenARuleThatIsBrokenWhenParsedThenTheRefusalNamesIt) {
  const Bytes good = Emit(Solicitation());
  EXPECT_EQ(Refusal(good, FromNeighbour()), "none");
  for (size_t length = 0; length < 24; ++length) {
    EXPECT_EQ(
        Refusal(Bytes(good.begin(), good.begin() + static_cast<long>(length)), FromNeighbour()),
        "too_short");
  }
  NeighbourEnvelope envelope = FromNeighbour();
  envelope.hop_limit = 254;
  EXPECT_EQ(Refusal(good, envelope), "bad_hop_limit");
  Bytes bad = good;
  bad[1] = 1;
  EXPECT_EQ(Refusal(bad, FromNeighbour()), "bad_code");
  bad = good;
  bad[0] = 128;
  EXPECT_EQ(Refusal(bad, FromNeighbour()), "not_neighbour");
  bad = good;
  bad[0] = kRedirect;
  EXPECT_EQ(Refusal(bad, FromNeighbour()), "not_neighbour");
  bad = good;
  bad[8] = 0xff;
  EXPECT_EQ(Refusal(bad, FromNeighbour()), "bad_target");
  bad = good;
  bad[25] = 0;
  EXPECT_EQ(Refusal(bad, FromNeighbour()), "bad_option_length");
  bad[25] = 2;
  EXPECT_EQ(Refusal(bad, FromNeighbour()), "bad_option_length");
  bad = good;
  bad.push_back(14);
  EXPECT_EQ(Refusal(bad, FromNeighbour()), "bad_option_length") << "half an option";

  envelope = FromNeighbour();
  envelope.source = {};
  EXPECT_EQ(Refusal(good, envelope), "source_option");
  NeighbourMessage probe = Solicitation();
  probe.has_source_link = false;
  EXPECT_EQ(Refusal(Emit(probe), envelope), "none") << "duplicate address detection";
  envelope.destination = Unicast(1);
  EXPECT_EQ(Refusal(Emit(probe), envelope), "bad_destination");

  NeighbourMessage advertisement = Solicitation();
  advertisement.type = kNeighbourAdvertisement;
  advertisement.solicited = true;
  EXPECT_EQ(Refusal(Emit(advertisement), {Unicast(1), kAllNodes, 255}), "bad_destination");
  EXPECT_EQ(Refusal(Advertisement(), {Unicast(9), kAllNodes, 255}), "bad_source");
  NeighbourMessage router = Solicitation();
  router.type = kRouterSolicitation;
  EXPECT_EQ(Refusal(Emit(router), {{}, kAllRouters, 255}), "source_option");
}

TEST(Neighbour, GivenUnknownAndOversizedOptionsWhenParsedThenTheyAreSkipped) {
  Bytes bytes = Emit(Solicitation());
  bytes.insert(bytes.end(), {14, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14});
  NeighbourMessage parsed;
  ASSERT_EQ(ParseNeighbour(bytes, FromNeighbour(), &parsed), NeighbourError::kNone);
  EXPECT_TRUE(parsed.has_source_link);
  Bytes many = Advertisement();
  const Bytes prefix(many.end() - 32, many.end());
  for (int i = 0; i < 10; ++i) many.insert(many.end(), prefix.begin(), prefix.end());
  ASSERT_EQ(ParseNeighbour(many, {LinkLocal(9), kAllNodes, 255}, &parsed), NeighbourError::kNone);
  EXPECT_EQ(parsed.prefix_count, kMaxPrefixes);
}

TEST(Neighbour, GivenAddressesWhenMappedThenGroupsAndPrefixesAreRight) {
  const ipv6::Address group = SolicitedNode(Unicast(1));
  EXPECT_EQ(group, (ipv6::Address{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xaa, 0xbb, 1}}));
  EXPECT_EQ(MulticastLink(group), (LinkAddress{0x33, 0x33, 0xff, 0xaa, 0xbb, 1}));
  EXPECT_TRUE(PrefixMatches(Unicast(1), Unicast(2), 126));
  EXPECT_FALSE(PrefixMatches(Unicast(1), Unicast(2), 127));
  EXPECT_TRUE(PrefixMatches(Unicast(1), LinkLocal(1), 0));
  EXPECT_TRUE(PrefixMatches(Unicast(1), Unicast(1), 128));
}

}  // namespace
}  // namespace qpip::icmpv6
