#include "sim/wire/secret_memory.h"

#include <sys/mman.h>

#include <new>

namespace qpip::wire {

void* SecretMemory::do_allocate(size_t bytes, size_t) {
  void* pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  if (::madvise(pages, bytes, MADV_DONTDUMP) != 0) undumped_ = false;
  // A child finds zeroes there: it has no business with them. Kernels before 4.14 have neither this
  // nor worry; and locked memory is limited, so that is for where there is enough.
  ::madvise(pages, bytes, MADV_WIPEONFORK);
  ::mlock(pages, bytes);
  return pages;
}

void SecretMemory::do_deallocate(void* pages, size_t bytes, size_t) { ::munmap(pages, bytes); }

}  // namespace qpip::wire
