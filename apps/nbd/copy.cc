#include "apps/nbd/copy.h"

#include <poll.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "apps/common/command_line.h"

namespace qpip::nbd {

using storage::Op;

namespace {

/// Longest range of one status and one zeroing.
constexpr uint64_t kStatusBytes = uint64_t{1} << 30;
constexpr uint64_t kZeroBytes = 32u << 20;
constexpr int kProgressMs = 200;

bool IsZero(std::span<const std::byte> bytes) {
  // Each byte equals the one before it, and the first is 0.
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

const char* NameOf(Op op) {
  switch (op) {
    case Op::kRead:
      return "read of the source";
    case Op::kWrite:
      return "write to the destination";
    case Op::kZero:
      return "zeroing of the destination";
    case Op::kFlush:
      return "flush of the destination";
    default:
      return "status of the source";
  }
}

}  // namespace

struct Copy::Slot {
  storage::Request request;
  std::span<std::byte> memory;
  iovec run = {};
  Copy* copy = nullptr;
};

Copy::Copy(storage::Device& from, storage::Device& to, storage::ThreadExecutor& executor,
           std::span<std::byte> memory, const CopyOptions& options)
    : from_(from),
      to_(to),
      executor_(executor),
      options_(options),
      bytes_(from.geometry().bytes),
      step_(std::max(from.geometry().minimum, to.geometry().minimum)),
      flushed_(!options.flush) {
  const storage::Geometry geometry = to.geometry();
  if (geometry.read_only) throw apps::Failure("the destination is read-only");
  if (geometry.bytes < bytes_) {
    throw apps::Failure("the destination is too small: " + std::to_string(geometry.bytes) +
                        " bytes for " + std::to_string(bytes_));
  }
  if (bytes_ % step_ != 0) {
    const char* const who = step_ == geometry.minimum ? "the destination takes" : "the source has";
    throw apps::Failure(std::string(who) + " multiples of " + std::to_string(step_) +
                        " bytes, and the source is of " + std::to_string(bytes_));
  }
  if (step_ > options.block_bytes) {
    throw apps::Failure("blocks of " + std::to_string(options.block_bytes) +
                        " bytes, where multiples of " + std::to_string(step_) +
                        " are taken: give a larger --request-size");
  }
  for (size_t i = 0; i < options.in_flight; ++i) {
    slots_.push_back(std::make_unique<Slot>());
    slots_.back()->memory = memory.subspan(i * options.block_bytes, options.block_bytes);
    slots_.back()->copy = this;
    free_.push_back(slots_.back().get());
  }
}

Copy::~Copy() = default;

Copy::Slot& Copy::Take(Op op, uint64_t offset, uint64_t length) {
  Slot& slot = *free_.back();
  free_.pop_back();
  ++busy_;
  slot.request.op = op;
  slot.request.flags = 0;
  slot.request.offset = offset;
  slot.request.length = length;
  slot.request.data = {};
  slot.request.extents = nullptr;
  return slot;
}

void Copy::Put(Slot& slot) {
  free_.push_back(&slot);
  --busy_;
}

void Copy::Submit(storage::Device& device, Slot& slot) {
  slot.request.executor = &executor_;
  slot.request.context = &slot;
  slot.request.error = 0;
  slot.request.done = [](storage::Request& over) {
    Slot& ended = *static_cast<Slot*>(over.context);
    ended.copy->OnDone(ended);
  };
  device.Submit(slot.request);
}

void Copy::Start() {
  while (error_ == 0 && !free_.empty() && !asking_) {
    if (at_ == bytes_) {
      if (busy_ == 0 && !flushed_ && !flushing_) StartFlush();
      return;
    }
    if (extent_ == extents_.extents().size()) {
      AskStatus();  // which some devices answer at once
      continue;
    }
    const uint64_t zeroes = ZeroesHere();
    zeroes > 0 ? StartZeroes(zeroes) : StartData();
  }
}

/// How many bytes of zeroes begin here, in whole steps: extents end where the source has them,
/// which may be in the middle of what the destination takes.
uint64_t Copy::ZeroesHere() {
  uint64_t bytes = 0;
  uint64_t skip = gone_;
  for (const storage::Extent& extent : extents_.extents().subspan(extent_)) {
    if ((extent.flags & storage::kZeroes) == 0) break;
    bytes += extent.length - std::exchange(skip, 0);
    if (bytes >= kZeroBytes) break;
  }
  bytes = std::min({bytes, kZeroBytes, bytes_ - at_});
  return bytes - bytes % step_;
}

void Copy::Advance(uint64_t bytes) {
  at_ += bytes;
  gone_ += bytes;
  const std::span<const storage::Extent> extents = extents_.extents();
  while (extent_ < extents.size() && gone_ >= extents[extent_].length) {
    gone_ -= extents[extent_++].length;
  }
}

void Copy::AskStatus() {
  extents_.Clear();
  extent_ = 0;
  gone_ = 0;
  asking_ = true;
  Slot& slot = Take(Op::kStatus, at_, std::min(bytes_ - at_, kStatusBytes));
  slot.request.extents = &extents_;
  Submit(from_, slot);
}

void Copy::StartZeroes(uint64_t length) {
  const uint64_t offset = at_;
  Advance(length);
  if (options_.destination_is_zero) {
    counts_.skipped += length;
    return;
  }
  Zero(Take(Op::kZero, offset, length));
}

void Copy::StartData() {
  // To the next multiple of a block, so that an extent at an odd place costs one odd block.
  const uint64_t to_boundary = options_.block_bytes - at_ % options_.block_bytes;
  const uint64_t left = extents_.extents()[extent_].length - gone_;
  // The last step may reach into the next extent; the end of everything is the end of one.
  const uint64_t length = std::min((left + step_ - 1) / step_ * step_, to_boundary);
  Slot& slot = Take(Op::kRead, at_, length);
  Advance(length);
  slot.run = {slot.memory.data(), static_cast<size_t>(length)};
  slot.request.data = {&slot.run, 1};
  Submit(from_, slot);
}

void Copy::StartFlush() {
  flushing_ = true;
  Submit(to_, Take(Op::kFlush, 0, 0));
}

void Copy::Zero(Slot& slot) {
  slot.request.op = Op::kZero;
  slot.request.data = {};
  Submit(to_, slot);
}

void Copy::OnDone(Slot& slot) {
  if (slot.request.op == Op::kStatus) asking_ = false;
  if (slot.request.error != 0) {
    Fail(slot);
    return Put(slot);
  }
  switch (slot.request.op) {
    case Op::kRead:
      return OnRead(slot);
    case Op::kWrite:
      counts_.copied += slot.request.length;
      break;
    case Op::kZero:
      counts_.zeroed += slot.request.length;
      break;
    case Op::kFlush:
      flushed_ = true;
      break;
    default:
      if (extents_.extents().empty()) {
        slot.request.error = EPROTO;  // a status of nothing would be asked for for ever
        Fail(slot);
      }
      break;
  }
  Put(slot);
}

void Copy::OnRead(Slot& slot) {
  const size_t length = static_cast<size_t>(slot.request.length);
  if (error_ != 0) return Put(slot);
  if (!IsZero(slot.memory.first(length))) {
    slot.request.op = Op::kWrite;
    slot.run = {slot.memory.data(), length};
    slot.request.data = {&slot.run, 1};
    return Submit(to_, slot);
  }
  if (!options_.destination_is_zero) return Zero(slot);
  counts_.skipped += length;
  Put(slot);
}

void Copy::Fail(const Slot& slot) {
  if (error_ != 0) return;
  error_ = slot.request.error;
  failure_ = std::string(NameOf(slot.request.op)) + " failed at " +
             std::to_string(slot.request.offset) + ": " + std::strerror(error_);
  if (slot.request.op == Op::kFlush) {
    failure_ += ": what was written may be lost, as when a server was lost before it: copy again";
  }
}

bool Copy::Run(int stop_fd, const std::function<void(const CopyCounts&)>& progress) {
  while (!over()) {
    Start();
    if (executor_.RunReady() || !executor_.Sleep()) continue;
    if (over()) {
      executor_.Awake();
      break;
    }
    // What has told to stop goes on telling: it is looked at once.
    std::array<pollfd, 2> waited = {pollfd{executor_.fd(), POLLIN, 0},
                                    pollfd{error_ == 0 ? stop_fd : -1, POLLIN, 0}};
    poll(waited.data(), waited.size(), kProgressMs);
    executor_.Awake();
    progress(counts_);
    if (waited[1].revents != 0) {
      error_ = ECANCELED;
      failure_.clear();
    }
  }
  if (error_ != 0 && !failure_.empty()) throw apps::Failure(failure_);
  return error_ == 0;
}

}  // namespace qpip::nbd
