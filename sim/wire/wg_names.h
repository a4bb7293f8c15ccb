// Peers' host names, asked for again when a peer does not answer: it may have another address now.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "sim/wire/udp_peers.h"

namespace qpip::wire {

/// Resolves on a thread of its own, one name at a time: resolving may take seconds, and whoever
/// runs the wire must not wait. Not thread-safe itself.
class NameLookup {
 public:
  /// Asks for `peer`'s address unless a name is being asked for. `family`: the socket's.
  void Ask(uint32_t peer, const std::string& host, uint16_t port, int family);
  /// What has been found since, once; nothing when the name was not found.
  std::optional<std::pair<uint32_t, SocketAddress>> Answer();

 private:
  struct Question;
  std::shared_ptr<Question> question_;  ///< the thread has it too, and may outlive us
};

}  // namespace qpip::wire
