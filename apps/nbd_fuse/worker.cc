#include "apps/nbd_fuse/worker.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace qpip::nbd {

namespace {

thread_local FuseWorker* current_worker = nullptr;

/// Requests taken from the kernel before what has come from the server is looked at.
constexpr int kTakenAtATime = 32;
/// A write, and what is in front of its data.
constexpr size_t kKernelRequestBytes = FuseWorker::kMostWritten + 4096;
constexpr size_t kRequestsAtATime = 8;
/// Of one question for extents.
constexpr uint64_t kSeekBytes = uint64_t{1} << 30;
constexpr size_t kSeekExtents = 64;
/// The kernel's errors are the system's; these two would make no sense to a program.
constexpr int Plain(int error) { return error == ESHUTDOWN || error == ECANCELED ? EIO : error; }

}  // namespace

struct FuseWorker::Operation {
  FuseWorker* worker = nullptr;
  fuse_req_t request = nullptr;
  Io io;
  iovec run = {};
  std::vector<std::byte> memory;  ///< of a read
  void* kept = nullptr;           ///< memory of the kernel's request, of a write
  std::array<BlockExtent, kSeekExtents> extents;
  bool seeks_hole = false;
};

FuseWorker::FuseWorker(fuse_session& session, std::unique_ptr<Client> client)
    : session_(session),
      client_(std::move(client)),
      any_(client_->facts().minimum, [&to = *client_](Io& io) { to.Submit(io); }) {}

FuseWorker::~FuseWorker() {
  client_.reset();  // ends what is in flight
}

FuseWorker& FuseWorker::Current() { return *current_worker; }

void FuseWorker::Run(const apps::StopToken& stop, const apps::StopToken& over) {
  current_worker = this;
  while (fuse_session_exited(&session_) == 0) {
    const bool taken = TakeRequests();
    const size_t ended = client_->Poll();
    if (taken || ended > 0 || !client_->Arm()) continue;
    std::array<pollfd, 4> waited = {pollfd{fuse_session_fd(&session_), POLLIN, 0},
                                    pollfd{client_->fd(), POLLIN, 0}, pollfd{stop.fd(), POLLIN, 0},
                                    pollfd{over.fd(), POLLIN, 0}};
    poll(waited.data(), waited.size(), -1);
    if ((waited[2].revents | waited[3].revents) != 0) fuse_session_exit(&session_);
  }
  while (client_->in_flight() > 0) (void)client_->Wait();
}

void* FuseWorker::TakeMemory() {
  if (spare_.empty()) {
    constexpr size_t kBytes = kRequestsAtATime * kKernelRequestBytes;
    std::span<std::byte> more;
    try {
      more = client_->Allocate(kBytes);  // several in one go: regions are few, and searched
    } catch (const Error&) {
      more = ordinary_.emplace_back(kBytes);  // sent with a copy
    }
    for (size_t i = 0; i < kRequestsAtATime; ++i) spare_.push_back(&more[i * kKernelRequestBytes]);
  }
  void* const memory = spare_.back();
  spare_.pop_back();
  return memory;
}

// As fuse_session_receive_buf, into memory of ours: whose size that would have to know as well.
bool FuseWorker::TakeRequest() {
  if (buffer_.mem == nullptr) buffer_.mem = TakeMemory();
  ssize_t bytes = 0;
  do {
    bytes = read(fuse_session_fd(&session_), buffer_.mem, kKernelRequestBytes);
  } while (bytes < 0 && (errno == EINTR || errno == ENOENT));  // ENOENT: taken back meanwhile
  if (bytes < 0) {
    if (errno != EAGAIN) fuse_session_exit(&session_);  // ENODEV: unmounted
    return false;
  }
  buffer_.size = static_cast<size_t>(bytes);
  return true;
}

bool FuseWorker::TakeRequests() {
  bool any = false;
  for (int i = 0; i < kTakenAtATime && fuse_session_exited(&session_) == 0; ++i) {
    if (!TakeRequest()) break;
    any = true;
    buffer_kept_ = false;
    fuse_session_process_buf(&session_, &buffer_);
    if (buffer_kept_) buffer_.mem = nullptr;
  }
  return any;
}

FuseWorker::Operation& FuseWorker::Take(fuse_req_t request, Io::Op op, uint64_t offset,
                                        uint64_t bytes) {
  if (free_.empty()) {
    operations_.push_back(std::make_unique<Operation>());
    free_.push_back(operations_.back().get());
  }
  Operation& operation = *free_.back();
  free_.pop_back();
  operation.worker = this;
  operation.request = request;
  operation.kept = nullptr;
  operation.io.op = op;
  operation.io.flags = 0;
  operation.io.offset = offset;
  operation.io.length = bytes;
  operation.io.data = {};
  operation.io.extents = {};
  return operation;
}

void FuseWorker::Submit(Operation& operation) {
  operation.io.context = &operation;
  operation.io.done = [](Io& over) {
    auto& ended = *static_cast<Operation*>(over.context);
    ended.worker->OnDone(ended);
  };
  any_.Submit(operation.io);
}

void FuseWorker::Put(Operation& operation) {
  if (operation.kept != nullptr) spare_.push_back(operation.kept);
  free_.push_back(&operation);
}

void FuseWorker::Read(fuse_req_t request, size_t bytes, off_t offset) {
  const uint64_t end = client_->facts().bytes;
  const auto from = static_cast<uint64_t>(offset);
  if (offset < 0 || from >= end || bytes == 0) {
    fuse_reply_buf(request, nullptr, 0);
    return;
  }
  bytes = static_cast<size_t>(std::min<uint64_t>(bytes, end - from));
  Operation& operation = Take(request, Io::Op::kRead, from, bytes);
  if (operation.memory.size() < bytes) operation.memory.resize(bytes);
  operation.run = {operation.memory.data(), bytes};
  operation.io.data = {&operation.run, 1};
  Submit(operation);
}

void FuseWorker::Write(fuse_req_t request, const char* data, size_t bytes, off_t offset) {
  const uint64_t end = client_->facts().bytes;
  if (offset < 0 || static_cast<uint64_t>(offset) >= end ||
      bytes > end - static_cast<uint64_t>(offset)) {
    fuse_reply_err(request, ENOSPC);
    return;
  }
  Operation& operation = Take(request, Io::Op::kWrite, static_cast<uint64_t>(offset), bytes);
  operation.kept = buffer_.mem;
  buffer_kept_ = true;
  operation.run = {const_cast<char*>(data), bytes};
  operation.io.data = {&operation.run, 1};
  Submit(operation);
}

void FuseWorker::Flush(fuse_req_t request) { Submit(Take(request, Io::Op::kFlush, 0, 0)); }

void FuseWorker::Zero(fuse_req_t request, off_t offset, off_t bytes, bool allocated) {
  Operation& operation =
      Take(request, Io::Op::kZero, static_cast<uint64_t>(offset), static_cast<uint64_t>(bytes));
  if (allocated) operation.io.flags = Io::kNoHole;
  Submit(operation);
}

void FuseWorker::Seek(fuse_req_t request, off_t offset, bool hole) {
  const uint64_t end = client_->facts().bytes;
  const auto from = static_cast<uint64_t>(offset);
  if (offset < 0 || from >= end) {
    fuse_reply_err(request, ENXIO);
    return;
  }
  Operation& operation = Take(request, Io::Op::kStatus, from, std::min(end - from, kSeekBytes));
  operation.seeks_hole = hole;
  operation.io.extents = operation.extents;
  Submit(operation);
}

void FuseWorker::OnDone(Operation& operation) {
  if (operation.io.error != 0) {
    ++counts_.errors;
    fuse_reply_err(operation.request, Plain(operation.io.error));
    return Put(operation);
  }
  if (operation.io.op == Io::Op::kStatus) return OnSeek(operation);
  Answer(operation);
  Put(operation);
}

void FuseWorker::Answer(Operation& operation) {
  const auto bytes = static_cast<size_t>(operation.io.length);
  switch (operation.io.op) {
    case Io::Op::kRead:
      ++counts_.reads;
      counts_.bytes_read += bytes;
      fuse_reply_buf(operation.request, reinterpret_cast<const char*>(operation.memory.data()),
                     bytes);
      return;
    case Io::Op::kWrite:
      ++counts_.writes;
      counts_.bytes_written += bytes;
      fuse_reply_write(operation.request, bytes);
      return;
    case Io::Op::kFlush:
      ++counts_.flushes;
      break;
    default:
      break;
  }
  fuse_reply_err(operation.request, 0);
}

void FuseWorker::OnSeek(Operation& operation) {
  const uint64_t end = client_->facts().bytes;
  uint64_t at = operation.io.offset;
  bool found = false;
  for (const BlockExtent& extent : std::span(operation.extents).first(operation.io.extent_count)) {
    found = ((extent.flags & BlockExtent::kHole) != 0) == operation.seeks_hole;
    if (found) break;
    at += extent.length;
  }
  if (!found && at < end) {  // further on
    operation.io.offset = at;
    operation.io.length = std::min(end - at, kSeekBytes);
    return any_.Submit(operation.io);
  }
  if (at < end) {
    fuse_reply_lseek(operation.request, static_cast<off_t>(at));
  } else if (operation.seeks_hole) {  // there is one behind the end
    fuse_reply_lseek(operation.request, static_cast<off_t>(end));
  } else {
    fuse_reply_err(operation.request, ENXIO);
  }
  Put(operation);
}

}  // namespace qpip::nbd
