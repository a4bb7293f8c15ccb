// Neighbour discovery: what parses obeys the RFC's rules, and what hosts send emits again to the
// same meaning. The input is a hop limit's choice, two addresses and the message.
#include <array>

#include "property.h"
#include "protocols/icmpv6/neighbour.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace qpip::icmpv6;
  if (size < 33) return 0;
  NeighbourEnvelope envelope;
  envelope.hop_limit = data[0] < 16 ? data[0] : kNeighbourHopLimit;
  std::memcpy(envelope.source.bytes, data + 1, 16);
  std::memcpy(envelope.destination.bytes, data + 17, 16);
  const std::vector<uint8_t> bytes = qpip::fuzz::Exact({data + 33, size - 33});
  NeighbourMessage message;
  const NeighbourError error = ParseNeighbour(bytes, envelope, &message);
  if (error != NeighbourError::kNone) {
    QPIP_FUZZ_CHECK(NeighbourErrorName(error)[0] != '\0');
    return 0;
  }
  QPIP_FUZZ_CHECK(envelope.hop_limit == 255);
  QPIP_FUZZ_CHECK(IsNeighbourDiscovery(message.type) && message.type == bytes[0]);
  QPIP_FUZZ_CHECK(!message.target.IsMulticast());
  QPIP_FUZZ_CHECK(message.prefix_count <= kMaxPrefixes);
  QPIP_FUZZ_CHECK(!message.has_source_link || message.type == kRouterAdvertisement ||
                  message.type == kNeighbourAdvertisement || !envelope.source.IsUnspecified());
  for (uint32_t i = 0; i < message.prefix_count; ++i) {
    const PrefixInformation& prefix = message.prefixes[i];
    QPIP_FUZZ_CHECK(prefix.length <= 128);
    QPIP_FUZZ_CHECK(PrefixMatches(prefix.prefix, prefix.prefix, prefix.length));
  }
  std::array<uint8_t, kMaxNeighbourMessage> out;
  const size_t length = EmitNeighbour(message, out);
  QPIP_FUZZ_CHECK((length == 0) == (message.type == kRouterAdvertisement));
  if (length == 0) return 0;
  NeighbourMessage again;
  QPIP_FUZZ_CHECK(ParseNeighbour({out.data(), length}, envelope, &again) == NeighbourError::kNone);
  QPIP_FUZZ_CHECK(again.type == message.type && again.target == message.target);
  QPIP_FUZZ_CHECK(again.router == message.router && again.solicited == message.solicited);
  QPIP_FUZZ_CHECK(again.override_entry == message.override_entry);
  if (message.type == kNeighbourAdvertisement) {
    QPIP_FUZZ_CHECK(again.has_target_link == message.has_target_link);
    QPIP_FUZZ_CHECK(again.target_link == message.target_link);
  } else {
    QPIP_FUZZ_CHECK(again.has_source_link == message.has_source_link);
    QPIP_FUZZ_CHECK(again.source_link == message.source_link);
  }
  return 0;
}
