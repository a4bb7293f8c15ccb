// The imports of the image for a bare core, as environment calls: what its firmware calls of
// platform.h, by number.
#pragma once

// X(member of Platform): the imports, numbered from 1 in this order.
#define QPIP_IMAGE_IMPORTS(X) \
  X(doorbell_pop, 1)          \
  X(doorbell_overflowed, 2)   \
  X(dma_read, 3)              \
  X(dma_write, 4)             \
  X(dma_copy, 5)              \
  X(host_load, 6)             \
  X(dma_poll, 7)              \
  X(payload_fetch, 8)         \
  X(payload_from_frame, 9)    \
  X(payload_release, 10)      \
  X(frame_send, 11)           \
  X(lease_pending, 12)        \
  X(frame_poll, 13)           \
  X(payload_place, 14)        \
  X(frame_sum, 15)            \
  X(frame_release, 16)        \
  X(interrupt, 17)            \
  X(random, 18)               \
  X(charge, 19)               \
  X(trace, 20)                \
  X(payload_room, 21)         \
  X(frame_read, 22)           \
  X(lease_revoke, 23)         \
  X(payload_keep, 24)         \
  X(payload_seal, 25)         \
  X(memory_crc, 26)           \
  X(host_swap, 27)            \
  X(frame_crc, 28)
