// Messages, allowed addresses, indices and the replay window, each alone.
#include <map>
#include <set>

#include "protocols/wireguard/allowed_addresses.h"
#include "protocols/wireguard/index_table.h"
#include "protocols/wireguard/message.h"
#include "protocols/wireguard/replay_window.h"
#include "wireguard_support.h"

namespace qpip::wireguard::testing {
namespace {

TEST(WireguardMessageTest, GivenEachTypeWhenItsLengthIsWrongThenItIsRefusedByName) {
  const struct {
    uint8_t type;
    size_t least, most;
  } kTypes[] = {{1, 148, 148}, {2, 92, 92}, {3, 64, 64}, {4, 32, 65535}};
  for (const auto& row : kTypes) {
    Buffer bytes(70000);
    bytes[0] = row.type;
    MessageType type;
    const auto parse = [&](size_t length) { return ParseType(Bytes(bytes).first(length), &type); };
    EXPECT_EQ(parse(row.least - 1), ParseError::kTooShort);
    EXPECT_EQ(parse(row.least), ParseError::kNone);
    EXPECT_EQ(static_cast<uint8_t>(type), row.type);
    EXPECT_EQ(parse(row.most), ParseError::kNone);
    EXPECT_EQ(parse(row.most + 1), ParseError::kBadLength);
    EXPECT_EQ(parse(3), ParseError::kTooShort);
    bytes[2] = 1;  // reserved
    EXPECT_EQ(parse(row.least), ParseError::kUnknownType);
  }
  MessageType type;
  EXPECT_EQ(ParseType(Buffer{0, 0, 0, 0}, &type), ParseError::kUnknownType);
  EXPECT_EQ(ParseType(Buffer{5, 0, 0, 0}, &type), ParseError::kUnknownType);
}

TEST(WireguardMessageTest, GivenAnyBytesWhenParsedAndEmittedThenTheyAreTheSameButForTheMacs) {
  Buffer bytes(kInitiationBytes);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i);
  const auto check = [&](uint8_t type, size_t length, size_t covered, auto emit) {
    Buffer in(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(length)), out(length);
    in[0] = type;
    in[1] = in[2] = in[3] = 0;
    emit(Bytes(in), std::span(out));
    EXPECT_EQ(Buffer(out.begin(), out.begin() + static_cast<ptrdiff_t>(covered)),
              Buffer(in.begin(), in.begin() + static_cast<ptrdiff_t>(covered)));
  };
  check(1, kInitiationBytes, kInitiationBytes - kMacsBytes, [](Bytes in, std::span<uint8_t> out) {
    EmitInitiation(ParseInitiation(in), out.first<kInitiationBytes>());
  });
  check(2, kResponseBytes, kResponseBytes - kMacsBytes, [](Bytes in, std::span<uint8_t> out) {
    EmitResponse(ParseResponse(in), out.first<kResponseBytes>());
  });
  check(3, kCookieReplyBytes, kCookieReplyBytes, [](Bytes in, std::span<uint8_t> out) {
    EmitCookieReply(ParseCookieReply(in), out.first<kCookieReplyBytes>());
  });
  check(4, kDataHeaderBytes, kDataHeaderBytes, [](Bytes in, std::span<uint8_t> out) {
    EXPECT_EQ(ParseDataHeader(in).receiver, 0x07060504u);  // little-endian
    EXPECT_EQ(ParseDataHeader(in).counter, 0x0f0e0d0c0b0a0908u);
    EmitDataHeader(ParseDataHeader(in), out.first<kDataHeaderBytes>());
  });
}

// https://cr.yp.to/libtai/tai64.html: 4000000000000000 hexadecimal is 1970 TAI.
TEST(Tai64nTest, GivenTimesWhenConvertedThenTheySortAndAreCoarse) {
  EXPECT_EQ(ToTai64n(0), (Tai64n{0x40, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0}));
  EXPECT_EQ(ToTai64n(1), ToTai64n(kTimestampStepNs - 1));
  EXPECT_LT(ToTai64n(kTimestampStepNs - 1), ToTai64n(kTimestampStepNs));
  EXPECT_LT(ToTai64n(kSecondNs - 1), ToTai64n(kSecondNs));
  EXPECT_LT(ToTai64n(kUnixNs), ToTai64n(kUnixNs + kSecondNs * 256));
}

// --- Allowed addresses

TEST(AllowedAddressesTest, GivenNestedPrefixesWhenLookedUpThenTheLongestWins) {
  AllowedAddresses table;
  table.Allow({.address = {}, .length = 0}, 0);
  table.Allow({.address = {0xfd}, .length = 8}, 1);
  table.Allow({.address = Inner(0), .length = 112}, 2);
  table.Allow({.address = Inner(9)}, 3);
  EXPECT_EQ(table.Find(Inner(9)), 3u);
  EXPECT_EQ(table.Find(Inner(8)), 2u);
  EXPECT_EQ(table.Find(std::array<uint8_t, 16>{0xfd, 1}), 1u);
  EXPECT_EQ(table.Find(std::array<uint8_t, 16>{0x20}), 0u);
  EXPECT_EQ(table.Find(std::array<uint8_t, 4>{10, 0, 0, 1}), std::nullopt);
  table.Allow({.ipv6 = false, .address = {10}, .length = 8}, 4);
  EXPECT_EQ(table.Find(std::array<uint8_t, 4>{10, 0, 0, 1}), 4u);
  EXPECT_EQ(table.Find(std::array<uint8_t, 4>{11, 0, 0, 1}), std::nullopt);
}

// Against a list that is looked through. Few distinct bits, so that prefixes nest and part often.
TEST(AllowedAddressesTest, GivenRandomPrefixesInAnyOrderWhenLookedUpThenAsByAList) {
  std::mt19937 generator(7);
  for (int round = 0; round < 200; ++round) {
    AllowedAddresses table;
    std::map<std::pair<uint32_t, int>, PeerId> list;  // masked IPv4 address, length
    const auto masked = [](uint32_t address, int length) {
      return length == 0 ? 0 : address >> (32 - length) << (32 - length);
    };
    const auto random = [&] { return static_cast<uint32_t>(generator()) & 0xe0010103u; };
    for (PeerId peer = 0; peer < 40; ++peer) {
      const uint32_t address = random();
      const int length = static_cast<int>(generator() % 33);
      Prefix prefix{.ipv6 = false, .length = static_cast<uint8_t>(length)};
      StoreBe32(prefix.address.data(), address);
      table.Allow(prefix, peer);
      list[{masked(address, length), length}] = peer;
    }
    for (int i = 0; i < 200; ++i) {
      const uint32_t address = random();
      std::optional<PeerId> expected;
      for (int length = 32; length >= 0 && !expected; --length) {
        const auto found = list.find({masked(address, length), length});
        if (found != list.end()) expected = found->second;
      }
      std::array<uint8_t, 4> bytes;
      StoreBe32(bytes.data(), address);
      ASSERT_EQ(table.Find(bytes), expected) << std::hex << address;
    }
  }
}

// --- Indices

TEST(IndexTableTest, GivenClaimedIndicesWhenLookedUpThenOnlyThoseInUseNameTheirPeer) {
  IndexTable table(3);
  std::mt19937 generator(3);
  std::map<uint32_t, PeerId> in_use;
  for (PeerId peer = 0; peer < 3; ++peer) {
    for (uint32_t i = 0; i < IndexTable::kPerPeer; ++i) {
      ASSERT_TRUE(in_use.emplace(table.Claim(peer, generator()), peer).second);
    }
  }
  for (const auto& [index, peer] : in_use) {
    EXPECT_EQ(table.Find(index), peer);
    EXPECT_EQ(table.Find(index ^ 0x80000000u), std::nullopt);
  }
  const uint32_t gone = in_use.begin()->first;
  table.Release(gone ^ 0x80000000u);  // not in use: nothing happens
  EXPECT_NE(table.Find(gone), std::nullopt);
  table.Release(gone);
  EXPECT_EQ(table.Find(gone), std::nullopt);
  EXPECT_NE(table.Claim(in_use.begin()->second, ~gone), gone);
}

// --- Replay window

TEST(ReplayWindowTest, GivenCountersInOrderWhenTakenThenEachIsNewOnce) {
  ReplayWindow window;
  for (uint64_t counter = 0; counter < 3 * ReplayWindow::kBits; ++counter) {
    ASSERT_EQ(window.Take(counter), ReplayWindow::Verdict::kNew);
    ASSERT_EQ(window.Take(counter), ReplayWindow::Verdict::kDuplicate);
  }
}

TEST(ReplayWindowTest, GivenAGreatCounterWhenOldOnesComeThenTheWindowsEdgeDecides) {
  ReplayWindow window;
  constexpr uint64_t kGreat = uint64_t{1} << 40;
  ASSERT_EQ(window.Take(kGreat), ReplayWindow::Verdict::kNew);
  EXPECT_EQ(window.Take(kGreat - ReplayWindow::kWindow + 1), ReplayWindow::Verdict::kNew);
  EXPECT_EQ(window.Take(kGreat - ReplayWindow::kWindow + 1), ReplayWindow::Verdict::kDuplicate);
  EXPECT_EQ(window.Take(kGreat - ReplayWindow::kWindow), ReplayWindow::Verdict::kTooOld);
  EXPECT_EQ(window.Take(0), ReplayWindow::Verdict::kTooOld);
}

// Whatever the order: none is taken twice, and none inside the window is refused that is new.
TEST(ReplayWindowTest, GivenRandomOrdersWhenTakenThenAsByASetOfAll) {
  std::mt19937_64 generator(11);
  for (int round = 0; round < 50; ++round) {
    ReplayWindow window;
    std::set<uint64_t> taken;
    uint64_t greatest = 0;
    for (int i = 0; i < 5000; ++i) {
      const uint64_t kind = generator() % 100;
      const uint64_t back = kind < 90 ? generator() % 200 : generator() % (2 * ReplayWindow::kBits);
      const uint64_t ahead = kind == 99 ? generator() % (3 * ReplayWindow::kBits) : generator() % 3;
      const uint64_t counter = greatest + ahead < back ? 0 : greatest + ahead - back;
      const bool any = !taken.empty();
      const auto verdict = window.Take(counter);
      if (any && counter + ReplayWindow::kWindow <= greatest) {
        ASSERT_EQ(verdict, ReplayWindow::Verdict::kTooOld);
        continue;
      }
      ASSERT_EQ(verdict, taken.insert(counter).second ? ReplayWindow::Verdict::kNew
                                                      : ReplayWindow::Verdict::kDuplicate)
          << counter << " after " << greatest;
      greatest = std::max(greatest, counter);
    }
  }
}

}  // namespace
}  // namespace qpip::wireguard::testing
