// What librdmacm's functions answer: 0, or -1 and errno.
#pragma once

#include <cerrno>

#include "verbs/core/guard.h"

namespace qpip::verbs {

/// Of a `function` that returns 0 or an errno value, or throws.
template <typename Function>
int Result(Function function) {
  const int error = Number(function);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

/// Of one that is not there.
inline int Absent() {
  errno = EOPNOTSUPP;
  return -1;
}

}  // namespace qpip::verbs
