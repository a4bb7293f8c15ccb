#include "apps/nbd_fuse/alignment.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace qpip::nbd {

namespace {

bool IsChange(const Io& io) { return io.op == Io::Op::kWrite || io.op == Io::Op::kZero; }

}  // namespace

/// What is done for one command, one request after the other.
struct AnyAlignment::Part {
  AnyAlignment* owner = nullptr;
  Io* whole = nullptr;
  Io io;  ///< what is under way
  iovec run = {};
  std::vector<std::byte> blocks;  ///< that are read
  uint64_t at = 0;                ///< of a change: everything in front of it is done
  uint64_t here = 0;              ///< bytes from there on that `io` is for
  bool at_edge = false;           ///< `io` reads a block, or writes it back
};

AnyAlignment::AnyAlignment(uint32_t minimum, std::function<void(Io&)> submit)
    : minimum_(minimum), submit_(std::move(submit)) {}

AnyAlignment::~AnyAlignment() = default;

void AnyAlignment::Submit(Io& io) {
  if (IsChange(io) && minimum_ > 1) {
    waiting_.push_back(&io);
    return StartChanges();
  }
  const bool ranged = io.op == Io::Op::kRead || io.op == Io::Op::kStatus;
  if (!ranged || IsWhole(io)) return submit_(io);
  Part& part = Take(io);
  io.op == Io::Op::kRead ? StartRead(part) : StartStatus(part);
}

void AnyAlignment::StartChanges() {
  while (!waiting_.empty() && !alone_) {
    Io& io = *waiting_.front();
    const bool edges = !IsWhole(io);
    if (edges && changes_ > 0) return;
    waiting_.pop_front();
    alone_ = edges;
    ++changes_;
    Part& part = Take(io);
    part.at = io.offset;
    Step(part);
  }
}

AnyAlignment::Part& AnyAlignment::Take(Io& whole) {
  if (free_.empty()) free_.push_back(parts_.emplace_back(std::make_unique<Part>()).get());
  Part& part = *free_.back();
  free_.pop_back();
  part.owner = this;
  part.whole = &whole;
  part.at_edge = false;
  return part;
}

void AnyAlignment::Send(Part& part, Io::Op op, uint64_t offset, uint64_t length,
                        std::byte* memory) {
  part.io.op = op;
  part.io.flags = op == Io::Op::kRead ? 0 : part.whole->flags;
  if (op == Io::Op::kWrite) part.io.flags &= Io::kFua;
  part.io.offset = offset;
  part.io.length = length;
  part.run = {memory, static_cast<size_t>(length)};
  part.io.data = {&part.run, memory == nullptr ? 0u : 1u};
  part.io.context = &part;
  part.io.done = [](Io& over) {
    auto& ended = *static_cast<Part*>(over.context);
    ended.owner->OnDone(ended);
  };
  submit_(part.io);
}

void AnyAlignment::StartRead(Part& part) {
  const uint64_t begin = Down(part.whole->offset);
  const uint64_t bytes = Up(part.whole->offset + part.whole->length) - begin;
  part.blocks.resize(static_cast<size_t>(bytes));
  Send(part, Io::Op::kRead, begin, bytes, part.blocks.data());
}

void AnyAlignment::StartStatus(Part& part) {
  const uint64_t begin = Down(part.whole->offset);
  part.io.extents = part.whole->extents;
  Send(part, Io::Op::kStatus, begin, Up(part.whole->offset + part.whole->length) - begin, nullptr);
}

/// The next request of a change.
void AnyAlignment::Step(Part& part) {
  const Io& whole = *part.whole;
  const uint64_t end = whole.offset + whole.length;
  if (part.at == end) return End(part, 0);
  const uint64_t block = Down(part.at);
  part.at_edge = block != part.at || end - part.at < minimum_;
  if (part.at_edge) {
    part.here = std::min(end, block + minimum_) - part.at;
    part.blocks.resize(minimum_);
    return Send(part, Io::Op::kRead, block, minimum_, part.blocks.data());
  }
  part.here = Down(end) - part.at;
  auto* const data =
      whole.data.empty() ? nullptr : static_cast<std::byte*>(whole.data.front().iov_base);
  Send(part, whole.op, part.at, part.here,
       data == nullptr ? nullptr : data + (part.at - whole.offset));
}

void AnyAlignment::OnDone(Part& part) {
  Io& whole = *part.whole;
  if (part.io.error != 0) return End(part, part.io.error);
  if (whole.op == Io::Op::kRead) {
    std::memcpy(whole.data.front().iov_base, part.blocks.data() + (whole.offset - part.io.offset),
                static_cast<size_t>(whole.length));
    return End(part, 0);
  }
  if (whole.op == Io::Op::kStatus) return OnStatus(part);
  if (part.at_edge && part.io.op == Io::Op::kRead) {
    std::byte* const to = part.blocks.data() + (part.at - part.io.offset);
    const auto bytes = static_cast<size_t>(part.here);
    if (whole.op == Io::Op::kZero) {
      std::memset(to, 0, bytes);
    } else {
      const auto* const from = static_cast<const std::byte*>(whole.data.front().iov_base);
      std::memcpy(to, from + (part.at - whole.offset), bytes);
    }
    return Send(part, Io::Op::kWrite, part.io.offset, minimum_, part.blocks.data());
  }
  part.at += part.here;
  Step(part);
}

/// The first extents begin in front of what was asked for.
void AnyAlignment::OnStatus(Part& part) {
  Io& whole = *part.whole;
  uint64_t before = whole.offset - part.io.offset;
  whole.extent_count = 0;
  for (const BlockExtent& extent : part.io.extents.first(part.io.extent_count)) {
    const uint64_t cut = std::min(before, extent.length);
    before -= cut;
    if (cut == extent.length) continue;
    whole.extents[whole.extent_count++] = {extent.length - cut, extent.flags};
  }
  // A server that knows nothing of where it was asked for; who asks again would ask for ever.
  End(part, whole.extent_count == 0 ? EIO : 0);
}

void AnyAlignment::End(Part& part, int error) {
  Io& whole = *part.whole;
  part.io.extents = {};
  free_.push_back(&part);
  if (IsChange(whole)) {
    --changes_;
    alone_ = false;
  }
  whole.error = error;
  whole.done(whole);
  StartChanges();
}

}  // namespace qpip::nbd
