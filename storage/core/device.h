// What takes requests: leaves (files, memory, ...) and the modules that are stacked on them.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "storage/core/request.h"

namespace qpip::storage {

/// What a device is like. Fixed while it is in use, but for `bytes`, which a later geometry() may
/// tell to have changed. Who has asked before goes on with what it was: what is no longer there
/// cannot be read.
struct Geometry {
  uint64_t bytes = 0;
  uint32_t minimum = 1;       ///< offsets and lengths are multiples; a power of two
  uint32_t preferred = 4096;  ///< below, or not aligned to it, requests cost more; a power of two
  bool read_only = false;
  bool rotational = false;
  bool trim = false;       ///< trims may give space back
  bool fast_zero = false;  ///< kFastZero may succeed
  /// A flush covers what was completed before it by way of any submitter, not only its own.
  bool shared_flush = true;
};

/// Takes requests. Submit never blocks; requests may be in flight in any number and end in any
/// order. Submitters on several executors use one device at a time.
class Device {
 public:
  Device() = default;
  virtual ~Device() = default;  ///< Nothing is in flight.
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  virtual Geometry geometry() const = 0;
  /// The request path. Called on the request's executor, with a range within the device.
  virtual void Submit(Request& request) = 0;
};

/// A device on other devices, of which several modules may share one: a graph without cycles. A
/// module sees what goes down in Submit and what comes back in OnLowerDone; the common case, where
/// a request goes on as it is, is inherited.
class Module : public Device {
 public:
  explicit Module(std::vector<std::shared_ptr<Device>> lower) : lower_(std::move(lower)) {}

  Geometry geometry() const override { return lower_.front()->geometry(); }
  void Submit(Request& request) override { Forward(0, request); }

 protected:
  Device& lower(size_t index) const { return *lower_[index]; }
  size_t lower_count() const { return lower_.size(); }
  /// The request path: a request of the module's own (its `done` and `context` are set here) goes
  /// to a device below. It ends in OnLowerDone.
  void Send(size_t index, Request& request) {
    request.context = this;
    request.done = [](Request& over) { static_cast<Module*>(over.context)->OnLowerDone(over); };
    lower_[index]->Submit(request);
  }
  /// The request path of what is not to be seen on its way back.
  void Forward(size_t index, Request& request) { lower_[index]->Submit(request); }
  /// The completion path of what was sent. By default it is a part (MakePart).
  virtual void OnLowerDone(Request& request) { PartDone(request); }

 private:
  std::vector<std::shared_ptr<Device>> lower_;
};

}  // namespace qpip::storage
