#include "sim/wire/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cerrno>
#include <system_error>
#include <utility>

#include "sim/wire/file_size_signal.h"
#include "sim/wire/layout.h"

namespace qpip::wire {

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = other.Take();
  }
  return *this;
}

int UniqueFd::Take() { return std::exchange(fd_, -1); }

void UniqueFd::Close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Mapping::Mapping(UniqueFd fd, size_t bytes, const std::string& what)
    : Mapping(fd.get(), 0, bytes, what) {
  fd_ = std::move(fd);
}

std::unique_ptr<Mapping> Mapping::View(size_t offset, size_t bytes) const {
  return std::unique_ptr<Mapping>(new Mapping(fd_.get(), offset, bytes, "more of a port's memory"));
}

Mapping::Mapping(int fd, size_t offset, size_t bytes, const std::string& what) : bytes_(bytes) {
  void* address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
                         static_cast<off_t>(offset));
  if (address == MAP_FAILED) {
    throw std::system_error(errno, std::generic_category(), "cannot map " + what);
  }
  base_ = static_cast<uint8_t*>(address);
}

Mapping::~Mapping() { ::munmap(base_, bytes_); }

int Mapping::Reserve(size_t offset, size_t bytes) const {
  const NoFileSizeSignal guard;
  const size_t first = offset / kPageBytes * kPageBytes;
  while (::fallocate(fd_.get(), 0, static_cast<off_t>(first),
                     static_cast<off_t>(offset + bytes - first)) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

void Mapping::Discard(size_t offset, size_t bytes) const {
  const size_t first = (offset + kPageBytes - 1) / kPageBytes * kPageBytes;
  const size_t end = (offset + bytes) / kPageBytes * kPageBytes;
  if (first >= end) return;
  // Failure costs memory, not correctness: whoever gets the range next clears it anyway.
  while (::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     static_cast<off_t>(first), static_cast<off_t>(end - first)) != 0 &&
         errno == EINTR) {
  }
}

void Mapping::Populate(size_t offset, size_t bytes) const {
  const size_t first = offset / kPageBytes * kPageBytes;
  ::madvise(base_ + first, offset + bytes - first, MADV_POPULATE_WRITE);
}

void SetFileSize(int fd, size_t bytes, const std::string& what) {
  const NoFileSizeSignal guard;
  if (::ftruncate(fd, static_cast<off_t>(bytes)) == 0) return;
  const int error = errno;
  throw std::system_error(
      error, std::generic_category(),
      "cannot give " + what + " " + std::to_string(bytes >> 10) + " KiB" +
          (error == EFBIG ? ", which the limit of file sizes forbids: raise it (ulimit -f)" : ""));
}

std::shared_ptr<Mapping> MakeAnonymousMapping(const char* name, size_t file_bytes,
                                              size_t mapped_bytes) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC));
  if (!fd.valid()) {
    throw std::system_error(errno, std::generic_category(),
                            std::string("cannot create memory for ") + name);
  }
  SetFileSize(fd.get(), file_bytes, name);
  return std::make_shared<Mapping>(std::move(fd), mapped_bytes, name);
}

}  // namespace qpip::wire
