#include "storage/leaves/file_device.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <climits>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "storage/core/iovecs.h"

namespace qpip::storage {

namespace {

constexpr uint32_t kMaxPreferred = 64 * 1024;
constexpr size_t kZeroBytes = 64 * 1024;
/// Of one step of what may write as much as it names.
constexpr uint64_t kSlowStep = 32u << 20;
/// The same where a file system does it without writing.
constexpr uint64_t kQuickStep = 1u << 30;
alignas(4096) const std::array<std::byte, kZeroBytes> kZeroBlock = {};

std::runtime_error OpenError(const std::string& what, const std::string& path,
                             const std::string& why) {
  return std::runtime_error(what + ": " + path + ": " + why);
}

std::string ErrorText(int error) { return std::generic_category().message(error); }

/// Of a file or a block device, in bytes. Returns errno.
int ReadSize(int fd, bool block_device, uint64_t* bytes) {
  if (block_device) return ioctl(fd, BLKGETSIZE64, bytes) == 0 ? 0 : errno;
  struct stat status = {};
  if (fstat(fd, &status) != 0) return errno;
  *bytes = static_cast<uint64_t>(status.st_size);
  return 0;
}

/// A call that says errno, again where a signal came between. Returns errno, 0 for success.
template <typename Call>
int Uninterrupted(Call&& call) {
  while (call() != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

/// Whether the system or the file system does not have it at all.
bool IsUnsupported(int error) { return error == EOPNOTSUPP || error == ENOSYS || error == ENODEV; }

}  // namespace

const FileCalls& FileCalls::System() {
  static const FileCalls calls = {
      .read = preadv, .write = pwritev, .sync = fdatasync, .allocate = fallocate};
  return calls;
}

/// Of a request on a ring; in its scratch memory.
struct FileDevice::Work : FileRing::Call {
  FileDevice* device;
  FileRing* ring;
  Request* request;
  std::span<iovec> rest;  ///< what has not been moved yet
  uint64_t offset;        ///< of the first byte of it
  bool syncing;
};

/// Of a trim or a zero; in its scratch memory.
struct FileDevice::Range {
  FileDevice* device;
  uint64_t at;  ///< it is done up to here
};

FileDevice::FileDevice(const std::string& path, const FileOptions& options, Workers& workers)
    : calls_(*options.calls), workers_(workers) {
  // Non-blocking, so that naming a FIFO is an error and not a wait; files do not care.
  fd_ = open(path.c_str(), (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) {
    const int error = errno;
    const bool try_read_only = !options.read_only && (error == EACCES || error == EROFS);
    throw OpenError("cannot open", path,
                    ErrorText(error) + (try_read_only ? " (--read-only may do)" : ""));
  }
  struct stat status = {};
  int error = fstat(fd_, &status) == 0 ? 0 : errno;
  block_device_ = S_ISBLK(status.st_mode);
  struct statfs file_system = {};
  in_memory_ = S_ISREG(status.st_mode) && fstatfs(fd_, &file_system) == 0 &&
               (file_system.f_type == TMPFS_MAGIC || file_system.f_type == RAMFS_MAGIC);
  uint32_t preferred = static_cast<uint32_t>(status.st_blksize);
  uint64_t bytes = 0;
  if (error == 0) error = ReadSize(fd_, block_device_, &bytes);
  if (error == 0 && block_device_) {
    int sector = 0;
    if (ioctl(fd_, BLKSSZGET, &sector) != 0) error = errno;
    sector_bytes_ = static_cast<uint32_t>(sector);
  }
  if (error != 0 || (!S_ISREG(status.st_mode) && !block_device_)) {
    close(fd_);
    if (error != 0) throw OpenError("cannot read its size", path, ErrorText(error));
    throw OpenError("cannot be exported", path, "give a regular file or a block device");
  }
  fcntl(fd_, F_SETFL, 0);  // a ring would take it for a wish not to wait
  if (!std::has_single_bit(preferred)) preferred = 4096;
  geometry_ = {.bytes = bytes,
               .preferred = std::clamp<uint32_t>(preferred, 512, kMaxPreferred),
               .read_only = options.read_only,
               .trim = !options.read_only,
               .fast_zero = !options.read_only};
}

FileDevice::~FileDevice() { close(fd_); }

Geometry FileDevice::geometry() const {
  Geometry now = geometry_;
  (void)ReadSize(fd_, block_device_, &now.bytes);  // a device that has gone keeps what it had
  return now;
}

void FileDevice::Submit(Request& request) {
  const bool by_ring =
      request.op == Op::kRead || request.op == Op::kWrite || request.op == Op::kFlush;
  if (by_ring && &calls_ == &FileCalls::System()) {
    // A ring has threads of the kernel's do even these, which takes longer than the copy.
    if (in_memory_) return Complete(request, Do(request));
    if (FileRing* const ring = request.executor->ring()) return StartOnRing(*ring, request);
  }
  if (request.op == Op::kTrim || request.op == Op::kZero) {
    request.Scratch<Range>(this, request.offset);
    request.run = [](Task& task) {
      auto& asked = static_cast<Request&>(task);
      asked.InScratch<Range>().device->GoOn(asked);
    };
    return workers_.Run(request);
  }
  request.Scratch<FileDevice*>(this);
  request.run = [](Task& task) {
    auto& asked = static_cast<Request&>(task);
    CompleteLater(asked, asked.InScratch<FileDevice*>()->Do(asked));
  };
  workers_.Run(request);
}

int FileDevice::AfterSync(int error) {
  if (error != 0) {
    int none = 0;
    sync_error_.compare_exchange_strong(none, error);
  }
  return sync_error_.load();
}

// --- On a ring

void FileDevice::StartOnRing(FileRing& ring, Request& request) {
  Work& work = request.Scratch<Work>();
  work.over = [](FileRing::Call& call, int result) {
    auto& over = static_cast<Work&>(call);
    over.device->OnRing(over, result);
  };
  work.device = this;
  work.ring = &ring;
  work.request = &request;
  work.rest = Advance(request.data, 0);
  work.offset = request.offset;
  work.syncing = request.op == Op::kFlush;
  if (work.syncing && sync_error_.load() != 0) return CompleteLater(request, sync_error_.load());
  Queue(work);
}

void FileDevice::Queue(Work& work) {
  if (work.syncing) return work.ring->Sync(work, fd_);
  if (work.request->op == Op::kRead) return work.ring->Read(work, fd_, work.rest, work.offset);
  work.ring->Write(work, fd_, work.rest, work.offset);
}

void FileDevice::OnRing(Work& work, int result) {
  if (result == -EINTR || result == -EAGAIN) return Queue(work);
  Request& request = *work.request;
  if (work.syncing) return Complete(request, AfterSync(-result));
  if (result < 0) return Complete(request, -result);
  if (result == 0) return Complete(request, EIO);  // someone has truncated the file
  work.rest = Advance(work.rest, static_cast<size_t>(result));
  work.offset += static_cast<uint64_t>(result);
  if (!work.rest.empty()) return Queue(work);
  if (request.op == Op::kRead || (request.flags & kFua) == 0) return Complete(request, 0);
  work.syncing = true;
  Queue(work);
}

// --- In a thread

int FileDevice::Do(Request& request) {
  int error = 0;
  switch (request.op) {
    case Op::kRead:
      return ReadAll(request);
    case Op::kFlush:
      return Sync();
    case Op::kCache:
      return Cache(request);
    case Op::kStatus:
      return Status(request);
    case Op::kWrite:
      error = WriteAll(request.offset, request.data);
      break;
    case Op::kTrim:
      error = Trim(request.offset, request.length);
      break;
    case Op::kZero:
      error = Zero(request.offset, request.length, request.flags);
      break;
  }
  return error == 0 && (request.flags & kFua) != 0 ? Sync() : error;
}

void FileDevice::GoOn(Request& request) {
  Range& range = request.InScratch<Range>();
  const uint64_t end = request.offset + request.length;
  for (;;) {
    const uint64_t next = NextStep(request, range.at);
    const uint64_t length = next - range.at;
    int error =
        request.op == Op::kTrim ? Trim(range.at, length) : Zero(range.at, length, request.flags);
    range.at = next;
    if (error == 0 && next < end) {
      if (request.cancelled != nullptr && request.cancelled->load()) {
        return CompleteLater(request, ESHUTDOWN);
      }
      if (workers_.RunAgain(request)) return;  // another thread may have it by now
      continue;
    }
    if (error == 0 && (request.flags & kFua) != 0) error = Sync();
    return CompleteLater(request, error);
  }
}

uint64_t FileDevice::NextStep(const Request& request, uint64_t at) const {
  const uint64_t end = request.offset + request.length;
  // It is fast or refused, and refused as a whole: a part must not have been done.
  if (request.op == Op::kZero && (request.flags & kFastZero) != 0) return end;
  const bool punches = can_punch_ && (request.flags & kNoHole) == 0;
  // Whether the file system has the call at all is known behind the first step.
  const bool quick = !block_device_ && at > request.offset &&
                     (request.op == Op::kTrim || punches || can_zero_range_);
  const uint64_t step = quick ? kQuickStep : kSlowStep;
  return std::min(end, (at / step + 1) * step);  // a multiple of any sector
}

int FileDevice::ReadAll(Request& request) {
  std::span<iovec> rest = Advance(request.data, 0);
  uint64_t offset = request.offset;
  while (!rest.empty()) {
    const int count = static_cast<int>(std::min<size_t>(rest.size(), IOV_MAX));
    const ssize_t n = calls_.read(fd_, rest.data(), count, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return EIO;  // someone has truncated the file
    rest = Advance(rest, static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return 0;
}

int FileDevice::WriteAll(uint64_t offset, std::span<iovec> data) {
  data = Advance(data, 0);
  while (!data.empty()) {
    const int count = static_cast<int>(std::min<size_t>(data.size(), IOV_MAX));
    const ssize_t n = calls_.write(fd_, data.data(), count, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return EIO;
    data = Advance(data, static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return 0;
}

int FileDevice::Sync() {
  if (const int before = sync_error_.load(); before != 0) return before;
  return AfterSync(Uninterrupted([this] { return calls_.sync(fd_); }));
}

int FileDevice::Trim(uint64_t offset, uint64_t length) {
  if (block_device_) {
    const uint64_t mask = sector_bytes_ - 1;
    const uint64_t begin = (offset + mask) & ~mask;
    const uint64_t end = (offset + length) & ~mask;
    if (begin >= end) return 0;
    std::array<uint64_t, 2> range = {begin, end - begin};
    const int error = Uninterrupted([&] { return ioctl(fd_, BLKDISCARD, range.data()); });
    return IsUnsupported(error) ? 0 : error;
  }
  if (!can_punch_) return 0;  // a hint
  const int error = Allocate(FALLOC_FL_PUNCH_HOLE, offset, length);
  if (!IsUnsupported(error)) return error;
  can_punch_ = false;
  return 0;
}

int FileDevice::Zero(uint64_t offset, uint64_t length, uint32_t flags) {
  // Of a block device only whole sectors can be zeroed by a call.
  const uint64_t mask = sector_bytes_ - 1;
  const uint64_t end = offset + length;
  const uint64_t first = std::min((offset + mask) & ~mask, end);
  const uint64_t last = std::max(end & ~mask, first);
  const bool whole = first == offset && last == end;
  const bool fast = (flags & kFastZero) != 0;
  if (fast && !whole) return EOPNOTSUPP;
  int error = first < last ? ZeroByCall(first, last - first, flags) : 0;
  if (error == EOPNOTSUPP && fast) return error;
  if (error == EOPNOTSUPP) error = ZeroByWriting(first, last - first);
  if (error == 0 && first > offset) error = ZeroByWriting(offset, first - offset);
  if (error == 0 && end > last) error = ZeroByWriting(last, end - last);
  // A file that was cut grows, as by a write. Not by ftruncate(2), which would cut off what another
  // write has grown it by meanwhile; this is the range's last byte, and to be zero anyway.
  if (error == 0 && FileBytes(end) < end) error = ZeroByWriting(end - 1, 1);
  return error;
}

int FileDevice::Allocate(int mode, uint64_t offset, uint64_t length) {
  return Uninterrupted([&] {
    return calls_.allocate(fd_, mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                           static_cast<off_t>(length));
  });
}

int FileDevice::ZeroByCall(uint64_t offset, uint64_t length, uint32_t flags) {
  const auto allocate = [&](std::atomic<bool>& can, int mode) {
    if (!can) return EOPNOTSUPP;
    const int error = Allocate(mode, offset, length);
    if (!IsUnsupported(error)) return error;
    can = false;
    return EOPNOTSUPP;
  };
  if ((flags & kNoHole) == 0) {
    const int error = allocate(can_punch_, FALLOC_FL_PUNCH_HOLE);
    if (error != EOPNOTSUPP) return error;
  }
  // Of a block device it may write the zeroes after all.
  if (block_device_ && (flags & kFastZero) != 0) return EOPNOTSUPP;
  return allocate(can_zero_range_, FALLOC_FL_ZERO_RANGE);
}

int FileDevice::ZeroByWriting(uint64_t offset, uint64_t length) {
  std::array<iovec, 16> list;
  while (length > 0) {
    size_t count = 0;
    uint64_t bytes = 0;
    while (count < list.size() && bytes < length) {
      const size_t piece = static_cast<size_t>(std::min<uint64_t>(kZeroBytes, length - bytes));
      list[count++] = {const_cast<std::byte*>(kZeroBlock.data()), piece};
      bytes += piece;
    }
    if (const int error = WriteAll(offset, std::span(list).first(count)); error != 0) return error;
    offset += bytes;
    length -= bytes;
  }
  return 0;
}

int FileDevice::Cache(const Request& request) {
  return posix_fadvise(fd_, static_cast<off_t>(request.offset), static_cast<off_t>(request.length),
                       POSIX_FADV_WILLNEED);
}

uint64_t FileDevice::FileBytes(uint64_t otherwise) const {
  uint64_t bytes = 0;
  return !block_device_ && ReadSize(fd_, false, &bytes) == 0 ? bytes : otherwise;
}

bool FileDevice::AddUnwritten(ExtentList& list, uint64_t begin, uint64_t end) {
  constexpr uint32_t kExtents = 32;
  alignas(fiemap) std::array<std::byte, sizeof(fiemap) + kExtents * sizeof(fiemap_extent)> memory;
  for (uint64_t at = begin; at < end;) {
    memory = {};
    auto& map = *reinterpret_cast<fiemap*>(memory.data());
    map.fm_start = at;
    map.fm_length = end - at;
    map.fm_extent_count = kExtents;
    const bool known = ioctl(fd_, FS_IOC_FIEMAP, &map) == 0;
    const uint32_t count = known ? map.fm_mapped_extents : 0;
    for (uint32_t i = 0; i < count; ++i) {
      const fiemap_extent& each = map.fm_extents[i];
      const uint64_t from = std::clamp<uint64_t>(each.fe_logical, at, end);
      const uint64_t to = std::clamp<uint64_t>(each.fe_logical + each.fe_length, from, end);
      if (!list.Add(from - at, kHole | kZeroes) || !list.Add(to - from, kZeroes)) return false;
      at = to;
    }
    if (count < kExtents) return list.Add(end - at, kHole | kZeroes);
  }
  return true;
}

int FileDevice::Status(Request& request) {
  ExtentList& list = *request.extents;
  const uint64_t end = request.offset + request.length;
  const bool one = (request.flags & kOneExtent) != 0;
  uint64_t at = request.offset;
  while (at < end) {
    const off_t found = block_device_ ? -1 : lseek(fd_, static_cast<off_t>(at), SEEK_DATA);
    // Where there is no knowledge of holes all of it is data. So is what was cut off: to say that
    // it reads as zeroes would hide that it cannot be read.
    uint64_t data = at;
    if (found >= 0) data = std::min(static_cast<uint64_t>(found), end);
    if (found < 0 && !block_device_ && errno == ENXIO) data = std::clamp(FileBytes(at), at, end);
    if (!AddUnwritten(list, at, data)) return 0;
    at = data;
    if (at == end || (one && !list.extents().empty())) return 0;
    uint64_t hole = end;
    if (!block_device_) {
      const off_t next = lseek(fd_, static_cast<off_t>(at), SEEK_HOLE);
      if (next >= 0) hole = std::min(static_cast<uint64_t>(next), end);
    }
    if (!list.Add(hole - at, 0)) return 0;
    at = hole;
    if (one && !list.extents().empty()) return 0;
  }
  return 0;
}

}  // namespace qpip::storage
