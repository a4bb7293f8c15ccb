// A table that an object has, but not in itself: how large it is, its owner says.
#pragma once

#include <cstdint>

namespace qpip::tcp {

/// Entries elsewhere in the memory that the Annex lies in, at a distance that stays: no pointer, so
/// the layout is the same on every core. Memory that holds both may be copied as a whole; an Annex
/// alone may not.
template <typename T>
class Annex {
 public:
  /// `table` holds `capacity` entries, less than 2^32 bytes behind this, for as long as they are
  /// used.
  void Place(T* table, uint32_t capacity) {
    distance_ = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(table) -
                                      reinterpret_cast<uintptr_t>(this));
    capacity_ = capacity;
  }

  uint32_t capacity() const { return capacity_; }
  T& operator[](uint32_t index) {
    return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(this) + distance_)[index];
  }
  const T& operator[](uint32_t index) const {
    return reinterpret_cast<const T*>(reinterpret_cast<uintptr_t>(this) + distance_)[index];
  }

 private:
  uint32_t distance_ = 0;
  uint32_t capacity_ = 0;
};

}  // namespace qpip::tcp
