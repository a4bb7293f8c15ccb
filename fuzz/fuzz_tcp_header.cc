// TCP: an accepted header lies inside the bytes, and emitting what was parsed gives a header that
// parses to the same values (the layout of options may differ).
#include <array>

#include "property.h"
#include "protocols/tcp/header.h"

namespace {

using qpip::tcp::Header;

bool SameFields(const Header& a, const Header& b) {
  return a.source_port == b.source_port && a.destination_port == b.destination_port &&
         a.sequence == b.sequence && a.acknowledgement == b.acknowledgement && a.flags == b.flags &&
         a.window == b.window && a.urgent_pointer == b.urgent_pointer;
}

bool SameOptions(const Header& a, const Header& b) {
  return a.has_mss == b.has_mss && a.mss == b.mss && a.has_window_scale == b.has_window_scale &&
         a.window_scale == b.window_scale && a.has_timestamps == b.has_timestamps &&
         a.ts_value == b.ts_value && a.ts_echo == b.ts_echo && a.sack_permitted == b.sack_permitted;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace qpip::tcp;
  const std::vector<uint8_t> bytes = qpip::fuzz::Exact({data, size});
  Header header;
  size_t header_bytes = 0;
  const ParseError error = Parse(bytes, &header, &header_bytes);
  QPIP_FUZZ_CHECK(std::strcmp(ParseErrorName(error), "unknown") != 0);
  if (error != ParseError::kNone) {
    return 0;
  }
  QPIP_FUZZ_CHECK(header_bytes >= kMinHeaderBytes && header_bytes <= kMaxHeaderBytes);
  QPIP_FUZZ_CHECK(header_bytes <= bytes.size() && header_bytes % 4 == 0);
  QPIP_FUZZ_CHECK(header.window_scale <= 14);
  QPIP_FUZZ_CHECK(header.sack_count <= header.sack.size());

  const size_t emit_size = EmitSize(header);
  QPIP_FUZZ_CHECK(emit_size >= kMinHeaderBytes && emit_size <= kMaxHeaderBytes);
  std::vector<uint8_t> out(emit_size);
  QPIP_FUZZ_CHECK(Emit(header, out) == emit_size);
  Header again;
  size_t again_bytes = 0;
  QPIP_FUZZ_CHECK(Parse(out, &again, &again_bytes) == ParseError::kNone);
  QPIP_FUZZ_CHECK(again_bytes == emit_size);
  QPIP_FUZZ_CHECK(again.checksum == 0);
  QPIP_FUZZ_CHECK(SameFields(header, again) && SameOptions(header, again));
  // Blocks for which there was room survive in order.
  QPIP_FUZZ_CHECK(again.sack_count <= header.sack_count);
  for (size_t i = 0; i < again.sack_count; ++i) {
    QPIP_FUZZ_CHECK(again.sack[i].start == header.sack[i].start &&
                    again.sack[i].end == header.sack[i].end);
  }
  return 0;
}
