// Sessions over their life: data, roaming, rekeying, timers, erasure, hostile datagrams.
#include "wireguard_support.h"

namespace qpip::wireguard::testing {
namespace {

// --- Data

TEST(WireguardDataTest, GivenPacketsOfAllLengthsWhenSealedThenTheyArePaddedAndArriveWhole) {
  Pair pair;
  pair.Connect();
  for (size_t payload = 0; payload < 70; ++payload) {
    const Buffer packet = Packet(1, 2, payload);
    ASSERT_TRUE(pair.a.Send(packet));
    const size_t text = pair.world.wire.back().bytes.size() - kDataOverheadBytes;
    EXPECT_EQ(text % kPaddingBytes, 0u);
    EXPECT_LT(text - packet.size(), kPaddingBytes);
    pair.world.Deliver();
    ASSERT_EQ(pair.b.received.size(), payload + 1);
    EXPECT_EQ(pair.b.received.back(), packet);
  }
}

TEST(WireguardDataTest, GivenAPacketOfTheMtuWhenSealedThenPaddingDoesNotMakeItLonger) {
  MachineConfig config = ConfigOf(1, {PeerOf(2, At(2))});
  config.mtu = 1419;
  World world;
  const Host a(world, std::move(config), At(1), 1);
  EXPECT_EQ(a.machine->SealedBytes(1419), 1419 + kDataOverheadBytes);
  EXPECT_EQ(a.machine->SealedBytes(1418), 1419 + kDataOverheadBytes);
  EXPECT_EQ(a.machine->SealedBytes(1400), 1408 + kDataOverheadBytes);
  EXPECT_EQ(a.machine->SealedBytes(2000), 2000 + kDataOverheadBytes);
}

TEST(WireguardDataTest, GivenASourceThatIsNotThePeersWhenReceivedThenItIsDroppedAndCounted) {
  Pair pair;
  pair.Connect();
  pair.a.Send(Packet(9, 2));
  pair.world.Deliver();
  EXPECT_EQ(pair.b.counters().dropped.refused_source, 1u);
  EXPECT_TRUE(pair.b.received.empty());
}

TEST(WireguardDataTest, GivenTwoPeersWhenOneClaimsTheOthersAddressThenItIsDropped) {
  World world;
  Host server(world, ConfigOf(2, {PeerOf(1), PeerOf(3)}), At(2), 2);
  PeerConfig everything = PeerOf(2, At(2));
  everything.allowed = {{.length = 0}};
  Host first(world, ConfigOf(1, {everything}), At(1), 1);
  Host third(world, ConfigOf(3, {everything}), At(3), 3);
  first.Send(Packet(1, 2));
  third.Send(Packet(1, 2));  // the first one's
  third.Send(Packet(3, 2));
  world.Deliver();
  EXPECT_EQ(server.received.size(), 2u);
  EXPECT_EQ(server.counters().dropped.refused_source, 1u);
  EXPECT_EQ(server.machine->Route(Inner(1)), 0u);
  EXPECT_EQ(server.machine->Route(Inner(3)), 1u);
  EXPECT_EQ(server.machine->Route(Inner(4)), std::nullopt);
}

TEST(WireguardDataTest, GivenTextThatIsNoIpPacketWhenReceivedThenItIsDroppedAndCounted) {
  Pair pair;
  pair.Connect();
  Buffer too_long = Packet(1, 2);
  too_long[5] = 200;  // says more than there is
  Buffer ipv4(20);
  ipv4[0] = 0x45;
  ipv4[3] = 19;  // shorter than its own header
  for (const Buffer& text : {too_long, Buffer(39, 0x60), Buffer(50, 0x70), ipv4, Buffer(1, 0x45)}) {
    pair.a.Send(text);
  }
  pair.world.Deliver();
  EXPECT_EQ(pair.b.counters().dropped.malformed_packet, 5u);
  EXPECT_TRUE(pair.b.received.empty());
}

TEST(WireguardDataTest, GivenAnAllowedIpv4PacketWhenReceivedThenItIsDelivered) {
  PeerConfig first = PeerOf(1);
  first.allowed.push_back({.ipv6 = false, .address = {10, 1, 0, 1}, .length = 32});
  Pair pair(PeerOf(2, At(2)), std::move(first));
  pair.Connect();
  Buffer packet(28);
  packet[0] = 0x45;
  packet[3] = 28;
  packet[12] = 10, packet[13] = 1, packet[15] = 1;
  pair.a.Send(packet);
  pair.world.Deliver();
  ASSERT_EQ(pair.b.received.size(), 1u);
  EXPECT_EQ(pair.b.received[0], packet);
}

TEST(WireguardDataTest, GivenDatagramsReplayedReorderedAndForgedWhenReceivedThenEachPacketOnce) {
  Pair pair;
  pair.Connect();
  std::mt19937 generator(5);
  std::vector<Datagram> sent;
  for (size_t i = 0; i < 500; ++i) {
    pair.a.Send(Packet(1, 2, i));
    sent.push_back(pair.world.wire.back());
    pair.world.wire.clear();
  }
  std::vector<Datagram> all;
  for (int copies = 0; copies < 3; ++copies) all.insert(all.end(), sent.begin(), sent.end());
  uint64_t forged = 0;
  for (const Datagram& datagram : sent) {
    Datagram changed = datagram;
    const size_t at = 8 + generator() % (changed.bytes.size() - 8);
    changed.bytes[at] ^= static_cast<uint8_t>(1u << generator() % 8);
    all.push_back(changed);
    ++forged;
  }
  std::shuffle(all.begin(), all.end(), generator);
  for (const Datagram& datagram : all) pair.world.Give(datagram);
  ASSERT_EQ(pair.b.received.size(), 500u);
  std::vector<bool> seen(500);
  for (const Buffer& packet : pair.b.received) {
    EXPECT_FALSE(seen[packet.size() - 40]);
    seen[packet.size() - 40] = true;
    EXPECT_EQ(packet, Packet(1, 2, packet.size() - 40));
  }
  EXPECT_EQ(pair.b.counters().dropped.replayed_packet, 1000u);
  EXPECT_EQ(pair.b.counters().dropped.forged_packet, forged);
}

TEST(WireguardDataTest, GivenADatagramBehindTheWindowWhenReceivedThenItIsLate) {
  Pair pair;
  pair.Connect();
  pair.a.Send(Packet(1, 2));
  const Datagram old = pair.world.wire.back();
  pair.world.wire.clear();
  for (uint64_t i = 0; i < ReplayWindow::kWindow + 1; ++i) {
    pair.a.Send(Packet(1, 2, 0));
    if (i < ReplayWindow::kWindow) pair.world.wire.clear();
  }
  pair.world.Deliver();
  pair.world.Give(old);
  EXPECT_EQ(pair.b.counters().dropped.late_packet, 1u);
  EXPECT_EQ(pair.b.received.size(), 1u);
}

TEST(WireguardDataTest, GivenNoEndpointWhenAPacketIsStagedThenItIsRefused) {
  Pair pair;
  EXPECT_FALSE(pair.b.Send(Packet(2, 1)));
  EXPECT_EQ(pair.b.counters().dropped.no_endpoint, 1u);
  EXPECT_TRUE(pair.world.wire.empty());
}

TEST(WireguardDataTest, GivenMorePacketsThanMayWaitWhenStagedThenTheOldestGo) {
  Pair pair;
  for (size_t i = 0; i < Machine::kMostStaged + 10; ++i) pair.a.Send(Packet(1, 2, i));
  EXPECT_EQ(pair.a.counters().dropped.staged_overflow, 10u);
  pair.world.Deliver();
  ASSERT_EQ(pair.b.received.size(), Machine::kMostStaged);
  EXPECT_EQ(pair.b.received.front(), Packet(1, 2, 10));
  EXPECT_EQ(pair.b.received.back(), Packet(1, 2, Machine::kMostStaged + 9));
}

// --- Roaming

TEST(WireguardRoamingTest, GivenAPeerWhoseAddressChangesWhenItSendsThenAnswersFollow) {
  Pair pair;
  pair.Connect();
  pair.a.endpoint = At(55, 1234);
  EXPECT_TRUE(pair.Works());
  EXPECT_EQ(pair.b.machine->EndpointOf(0), At(55, 1234));
  EXPECT_EQ(pair.b.counters().endpoints_moved, 1u);
  EXPECT_EQ(pair.b.Count(Event::Kind::kMoved), 1u);
}

TEST(WireguardRoamingTest, GivenReplayedOrForgedDatagramsWhenTheyComeFromElsewhereThenNobodyMoves) {
  Pair pair;
  pair.Connect();
  pair.a.Send(Packet(1, 2));
  Datagram datagram = pair.world.wire.back();
  pair.world.Deliver();
  datagram.from = At(66);
  pair.world.Give(datagram);  // replayed
  datagram.bytes.back() ^= 1;
  datagram.bytes[8] = 200;
  pair.world.Give(datagram);  // forged
  EXPECT_EQ(pair.b.machine->EndpointOf(0), At(1));
}

// --- Rekeying

TEST(WireguardRekeyTest, GivenTrafficForTenMinutesWhenTimePassesThenKeysChangeAndNoPacketIsLost) {
  Pair pair;
  pair.Connect();
  size_t sent = 0;
  for (int i = 0; i < 6000; ++i) {
    pair.a.Send(Packet(1, 2, 10));
    pair.b.Send(Packet(2, 1, 20));
    ++sent;
    pair.world.Pass(100 * kMs);
  }
  EXPECT_EQ(pair.a.received.size(), sent);
  EXPECT_EQ(pair.b.received.size(), sent);
  // 120 s each, and only the first initiator begins.
  EXPECT_EQ(pair.a.counters().initiations_sent, 5u);
  EXPECT_EQ(pair.b.counters().initiations_sent, 0u);
  EXPECT_EQ(pair.a.counters().sessions_begun, 5u);
}

TEST(WireguardRekeyTest, GivenAResponderThatOnlySendsWhenTheSessionAgesThenTheInitiatorRenewsIt) {
  Pair pair;
  pair.Connect();
  for (int i = 0; i < 4000; ++i) {
    pair.b.Send(Packet(2, 1, 20));
    pair.world.Pass(100 * kMs);
  }
  EXPECT_EQ(pair.a.received.size(), 4000u);
  EXPECT_EQ(pair.b.counters().initiations_sent, 0u);
  EXPECT_GE(pair.a.counters().sessions_begun, 3u);
}

TEST(WireguardRekeyTest, GivenPacketsOnTheirWayWhenKeysChangeThenTheOldSessionStillOpensThem) {
  Timing timing;
  timing.rekey_after_ns = 10 * kSecondNs;
  Pair pair(timing);
  pair.Connect();
  pair.a.Send(Packet(1, 2, 1));
  const Datagram on_its_way = pair.world.wire.back();
  pair.world.wire.clear();
  pair.world.Pass(11 * kSecondNs);
  EXPECT_TRUE(pair.Works());
  pair.world.Deliver();
  ASSERT_GE(pair.b.counters().sessions_begun, 2u);
  pair.b.received.clear();
  pair.world.Give(on_its_way);
  ASSERT_EQ(pair.b.received.size(), 1u);
  EXPECT_EQ(pair.b.received[0], Packet(1, 2, 1));
}

TEST(WireguardRekeyTest, GivenManyMessagesWhenTheirLimitIsReachedThenKeysChangeAndThenItStops) {
  Timing timing;
  timing.rekey_after_messages = 100;
  timing.reject_after_messages = 200;
  Pair pair(timing);
  pair.Connect();
  pair.world.Pass(6 * kSecondNs);  // handshakes are five seconds apart
  for (int i = 0; i < 90; ++i) pair.a.Send(Packet(1, 2, 0));
  pair.world.Deliver();
  EXPECT_EQ(pair.a.counters().initiations_sent, 1u);
  for (int i = 0; i < 20; ++i) pair.a.Send(Packet(1, 2, 0));
  EXPECT_EQ(pair.a.counters().initiations_sent, 2u);
  for (int i = 0; i < 200; ++i) pair.a.Send(Packet(1, 2, 0));  // its answer does not come
  EXPECT_GT(pair.a.counters().packets_staged, 1u);
  EXPECT_LE(pair.a.counters().packets_sealed, 202u);
}

TEST(WireguardRekeyTest, GivenASessionThatIsTooOldWhenDatagramsComeThenTheyAreExpired) {
  Pair pair;
  pair.Connect();
  pair.a.Send(Packet(1, 2));
  const Datagram datagram = pair.world.wire.back();
  pair.world.wire.clear();
  pair.world.Pass(181 * kSecondNs, /*lost=*/true);
  pair.world.Give(datagram);
  EXPECT_EQ(pair.b.counters().dropped.expired_session, 1u);
  EXPECT_TRUE(pair.b.received.empty());
}

TEST(WireguardRekeyTest, GivenAPeerThatStartsAgainWhenItBeginsThenTheNewSessionReplacesTheOld) {
  Pair pair;
  pair.Connect();
  pair.world.Pass(10 * kSecondNs);
  pair.world.hosts.clear();
  pair.world.hosts.push_back(&pair.b);
  Host again(pair.world, ConfigOf(1, {PeerOf(2, At(2))}), At(1), 77);
  again.Send(Packet(1, 2, 3));
  pair.world.Deliver();
  ASSERT_EQ(pair.b.received.size(), 1u);
  pair.b.Send(Packet(2, 1, 4));
  pair.world.Deliver();
  ASSERT_EQ(again.received.size(), 1u);
}

TEST(WireguardRekeyTest, GivenAResponderThatStartsAgainWhenItIsSilentThenAfter15SecondsANewOne) {
  Pair pair;
  pair.Connect();
  pair.world.hosts.clear();
  pair.world.hosts.push_back(&pair.a);
  Host again(pair.world, ConfigOf(2, {PeerOf(1)}), At(2), 77);
  pair.world.Pass(5 * kSecondNs);
  pair.a.Send(Packet(1, 2, 3));
  pair.world.Deliver();
  EXPECT_EQ(again.counters().dropped.unknown_session, 1u);
  pair.world.Pass(14 * kSecondNs);
  EXPECT_EQ(pair.a.counters().initiations_sent, 1u);
  pair.world.Pass(2 * kSecondNs);
  EXPECT_EQ(pair.a.counters().initiations_sent, 2u);
  pair.a.Send(Packet(1, 2, 3));
  pair.world.Deliver();
  EXPECT_EQ(again.received.size(), 1u);
}

// --- Timers

TEST(WireguardTimerTest, GivenNoAnswerWhenTimePassesThenItTriesFor90SecondsAndGivesUp) {
  Pair pair;
  pair.a.Send(Packet(1, 2));
  pair.world.Pass(4900 * kMs, /*lost=*/true);
  EXPECT_EQ(pair.a.counters().initiations_sent, 1u);
  EXPECT_EQ(pair.a.Count(Event::Kind::kNoAnswer), 0u);
  pair.world.Pass(500 * kMs, /*lost=*/true);
  EXPECT_EQ(pair.a.counters().initiations_sent, 2u);
  EXPECT_EQ(pair.a.Count(Event::Kind::kNoAnswer), 1u);
  pair.world.Pass(100 * kSecondNs, /*lost=*/true);
  EXPECT_EQ(pair.a.counters().initiations_sent, 19u);
  EXPECT_EQ(pair.a.counters().handshakes_given_up, 1u);
  EXPECT_EQ(pair.a.counters().dropped.staged_given_up, 1u);
  EXPECT_EQ(pair.a.Count(Event::Kind::kNoAnswer), 1u);  // once
  EXPECT_EQ(pair.a.Count(Event::Kind::kGivenUp), 1u);
  pair.world.Pass(100 * kSecondNs, /*lost=*/true);
  EXPECT_EQ(pair.a.counters().initiations_sent, 19u);
  // A new packet begins anew.
  pair.a.Send(Packet(1, 2));
  pair.world.Deliver();
  EXPECT_EQ(pair.b.received.size(), 1u);
}

TEST(WireguardTimerTest, GivenDataReceivedAndNothingToSendWhen10SecondsPassThenAKeepalive) {
  Pair pair;
  pair.Connect();
  pair.world.Pass(60 * kSecondNs);  // what Connect has left is over
  const Counters before = pair.b.counters();
  pair.a.Send(Packet(1, 2));
  pair.world.Pass(9 * kSecondNs);
  EXPECT_EQ(pair.b.counters().keepalives_sent, before.keepalives_sent);
  pair.world.Pass(2 * kSecondNs);
  EXPECT_EQ(pair.b.counters().keepalives_sent, before.keepalives_sent + 1);
  // A keepalive is not answered by another, and no new handshake is wanted.
  const uint64_t initiations = pair.a.counters().initiations_sent;
  pair.world.Pass(30 * kSecondNs);
  EXPECT_EQ(pair.b.counters().keepalives_sent, before.keepalives_sent + 1);
  EXPECT_EQ(pair.a.counters().initiations_sent, initiations);
}

TEST(WireguardTimerTest, GivenAnIdleSessionWhenTimePassesThenNothingIsSentAtAll) {
  Pair pair;
  pair.Connect();
  pair.world.Pass(20 * kSecondNs);
  const uint64_t sealed = pair.a.counters().packets_sealed + pair.b.counters().packets_sealed;
  pair.world.Pass(1000 * kSecondNs);
  EXPECT_EQ(pair.a.counters().packets_sealed + pair.b.counters().packets_sealed, sealed);
  EXPECT_EQ(pair.a.counters().initiations_sent, 1u);
  EXPECT_EQ(pair.a.machine->next_deadline_ns(), kNever);
}

TEST(WireguardTimerTest, GivenAPersistentKeepaliveWhenAMachineIsMadeThenItGreetsAndGoesOn) {
  PeerConfig second = PeerOf(2, At(2));
  second.persistent_keepalive_s = 25;
  Pair pair(std::move(second), PeerOf(1));
  pair.world.Pass(kMs);
  EXPECT_EQ(pair.b.counters().sessions_begun, 1u);
  EXPECT_EQ(pair.b.machine->EndpointOf(0), At(1));
  const uint64_t before = pair.b.counters().keepalives_received;
  pair.world.Pass(101 * kSecondNs);
  EXPECT_EQ(pair.b.counters().keepalives_received, before + 4);
  EXPECT_TRUE(pair.Works());
}

TEST(WireguardTimerTest, GivenAPersistentKeepaliveWhenThePeerIsAwayForLongThenItIsFoundAgain) {
  PeerConfig second = PeerOf(2, At(2));
  second.persistent_keepalive_s = 25;
  Pair pair(std::move(second), PeerOf(1));
  pair.world.Pass(kMs);
  pair.world.Pass(1000 * kSecondNs, /*lost=*/true);
  EXPECT_GE(pair.a.counters().handshakes_given_up, 1u);
  pair.world.Pass(60 * kSecondNs);
  EXPECT_TRUE(pair.Works());
}

TEST(WireguardTimerTest, GivenAPacketThatWaitsWhenNobodyHandshakesAnyMoreThenTheKeepaliveDoes) {
  PeerConfig second = PeerOf(2, At(2));
  second.persistent_keepalive_s = 25;
  Pair pair(std::move(second), PeerOf(1, At(1)));
  pair.world.Pass(kMs);
  while (pair.a.counters().handshakes_given_up == 0) {
    ASSERT_LT(pair.world.now_ns, kStartNs + 1000 * kSecondNs);
    pair.world.Pass(kSecondNs, /*lost=*/true);
  }
  // The peer begins one, its answer is lost, and it is never heard again.
  pair.b.Send(Packet(2, 1));
  ASSERT_EQ(pair.world.wire.back().type(), MessageType::kInitiation);
  const Datagram initiation = pair.world.wire.back();
  pair.world.wire.clear();
  pair.world.Give(initiation);
  pair.a.Send(Packet(1, 2));
  pair.world.wire.clear();
  const uint64_t before = pair.a.counters().initiations_sent;
  pair.world.Pass(60 * kSecondNs, /*lost=*/true);
  EXPECT_GT(pair.a.counters().initiations_sent, before);
}

TEST(WireguardTimerTest, GivenNoSuccessorFor540SecondsWhenTimePassesThenAllKeysAreErased) {
  Pair pair;
  pair.Connect();
  pair.a.Send(Packet(1, 2));
  const Datagram datagram = pair.world.wire.back();
  pair.world.Deliver();
  pair.world.Pass(539 * kSecondNs, /*lost=*/true);
  EXPECT_EQ(pair.a.counters().keys_erased, 0u);
  pair.world.Pass(2 * kSecondNs, /*lost=*/true);
  EXPECT_EQ(pair.a.counters().keys_erased, 1u);
  EXPECT_EQ(pair.b.counters().keys_erased, 1u);
  const uint64_t unknown = pair.b.counters().dropped.unknown_session;
  pair.world.Give(datagram);
  EXPECT_EQ(pair.b.counters().dropped.unknown_session, unknown + 1);
  EXPECT_TRUE(pair.Works());  // by a new handshake
}

// --- Erasure

/// Hands out memory and keeps it, so that what was in it can be looked at afterwards.
class KeptMemory : public std::pmr::memory_resource {
 public:
  bool Holds(std::string_view bytes) const {
    for (const auto& block : blocks_) {
      const std::string_view all(reinterpret_cast<const char*>(block.data()), block.size());
      if (all.find(bytes) != std::string_view::npos) return true;
    }
    return false;
  }

 private:
  void* do_allocate(size_t bytes, size_t) override {
    blocks_.emplace_back(bytes);
    return blocks_.back().data();
  }
  void do_deallocate(void*, size_t, size_t) override {}
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
  std::deque<std::vector<uint8_t>> blocks_;
};

TEST(WireguardErasureTest, GivenSecretsWhenTheirTimeIsOverThenNoneIsLeftInTheMachinesMemory) {
  KeptMemory memory;
  World world;
  PeerConfig first = PeerOf(1), second = PeerOf(2, At(2));
  first.preshared_key = second.preshared_key = SecretOf(99);
  Host a(world, ConfigOf(1, {second}), At(1), 1);
  Host b(world, ConfigOf(2, {first}), At(2), 2);
  const auto text = [](const Secret& secret) {
    return std::string(secret.bytes().begin(), secret.bytes().end());
  };
  MachinePorts ports;
  std::string ephemeral;
  std::mt19937 generator(4);
  ports.transmit = [&](const Endpoint& to, Bytes bytes) {
    world.wire.push_back({.from = At(1), .to = to, .bytes = {bytes.begin(), bytes.end()}});
  };
  ports.random = [&](std::span<uint8_t> out) {
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(generator());
  };
  ports.key_log = [&](const KeyLogEntry& entry) {
    ephemeral = text(entry.local_ephemeral_private);
  };
  a.machine = std::make_unique<Machine>(ConfigOf(1, {second}), std::move(ports), &memory);

  a.Send(Packet(1, 2));
  ASSERT_EQ(ephemeral.size(), kKeyBytes);
  EXPECT_TRUE(memory.Holds(ephemeral));  // the response needs it
  EXPECT_TRUE(memory.Holds(text(SecretOf(1))));
  EXPECT_TRUE(memory.Holds(text(SecretOf(99))));
  world.Deliver();
  EXPECT_EQ(b.received.size(), 1u);
  EXPECT_FALSE(memory.Holds(ephemeral));
  a.machine.reset();
  world.hosts.clear();
  EXPECT_FALSE(memory.Holds(text(SecretOf(1))));
  EXPECT_FALSE(memory.Holds(text(SecretOf(99))));
}

TEST(WireguardErasureTest, GivenAConfigurationWhenAMachineIsMadeOfItThenItsSecretsAreTakenOut) {
  World world;
  MachineConfig config = ConfigOf(1, {PeerOf(2)});
  config.peers[0].preshared_key = SecretOf(3);
  MachinePorts ports;
  ports.random = [](std::span<uint8_t> out) { std::fill(out.begin(), out.end(), uint8_t{1}); };
  const Machine machine(std::move(config), std::move(ports));
  EXPECT_EQ(machine.public_key(), PublicOf(1));
  EXPECT_TRUE(config.private_key.IsZero());  // NOLINT(bugprone-use-after-move)
}

TEST(WireguardKeyLogTest, GivenAKeyLogWhenHandshakesAreMadeThenEachEphemeralIsLogged) {
  Pair pair;
  pair.Connect();
  EXPECT_EQ(pair.a.logged_ephemerals.size(), 1u);
  EXPECT_EQ(pair.b.logged_ephemerals.size(), 1u);
  EXPECT_NE(pair.a.logged_ephemerals, pair.b.logged_ephemerals);
}

// --- Hostile datagrams

TEST(WireguardHostileTest, GivenAnyDatagramsWhenReceivedThenEachIsCountedAndTheSessionGoesOn) {
  Pair pair;
  pair.Connect();
  pair.a.Send(Packet(1, 2));
  const Buffer genuine = pair.world.wire.back().bytes;
  pair.world.Deliver();
  std::mt19937 generator(13);
  const auto dropped = [&] {
    uint64_t sum = 0;
#define QPIP_SUM(name) sum += pair.b.counters().dropped.name;
    QPIP_WIREGUARD_DROPS(QPIP_SUM)
#undef QPIP_SUM
    return sum;
  };
  const uint64_t before = dropped();
  constexpr int kCount = 20'000;
  for (int i = 0; i < kCount; ++i) {
    Buffer bytes(generator() % 200);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(generator());
    if (generator() % 2 == 0 && bytes.size() >= 8) {  // nearly right
      bytes[0] = static_cast<uint8_t>(1 + generator() % 4);
      bytes[1] = bytes[2] = bytes[3] = 0;
      if (bytes[0] != 4) bytes.resize(bytes[0] == 1 ? 148 : bytes[0] == 2 ? 92 : 64);
      std::copy(&genuine[4], &genuine[8], &bytes[4]);
    }
    pair.world.Give({.from = At(66), .to = At(2), .bytes = bytes});
  }
  EXPECT_EQ(dropped(), before + kCount);
  EXPECT_TRUE(pair.world.wire.empty());  // none is answered
  EXPECT_EQ(pair.b.machine->EndpointOf(0), At(1));
  pair.a.received.clear();
  pair.b.received.clear();
  EXPECT_TRUE(pair.Works());
}

// Loss and reordering of everything, handshakes too, for an hour: what arrives is what was sent.
TEST(WireguardHostileTest, GivenALossyPathWhenAnHourPassesThenSessionsAreRenewedAllTheTime) {
  Pair pair;
  std::mt19937 generator(17);
  uint64_t sent = 0;
  for (int i = 0; i < 7200; ++i) {
    pair.a.Send(Packet(1, 2, i % 1000));
    pair.b.Send(Packet(2, 1, i % 1000));
    ++sent;
    std::deque<Datagram> kept;
    for (Datagram& datagram : pair.world.wire) {
      if (generator() % 5 == 0) continue;
      if (generator() % 4 == 0) {
        kept.push_front(std::move(datagram));
      } else {
        kept.push_back(std::move(datagram));
      }
    }
    pair.world.wire = std::move(kept);
    pair.world.Pass(500 * kMs);
  }
  EXPECT_GT(pair.b.received.size(), sent * 6 / 10);
  EXPECT_GT(pair.a.received.size(), sent * 6 / 10);
  EXPECT_GE(pair.a.counters().sessions_begun, 20u);
  EXPECT_EQ(pair.a.counters().dropped.forged_packet, 0u);
  for (const Buffer& packet : pair.b.received) {
    ASSERT_EQ(packet, Packet(1, 2, packet.size() - 40));
  }
}

}  // namespace
}  // namespace qpip::wireguard::testing
