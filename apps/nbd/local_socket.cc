#include "apps/nbd/local_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
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
  if (bind(listening.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw Failure("cannot make the socket: " + path + ": " + std::strerror(errno));
  }
  if (listen(listening.get(), kBacklog) != 0) {
    const int error = errno;
    unlink(path.c_str());
    throw Failure("cannot listen: " + path + ": " + std::strerror(error));
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
