// What programs see of the devices' files. UCX looks whether /dev/infiniband has a character device
// that may be read and written before it opens a device; there is none here, and nothing of that
// name is ever opened. These functions stand before the C library's (LD_PRELOAD) and answer for it
// as for /dev/null; all other paths are the C library's.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

namespace {

constexpr char kDevices[] = "/dev/infiniband/uverbs";

const char* Standing(const char* path) {
  const bool device = path != nullptr && std::strncmp(path, kDevices, sizeof kDevices - 1) == 0;
  return device ? "/dev/null" : path;
}

}  // namespace

extern "C" {

// The C library declares some parameters as never null, which says nothing of what programs pass.
int stat(const char* path, struct stat* buffer) noexcept {
  return fstatat(AT_FDCWD, Standing(path), buffer, 0);
}
int access(const char* path, int mode) noexcept {
  return faccessat(AT_FDCWD, Standing(path), mode, 0);
}
// What `stat` is in programs that were built with glibc before 2.33.
int __xstat(int /*version*/, const char* path, struct stat* buffer) noexcept {  // NOLINT
  return fstatat(AT_FDCWD, Standing(path), buffer, 0);
}

}  // extern "C"
