// The firmware's entry points. See docs/architecture.md for the tour.
//
// All state lives in an arena (the NIC's SRAM) that the caller hands over; it holds no pointers,
// so its layout is the same on every core and thousands of NICs fit one process. One thread at a
// time may call these on one arena.
#pragma once

#include <cstdint>

#include "nic_fw/config.h"
#include "nic_fw/platform.h"

namespace qpip::fw {

extern "C" {
/// Computes the arena of a configuration. Returns 0, with `out->total` 0, when it is out of range.
uint32_t qpip_fw_arena(const NicConfig* config, ArenaBytes* out);
/// Formats `arena` (8-byte aligned, at least `total` bytes). Returns 1, or 0 for bad arguments.
uint32_t qpip_fw_init(void* arena, uint32_t arena_bytes, const NicConfig* config,
                      const Platform* platform, uint64_t now_ns);
/// Runs at most `budget` handlers. Returns how many did something: less than `budget` means that
/// there is nothing more to do until a doorbell, a DMA completion, a frame or the next deadline.
uint32_t qpip_fw_step(void* arena, const Platform* platform, uint64_t now_ns, uint32_t budget);
/// Has what was posted leave, and nothing else: looks at doorbells, then fetches and sends. At most
/// `budget` handlers; returns how many did something, as qpip_fw_step does for these.
uint32_t qpip_fw_transmit(void* arena, const Platform* platform, uint64_t now_ns, uint32_t budget);
/// Has what has arrived delivered, and nothing else: looks at doorbells, for what was posted to
/// receive, then takes frames. What is to be acknowledged, or has become due, is left to
/// qpip_fw_step, which is to come before long. Budget and answer as of qpip_fw_transmit. Only for a
/// backend that is at once done with transfers (Platform::dma_at_once).
uint32_t qpip_fw_receive(void* arena, const Platform* platform, uint64_t now_ns, uint32_t budget);
/// Whether a state machine has work of its own, beside what doorbells, transfers, frames and timers
/// bring: a backend that finds none of those and 0 here need not step.
uint32_t qpip_fw_ready(const void* arena);
/// The same, and whether something has become due by `now_ns`, or waits for the wire.
uint32_t qpip_fw_due(const void* arena, uint64_t now_ns);
/// When the firmware wants to be stepped even if nothing happens; UINT64_MAX: never.
uint64_t qpip_fw_next_deadline(const void* arena);
/// Completions and events written so far; a driver that waits for either can stop when it grows.
uint64_t qpip_fw_notifications(const void* arena);
/// The NIC's counters: abi::kCounterWords words, NicCounter's, then DropReason's.
const uint64_t* qpip_fw_counters(const void* arena);
}

}  // namespace qpip::fw
