#include "protocols/tcp/syn_cookie.h"

#include "protocols/common/byte_order.h"
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp {
namespace {

using namespace internal;

constexpr uint32_t kPeriodShift = 36;  // 68.7 s
constexpr uint32_t kPeriodMask = 31;
constexpr uint32_t kHashMask = 0xffffff;
constexpr uint8_t kScale = 7;  // of our windows: up to 8 MiB in units of 128 bytes

// The last stands for all that is at least our own, which is what counts then.
constexpr uint16_t kMssTable[] = {88, 536, 1220, 1440, 4016, 8940, 16344};
constexpr uint32_t kOurMss = 7;

constexpr uint32_t kOptionBits = 6;
constexpr uint32_t kOptionMask = (1u << kOptionBits) - 1;
constexpr uint32_t kNoScale = 15;
constexpr uint32_t kSackBit = 16;
constexpr uint32_t kEcnBit = 32;

uint32_t MssIndex(const Header& syn, uint32_t ours) {
  const uint32_t mss = syn.has_mss ? syn.mss : 1220;  // RFC 9293 3.7.1
  if (mss >= ours) return kOurMss;
  uint32_t index = 0;
  while (index + 1 < kOurMss && kMssTable[index + 1] <= mss) ++index;
  return index;
}

uint32_t Hash(const CookieContext& context, uint32_t period, uint32_t mss) {
  uint8_t bytes[42];
  __builtin_memcpy(bytes, context.tuple.local_address.bytes, 16);
  __builtin_memcpy(bytes + 16, context.tuple.remote_address.bytes, 16);
  StoreBe16(bytes + 32, context.tuple.local_port);
  StoreBe16(bytes + 34, context.tuple.remote_port);
  StoreBe32(bytes + 36, period);
  bytes[40] = static_cast<uint8_t>(mss);
  bytes[41] = 'c';  // no other hash under this key is of so many bytes
  return static_cast<uint32_t>(SipHash24(context.key, bytes));
}

/// What the rest is added to, so that nobody else knows which numbers might be right.
uint32_t Base(const CookieContext& context) { return Hash(context, 0xffffffffu, 0xff); }

uint32_t Seal(const CookieContext& context, uint32_t period, uint32_t mss) {
  return (period & kPeriodMask) << 27 | mss << 24 | (Hash(context, period, mss) & kHashMask);
}

uint32_t Period(uint64_t now) { return static_cast<uint32_t>(now >> kPeriodShift); }

bool AsksForEcn(const CookieContext& context, const Header& syn) {
  return context.options.ecn != EcnMode::kOff && (syn.flags & (kEce | kCwr)) == (kEce | kCwr);
}

/// TSval of the SYN-ACK: the clock, with options in its lowest bits, and not of the future.
uint32_t StampWithOptions(const CookieContext& context, const Header& syn, uint64_t now) {
  const uint32_t clock =
      static_cast<uint32_t>(now >> 20) + TimestampOffset(context.tuple, context.key);
  uint32_t bits = kNoScale;
  if (syn.has_window_scale && context.options.window_scaling) bits = syn.window_scale;
  if (syn.sack_permitted && context.options.sack) bits |= kSackBit;
  if (AsksForEcn(context, syn)) bits |= kEcnBit;
  const uint32_t stamp = (clock & ~kOptionMask) | bits;
  return static_cast<int32_t>(stamp - clock) > 0 ? stamp - (1u << kOptionBits) : stamp;
}

/// What the echo says of the SYN's options.
void ReadOptions(const Header& ack, Header* syn) {
  syn->has_timestamps = true;
  syn->ts_value = ack.ts_value;
  const uint32_t bits = ack.ts_echo & kOptionMask;
  syn->has_window_scale = (bits & kNoScale) != kNoScale;
  syn->window_scale = static_cast<uint8_t>(bits & kNoScale);
  syn->sack_permitted = (bits & kSackBit) != 0;
  if ((bits & kEcnBit) != 0) syn->flags |= kEce | kCwr;
}

}  // namespace

Header CookieSynAck(const CookieContext& context, const Header& syn, uint64_t now) {
  Header header;
  header.sequence =
      syn.sequence + Base(context) + Seal(context, Period(now), MssIndex(syn, context.options.mss));
  header.acknowledgement = syn.sequence + 1;
  header.flags = kSyn | kAck;
  header.window = kHandshakeWindow;
  header.has_mss = true;
  header.mss = static_cast<uint16_t>(Minimum(context.options.mss, kMaxWindowField));
  if (!syn.has_timestamps || !context.options.timestamps) return header;
  header.has_timestamps = true;
  header.ts_value = StampWithOptions(context, syn, now);
  header.ts_echo = syn.ts_value;
  header.has_window_scale = syn.has_window_scale && context.options.window_scaling;
  header.window_scale = kScale;
  header.sack_permitted = syn.sack_permitted && context.options.sack;
  if (AsksForEcn(context, syn)) header.flags |= kEce;
  return header;
}

Proof CheckCookie(const CookieContext& context, const Header& ack, uint64_t now,
                  Handshake* handshake) {
  if ((ack.flags & (kAck | kSyn | kRst)) != kAck) return Proof::kNone;
  // The seal, less what the peer's window has moved on by.
  const uint32_t value = ack.sequence.DistanceTo(ack.acknowledgement) - Base(context);
  const uint32_t tops[] = {value >> 24, (value + kHandshakeWindow) >> 24};
  for (const uint32_t top : tops) {
    const uint32_t mss = top & 7;
    const uint32_t age = (Period(now) - (top >> 3)) & kPeriodMask;
    if (age > 1) continue;
    const uint32_t ahead = Seal(context, Period(now) - age, mss) - value;
    if (ahead > kHandshakeWindow) continue;
    if (ahead != 0) return Proof::kLater;
    Header syn;
    syn.flags = kSyn;
    syn.sequence = ack.sequence - 1;
    syn.window = ack.window;
    syn.has_mss = true;
    syn.mss = static_cast<uint16_t>(mss == kOurMss ? Minimum(context.options.mss, kMaxWindowField)
                                                   : kMssTable[mss]);
    if (ack.has_timestamps && context.options.timestamps) ReadOptions(ack, &syn);
    *handshake = {syn, ack.acknowledgement - 1, kHandshakeWindow, kScale};
    return Proof::kGood;
  }
  return Proof::kNone;
}

}  // namespace qpip::tcp
