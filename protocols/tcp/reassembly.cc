#include "protocols/tcp/reassembly.h"

namespace qpip::tcp {
namespace {

void Erase(Reassembly& held, uint32_t index) {
  --held.count;
  for (uint32_t i = index; i < held.count; ++i) held.ranges[i] = held.ranges[i + 1];
}

void Insert(Reassembly& held, uint32_t index, const HeldRange& range) {
  for (uint32_t i = held.count; i > index; --i) held.ranges[i] = held.ranges[i - 1];
  held.ranges[index] = range;
  ++held.count;
}

/// Joins range `index` with the one behind it when no byte and no message end lies between them.
void JoinNext(Reassembly& held, uint32_t index) {
  if (index < held.released || index + 1 >= held.count) return;
  HeldRange& range = held.ranges[index];
  const HeldRange& next = held.ranges[index + 1];
  if (range.push || range.End() != next.start) return;
  range.length += next.length;
  range.push = next.push;
  if (static_cast<int32_t>(next.touched - range.touched) > 0) range.touched = next.touched;
  Erase(held, index + 1);
}

}  // namespace

TextPiece Hold(Reassembly& held, SequenceNumber start, uint32_t length, bool push, uint32_t limit) {
  const SequenceNumber end = start + length;
  ++held.clock;
  uint32_t index = held.released;
  SequenceNumber from = start;
  for (; index < held.count && held.ranges[index].start.AtOrBefore(from); ++index) {
    HeldRange& range = held.ranges[index];
    if (range.End().Before(start)) continue;
    range.touched = held.clock;
    from = Max(from, range.End());
  }
  TextPiece piece;
  if (from.AtOrAfter(end)) {
    piece.known_before = length;
    return piece;
  }
  piece.known_before = start.DistanceTo(from);
  SequenceNumber to = end;
  if (index < held.count && held.ranges[index].start.Before(end)) to = held.ranges[index].start;
  const bool to_end = to == end;
  const HeldRange range = {from, from.DistanceTo(to), held.clock, push && to_end};

  const uint32_t most = limit < held.ranges.capacity() ? limit : held.ranges.capacity();
  const bool joins_previous =
      index > held.released && !held.ranges[index - 1].push && held.ranges[index - 1].End() == from;
  if (joins_previous) {
    HeldRange& previous = held.ranges[index - 1];
    previous.length += range.length;
    previous.push = range.push;
    previous.touched = range.touched;
    JoinNext(held, index - 1);
  } else if (index < held.count && !range.push && range.End() == held.ranges[index].start) {
    HeldRange& next = held.ranges[index];
    next.start = range.start;
    next.length += range.length;
    next.touched = range.touched;
  } else if (held.count < most) {
    Insert(held, index, range);
  } else {
    return piece;
  }
  piece.offset = piece.known_before;
  piece.length = range.length;
  piece.to_end = to_end;
  return piece;
}

uint32_t Release(Reassembly& held, SequenceNumber edge) {
  while (held.HoldsAny() && held.ranges[held.released].End().AtOrBefore(edge)) {
    Erase(held, held.released);
  }
  if (!held.HoldsAny()) return 0;
  HeldRange& first = held.ranges[held.released];
  if (first.start.Before(edge)) {
    first.length = edge.DistanceTo(first.End());
    first.start = edge;
  }
  uint32_t bytes = 0;
  while (held.HoldsAny() && held.ranges[held.released].start == edge + bytes) {
    bytes += held.ranges[held.released].length;
    ++held.released;
  }
  return bytes;
}

bool TakeReleased(Reassembly& held, SequenceNumber at, HeldRange* out) {
  if (held.released == 0 || held.ranges[0].start != at) return false;
  *out = held.ranges[0];
  --held.released;
  Erase(held, 0);
  return true;
}

uint32_t SackBlocks(const Reassembly& held, SackBlock* blocks, uint32_t room) {
  uint32_t count = 0;
  uint32_t ages[4] = {};  // of blocks[i]: how long ago it was news
  if (room > 4) room = 4;
  for (uint32_t i = held.released; i < held.count;) {
    SackBlock block = {held.ranges[i].start, held.ranges[i].End()};
    uint32_t age = held.clock - held.ranges[i].touched;
    for (++i; i < held.count && held.ranges[i].start == block.end; ++i) {
      block.end = held.ranges[i].End();
      if (held.clock - held.ranges[i].touched < age) age = held.clock - held.ranges[i].touched;
    }
    uint32_t at = count;
    while (at > 0 && ages[at - 1] > age) --at;
    if (at >= room) continue;
    if (count < room) ++count;
    for (uint32_t k = count - 1; k > at; --k) {
      blocks[k] = blocks[k - 1];
      ages[k] = ages[k - 1];
    }
    blocks[at] = block;
    ages[at] = age;
  }
  return count;
}

}  // namespace qpip::tcp
