// What the kernel knows of a socket on a queue pair: a descriptor of its own kind, whose state for
// poll, select and epoll (level and edge) is set from here, so that it may stand beside any other
// descriptor in any of them.
//
// It is one end of a pair of Unix sockets. The program has one, the other is kept. What makes each
// event of the program's end:
//
//     EPOLLIN      a byte sent to it             EPOLLRDHUP   the other end is shut for writing
//     no EPOLLOUT  its send buffer is full       EPOLLHUP     the other end is shut both ways
//     EPOLLERR     the other end is closed while something in it has not been read
//
// The bytes are nobody's: whoever reads the program's end in the kernel instead of by this library
// reads such bytes.
#pragma once

namespace qpip::preload {

/// Thread-safety: one thread at a time.
class Readiness {
 public:
  /// Readable no, writable no. Throws Error (EMFILE and what else socketpair(2) says).
  Readiness();
  ~Readiness();
  Readiness(const Readiness&) = delete;
  Readiness& operator=(const Readiness&) = delete;

  /// The program's end, which is the caller's to close; once.
  int TakeEnd();

  /// What a program sees. Ends stay: neither is taken back.
  struct Level {
    bool in = false;            ///< EPOLLIN
    bool out = false;           ///< EPOLLOUT
    bool end_of_input = false;  ///< EPOLLIN | EPOLLRDHUP
    bool hang_up = false;       ///< EPOLLHUP too
    bool error = false;         ///< EPOLLERR too
    bool operator==(const Level&) const = default;
  };
  /// Makes it so. `end`: any descriptor of the program's end. `in_again`, `out_again`: has edges
  /// told anew although the level was there before.
  void Set(int end, const Level& level, bool in_again, bool out_again);
  /// Takes back what is no more, and tells of nothing new.
  void Lower(int end, const Level& level);

 private:
  void SetIn(int end, bool in, bool again);
  void SetOut(int end, bool out, bool again);
  void Fill(int end);
  void Unfill();

  int ours_ = -1;
  int end_ = -1;
  Level level_;
  int tokens_ = 0;  ///< bytes in the program's end
};

}  // namespace qpip::preload
