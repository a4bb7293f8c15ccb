// Fabrics in shared memory: a directory of files under /dev/shm.
//
//     /dev/shm/qpip.UID.FABRIC/   0700
//         control                 ControlBlock; locks: one byte to attach, one byte a slot
//         port.SLOT.GENERATION    a port's memory, sparse
//
// Locks are open-file-description locks (fcntl(2)). A live port holds the one of its slot, so the
// kernel itself says whether a port lives, however it ended and whatever pid came after it. They
// belong to the open file, which a forked child has too until it closes it: at once (fork.h), or
// its life would count as its parent's.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

#include "sim/wire/fork.h"
#include "sim/wire/membership.h"
#include "sim/wire/private_file.h"

namespace qpip::wire {
namespace {

constexpr const char* kControlFile = "control";
constexpr off_t kAttachLock = off_t{1} << 20;  // behind the end of the file: only names for locks
constexpr off_t kSlotLocks = kAttachLock + 1;
/// How long is waited for the lock of the port table, which is held for moments.
constexpr std::chrono::milliseconds kAtOnce{0};
constexpr std::chrono::milliseconds kToJoin{10000};
constexpr std::chrono::milliseconds kToLeave{500};

[[noreturn]] void ThrowErrno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

/// Errors that are this process's want of something, not the other port's end.
bool IsLack(int error) {
  // EAGAIN: of mmap, where everything that is mapped is locked (mlockall).
  return error == ENOMEM || error == EMFILE || error == ENFILE || error == EAGAIN;
}

struct flock LockRange(short type, off_t start, off_t length) {
  struct flock range = {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = start;
  range.l_len = length;
  return range;
}

/// Does another open file hold a lock in the range?
bool LockedByOthers(int fd, off_t start, off_t length) {
  struct flock range = LockRange(F_WRLCK, start, length);
  return ::fcntl(fd, F_OFD_GETLK, &range) != 0 || range.l_type != F_UNLCK;
}

/// The lock under which the port table changes. Held from construction until destruction.
class AttachLock {
 public:
  /// Waits for it so long: whoever has it may be stopped.
  AttachLock(int fd, std::chrono::milliseconds patience) : fd_(fd) {
    const auto until = std::chrono::steady_clock::now() + patience;
    std::chrono::microseconds pause(20);
    while (!(held_ = Try())) {
      const bool taken = errno == EAGAIN || errno == EACCES || errno == EINTR;
      if (!taken || std::chrono::steady_clock::now() >= until) return;
      std::this_thread::sleep_for(pause);
      pause = std::min(2 * pause, kLongestPause);
    }
  }
  ~AttachLock() {
    struct flock range = LockRange(F_UNLCK, kAttachLock, 1);
    if (held_) ::fcntl(fd_, F_OFD_SETLK, &range);
  }
  AttachLock(const AttachLock&) = delete;
  AttachLock& operator=(const AttachLock&) = delete;
  bool held() const { return held_; }

 private:
  static constexpr std::chrono::microseconds kLongestPause{2000};

  bool Try() const {
    struct flock range = LockRange(F_WRLCK, kAttachLock, 1);
    return ::fcntl(fd_, F_OFD_SETLK, &range) == 0;
  }

  const int fd_;
  bool held_ = false;
};

void RemovePortFiles(int directory) {
  const int descriptor = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* listing = descriptor < 0 ? nullptr : ::fdopendir(descriptor);
  if (listing == nullptr) return;
  while (const dirent* entry = ::readdir(listing)) {
    const std::string name = entry->d_name;
    if (name.starts_with("port.")) ::unlinkat(directory, name.c_str(), 0);
  }
  ::closedir(listing);
}

/// Removes a fabric that no live port is on. The caller holds its attach lock.
void RemoveIfDeserted(const std::string& path, int directory, int control) {
  if (LockedByOthers(control, kSlotLocks, kMaxPorts)) return;
  RemovePortFiles(directory);
  ::unlinkat(directory, kControlFile, 0);
  ::rmdir(path.c_str());
}

/// Removes what this user's killed processes have left: fabrics whose last port died without
/// detaching keep their memory until somebody looks. Best effort: who is busy is left alone, and so
/// is whatever is not this user's.
void RemoveDesertedFabrics() {
  const std::string all = FabricDirectory("");
  const size_t slash = all.rfind('/');
  const std::string prefix = all.substr(slash + 1);
  DIR* listing = ::opendir(all.substr(0, slash).c_str());
  if (listing == nullptr) return;
  while (const dirent* entry = ::readdir(listing)) {
    const std::string name = entry->d_name;
    if (!name.starts_with(prefix)) continue;
    const std::string path = all.substr(0, slash + 1) + name;
    const UniqueFd directory = OpenPrivateDirectory(path);
    if (!directory.valid()) continue;
    const UniqueFd control = OpenPrivateFile(directory.get(), kControlFile, IfMissing::kFail);
    if (!control.valid()) {
      // Its maker died before there was a control file, or is about to make one: then it finds its
      // directory gone, and starts again.
      if (errno == ENOENT) ::rmdir(path.c_str());
      continue;
    }
    const AttachLock lock(control.get(), kAtOnce);
    // A control file that has been removed since it was opened may have a successor in the same
    // directory, whose locks these are not.
    struct stat status;
    if (lock.held() && ::fstat(control.get(), &status) == 0 && status.st_nlink > 0) {
      RemoveIfDeserted(path, directory.get(), control.get());
    }
  }
  ::closedir(listing);
}

class ShmMembership final : public Membership {
 public:
  explicit ShmMembership(const FabricOptions& options);
  ~ShmMembership() override;

  PortView MapPort(uint32_t slot, uint32_t generation, int* lack) override;
  void ReclaimDead() override;
  bool shared_futex() const override { return true; }
  bool inherited() const override { return fork_.inherited(); }
  bool removed() const override {
    struct stat status;
    return ::fstat(control_fd_, &status) == 0 && status.st_nlink == 0;
  }

 private:
  bool IsRunning(uint32_t slot) override {
    return LockedByOthers(control_fd_, kSlotLocks + slot, 1);
  }
  void DropMemory(uint32_t slot, uint32_t generation) override {
    ::unlinkat(directory_.get(), PortFileName(slot, generation).c_str(), 0);
  }

  void OpenDirectory();
  bool OpenControl();
  void AttachLocked(const FabricOptions& options);
  void MapControlLocked();
  std::string WhyUnusableLocked() const;
  void CreatePortLocked();
  void CloseFiles();
  void RemoveFabricIfDeserted() { RemoveIfDeserted(path_, directory_.get(), control_fd_); }

  const std::string path_;
  UniqueFd directory_;
  int control_fd_ = -1;  ///< owned by control_file_, which is closed last
  UniqueFd control_file_;
  const ForkWatch fork_{{.child = [this] { CloseFiles(); }}};
};

ShmMembership::ShmMembership(const FabricOptions& options) : path_(FabricDirectory(options.name)) {
  RemoveDesertedFabrics();
  // The last port of a fabric removes its files; who opened them just before finds himself with
  // a lock on a file that is gone, and starts again.
  for (;;) {
    OpenDirectory();
    if (!OpenControl()) continue;
    const AttachLock lock(control_fd_, kToJoin);
    if (!lock.held()) {
      ThrowErrno(
          "cannot lock " + path_ + "/" + kControlFile +
          ", which another process of this fabric has had locked for long (is one stopped?)");
    }
    struct stat status;
    if (::fstat(control_fd_, &status) != 0) ThrowErrno("cannot examine " + path_);
    if (status.st_nlink == 0) continue;
    try {
      AttachLocked(options);
    } catch (...) {
      RemoveFabricIfDeserted();
      throw;
    }
    return;
  }
}

void ShmMembership::OpenDirectory() {
  if (::mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST) ThrowErrno("cannot create " + path_);
  directory_ = OpenPrivateDirectory(path_);
  if (directory_.valid() || errno == ENOENT) return;  // removed since: OpenControl starts again
  if (errno != EPERM) ThrowErrno("cannot open " + path_);
  throw std::runtime_error(path_ +
                           " is not a private directory of this user: choose another fabric name, "
                           "or have it removed by its owner (ls -ld) or by root");
}

bool ShmMembership::OpenControl() {
  if (!directory_.valid()) return false;
  control_file_ = OpenPrivateFile(directory_.get(), kControlFile, IfMissing::kCreate);
  control_fd_ = control_file_.get();
  if (control_file_.valid()) return true;
  if (errno == ENOENT) return false;  // the directory was removed in between
  if (errno == EPERM) {
    throw std::runtime_error(path_ + "/" + kControlFile +
                             " is no regular file of this user: remove it");
  }
  ThrowErrno("cannot open " + path_ + "/" + kControlFile);
}

void ShmMembership::AttachLocked(const FabricOptions& options) {
  MapControlLocked();
  ChooseSlotLocked(options);
  control_memory_->CloseFile();
  struct flock mine = LockRange(F_WRLCK, kSlotLocks + slot_, 1);
  if (::fcntl(control_fd_, F_OFD_SETLK, &mine) != 0) {
    ThrowErrno("cannot lock slot " + std::to_string(slot_) + " of " + path_);
  }
  CreatePortLocked();
  AnnounceLocked(options.address);
}

std::string ShmMembership::WhyUnusableLocked() const {
  struct stat status;
  if (::fstat(control_fd_, &status) != 0) return "it cannot be examined";
  if (status.st_size < static_cast<off_t>(kControlBytes)) {
    return "it is " + std::to_string(status.st_size) + " bytes long instead of " +
           std::to_string(kControlBytes);
  }
  struct {
    uint64_t magic;
    uint32_t version;
    uint32_t bytes;
  } head;
  if (::pread(control_fd_, &head, sizeof head, 0) != static_cast<ssize_t>(sizeof head)) {
    return "it cannot be read";
  }
  if (head.magic != kControlMagic) return "it does not start with the right magic number";
  if (head.version != kLayoutVersion || head.bytes != kControlBytes) {
    return "its layout version is " + std::to_string(head.version) + ", this program's is " +
           std::to_string(kLayoutVersion);
  }
  return "";
}

void ShmMembership::MapControlLocked() {
  const bool deserted = !LockedByOthers(control_fd_, kSlotLocks, kMaxPorts);
  const std::string complaint = WhyUnusableLocked();
  if (!deserted && !complaint.empty()) {
    throw std::runtime_error("fabric control file " + path_ + "/" + kControlFile +
                             " is unusable while ports are alive: " + complaint +
                             "; close the programs that use the fabric, or use another one");
  }
  if (deserted) {
    // Whatever is there was left behind by the dead.
    RemovePortFiles(directory_.get());
    SetFileSize(control_fd_, 0, path_ + "/" + kControlFile);
    SetFileSize(control_fd_, kControlBytes, path_ + "/" + kControlFile);
  }
  // Opened once more: a mapping keeps its open file, and the locks of that, also in a forked child.
  UniqueFd mapped = OpenPrivateFile(directory_.get(), kControlFile, IfMissing::kFail);
  if (!mapped.valid()) ThrowErrno("cannot map " + path_ + "/" + kControlFile);
  control_memory_ =
      std::make_shared<Mapping>(std::move(mapped), kControlBytes, path_ + "/" + kControlFile);
  if (const int error = control_memory_->Reserve(0, offsetof(ControlBlock, ports)); error != 0) {
    errno = error;
    ThrowErrno("no room for " + path_ + "/" + kControlFile + " (see df /dev/shm)");
  }
  control_ = SharedAt<ControlBlock>(control_memory_->base());
  if (deserted) {
    control_->bytes.store(kControlBytes, std::memory_order_relaxed);
    control_->version.store(kLayoutVersion, std::memory_order_relaxed);
    control_->magic.store(kControlMagic, std::memory_order_release);
  }
}

void ShmMembership::CreatePortLocked() {
  const std::string name = PortFileName(slot_, generation_);
  ::unlinkat(directory_.get(), name.c_str(), 0);
  UniqueFd file(::openat(directory_.get(), name.c_str(),
                         O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) ThrowErrno("cannot create " + path_ + "/" + name);
  try {
    SetFileSize(file.get(), kPortMemoryBytes, path_ + "/" + name);
    own_memory_ = std::make_shared<Mapping>(std::move(file), kRingsOffset, path_ + "/" + name);
    if (const int error = own_memory_->Reserve(0, kPageBytes); error != 0) {
      throw std::system_error(error, std::generic_category(),
                              "no room for " + path_ + "/" + name + " (see df /dev/shm)");
    }
  } catch (...) {
    ::unlinkat(directory_.get(), name.c_str(), 0);
    throw;
  }
}

PortView ShmMembership::MapPort(uint32_t slot, uint32_t generation, int* lack) {
  *lack = 0;
  const std::string name = PortFileName(slot, generation);
  UniqueFd file = OpenPrivateFile(directory_.get(), name, IfMissing::kFail);
  *lack = !file.valid() && IsLack(errno) ? errno : 0;
  struct stat status;
  if (!file.valid() || ::fstat(file.get(), &status) != 0 ||
      status.st_size != static_cast<off_t>(kPortMemoryBytes)) {
    return {};
  }
  try {
    PortView view = {std::make_shared<Mapping>(std::move(file), kRingsOffset, name), nullptr};
    view.ring = view.memory->View(RingOffset(this->slot()), kRingStride);
    view.memory->CloseFile();
    const PortHeader* header = SharedAt<PortHeader>(view.memory->base());
    if (header->magic.load(std::memory_order_acquire) != kPortMagic ||
        header->slot.load(std::memory_order_relaxed) != slot ||
        header->generation.load(std::memory_order_relaxed) != generation) {
      return {};
    }
    return view;
  } catch (const std::system_error& error) {
    if (IsLack(error.code().value())) *lack = error.code().value();
    return {};
  }
}

void ShmMembership::ReclaimDead() {
  const AttachLock lock(control_fd_, kAtOnce);
  if (lock.held()) ReclaimDeadLocked(false);
}

void ShmMembership::CloseFiles() {
  directory_.Close();
  control_file_.Close();
  if (own_memory_ != nullptr) own_memory_->CloseFile();
}

ShmMembership::~ShmMembership() {
  if (fork_.inherited()) return;
  const AttachLock lock(control_fd_, kToLeave);
  // Whoever has it does not get on. This port's own locks fall with its descriptor, and others find
  // it gone as if it had been killed.
  if (!lock.held()) return;
  WithdrawLocked();
  RemoveFabricIfDeserted();
  struct flock all = LockRange(F_UNLCK, kSlotLocks, kMaxPorts);
  ::fcntl(control_fd_, F_OFD_SETLK, &all);
}

}  // namespace

std::string FabricDirectory(const std::string& name) {
  return "/dev/shm/qpip." + std::to_string(::geteuid()) + "." + name;
}

std::string PortFileName(uint32_t slot, uint32_t generation) {
  char name[48];
  std::snprintf(name, sizeof name, "port.%02u.%u", slot, generation);
  return name;
}

std::unique_ptr<Membership> JoinSharedMemoryFabric(const FabricOptions& options) {
  return std::make_unique<ShmMembership>(options);
}

}  // namespace qpip::wire
