#include "protocols/common/assert.h"

#if QPIP_ASSERTIONS
#include <cstdio>
#include <cstdlib>

namespace qpip {

void AssertionFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace qpip
#endif
