#include "apps/nbd/local_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "apps/common/command_line.h"

namespace qpip::nbd {

using apps::Failure;
using apps::UsageError;

namespace {

constexpr int kBacklog = 64;

sockaddr_un Address(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    throw UsageError("bad socket path: '" + path + "': give 1 to " +
                     std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

FileDescriptor NewSocket() {
  FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) throw Failure(std::string("no socket: ") + std::strerror(errno));
  return fd;
}

/// Removes a socket that nobody listens on any more. Throws when somebody does.
void RemoveStale(const std::string& path, const sockaddr_un& address) {
  struct stat status = {};
  if (lstat(path.c_str(), &status) != 0) return;  // nothing there, or bind will say what is wrong
  if (!S_ISSOCK(status.st_mode)) {
    throw Failure("exists and is not a socket: " + path + ": give another path, or remove it");
  }
  const FileDescriptor probe = NewSocket();
  const int result =
      connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  if (result == 0 || errno == EAGAIN) {  // EAGAIN: its backlog is full
    throw Failure("socket in use: " + path + ": give another path, or stop who listens there");
  }
  if (errno == ECONNREFUSED) unlink(path.c_str());
}

/// A folder of one's own, beside `path` and for as long as this lives.
class FolderBeside {
 public:
  explicit FolderBeside(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    path_ = (slash == std::string::npos ? "" : path.substr(0, slash + 1)) + ".qpip-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) {
      throw Failure("cannot make the socket: " + path + ": " + std::strerror(errno));
    }
    folder_ = FileDescriptor(open(path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  ~FolderBeside() {
    unlinkat(folder_.get(), kName, 0);
    rmdir(path_.c_str());
  }
  FolderBeside(const FolderBeside&) = delete;
  FolderBeside& operator=(const FolderBeside&) = delete;

  /// A socket's place in it, as short as an address has to be wherever the folder is.
  std::string Place() const {
    return "/proc/self/fd/" + std::to_string(folder_.get()) + "/" + kName;
  }
  /// What is there gets the name `path` too, if nothing has it.
  bool LinkTo(const std::string& path) const {
    return linkat(folder_.get(), kName, AT_FDCWD, path.c_str(), 0) == 0;
  }

 private:
  static constexpr const char* kName = "s";
  std::string path_;
  FileDescriptor folder_;
};

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

LocalSocket::LocalSocket(const std::string& path) : path_(path) {
  const sockaddr_un address = Address(path);
  RemoveStale(path, address);
  FileDescriptor listening = NewSocket();
  // It gets its name when it listens: who finds it can connect to it.
  const FolderBeside beside(path);
  const sockaddr_un first = Address(beside.Place());
  if (bind(listening.get(), reinterpret_cast<const sockaddr*>(&first), sizeof first) != 0) {
    throw Failure("cannot make the socket: " + path + ": " + std::strerror(errno));
  }
  if (listen(listening.get(), kBacklog) != 0) {
    throw Failure("cannot listen: " + path + ": " + std::strerror(errno));
  }
  if (!beside.LinkTo(path)) {
    throw Failure("cannot name the socket: " + path + ": " + std::strerror(errno));
  }
  socket_ = std::move(listening);
}

LocalSocket::~LocalSocket() {
  if (socket_) unlink(path_.c_str());
}

FileDescriptor LocalSocket::Accept() {
  FileDescriptor fd(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (fd) return fd;
  switch (errno) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
      return fd;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      throw Lack("no room for another connection: " + path_ + ": " + std::strerror(errno) +
                 ": it waits until one ends");
    default:
      throw Failure("cannot accept: " + path_ + ": " + std::strerror(errno));
  }
}

}  // namespace qpip::nbd
