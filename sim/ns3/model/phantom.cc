#include "sim/ns3/model/phantom.h"

#include <sys/mman.h>

#include <new>

namespace qpip::sim {
namespace {

constexpr size_t kRangeBytes = size_t{1} << 40;  // address space only

struct Range {
  uint64_t start = 0;
  uint64_t next = 0;
};
Range range;

}  // namespace

void* AllocatePhantom(size_t bytes) {
  if (range.start == 0) {
    void* at =
        mmap(nullptr, kRangeBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) throw std::bad_alloc();
    range.start = range.next = reinterpret_cast<uint64_t>(at);
  }
  const size_t rounded = (bytes + 4095) & ~size_t{4095};
  if (rounded > range.start + kRangeBytes - range.next) throw std::bad_alloc();
  const uint64_t at = range.next;
  range.next += rounded;
  return reinterpret_cast<void*>(at);
}

bool IsPhantom(uint64_t address) { return address - range.start < kRangeBytes && range.start != 0; }

}  // namespace qpip::sim
