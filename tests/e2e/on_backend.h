// The fixture of the cases that every backend must pass (on_backend_cases.cc).
#pragma once

#include <functional>
#include <memory>

#include "two_nics.h"

namespace qpip::test {

/// A backend, and how to make a test bed of it.
struct Backend {
  const char* name;
  std::function<std::unique_ptr<Testbed>()> make;
};

class OnBackend : public ::testing::TestWithParam<Backend> {
 protected:
  TwoNics nics{GetParam().make()};
  Side& server = nics.server;
  Side& client = nics.client;
};

inline void PrintTo(const Backend& backend, std::ostream* out) { *out << backend.name; }

}  // namespace qpip::test
