// Options of a socket on a queue pair. What Linux says to each is asked of a kernel socket that is
// made for the question, so names, lengths, limits and defaults are its own; what has been set is
// kept here.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace qpip::preload {

/// One thread at a time.
class Options {
 public:
  /// `family`: AF_INET or AF_INET6.
  explicit Options(int family) : family_(family) {}

  /// As setsockopt(2); 0 or a negative errno value. No effect on queue pairs but for what is below.
  int Set(int level, int name, const void* value, socklen_t length);
  /// As getsockopt(2).
  int Get(int level, int name, void* value, socklen_t* length) const;
  /// Notes what a kernel socket has been told.
  void Note(int level, int name, const void* value, socklen_t length);
  /// Sets all that was noted on a kernel socket, as far as it takes it.
  void ApplyTo(int fd) const;

  std::optional<std::chrono::nanoseconds> receive_timeout() const;  ///< SO_RCVTIMEO
  std::optional<std::chrono::nanoseconds> send_timeout() const;     ///< SO_SNDTIMEO
  std::optional<int> linger_s() const;                              ///< SO_LINGER, if on; seconds

 private:
  using Key = std::pair<int, int>;
  const std::vector<uint8_t>* Find(int level, int name) const;
  std::optional<std::chrono::nanoseconds> Timeout(int name) const;

  int family_;
  std::map<Key, std::vector<uint8_t>> set_;
};

}  // namespace qpip::preload
