// Handshakes between two machines: both roles, what is refused, cookies under load.
#include "wireguard_support.h"

namespace qpip::wireguard::testing {
namespace {

TEST(WireguardHandshakeTest, GivenAPacketWithoutASessionWhenStagedThenItArrivesAfterTheHandshake) {
  Pair pair;
  const Buffer packet = Packet(1, 2);
  ASSERT_TRUE(pair.a.Send(packet));
  ASSERT_EQ(pair.world.wire.size(), 1u);
  EXPECT_EQ(pair.world.wire.front().type(), MessageType::kInitiation);
  pair.world.Deliver();
  ASSERT_EQ(pair.b.received.size(), 1u);
  EXPECT_EQ(pair.b.received[0], packet);
  EXPECT_EQ(pair.a.counters().initiations_sent, 1u);
  EXPECT_EQ(pair.b.counters().responses_sent, 1u);
  EXPECT_EQ(pair.a.counters().sessions_begun, 1u);
  EXPECT_EQ(pair.b.counters().sessions_begun, 1u);
}

TEST(WireguardHandshakeTest, GivenNothingToSendWhenTheResponseComesThenAKeepaliveConfirmsIt) {
  Pair pair;
  pair.a.Send(Packet(1, 2));
  pair.world.Deliver();
  // The responder may send at once: its session is confirmed.
  EXPECT_TRUE(pair.Works());
  EXPECT_EQ(pair.b.counters().initiations_sent, 0u);
}

TEST(WireguardHandshakeTest, GivenAResponderBeforeThePacketThatConfirmsWhenItSendsThenItWaits) {
  Pair pair;
  pair.a.Send(Packet(1, 2));
  const Datagram initiation = pair.world.wire.front();
  pair.world.wire.clear();
  pair.world.Give(initiation);  // its response is on the wire
  const Datagram response = pair.world.wire.front();
  pair.world.wire.clear();
  pair.b.Send(Packet(2, 1));  // no current session: waits, and may not begin a handshake so soon
  EXPECT_TRUE(pair.world.wire.empty());
  EXPECT_EQ(pair.b.counters().packets_staged, 1u);
  pair.world.Give(response);
  pair.world.Deliver();
  EXPECT_EQ(pair.a.received.size(), 1u);
  EXPECT_EQ(pair.b.received.size(), 1u);
}

TEST(WireguardHandshakeTest, GivenBothBeginAtOnceWhenDeliveredThenTheyAgreeAndTalk) {
  Pair pair(PeerOf(2, At(2)), PeerOf(1, At(1)));
  pair.a.Send(Packet(1, 2));
  pair.b.Send(Packet(2, 1));
  ASSERT_EQ(pair.world.wire.size(), 2u);
  pair.world.Deliver();
  pair.world.Pass(6 * kSecondNs);
  EXPECT_TRUE(pair.Works());
  EXPECT_TRUE(pair.Works());
}

TEST(WireguardHandshakeTest, GivenAPresharedKeyWhenBothHaveItThenTheyTalk) {
  PeerConfig second = PeerOf(2, At(2)), first = PeerOf(1);
  second.preshared_key = first.preshared_key = SecretOf(99);
  Pair pair(std::move(second), std::move(first));
  pair.Connect();
  EXPECT_TRUE(pair.Works());
}

TEST(WireguardHandshakeTest, GivenDifferentPresharedKeysWhenTheResponseComesThenItIsToldAsForged) {
  PeerConfig second = PeerOf(2, At(2));
  second.preshared_key = SecretOf(99);
  Pair pair(std::move(second), PeerOf(1));
  pair.a.Send(Packet(1, 2));
  pair.world.Deliver();
  EXPECT_EQ(pair.a.counters().dropped.forged_response, 1u);
  EXPECT_EQ(pair.a.Count(Event::Kind::kForgedResponse), 1u);
  EXPECT_EQ(pair.a.counters().sessions_begun, 0u);
  EXPECT_TRUE(pair.b.received.empty());
}

TEST(WireguardHandshakeTest, GivenAKeyThatIsNotConfiguredWhenItBeginsThenItIsToldAndNotAnswered) {
  World world;
  Host a(world, ConfigOf(1, {PeerOf(2, At(2))}), At(1), 1);
  Host b(world, ConfigOf(2, {PeerOf(3)}), At(2), 2);
  a.Send(Packet(1, 2));
  world.Deliver();
  EXPECT_EQ(b.counters().dropped.unknown_peer, 1u);
  ASSERT_EQ(b.Count(Event::Kind::kUnknownPeer), 1u);
  EXPECT_EQ(b.events.back().public_key, PublicOf(1));
  EXPECT_EQ(b.counters().responses_sent, 0u);
}

TEST(WireguardHandshakeTest, GivenAnInitiationForAnotherKeyWhenReceivedThenMac1RefusesIt) {
  World world;
  Host a(world, ConfigOf(1, {PeerOf(3, At(2))}), At(1), 1);  // a wrong key for At(2)
  Host b(world, ConfigOf(2, {PeerOf(1)}), At(2), 2);
  ASSERT_TRUE(a.machine->Stage(0, Packet(1, 2), world.now()));
  world.Deliver();
  EXPECT_EQ(b.counters().dropped.forged_mac1, 1u);
  EXPECT_EQ(b.Count(Event::Kind::kForeignHandshake), 1u);
  EXPECT_EQ(b.counters().responses_sent, 0u);
}

TEST(WireguardHandshakeTest, GivenAPeersKeyOfSmallOrderWhenItIsToBeReachedThenNothingIsSent) {
  World world;
  PeerConfig peer = PeerOf(2, At(2));
  peer.public_key = {};  // the point zero
  Host a(world, ConfigOf(1, {peer}), At(1), 1);
  a.machine->Stage(0, Packet(1, 2), world.now());
  EXPECT_TRUE(world.wire.empty());
}

TEST(WireguardHandshakeTest, GivenBadConfigurationsWhenAMachineIsMadeThenItRefuses) {
  World world;
  EXPECT_THROW(Host(world, MachineConfig{}, At(1), 1), std::invalid_argument);
  EXPECT_THROW(Host(world, ConfigOf(1, {PeerOf(2), PeerOf(2)}), At(1), 1), std::invalid_argument);
}

// --- Replays of handshakes

TEST(WireguardHandshakeTest, GivenAnInitiationWhenItComesAgainThenItsTimestampRefusesIt) {
  Pair pair;
  pair.a.Send(Packet(1, 2));
  const Datagram initiation = pair.world.wire.front();
  pair.world.Deliver();
  pair.world.Pass(kSecondNs);
  const Counters before = pair.b.counters();
  pair.world.Give(initiation);
  EXPECT_EQ(pair.b.counters().dropped.replayed_initiation, before.dropped.replayed_initiation + 1);
  EXPECT_EQ(pair.b.Count(Event::Kind::kOldTimestamp), 1u);
  EXPECT_EQ(pair.b.counters().sessions_begun, before.sessions_begun);
  EXPECT_TRUE(pair.Works());
}

TEST(WireguardHandshakeTest, GivenAnInitiatorWhoseClockWentBackWhenItStartsAgainThenItIsRefused) {
  Pair pair;
  pair.Connect();
  pair.world.Pass(10 * kSecondNs);
  pair.world.unix_ns -= 3600 * kSecondNs;
  Host again(pair.world, ConfigOf(1, {PeerOf(2, At(2))}), At(7), 9);  // no memory of what it told
  again.Send(Packet(1, 2));
  pair.world.Deliver();
  EXPECT_EQ(pair.b.counters().dropped.replayed_initiation, 1u);
  EXPECT_EQ(again.counters().sessions_begun, 0u);
}

TEST(WireguardHandshakeTest, GivenSeveralPeersGreetedAtOneMomentThenNoClockIsSaidToHaveGoneBack) {
  World world;
  Host host(world, ConfigOf(1, {PeerOf(2, At(2)), PeerOf(3, At(3)), PeerOf(4, At(4))}), At(1), 1);
  for (uint8_t peer = 0; peer < 3; ++peer)
    host.Send(Packet(1, static_cast<uint8_t>(2 + peer)), peer);
  EXPECT_EQ(host.counters().initiations_sent, 3u);
  EXPECT_EQ(host.counters().own_clock_went_back, 0u);
  EXPECT_EQ(host.Count(Event::Kind::kOwnClockWentBack), 0u);
}

TEST(WireguardHandshakeTest, GivenAClockThatWentBackInARunningMachineWhenItRekeysThenItGoesOn) {
  Pair pair;
  pair.Connect();
  pair.world.unix_ns -= 3600 * kSecondNs;
  pair.world.Pass(200 * kSecondNs);
  EXPECT_TRUE(pair.Works());
  EXPECT_GE(pair.a.counters().own_clock_went_back, 1u);
  EXPECT_GE(pair.a.Count(Event::Kind::kOwnClockWentBack), 1u);
  EXPECT_EQ(pair.b.counters().dropped.replayed_initiation, 0u);
}

TEST(WireguardHandshakeTest, GivenInitiationsCloserThan20MsWhenReceivedThenTheSecondIsDropped) {
  Pair pair;
  pair.a.Send(Packet(1, 2));
  pair.world.Deliver();
  // Another program with the same key file, whose clock is ahead.
  pair.world.unix_ns += kSecondNs;
  Host copy(pair.world, ConfigOf(1, {PeerOf(2, At(2))}), At(7), 9);
  copy.Send(Packet(1, 2));
  pair.world.Deliver();
  EXPECT_EQ(pair.b.counters().dropped.flooding_initiation, 1u);
}

TEST(WireguardHandshakeTest, GivenAResponseWhenItComesAgainOrNobodyWaitsThenItIsDropped) {
  Pair pair;
  pair.a.Send(Packet(1, 2));
  pair.world.Give(pair.world.wire.front());
  pair.world.wire.pop_front();
  const Datagram response = pair.world.wire.front();
  pair.world.Deliver();
  pair.world.Give(response);
  EXPECT_EQ(pair.a.counters().dropped.unexpected_response, 1u);
  EXPECT_EQ(pair.a.counters().sessions_begun, 1u);
  EXPECT_TRUE(pair.Works());
}

// Any bit of any message of a handshake: nothing comes of it, and the true one still works.
TEST(WireguardHandshakeTest, GivenHandshakesWithAChangedByteWhenReceivedThenNoneBeginsASession) {
  Pair pair;
  pair.a.Send(Packet(1, 2));
  const Datagram initiation = pair.world.wire.front();
  pair.world.wire.clear();
  for (size_t i = 0; i < initiation.bytes.size() - kMacBytes; ++i) {  // mac2 means nothing now
    Datagram changed = initiation;
    changed.bytes[i] ^= 0x04;
    pair.world.Give(changed);
  }
  EXPECT_TRUE(pair.world.wire.empty());
  EXPECT_EQ(pair.b.counters().sessions_begun, 0u);
  pair.world.Give(initiation);
  ASSERT_EQ(pair.world.wire.size(), 1u);
  const Datagram response = pair.world.wire.front();
  pair.world.wire.clear();
  for (size_t i = 0; i < response.bytes.size() - kMacBytes; ++i) {
    Datagram changed = response;
    changed.bytes[i] ^= 0x04;
    pair.world.Give(changed);
  }
  EXPECT_EQ(pair.a.counters().sessions_begun, 0u);
  pair.world.Give(response);
  pair.world.Deliver();
  EXPECT_EQ(pair.b.received.size(), 1u);
}

// mac1 is no secret: who knows the public key can make it right for anything.
TEST(WireguardHandshakeTest, GivenForgedContentsWithARightMac1WhenReceivedThenTheyDoNotOpen) {
  Pair pair;
  pair.a.Send(Packet(1, 2));
  Datagram initiation = pair.world.wire.front();
  Primitives primitives;
  CookieJar macs(primitives, PublicOf(2));
  for (const size_t at : {size_t{8}, size_t{40}, size_t{88}}) {  // ephemeral, static, timestamp
    Datagram forged = initiation;
    forged.bytes[at] ^= 1;
    macs.AddMacs(forged.bytes, 0, 0);
    pair.world.Give(forged);
  }
  EXPECT_EQ(pair.b.counters().dropped.forged_initiation, 3u);
  EXPECT_EQ(pair.b.counters().sessions_begun, 0u);
}

// --- Load

Timing LoadedAt(uint32_t burst) {
  Timing timing;
  timing.handshake_burst = burst;
  timing.handshakes_per_second = 1;
  return timing;
}

TEST(WireguardCookieTest, GivenLoadWhenAnInitiationComesThenACookieIsGivenAndTheNextOneIsTaken) {
  World world;
  Host b(world, ConfigOf(2, {PeerOf(1), PeerOf(3)}, LoadedAt(1)), At(2), 2);
  Host c(world, ConfigOf(3, {PeerOf(2, At(2))}), At(3), 3);
  c.Send(Packet(3, 2));
  world.Deliver();
  EXPECT_EQ(b.received.size(), 1u);  // the one that is taken without

  Host a(world, ConfigOf(1, {PeerOf(2, At(2))}), At(1), 1);
  a.Send(Packet(1, 2));
  world.Deliver();
  EXPECT_EQ(b.counters().cookie_replies_sent, 1u);
  EXPECT_EQ(b.counters().dropped.no_cookie, 1u);
  EXPECT_EQ(a.counters().cookie_replies_taken, 1u);
  EXPECT_EQ(a.counters().sessions_begun, 0u);

  // Load goes on; the initiation that follows has the cookie in it.
  world.Pass(5 * kSecondNs - kMs);
  for (int i = 0; i < 20; ++i) {
    Buffer noise(kInitiationBytes);
    noise[0] = 1;
    noise[8] = static_cast<uint8_t>(i);
    Primitives primitives;
    CookieJar macs(primitives, PublicOf(2));
    macs.AddMacs(noise, 0, 0);
    world.Give({.from = At(9), .to = At(2), .bytes = noise});
  }
  world.wire.clear();
  world.Pass(kSecondNs);
  EXPECT_EQ(a.counters().sessions_begun, 1u);
  EXPECT_EQ(b.received.size(), 2u);
}

TEST(WireguardCookieTest, GivenACookieWhenUsedFromAnotherAddressThenItIsWorthNothing) {
  Primitives primitives;
  CookieChecker checker(primitives, PublicOf(2));
  checker.Renew(SecretOf(77), 0);
  CookieJar jar(primitives, PublicOf(2));
  Buffer message(kInitiationBytes, 0x31);
  jar.AddMacs(message, 100 * kSecondNs, 0);
  EXPECT_EQ(checker.Check(message, At(1)), MacVerdict::kNoCookie);
  ASSERT_TRUE(jar.Take(checker.Reply(message, At(1), ExtendedNonce{1}), 0));
  jar.AddMacs(message, 100 * kSecondNs, kSecondNs);
  EXPECT_EQ(checker.Check(message, At(1)), MacVerdict::kCookie);
  EXPECT_EQ(checker.Check(message, At(4)), MacVerdict::kNoCookie);
  EXPECT_EQ(checker.Check(message, At(1, 51821)), MacVerdict::kNoCookie);
  // Its time is over: at the giver's, and for who has it.
  jar.AddMacs(message, 100 * kSecondNs, 100 * kSecondNs);
  EXPECT_EQ(Buffer(message.end() - kMacBytes, message.end()), Buffer(kMacBytes, 0));
  EXPECT_FALSE(checker.IsStale(120 * kSecondNs, 119 * kSecondNs));
  EXPECT_TRUE(checker.IsStale(120 * kSecondNs, 120 * kSecondNs));
}

TEST(WireguardCookieTest,
     GivenCookiesOfManyAddressesWhenUsedThenFewHandshakesAreWorkedOnAllTheSame) {
  Timing timing = LoadedAt(1);
  timing.proven_burst = 4;
  timing.proven_per_second = 1;
  World world;
  Host b(world, ConfigOf(2, {PeerOf(1)}, timing), At(2), 2);
  Primitives primitives;
  constexpr uint32_t kSources = 50;
  for (uint32_t i = 0; i < kSources; ++i) {
    Endpoint from = At(0);
    StoreBe32(from.address.data(), 0x0b000000 + i);
    CookieJar jar(primitives, PublicOf(2));
    Buffer noise(kInitiationBytes);
    noise[0] = 1;
    StoreBe32(&noise[8], i);
    const auto give = [&] {
      jar.AddMacs(noise, 100 * kSecondNs, world.now_ns);
      world.wire.clear();
      world.Give({.from = from, .to = At(2), .bytes = noise});
    };
    give();
    if (i == 0) continue;  // the one that is taken without
    ASSERT_EQ(world.wire.size(), 1u);
    ASSERT_TRUE(jar.Take(ParseCookieReply(world.wire.front().bytes), world.now_ns));
    give();
  }
  EXPECT_EQ(b.counters().dropped.forged_initiation, 1u + timing.proven_burst);
  EXPECT_EQ(b.counters().dropped.rate_limited, kSources - 1 - timing.proven_burst);
}

TEST(WireguardCookieTest, GivenACookieReplyThatAnswersNothingWhenTakenThenItIsRefused) {
  Pair pair;
  pair.Connect();
  Datagram reply{.from = At(2), .to = At(1), .bytes = Buffer(kCookieReplyBytes)};
  reply.bytes[0] = 3;
  pair.world.Give(reply);
  EXPECT_EQ(pair.a.counters().dropped.unexpected_cookie, 1u);  // no such index
  pair.b.Send(Packet(2, 1));
  const Buffer data = pair.world.wire.back().bytes;
  pair.world.wire.clear();
  std::copy(&data[4], &data[8], &reply.bytes[4]);
  pair.world.Give(reply);
  EXPECT_EQ(pair.a.counters().dropped.forged_cookie, 1u);
  EXPECT_TRUE(pair.Works());
}

// 10,000 a second from as many addresses, all with a right mac1: X25519 is spent on few of them,
// the others get a cookie, and a session beside them notices nothing.
TEST(WireguardCookieTest, GivenAFloodOfHandshakesWhenReceivedThenFewAreWorkedOnAndASessionGoesOn) {
  Pair pair;
  pair.Connect();
  pair.world.Pass(kSecondNs);
  Primitives primitives;
  CookieJar macs(primitives, PublicOf(2));
  constexpr uint32_t kFlood = 10'000;
  Buffer noise(kInitiationBytes);
  noise[0] = 1;
  size_t arrived = 0;
  pair.b.received.clear();
  for (uint32_t i = 0; i < kFlood; ++i) {
    StoreBe32(&noise[8], i);
    macs.AddMacs(noise, 0, 0);
    Endpoint from = At(0);
    StoreBe32(from.address.data(), 0x0b000000 + i);
    pair.world.now_ns += kSecondNs / kFlood;
    pair.world.Give({.from = from, .to = At(2), .bytes = noise});
    if (i % 100 != 0) continue;
    pair.world.wire.clear();
    pair.a.Send(Packet(1, 2));
    pair.world.Deliver();
    ++arrived;
  }
  const Timing timing;
  const Counters& counters = pair.b.counters();
  EXPECT_LE(counters.dropped.forged_initiation,
            timing.handshake_burst + timing.handshakes_per_second);
  EXPECT_EQ(counters.dropped.forged_initiation + counters.cookie_replies_sent, kFlood);
  EXPECT_EQ(pair.b.received.size(), arrived);
  // A second after the last of it handshakes are taken as before.
  pair.world.Pass(3 * kSecondNs);
  Host again(pair.world, ConfigOf(1, {PeerOf(2, At(2))}), At(5), 9);
  again.Send(Packet(1, 2));
  pair.world.Deliver();
  EXPECT_EQ(again.counters().sessions_begun, 1u);
}

TEST(RateLimiterTest, GivenOneSourceWhenItComesOftenThenABurstAndTwentyASecondPass) {
  RateLimiter limiter({1, 2});
  uint64_t now = kStartNs;
  uint32_t passed = 0;
  for (int i = 0; i < 100; ++i) passed += limiter.Allow(At(1), now) ? 1 : 0;
  EXPECT_EQ(passed, RateLimiter::kBurst);
  EXPECT_TRUE(limiter.Allow(At(2), now));  // another one's is its own
  passed = 0;
  for (int i = 0; i < 1000; ++i) {
    now += 10 * kMs;
    passed += limiter.Allow(At(1), now) ? 1 : 0;
  }
  EXPECT_EQ(passed, 10 * RateLimiter::kPerSecond);
}

TEST(RateLimiterTest, GivenIpv6WhenAddressesDifferBehindTheFirst64BitsThenTheyAreOneSource) {
  RateLimiter limiter({1, 2});
  Endpoint from{.family = Endpoint::Family::kIpv6, .address = Inner(0), .port = 1};
  uint32_t passed = 0;
  for (int i = 0; i < 100; ++i) {
    from.address[15] = static_cast<uint8_t>(i);
    passed += limiter.Allow(from, kStartNs) ? 1 : 0;
  }
  EXPECT_EQ(passed, RateLimiter::kBurst);
}

TEST(RateLimiterTest, GivenMoreSourcesThanPlacesWhenTheyComeThenAKnownOneIsNotForgottenAtOnce) {
  RateLimiter limiter({1, 2});
  Endpoint from{.family = Endpoint::Family::kIpv6};
  uint32_t refused = 0;
  for (uint32_t i = 0; i < 100'000; ++i) {
    StoreBe32(from.address.data(), i);
    refused += limiter.Allow(from, kStartNs + i) ? 0 : 1;
    if (i % 100 == 0) limiter.Allow(At(1), kStartNs + i);
  }
  EXPECT_EQ(refused, 0u);                                  // each was new, or its bucket was
  EXPECT_FALSE(limiter.Allow(At(1), kStartNs + 100'000));  // and this one's is not new
}

}  // namespace
}  // namespace qpip::wireguard::testing
