// A listening Unix stream socket with the manners of a good neighbour.
#pragma once

#include <string>

#include "apps/common/command_line.h"

namespace qpip::nbd {

/// Something that one connection needs cannot be had now, a later one may have it: the others go
/// on.
class Lack : public apps::Failure {
 public:
  using apps::Failure::Failure;
};

/// Owns a file descriptor.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor();
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// Listens at a path: refuses one that is in use, removes a stale socket, unlinks its own.
class LocalSocket {
 public:
  /// Throws apps::UsageError (path empty or too long), apps::Failure (in use, not a socket, no
  /// permission).
  explicit LocalSocket(const std::string& path);
  ~LocalSocket();
  LocalSocket(const LocalSocket&) = delete;
  LocalSocket& operator=(const LocalSocket&) = delete;

  /// For poll: readable when a connection waits.
  int fd() const { return socket_.get(); }
  /// Takes a waiting connection; empty when there is none. Throws Lack, and the connection goes on
  /// waiting; apps::Failure.
  FileDescriptor Accept();

 private:
  std::string path_;
  FileDescriptor socket_;
};

}  // namespace qpip::nbd
