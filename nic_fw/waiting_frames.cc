#include "nic_fw/waiting_frames.h"

#include <cstring>

#include "nic_fw/neighbour_messages.h"

namespace qpip::fw {
namespace {

/// Frames that wait for one neighbour.
constexpr uint32_t kPendingPerNeighbour = 3;

}  // namespace

bool KeepWaiting(const Nic& nic, uint32_t index, const uint8_t* bytes, uint32_t length) {
  if (length == 0 || length > PendingFrame::kBytes) return false;
  LinkState& link = LinkOf(nic);
  PendingFrame* place = nullptr;
  PendingFrame* oldest = nullptr;
  uint32_t count = 0;
  for (PendingFrame& frame : link.pending) {
    if (frame.neighbour == kNone) {
      if (place == nullptr) place = &frame;
    } else if (frame.neighbour == index) {
      ++count;
      if (oldest == nullptr || static_cast<int32_t>(frame.order - oldest->order) < 0) {
        oldest = &frame;
      }
    }
  }
  if (count >= kPendingPerNeighbour) {
    nic.Drop(abi::DropReason::kNoNeighbour);
    place = oldest;
  }
  if (place == nullptr) return false;
  place->neighbour = index;
  place->order = link.pending_order++;
  place->length = length;
  std::memcpy(place->bytes, bytes, length);
  return true;
}

void SendWaiting(const Nic& nic, uint32_t index) {
  LinkState& link = LinkOf(nic);
  for (;;) {
    PendingFrame* oldest = nullptr;
    for (PendingFrame& frame : link.pending) {
      if (frame.neighbour != index) continue;
      if (oldest == nullptr || static_cast<int32_t>(frame.order - oldest->order) < 0) {
        oldest = &frame;
      }
    }
    if (oldest == nullptr) return;
    oldest->neighbour = kNone;
    SendOnLink(nic, oldest->bytes, oldest->length, NeighbourAt(nic, index).link);
  }
}

void DropWaiting(const Nic& nic, uint32_t index) {
  for (PendingFrame& frame : LinkOf(nic).pending) {
    if (frame.neighbour != index) continue;
    frame.neighbour = kNone;
    nic.Drop(abi::DropReason::kNoNeighbour);
  }
}

}  // namespace qpip::fw
