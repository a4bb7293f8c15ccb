#include "storage/core/file_ring.h"

#ifdef QPIP_HAVE_LIBURING
#include <liburing.h>

#include <algorithm>
#include <climits>
#endif

namespace qpip::storage {

#ifdef QPIP_HAVE_LIBURING

namespace {

constexpr unsigned kEntries = 128;

class UringRing : public FileRing {
 public:
  ~UringRing() override {
    if (ready_) io_uring_queue_exit(&ring_);
  }

  bool Start() {
    ready_ = io_uring_queue_init(kEntries, &ring_, 0) == 0;
    return ready_;
  }

  void Read(Call& call, int fd, std::span<const iovec> data, uint64_t offset) override {
    io_uring_sqe* const entry = Entry(call);
    if (data.size() == 1) {
      io_uring_prep_read(entry, fd, data[0].iov_base, Length(data[0]), offset);
    } else {
      io_uring_prep_readv(entry, fd, data.data(), Count(data), offset);
    }
    io_uring_sqe_set_data(entry, &call);
  }
  void Write(Call& call, int fd, std::span<const iovec> data, uint64_t offset) override {
    io_uring_sqe* const entry = Entry(call);
    if (data.size() == 1) {
      io_uring_prep_write(entry, fd, data[0].iov_base, Length(data[0]), offset);
    } else {
      io_uring_prep_writev(entry, fd, data.data(), Count(data), offset);
    }
    io_uring_sqe_set_data(entry, &call);
  }
  void Sync(Call& call, int fd) override {
    io_uring_sqe* const entry = Entry(call);
    io_uring_prep_fsync(entry, fd, IORING_FSYNC_DATASYNC);
    io_uring_sqe_set_data(entry, &call);
  }

  size_t SubmitAndReap() override {
    size_t ended = 0;
    do {
      if (queued_ > 0) Submit();
      ended += Reap();
    } while (queued_ > 0);  // what has ended may have queued more
    return ended;
  }
  bool Ready() const override { return queued_ > 0 || io_uring_cq_ready(&ring_) > 0; }
  int fd() const override { return ring_.ring_fd; }

 private:
  static unsigned Length(const iovec& run) {
    return static_cast<unsigned>(std::min<size_t>(run.iov_len, INT_MAX & ~size_t{4095}));
  }
  static unsigned Count(std::span<const iovec> data) {
    return static_cast<unsigned>(std::min<size_t>(data.size(), IOV_MAX));
  }
  io_uring_sqe* Entry(Call&) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    while (entry == nullptr) {
      Submit();
      entry = io_uring_get_sqe(&ring_);
    }
    ++queued_;
    return entry;
  }
  void Submit() {
    // An error (EAGAIN, EBUSY, EINTR) leaves the entries where they are, for the next attempt.
    const int submitted = io_uring_submit(&ring_);
    if (submitted > 0) queued_ -= std::min(queued_, static_cast<unsigned>(submitted));
  }
  size_t Reap() {
    size_t ended = 0;
    io_uring_cqe* entry = nullptr;
    while (io_uring_peek_cqe(&ring_, &entry) == 0 && entry != nullptr) {
      auto& call = *static_cast<Call*>(io_uring_cqe_get_data(entry));
      const int result = entry->res;
      io_uring_cqe_seen(&ring_, entry);
      call.over(call, result);
      ++ended;
    }
    return ended;
  }

  io_uring ring_ = {};
  bool ready_ = false;
  unsigned queued_ = 0;  ///< entries filled and not submitted
};

}  // namespace

std::unique_ptr<FileRing> FileRing::TryMake() {
  auto ring = std::make_unique<UringRing>();
  if (!ring->Start()) return nullptr;
  return ring;
}

#else

std::unique_ptr<FileRing> FileRing::TryMake() { return nullptr; }

#endif

}  // namespace qpip::storage
