#include "sim/wire/lent_frames.h"

#include <utility>

#include "sim/wire/train.h"

namespace qpip::wire {

LentFrames::LentFrames(uint32_t count) : lent_(count) {
  for (uint32_t index = count; index-- > 0;) free_.push_back(index);
}

LentFrames::Lent& LentFrames::Take(InFrame* frame) {
  const uint32_t index = free_.back();
  free_.pop_back();
  frame->token = index + 1;
  frame->peer_down = false;
  frame->peer = {};
  return lent_[index];
}

uint32_t LentFrames::LendTrain(DatagramsIn* in, bool trains, uint32_t longest, InFrame* frame) {
  Lent& lent = Take(frame);
  const auto take = [&](std::span<uint8_t> bytes, size_t offset) {
    in->Hold(bytes.data());
    lent.pieces[lent.count++] = {bytes.data() + offset, bytes.size() - offset};
    in->Pass();
  };
  const DatagramsIn::Datagram first = in->Peek();
  Train train(first.bytes);
  take(first.bytes, 0);
  while (trains && in->available() && lent.count < lent.pieces.size()) {
    const DatagramsIn::Datagram next = in->Peek();
    if (next.bytes.size() > longest || next.cut_off) break;
    if (next.from != first.from && !(*next.from == *first.from)) break;
    if (!train.Join(next.bytes)) break;
    take(next.bytes, train.text_offset());
  }
  train.Close();
  frame->pieces = {lent.pieces.data(), lent.count};
  frame->length = train.length();
  frame->checksum_vouched = train.vouched();
  return train.count();
}

void LentFrames::LendOwn(std::vector<uint8_t> bytes, InFrame* frame) {
  Lent& lent = Take(frame);
  lent.own = std::move(bytes);
  lent.pieces[0] = {lent.own.data(), lent.own.size()};
  lent.count = 1;
  frame->pieces = {lent.pieces.data(), 1};
  frame->length = static_cast<uint32_t>(lent.own.size());
  frame->checksum_vouched = true;
}

void LentFrames::TakeBack(const InFrame& frame, DatagramsIn* in) {
  if (frame.token == 0 || frame.token > lent_.size()) return;
  const auto index = static_cast<uint32_t>(frame.token - 1);
  Lent& lent = lent_[index];
  if (lent.count == 0) return;
  if (lent.own.empty()) {
    for (uint32_t i = 0; i < lent.count; ++i) in->GiveBack(lent.pieces[i].iov_base);
  }
  lent.own.clear();
  lent.count = 0;
  free_.push_back(index);
}

}  // namespace qpip::wire
