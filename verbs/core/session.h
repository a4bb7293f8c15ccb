// An open NIC, as all contexts of a device and librdmacm share it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "qpip/qpip.h"
#include "verbs/core/device.h"
#include "verbs/core/engine.h"

namespace qpip::verbs {

struct Qp;

/// Numbers of queue pairs that verbs gives out, and where a connection arrives on the wire: TCP
/// ports below the ephemeral ones (decision 0059).
inline constexpr uint32_t kFirstQpNumber = 0x8000;
inline constexpr uint32_t kQpNumbers = 0x4000;

/// Queue pairs by two sorts of numbers. Find and SetReal may be called on any thread at the same
/// time; Reserve and Release are serialised by the caller.
class QpTable {
 public:
  QpTable() = default;
  ~QpTable();
  QpTable(const QpTable&) = delete;
  QpTable& operator=(const QpTable&) = delete;

  /// A number that nobody has, cyclically, so that one comes round again as late as possible; 0
  /// when all are taken.
  uint32_t Reserve(Qp* qp);
  void Release(uint32_t number);
  /// By verbs' number; nullptr: nobody's.
  Qp* Find(uint32_t number) const;

  /// `number`: as QPIP's completions have it, of 24 bits. nullptr takes it out.
  void SetReal(uint32_t number, Qp* qp);
  Qp* FindReal(uint32_t number) const {
    const Page* page = pages_[number >> kPageBits & kPageMask].load(std::memory_order_acquire);
    return page == nullptr ? nullptr
                           : page->entries[number & kPageMask].load(std::memory_order_acquire);
  }

 private:
  static constexpr uint32_t kPageBits = 12;
  static constexpr uint32_t kPageMask = (1u << kPageBits) - 1;
  struct Page {
    std::atomic<Qp*> entries[1u << kPageBits] = {};
  };

  uint32_t next_ = 0;
  std::unordered_map<uint32_t, Qp*> numbers_;
  std::mutex pages_mutex_;
  std::atomic<Page*> pages_[1u << kPageBits] = {};
};

/// Thread-safe.
class Session {
 public:
  /// Throws Error, std::system_error.
  Session(std::shared_ptr<Nic> nic, Personality personality);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Nic& nic() { return *nic_; }
  Engine& engine() { return engine_; }
  QpTable& qps() { return qps_; }
  std::mutex& control() { return engine_.control(); }
  Personality personality() const { return personality_; }
  /// A port for an identifier that is bound to none: below those of queue pairs, cyclically.
  uint16_t ChoosePort() {
    return static_cast<uint16_t>(kFirstChosenPort + next_port_.fetch_add(1) % kChosenPorts);
  }
  /// A parameter of the URI as opened, of digits; `otherwise` when it has none.
  uint64_t UriNumber(std::string_view parameter, uint64_t otherwise) const;

 private:
  static constexpr uint32_t kFirstChosenPort = 0x6000;
  static constexpr uint32_t kChosenPorts = 0x2000;

  std::shared_ptr<Nic> nic_;
  Personality personality_;
  QpTable qps_;
  std::atomic<uint32_t> next_port_{0};
  Engine engine_;  ///< last: its thread uses the others
};

}  // namespace qpip::verbs
