// What the tests of both fabrics share: several ports in one process, in memory and in shared
// memory.
#pragma once

#include "wire_test_support.h"

namespace qpip::wire::test {

using OpenWire = std::unique_ptr<Wire> (*)(const FabricOptions&);

struct Kind {
  const char* name;
  OpenWire open;
  friend void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }
};

class FabricTest : public testing::TestWithParam<Kind> {
 protected:
  std::unique_ptr<Wire> Open(uint8_t last_address_byte) {
    return Open(Options(fabric_, last_address_byte));
  }
  std::unique_ptr<Wire> Open(const FabricOptions& options) { return GetParam().open(options); }

  const std::string fabric_ = UniqueName();
};

/// What each file of tests runs on.
inline const auto kFabricKinds =
    testing::Values(Kind{"Memory", &OpenMemoryWire}, Kind{"SharedMemory", &OpenSharedMemoryWire});

/// Payload in the sender's shared memory, as a frame that may refer to it.
class SharedPayload {
 public:
  SharedPayload(Wire* wire, size_t bytes, uint8_t fill)
      : wire_(wire), piece_{wire->AllocateShared(bytes), bytes} {
    std::memset(piece_.iov_base, fill, bytes);
  }
  ~SharedPayload() { wire_->FreeShared(piece_.iov_base, piece_.iov_len); }
  OutFrame Frame(const Bytes& header) const { return {header, {&piece_, 1}, true}; }

 private:
  Wire* wire_;
  iovec piece_;
};

}  // namespace qpip::wire::test
