// What the NBD server serves: files and block devices, by name.
#pragma once

#include <sys/uio.h>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qpip::nbd {

/// Storage behind an export. Thread-safe: several connections use one device at a time.
/// Operations return 0 or an errno value.
class BlockDevice {
 public:
  virtual ~BlockDevice() = default;

  virtual uint64_t size_bytes() const = 0;
  virtual bool read_only() const = 0;
  /// Reads exactly out.size() bytes.
  virtual int Read(uint64_t offset, std::span<uint8_t> out) = 0;
  /// Writes all of `data`; it may be modified (the list, not the bytes).
  virtual int Write(uint64_t offset, std::span<iovec> data) = 0;
  /// Everything written before, by anyone, is on stable storage when it returns 0.
  virtual int Flush() = 0;
};

/// A regular file or a block device.
class FileDevice : public BlockDevice {
 public:
  /// Throws apps::Failure: cannot be opened, is a directory, its size cannot be read.
  FileDevice(const std::string& path, bool read_only);
  ~FileDevice() override;
  FileDevice(const FileDevice&) = delete;
  FileDevice& operator=(const FileDevice&) = delete;

  uint64_t size_bytes() const override { return size_bytes_; }
  bool read_only() const override { return read_only_; }
  int Read(uint64_t offset, std::span<uint8_t> out) override;
  int Write(uint64_t offset, std::span<iovec> data) override;
  int Flush() override;

 private:
  int fd_;
  bool read_only_;
  uint64_t size_bytes_ = 0;
};

struct Export {
  std::string name;
  std::unique_ptr<BlockDevice> device;
};

/// The exports of a server; the first is also the default one, named "". Immutable once serving.
class ExportTable {
 public:
  /// Throws apps::UsageError: duplicate, empty or too long name.
  void Add(std::string name, std::unique_ptr<BlockDevice> device);
  /// nullptr when there is none of that name.
  const Export* Find(std::string_view name) const;
  const std::vector<Export>& all() const { return exports_; }

 private:
  std::vector<Export> exports_;
};

/// "NAME=FILE" or "FILE" (its name is the last component of the path).
struct ExportArgument {
  std::string name;
  std::string path;
};
/// Throws apps::UsageError.
ExportArgument ParseExportArgument(const std::string& text);

}  // namespace qpip::nbd
