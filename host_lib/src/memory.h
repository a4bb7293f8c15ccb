// Memory: what rings live in, and registered regions.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace qpip {
struct RegionOptions;
}

namespace qpip::internal {

class NicImpl;

/// Page-aligned, zeroed, private memory. Pages never touched cost no memory, only address space.
class MappedMemory {
 public:
  MappedMemory() = default;
  /// Throws Error ENOMEM, naming `purpose`.
  MappedMemory(size_t bytes, const char* purpose);
  ~MappedMemory();
  MappedMemory(MappedMemory&& other) noexcept;
  MappedMemory& operator=(MappedMemory&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// A protection domain is a number that the host chooses; the NIC compares it.
class PdImpl {
 public:
  PdImpl(std::shared_ptr<NicImpl> nic, uint32_t id) : nic_(std::move(nic)), id_(id) {}
  const std::shared_ptr<NicImpl>& nic() const { return nic_; }
  uint32_t id() const { return id_; }

 private:
  std::shared_ptr<NicImpl> nic_;
  uint32_t id_;
};

/// A registered region, and its memory when it was allocated by the library.
class MrImpl {
 public:
  /// Registers memory of the caller. Throws Error.
  MrImpl(std::shared_ptr<PdImpl> pd, void* address, size_t bytes, int access,
         const RegionOptions& options);
  /// Allocates memory, the wire's own where it has such, and registers it. Throws Error.
  MrImpl(std::shared_ptr<PdImpl> pd, size_t bytes, int access);
  /// Waits until the NIC has forgotten the key, then frees what was allocated.
  ~MrImpl();
  MrImpl(const MrImpl&) = delete;
  MrImpl& operator=(const MrImpl&) = delete;

  uint32_t key() const { return key_; }
  void* data() const { return data_; }
  size_t size() const { return size_; }
  uint64_t iova() const { return iova_; }  ///< address of the first byte in work requests
  ibv_mr* verbs() { return &verbs_; }      ///< the same in verbs' terms

 private:
  void Register(int access, uint32_t queue_pair);
  void FreeShared();

  std::shared_ptr<PdImpl> pd_;
  void* data_ = nullptr;
  size_t size_ = 0;
  uint64_t iova_ = 0;
  uint32_t key_ = 0;
  ibv_mr verbs_ = {};
  void* shared_ = nullptr;  ///< from HostPort::AllocateShared
  MappedMemory owned_;
};

/// A memory window.
class MwImpl {
 public:
  /// Throws Error.
  explicit MwImpl(std::shared_ptr<PdImpl> pd);
  ~MwImpl();
  MwImpl(const MwImpl&) = delete;
  MwImpl& operator=(const MwImpl&) = delete;

  ibv_mw* verbs() { return &verbs_; }

 private:
  std::shared_ptr<PdImpl> pd_;
  ibv_mw verbs_ = {};
};

}  // namespace qpip::internal
