// Requests for those who need several for one: allocated once, used again and again.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "storage/core/request.h"

namespace qpip::storage {

/// Grows when there is none left and never shrinks. Thread-safe.
class RequestPool {
 public:
  RequestPool() = default;
  RequestPool(const RequestPool&) = delete;
  RequestPool& operator=(const RequestPool&) = delete;

  Request& Take() {
    const std::lock_guard lock(mutex_);
    if (Task* const free = free_.Pop()) return static_cast<Request&>(*free);
    return *all_.emplace_back(std::make_unique<Request>());
  }
  void Put(Request& request) {
    const std::lock_guard lock(mutex_);
    free_.Push(request);
  }
  /// How many it has ever had to make.
  size_t size() const {
    const std::lock_guard lock(mutex_);
    return all_.size();
  }

 private:
  mutable std::mutex mutex_;
  TaskList free_;
  std::vector<std::unique_ptr<Request>> all_;
};

}  // namespace qpip::storage
