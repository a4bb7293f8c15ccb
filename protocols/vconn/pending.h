// Requests that wait for answers: cookies that match.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qpip::vconn {

/// What a request is known by here; memory of the owner's.
struct PendingRequest {
  uint64_t context = 0;     ///< the asker's own
  uint32_t generation = 0;  ///< of the slot: an old cookie matches no more
  uint32_t next = 0;        ///< free slots: the next one
  bool waiting = false;     ///< for an answer
};

/// A table of those, and the cookies that go with them: the slot's number and its generation, so
/// that an answer is matched without a search, and one that comes twice matches nothing.
class PendingRequests {
 public:
  /// `slots`: as many requests may wait at a time; it outlives this.
  explicit PendingRequests(std::span<PendingRequest> slots);

  bool full() const { return free_ == slots_.size(); }
  size_t waiting() const { return waiting_; }
  /// Begins to wait; not when full(). Returns the request's cookie.
  uint64_t Add(uint64_t context);
  /// An answer with `cookie` has come. Returns false when nothing waits for it; else the asker's
  /// context. `last`: no other follows, and the cookie is over.
  bool Match(uint64_t cookie, bool last, uint64_t* context);

 private:
  std::span<PendingRequest> slots_;
  size_t free_ = 0;  ///< slots_.size(): none
  size_t waiting_ = 0;
};

}  // namespace qpip::vconn
