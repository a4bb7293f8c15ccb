// Memory that is backed by a file on tmpfs or a memfd, and what can be done to its pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace qpip::wire {

/// A file descriptor that closes itself.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Take()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  ~UniqueFd() { Close(); }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Take();
  void Close();

 private:
  int fd_ = -1;
};

/// A shared, writable mapping of the start of a file. Thread-safe.
class Mapping {
 public:
  /// Maps the first `bytes` of `fd` and keeps the descriptor (needed by Reserve, Discard and View).
  /// `what` is used in messages. Throws std::system_error.
  Mapping(UniqueFd fd, size_t bytes, const std::string& what);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  uint8_t* base() const { return base_; }
  size_t bytes() const { return bytes_; }

  /// Maps another part of the file, whole pages; the view has no descriptor. Throws
  /// std::system_error.
  std::unique_ptr<Mapping> View(size_t offset, size_t bytes) const;

  /// Makes sure that the pages of a range of the file exist, so that touching them cannot fail (a
  /// sparse page of a full tmpfs is a SIGBUS). Returns 0 or an errno value, ENOSPC above all.
  int Reserve(size_t offset, size_t bytes) const;
  /// Gives the whole pages inside a range back; they read as zero afterwards.
  void Discard(size_t offset, size_t bytes) const;
  /// Closes the descriptor: Reserve, Discard and View no longer work.
  void CloseFile() { fd_.Close(); }
  /// Faults a reserved range of the mapping in, so that the data path does not. Best effort.
  void Populate(size_t offset, size_t bytes) const;

 private:
  Mapping(int fd, size_t offset, size_t bytes, const std::string& what);

  UniqueFd fd_;
  uint8_t* base_ = nullptr;
  size_t bytes_ = 0;
};

/// ftruncate that raises no signal. The file stays sparse. `what` is used in the message. Throws
/// std::system_error.
void SetFileSize(int fd, size_t bytes, const std::string& what);

/// The start of memory of this process that can be mapped again and grows on demand. Throws
/// std::system_error.
std::shared_ptr<Mapping> MakeAnonymousMapping(const char* name, size_t file_bytes,
                                              size_t mapped_bytes);

}  // namespace qpip::wire
