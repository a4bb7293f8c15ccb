#include "apps/nbd_fuse/mount.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "apps/common/command_line.h"
#include "apps/nbd_fuse/worker.h"

namespace qpip::nbd {

namespace {

/// Nothing of what the kernel asks for by name ever changes.
constexpr double kForEver = 86400;
constexpr fuse_ino_t kFileInFolder = 2;
constexpr blksize_t kBlockBytes = 4096;
constexpr mode_t kForOwner = 0600;
constexpr mode_t kForOthersToo = 0644;

/// Of a folder whose files may be read, or written, by some: they may look into it.
mode_t FolderMode(mode_t files) {
  mode_t mode = 0;
  for (const unsigned shift : {0u, 3u, 6u}) {
    if ((files >> shift & 06) != 0) mode |= 05u << shift;
  }
  return mode;
}

}  // namespace

class Mount::Session {
 public:
  Session(const MountOptions& options, const MakeClient& make);
  ~Session();
  void Run(const apps::StopToken& stop);
  const ExportFacts& facts() const { return workers_.front()->client().facts(); }
  MountCounts counts() const;

 private:
  static fuse_lowlevel_ops Operations();
  static Session& Of(fuse_req_t request) {
    return *static_cast<Session*>(fuse_req_userdata(request));
  }
  bool writable() const { return !options_.read_only && !facts().read_only; }
  bool IsFile(fuse_ino_t node) const { return !folder_ || node == kFileInFolder; }
  mode_t FileMode() const;
  struct stat Attributes(fuse_ino_t node) const;
  static void ReplyAttributes(fuse_req_t request, fuse_ino_t node);
  static void Lookup(fuse_req_t request, fuse_ino_t parent, const char* name);
  static void SetAttributes(fuse_req_t request, fuse_ino_t node, struct stat* wanted, int which);
  static void Open(fuse_req_t request, fuse_ino_t node, fuse_file_info* file);
  static void ReadFolder(fuse_req_t request, fuse_ino_t node, size_t bytes, off_t offset);
  static void Allocate(fuse_req_t request, int mode, off_t offset, off_t bytes);
  static void Seek(fuse_req_t request, off_t offset, int whence);

  MountOptions options_;
  bool folder_ = false;
  timespec made_ = {};
  fuse_lowlevel_ops operations_;
  fuse_session* session_ = nullptr;
  std::vector<std::unique_ptr<FuseWorker>> workers_;
};

Mount::Session::Session(const MountOptions& options, const MakeClient& make)
    : options_(options), operations_(Operations()) {
  struct stat point = {};
  if (stat(options.path.c_str(), &point) != 0) {
    throw apps::Failure("cannot mount on " + options.path + ": " + std::strerror(errno) +
                        ": make the file or the folder first");
  }
  folder_ = S_ISDIR(point.st_mode);
  clock_gettime(CLOCK_REALTIME, &made_);
  std::unique_ptr<Client> first = make(std::nullopt);
  // Parts of one block are changed one after the other by one worker alone.
  const bool many = first->facts().multi_conn && first->facts().minimum == 1;
  const unsigned threads = many ? options.threads : 1;

  std::string what = "fsname=qpip-nbd,subtype=qpip-nbd,default_permissions";
  if (options.allow_other) what += ",allow_other";
  std::vector<std::string> words = {"qpip-nbd-fuse", "-o", what};
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  fuse_args arguments = FUSE_ARGS_INIT(static_cast<int>(pointers.size()), pointers.data());
  session_ = fuse_session_new(&arguments, &operations_, sizeof operations_, this);
  fuse_opt_free_args(&arguments);
  if (session_ == nullptr || fuse_session_mount(session_, options.path.c_str()) != 0) {
    if (session_ != nullptr) fuse_session_destroy(session_);
    throw apps::Failure("cannot mount on " + options.path +
                        ": is there /dev/fuse, and for users who are not root fusermount3?");
  }
  // Every worker takes requests as long as there are any, and then waits for other things too.
  const int fd = fuse_session_fd(session_);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  try {
    workers_.push_back(std::make_unique<FuseWorker>(*session_, std::move(first)));
    while (workers_.size() < threads) {
      workers_.push_back(std::make_unique<FuseWorker>(*session_, make(facts())));
    }
  } catch (...) {
    fuse_session_unmount(session_);
    fuse_session_destroy(session_);
    throw;
  }
}

Mount::Session::~Session() {
  workers_.clear();
  fuse_session_unmount(session_);
  fuse_session_destroy(session_);
}

void Mount::Session::Run(const apps::StopToken& stop) {
  apps::StopToken over;  // whoever sees the end first wakes the others
  const auto run = [&](FuseWorker& worker) {
    worker.Run(stop, over);
    over.Request();
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < workers_.size(); ++i) {
    threads.emplace_back([&run, &worker = *workers_[i]] { run(worker); });
  }
  run(*workers_.front());
  for (std::thread& thread : threads) thread.join();
  // Only now: it closes the descriptor by which what was under way is answered.
  fuse_session_unmount(session_);
  if (!writable()) return;
  if (const int error = workers_.front()->client().Flush(); error != 0) {
    throw apps::Failure(std::string("the last flush failed: ") + std::strerror(error) +
                        ": what was written may be lost");
  }
}

MountCounts Mount::Session::counts() const {
  MountCounts sum;
  for (const auto& worker : workers_) {
    const MountCounts& each = worker->counts();
    sum.reads += each.reads;
    sum.writes += each.writes;
    sum.flushes += each.flushes;
    sum.bytes_read += each.bytes_read;
    sum.bytes_written += each.bytes_written;
    sum.errors += each.errors;
  }
  return sum;
}

// --- What the kernel asks for

mode_t Mount::Session::FileMode() const {
  const mode_t usual = options_.allow_other ? kForOthersToo : kForOwner;
  return options_.mode.value_or(usual) & (writable() ? 0666u : 0444u);
}

struct stat Mount::Session::Attributes(fuse_ino_t node) const {
  struct stat attributes = {};
  attributes.st_ino = node;
  attributes.st_uid = getuid();
  attributes.st_gid = getgid();
  attributes.st_atim = attributes.st_mtim = attributes.st_ctim = made_;
  attributes.st_blksize = kBlockBytes;
  if (IsFile(node)) {
    attributes.st_mode = S_IFREG | FileMode();
    attributes.st_nlink = 1;
    attributes.st_size = static_cast<off_t>(facts().bytes);
    attributes.st_blocks = static_cast<blkcnt_t>(facts().bytes / 512);
  } else {
    attributes.st_mode = S_IFDIR | FolderMode(FileMode());
    attributes.st_nlink = 2;
  }
  return attributes;
}

void Mount::Session::ReplyAttributes(fuse_req_t request, fuse_ino_t node) {
  const struct stat attributes = Of(request).Attributes(node);
  fuse_reply_attr(request, &attributes, kForEver);
}

void Mount::Session::Lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const Session& session = Of(request);
  if (!session.folder_ || parent != FUSE_ROOT_ID || session.options_.file_name != name) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  fuse_entry_param entry = {};
  entry.ino = kFileInFolder;
  entry.attr = session.Attributes(kFileInFolder);
  entry.attr_timeout = kForEver;
  entry.entry_timeout = kForEver;
  fuse_reply_entry(request, &entry);
}

void Mount::Session::SetAttributes(fuse_req_t request, fuse_ino_t node, struct stat* wanted,
                                   int which) {
  // Times may be set, and are not kept; a size only to what it is.
  const Session& session = Of(request);
  constexpr int kTimes = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_CTIME |
                         FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW;
  const bool size = (which & FUSE_SET_ATTR_SIZE) != 0;
  if ((which & ~(kTimes | FUSE_SET_ATTR_SIZE)) != 0 || !session.IsFile(node)) {
    fuse_reply_err(request, EPERM);
  } else if (size && static_cast<uint64_t>(wanted->st_size) != session.facts().bytes) {
    fuse_reply_err(request, EFBIG);
  } else {
    ReplyAttributes(request, node);
  }
}

void Mount::Session::Open(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  const Session& session = Of(request);
  if (!session.IsFile(node)) {
    fuse_reply_err(request, EISDIR);
  } else if ((file->flags & O_ACCMODE) != O_RDONLY && !session.writable()) {
    fuse_reply_err(request, EROFS);
  } else {
    file->direct_io = session.options_.direct ? 1 : 0;
    fuse_reply_open(request, file);
  }
}

void Mount::Session::ReadFolder(fuse_req_t request, fuse_ino_t node, size_t bytes, off_t offset) {
  const Session& session = Of(request);
  if (session.IsFile(node)) {
    fuse_reply_err(request, ENOTDIR);
    return;
  }
  const char* const names[] = {".", "..", session.options_.file_name.c_str()};
  std::vector<char> buffer(bytes);
  size_t used = 0;
  for (off_t i = offset; i < 3; ++i) {
    const struct stat attributes = session.Attributes(i < 2 ? FUSE_ROOT_ID : kFileInFolder);
    const size_t needed = fuse_add_direntry(request, buffer.data() + used, bytes - used, names[i],
                                            &attributes, i + 1);
    if (needed > bytes - used) break;
    used += needed;
  }
  fuse_reply_buf(request, buffer.data(), used);
}

void Mount::Session::Allocate(fuse_req_t request, int mode, off_t offset, off_t bytes) {
  const Session& session = Of(request);
  const auto end = static_cast<off_t>(session.facts().bytes);
  const int kind = mode & ~FALLOC_FL_KEEP_SIZE;
  if (!session.writable()) {
    fuse_reply_err(request, EROFS);
  } else if (kind != FALLOC_FL_PUNCH_HOLE && kind != FALLOC_FL_ZERO_RANGE) {
    fuse_reply_err(request, EOPNOTSUPP);
  } else if (offset < 0 || bytes <= 0) {
    fuse_reply_err(request, EINVAL);
  } else if (kind == mode && kind == FALLOC_FL_ZERO_RANGE && bytes > end - offset) {
    fuse_reply_err(request, EFBIG);  // the kernel would take the file to have grown
  } else if (offset >= end) {
    fuse_reply_err(request, kind == FALLOC_FL_PUNCH_HOLE ? 0 : EFBIG);
  } else {
    FuseWorker::Current().Zero(request, offset, std::min(bytes, end - offset),
                               kind == FALLOC_FL_ZERO_RANGE);
  }
}

void Mount::Session::Seek(fuse_req_t request, off_t offset, int whence) {
  if (!Of(request).facts().block_status) {
    fuse_reply_err(request, ENOSYS);  // the kernel takes all of it for data
  } else if (whence != SEEK_DATA && whence != SEEK_HOLE) {
    fuse_reply_err(request, EINVAL);
  } else {
    FuseWorker::Current().Seek(request, offset, whence == SEEK_HOLE);
  }
}

fuse_lowlevel_ops Mount::Session::Operations() {
  fuse_lowlevel_ops operations = {};
  operations.init = [](void*, fuse_conn_info* connection) {
    // Requests come in memory that a write can keep until it is over.
    connection->want &=
        ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
    connection->max_write =
        std::min(connection->max_write, static_cast<unsigned>(FuseWorker::kMostWritten));
    connection->max_background = 64;
    connection->congestion_threshold = 48;
  };
  operations.lookup = Lookup;
  operations.getattr = [](fuse_req_t request, fuse_ino_t node, fuse_file_info*) {
    ReplyAttributes(request, node);
  };
  operations.setattr = [](fuse_req_t request, fuse_ino_t node, struct stat* wanted, int which,
                          fuse_file_info*) { SetAttributes(request, node, wanted, which); };
  operations.open = Open;
  operations.readdir = [](fuse_req_t request, fuse_ino_t node, size_t bytes, off_t offset,
                          fuse_file_info*) { ReadFolder(request, node, bytes, offset); };
  operations.read = [](fuse_req_t request, fuse_ino_t, size_t bytes, off_t offset,
                       fuse_file_info*) { FuseWorker::Current().Read(request, bytes, offset); };
  operations.write = [](fuse_req_t request, fuse_ino_t, const char* data, size_t bytes,
                        off_t offset, fuse_file_info*) {
    FuseWorker::Current().Write(request, data, bytes, offset);
  };
  operations.fsync = [](fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
    FuseWorker::Current().Flush(request);
  };
  operations.fallocate = [](fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t bytes,
                            fuse_file_info*) { Allocate(request, mode, offset, bytes); };
  operations.lseek = [](fuse_req_t request, fuse_ino_t, off_t offset, int whence, fuse_file_info*) {
    Seek(request, offset, whence);
  };
  return operations;
}

// --- Mount

Mount::Mount(const MountOptions& options, const MakeClient& make)
    : session_(std::make_unique<Session>(options, make)) {}
Mount::~Mount() = default;
void Mount::Run(const apps::StopToken& stop) { session_->Run(stop); }
const ExportFacts& Mount::facts() const { return session_->facts(); }
MountCounts Mount::counts() const { return session_->counts(); }

}  // namespace qpip::nbd
