// Intrusive lists of table entries, linked by 32-bit handles: the one implementation.
//
// Whoever uses a list says how to reach an entry's link: a callable, from a handle to its `Link`.
// An entry can be on as many lists as it has links.
#pragma once

#include <cstdint>

#include "protocols/common/assert.h"

namespace qpip::fw {

/// No object: end of a list, empty slot.
inline constexpr uint32_t kNone = 0xffffffffu;

/// An entry's place on one list.
struct Link {
  static constexpr uint32_t kUnlinked = 0xfffffffeu;
  uint32_t next = kUnlinked;  ///< kNone: last
  uint32_t previous = kUnlinked;
  bool linked() const { return next != kUnlinked; }
};

struct List {
  uint32_t head = kNone;
  uint32_t tail = kNone;
  uint32_t count = 0;
  bool empty() const { return head == kNone; }
};

/// What holds for a list and one of its entries, between any two operations on it.
template <typename LinkOf>
void CheckLinked(const List& list, LinkOf link_of, uint32_t handle) {
  [[maybe_unused]] const Link& link = link_of(handle);
  QPIP_ASSERT(link.linked() && list.count != 0);
  QPIP_ASSERT(link.previous == kNone ? list.head == handle : link_of(link.previous).next == handle);
  QPIP_ASSERT(link.next == kNone ? list.tail == handle : link_of(link.next).previous == handle);
}

/// `handle` must not be on the list.
template <typename LinkOf>
void PushBack(List& list, LinkOf link_of, uint32_t handle) {
  QPIP_ASSERT(!link_of(handle).linked());
  link_of(handle) = {kNone, list.tail};
  (list.tail == kNone ? list.head : link_of(list.tail).next) = handle;
  list.tail = handle;
  ++list.count;
  CheckLinked(list, link_of, handle);
}

/// `handle` must not be on the list.
template <typename LinkOf>
void PushFront(List& list, LinkOf link_of, uint32_t handle) {
  QPIP_ASSERT(!link_of(handle).linked());
  link_of(handle) = {list.head, kNone};
  (list.head == kNone ? list.tail : link_of(list.head).previous) = handle;
  list.head = handle;
  ++list.count;
  CheckLinked(list, link_of, handle);
}

/// `handle` must be on this list.
template <typename LinkOf>
void Remove(List& list, LinkOf link_of, uint32_t handle) {
  CheckLinked(list, link_of, handle);
  const Link link = link_of(handle);
  (link.previous == kNone ? list.head : link_of(link.previous).next) = link.next;
  (link.next == kNone ? list.tail : link_of(link.next).previous) = link.previous;
  link_of(handle) = Link{};
  --list.count;
}

/// Takes the first entry off; kNone when there is none.
template <typename LinkOf>
uint32_t PopFront(List& list, LinkOf link_of) {
  const uint32_t handle = list.head;
  if (handle != kNone) Remove(list, link_of, handle);
  return handle;
}

}  // namespace qpip::fw
