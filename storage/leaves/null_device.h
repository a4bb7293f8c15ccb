// A device that forgets: writes vanish, reads are zeroes. What all else costs is measured on it.
#pragma once

#include "storage/core/device.h"

namespace qpip::storage {

/// Requests end inside of Submit.
class NullDevice : public Device {
 public:
  explicit NullDevice(uint64_t bytes) : bytes_(bytes) {}

  Geometry geometry() const override { return {.bytes = bytes_, .trim = true, .fast_zero = true}; }
  void Submit(Request& request) override;

 private:
  uint64_t bytes_;
};

}  // namespace qpip::storage
