// Where the messages of a client's byte stream end, for who carries them on as messages without
// being a party: it needs nothing of what the server says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace qpip::nbd {

/// A client's message: flags, option or request. With what follows the header it is whole.
struct ClientMessageShape {
  size_t header_bytes = 0;
  uint64_t payload_bytes = 0;  ///< an option's data, a request's payload
};

/// The shape of the message at the front of `bytes`; nullopt while there are too few of them. Each
/// but the first, the client's flags, says by its magic number what it is. Bytes that begin no
/// message are payload, all of them: the server refuses what they are.
std::optional<ClientMessageShape> ShapeOfClientMessage(std::span<const uint8_t> bytes, bool first);

}  // namespace qpip::nbd
