#include "preload/core/readiness.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "qpip/types.h"

namespace qpip::preload {

namespace {

// More than a quarter of the smallest send buffer (4,608 bytes): a Unix socket counts as writable
// while no more of it is in use than that.
constexpr size_t kFiller = 2048;
// Edges that have been told in a row without the bytes having been taken out.
constexpr int kMaxTokens = 64;
// Ours lie above the numbers that programs use, so that theirs are as low as they expect.
constexpr int kOursFrom = 512;

int MoveUp(int fd) {
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, kOursFrom);
  if (moved < 0) return fd;  // the limit is low
  close(fd);
  return moved;
}

void Drain(int fd) {
  std::array<char, 2 * kFiller> bytes;
  while (recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
  }
}

}  // namespace

Readiness::Readiness() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    throw Error(errno, "socket: no pair of descriptors to show the program");
  }
  end_ = pair[0];
  ours_ = MoveUp(pair[1]);
  const int smallest = 1;
  setsockopt(end_, SOL_SOCKET, SO_SNDBUF, &smallest, sizeof smallest);
  Fill(end_);
}

Readiness::~Readiness() {
  if (end_ >= 0) close(end_);
  if (ours_ >= 0) close(ours_);
}

int Readiness::TakeEnd() {
  const int end = end_;
  end_ = -1;
  return end;
}

void Readiness::Fill(int end) {
  const std::array<char, kFiller> filler = {};
  [[maybe_unused]] const ssize_t sent =
      send(end, filler.data(), filler.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void Readiness::Unfill() { Drain(ours_); }

void Readiness::SetIn(int end, bool in, bool again) {
  if (in == level_.in && !(in && again)) return;
  if (!in || tokens_ == kMaxTokens) {
    Drain(end);
    tokens_ = 0;
  }
  if (in) {
    const char token = 0;
    if (send(ours_, &token, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1) ++tokens_;
  }
  level_.in = in;
}

void Readiness::SetOut(int end, bool out, bool again) {
  if (out == level_.out && !(out && again)) return;
  if (out && level_.out) Fill(end);
  out ? Unfill() : Fill(end);
  level_.out = out;
}

void Readiness::Set(int end, const Level& level, bool in_again, bool out_again) {
  if (ours_ < 0) return;  // an error is the last that it tells
  if (level.error) {
    // So that there is something unread in it.
    if (level_.out) Fill(end);
    close(ours_);
    ours_ = -1;
    level_ = level;
    return;
  }
  SetIn(end, level.in && !level_.end_of_input, in_again && !level_.end_of_input);
  SetOut(end, level.out, out_again);
  if (level.end_of_input && !level_.end_of_input) {
    shutdown(ours_, SHUT_WR);
    level_.end_of_input = true;
  }
  if (level.hang_up && !level_.hang_up) {
    shutdown(ours_, SHUT_RDWR);
    level_.hang_up = true;
  }
}

void Readiness::Lower(int end, const Level& level) {
  if (ours_ < 0) return;
  SetIn(end, level_.in && level.in, false);
  SetOut(end, level_.out && level.out, false);
}

}  // namespace qpip::preload
