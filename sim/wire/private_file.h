// Files and directories that nobody else can have put there. /dev/shm is everybody's, so a name in
// it is looked at before it is opened: opening alone can block for as long as another process likes
// (a file lease, fcntl(2)), or set something off (a device).
#pragma once

#include <string>

#include "sim/wire/mapping.h"

namespace qpip::wire {

/// A directory that is this user's alone (owner, mode 0700), for openat(2) and its like. Invalid
/// otherwise, with errno: EPERM when there is something else, or somebody else's, under that name.
UniqueFd OpenPrivateDirectory(const std::string& path);

enum class IfMissing : uint8_t { kFail, kCreate };

/// A regular file of this user's in such a directory, for reading and writing. Never blocks.
/// Invalid otherwise, with errno: EPERM when it is something else, EWOULDBLOCK when a process of
/// this user holds a lease on it.
UniqueFd OpenPrivateFile(int directory, const std::string& name, IfMissing if_missing);

}  // namespace qpip::wire
