#include "preload/core/options.h"

#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "preload/core/deadline.h"

namespace qpip::preload {

namespace {

// A kernel socket for one question.
class Probe {
 public:
  explicit Probe(int family) : fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~Probe() {
    if (fd_ >= 0) close(fd_);
  }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

constexpr size_t kLongest = 512;  // bytes of an option that is kept

}  // namespace

const std::vector<uint8_t>* Options::Find(int level, int name) const {
  const auto found = set_.find({level, name});
  return found == set_.end() ? nullptr : &found->second;
}

void Options::Note(int level, int name, const void* value, socklen_t length) {
  const auto* bytes = static_cast<const uint8_t*>(value);
  if (bytes == nullptr || length > kLongest) return;
  set_[{level, name}].assign(bytes, bytes + length);
}

int Options::Set(int level, int name, const void* value, socklen_t length) {
  const Probe probe(family_);
  if (probe.fd() < 0 || setsockopt(probe.fd(), level, name, value, length) != 0) return -errno;
  Note(level, name, value, length);
  return 0;
}

int Options::Get(int level, int name, void* value, socklen_t* length) const {
  const Probe probe(family_);
  if (probe.fd() < 0) return -errno;
  // Linux tells some back otherwise than it was told (a buffer's size is doubled).
  if (const std::vector<uint8_t>* set = Find(level, name)) {
    setsockopt(probe.fd(), level, name, set->data(), static_cast<socklen_t>(set->size()));
  }
  return getsockopt(probe.fd(), level, name, value, length) == 0 ? 0 : -errno;
}

void Options::ApplyTo(int fd) const {
  for (const auto& [key, value] : set_) {
    setsockopt(fd, key.first, key.second, value.data(), static_cast<socklen_t>(value.size()));
  }
}

std::optional<std::chrono::nanoseconds> Options::Timeout(int name) const {
  const std::vector<uint8_t>* set = Find(SOL_SOCKET, name);
  timeval time = {};
  if (set == nullptr || set->size() < sizeof time) return std::nullopt;
  std::memcpy(&time, set->data(), sizeof time);
  const bool none = time.tv_sec == 0 && time.tv_usec == 0;
  if (none || IsForEver(std::chrono::seconds(time.tv_sec))) return std::nullopt;
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

std::optional<std::chrono::nanoseconds> Options::receive_timeout() const {
  return Timeout(SO_RCVTIMEO);
}

std::optional<std::chrono::nanoseconds> Options::send_timeout() const {
  return Timeout(SO_SNDTIMEO);
}

std::optional<int> Options::linger_s() const {
  const std::vector<uint8_t>* set = Find(SOL_SOCKET, SO_LINGER);
  linger value = {};
  if (set == nullptr || set->size() < sizeof value) return std::nullopt;
  std::memcpy(&value, set->data(), sizeof value);
  if (value.l_onoff == 0) return std::nullopt;
  return value.l_linger;
}

}  // namespace qpip::preload
