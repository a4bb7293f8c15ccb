// Functions in the place of the C library's: what they have in common.
//
// Each asks whether the descriptor is one of the library's own (one load), and else calls the
// function that would have been called. Threads of the library, and threads that are in it, are
// `inside`: what they call is the C library's.
#pragma once

#include <dlfcn.h>

#include <cerrno>
#include <exception>
#include <new>
#include <type_traits>

#include "preload/core/sockets.h"

// The function that stands behind the one of this name.
#define QPIP_REAL(name) \
  static const auto real = reinterpret_cast<decltype(&::name)>(dlsym(RTLD_NEXT, #name))

namespace qpip::preload {

/// The program's sockets; nullptr: none are to be QPIP's.
extern Sockets* g_sockets;
/// How deep this thread is in the library.
extern thread_local int g_inside __attribute__((tls_model("initial-exec")));

/// While it lives this thread is inside.
class Inside {
 public:
  Inside() { ++g_inside; }
  ~Inside() { --g_inside; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
};

inline bool Outside() { return g_inside == 0 && g_sockets != nullptr; }
inline bool Ours(int fd) { return Outside() && g_sockets->Has(fd); }

/// Runs `call`; no exception leaves it.
template <typename Call>
long Enter(Call call) {
  const Inside inside;
  try {
    return call(*g_sockets);
  } catch (const Error& error) {
    return -error.code();
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  } catch (const std::exception&) {  // not what ends a cancelled thread
    return -EIO;
  }
}

/// As the C library gives a system call's result.
template <typename Result>
Result Return(long result) {
  if (result >= 0) return static_cast<Result>(result);
  errno = static_cast<int>(-result);
  return -1;
}

}  // namespace qpip::preload
