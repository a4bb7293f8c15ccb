#include "sim/wire/private_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace qpip::wire {
namespace {

UniqueFd Foreign() {
  errno = EPERM;
  return UniqueFd();
}

}  // namespace

UniqueFd OpenPrivateDirectory(const std::string& path) {
  // O_PATH opens no more than the name; O_NOFOLLOW makes that of a symbolic link the link itself.
  UniqueFd directory(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid()) return directory;
  struct stat status;
  if (::fstat(directory.get(), &status) != 0) return UniqueFd();
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() || (status.st_mode & 077) != 0) {
    return Foreign();
  }
  return directory;
}

UniqueFd OpenPrivateFile(int directory, const std::string& name, IfMissing if_missing) {
  struct stat status;
  const bool there = ::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
  if (!there && (errno != ENOENT || if_missing == IfMissing::kFail)) return UniqueFd();
  if (there && (!S_ISREG(status.st_mode) || status.st_uid != ::geteuid())) return Foreign();
  const int create = if_missing == IfMissing::kCreate ? O_CREAT : 0;
  return UniqueFd(::openat(directory, name.c_str(),
                           O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | create, 0600));
}

}  // namespace qpip::wire
