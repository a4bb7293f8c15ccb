#include "storage/core/request.h"

#include <utility>

namespace qpip::storage {

bool ExtentList::Add(uint64_t length, uint32_t flags) {
  if (length == 0) return true;
  if (count_ > 0 && room_[count_ - 1].flags == flags) {
    room_[count_ - 1].length += length;
    return true;
  }
  if (count_ == room_.size()) return false;
  room_[count_++] = {length, flags};
  return true;
}

void CompleteLater(Request& request, int error) {
  request.error = error;
  request.run = [](Task& task) {
    auto& over = static_cast<Request&>(task);
    over.done(over);
  };
  request.executor->Post(request);
}

void BeginSplit(Request& whole, uint32_t parts) {
  whole.error = 0;
  whole.parts = parts;
}

void MakePart(Request& part, Request& whole, uint64_t offset, uint64_t length) {
  part.op = whole.op;
  part.flags = whole.flags;
  part.offset = offset;
  part.length = length;
  part.executor = whole.executor;
  part.error = 0;
  part.cancelled = whole.cancelled;
  part.parent = &whole;
}

void PartDone(Request& part) {
  Request& whole = *part.parent;
  if (whole.error == 0) whole.error = part.error;
  if (--whole.parts == 0) Complete(whole, whole.error);
}

}  // namespace qpip::storage
