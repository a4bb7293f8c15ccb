// One I/O on its way down to the leaves and back.
//
//     submitter ── Device::Submit ──> module ── Submit ──> leaf       the request path
//     submitter <── Request::done ─── module <── done ──── leaf       the completion path
//
// The submitter owns a request until its `done` runs, and nothing on the way allocates: a layer
// that needs room of its own takes it from `scratch`, one that needs several requests from a
// RequestPool.
#pragma once

#include <sys/uio.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <type_traits>

#include "storage/core/executor.h"

namespace qpip::storage {

enum class Op : uint8_t {
  kRead,    ///< fills `data`
  kWrite,   ///< stores `data`
  kFlush,   ///< what was completed before is on stable storage; no range
  kTrim,    ///< the range's content is no longer needed; it may be anything afterwards
  kZero,    ///< the range reads as zeroes afterwards
  kCache,   ///< the range will be read soon
  kStatus,  ///< fills `extents`
};

enum RequestFlags : uint32_t {
  kFua = 1u << 0,       ///< of a change: on stable storage when it is done
  kNoHole = 1u << 1,    ///< kZero: the range stays, or becomes, allocated
  kFastZero = 1u << 2,  ///< kZero: ENOTSUP at once, the content unchanged, unless it is faster than
                        ///< writing zeroes
  kOneExtent = 1u << 3  ///< kStatus: one extent, not longer than the range
};

/// What is known of an extent's blocks; NBD's base:allocation has the same two bits.
enum ExtentFlags : uint32_t {
  kHole = 1u << 0,   ///< not allocated
  kZeroes = 1u << 1  ///< reads as zeroes
};
struct Extent {
  uint64_t length = 0;  ///< bytes
  uint32_t flags = 0;   ///< ExtentFlags
};

/// Consecutive extents from a request's offset on, in memory of the submitter's.
class ExtentList {
 public:
  explicit ExtentList(std::span<Extent> room) : room_(room) {}
  /// Appends, or extends the last extent when the flags are the same. Returns false when there is
  /// no room. Lengths of 0 are ignored.
  bool Add(uint64_t length, uint32_t flags);
  void Clear() { count_ = 0; }
  std::span<const Extent> extents() const { return room_.first(count_); }

 private:
  std::span<Extent> room_;
  size_t count_ = 0;
};

struct Request : Task {
  Op op = Op::kRead;
  uint32_t flags = 0;   ///< RequestFlags
  uint64_t offset = 0;  ///< bytes
  uint64_t length = 0;  ///< bytes; at least 1, but for kFlush
  /// Of kRead and kWrite: `length` bytes in all. The list (not the bytes of a write) may be
  /// modified on the way.
  std::span<iovec> data;
  ExtentList* extents = nullptr;  ///< of kStatus
  /// `done` runs there; Submit is called there.
  Executor* executor = nullptr;
  /// Runs once, when the request is over; perhaps inside of Submit. The request is the submitter's
  /// again then.
  void (*done)(Request&) = nullptr;
  void* context = nullptr;  ///< the submitter's own
  int error = 0;            ///< errno of the end; 0: it is done
  /// Of the submitter's, and there until the request is over: true when nobody needs its end any
  /// more. A trim or a zero that is done in steps may end with ESHUTDOWN then, and be done in part.
  /// nullptr: it is needed.
  const std::atomic<bool>* cancelled = nullptr;

  Request* parent = nullptr;  ///< of a part
  uint32_t parts = 0;         ///< of a split request: those not done yet
  alignas(std::max_align_t) std::array<std::byte, 128> scratch;  ///< of the device that has it

  /// Makes a T in the scratch memory. Nobody destroys it.
  template <typename T, typename... Arguments>
  T& Scratch(Arguments&&... arguments) {
    static_assert(sizeof(T) <= sizeof(scratch) && std::is_trivially_destructible_v<T>);
    return *new (scratch.data()) T{std::forward<Arguments>(arguments)...};
  }
  template <typename T>
  T& InScratch() {
    return *std::launder(reinterpret_cast<T*>(scratch.data()));
  }
};

/// Ends a request on its executor, for whoever has it there. `error`: errno, 0 for success.
inline void Complete(Request& request, int error) {
  request.error = error;
  request.done(request);
}
/// The same from another thread, or where `done` must not run inside of the caller.
void CompleteLater(Request& request, int error);

/// A request that is to end when `parts` others have. Give each of them to MakePart before it is
/// submitted.
void BeginSplit(Request& whole, uint32_t parts);
/// Makes `part` a part of `whole`: the same op, flags and executor; of the range [offset, offset +
/// length). Its `done` is for the caller to set, who calls PartDone from there.
void MakePart(Request& part, Request& whole, uint64_t offset, uint64_t length);
/// One part is over. The first error is the whole's; the last part to end completes it.
void PartDone(Request& part);

}  // namespace qpip::storage
