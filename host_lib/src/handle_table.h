// Objects by the 24-bit handles that the NIC gave them.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

namespace qpip::internal {

/// A two-level array: any handle is found with two loads, and a NIC that numbers its objects from
/// zero costs one page. Find may run at any time on any thread; Set is serialised by the caller.
/// Does not own the objects.
template <typename T>
class HandleTable {
 public:
  HandleTable() = default;
  HandleTable(const HandleTable&) = delete;
  HandleTable& operator=(const HandleTable&) = delete;
  ~HandleTable() {
    for (auto& page : pages_) delete page.load(std::memory_order_relaxed);
  }

  /// The object, or nullptr.
  T* Find(uint32_t handle) const {
    if (handle > kMaxHandle) return nullptr;
    const Page* page = pages_[handle >> kPageBits].load(std::memory_order_acquire);
    return page == nullptr ? nullptr
                           : page->entries[handle & kPageMask].load(std::memory_order_acquire);
  }

  /// Calls visit(object) for each object, on any thread. Slow.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto& slot : pages_) {
      const Page* page = slot.load(std::memory_order_acquire);
      if (page == nullptr) continue;
      for (const auto& entry : page->entries) {
        if (T* object = entry.load(std::memory_order_acquire)) visit(*object);
      }
    }
  }

  /// Handles above 24 bits are ignored: no doorbell could name them.
  void Set(uint32_t handle, T* object) {
    if (handle > kMaxHandle) return;
    std::atomic<Page*>& slot = pages_[handle >> kPageBits];
    Page* page = slot.load(std::memory_order_relaxed);
    if (page == nullptr) {
      page = new Page;
      slot.store(page, std::memory_order_release);
    }
    page->entries[handle & kPageMask].store(object, std::memory_order_release);
  }

 private:
  static constexpr uint32_t kPageBits = 12;
  static constexpr uint32_t kPageMask = (1u << kPageBits) - 1;
  static constexpr uint32_t kMaxHandle = (1u << 24) - 1;
  struct Page {
    std::array<std::atomic<T*>, 1u << kPageBits> entries{};
  };

  std::array<std::atomic<Page*>, 1u << (24 - kPageBits)> pages_{};
};

}  // namespace qpip::internal
