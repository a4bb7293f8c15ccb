// Two NICs on one fabric, and short ways to connect queue pairs of theirs.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "qpip/qpip.h"

namespace qpip::test {

using namespace std::chrono_literals;

/// Nothing in these tests takes this long unless it hangs.
inline constexpr std::chrono::seconds kPatience{60};

/// A fabric name no other test or process uses.
std::string UniqueFabric();

/// One side: a NIC with what every test needs.
struct Side {
  std::shared_ptr<Nic> nic;
  std::unique_ptr<ProtectionDomain> pd;
  std::unique_ptr<CompletionQueue> cq;

  Side() = default;
  explicit Side(const std::string& uri);
  std::unique_ptr<QueuePair> Qp(QpOptions options = {});
  /// Waits for exactly one completion.
  WorkCompletion One();
  /// Waits for `count` completions.
  std::vector<WorkCompletion> Collect(size_t count);
};

/// URI of a port: "shm:NAME?address=fd00::LAST&OPTIONS".
std::string PortUri(const std::string& scheme, const std::string& fabric, int last,
                    const std::string& options);

struct TwoNics {
  explicit TwoNics(const std::string& scheme, const std::string& options = "");

  Endpoint ServerAt(uint16_t port) const { return {server.nic->address(), port}; }
  /// Connects `from` (a client QP) to `to` (a server QP) through a listener of its own.
  void Connect(QueuePair& from, QueuePair& to);

  std::string fabric;
  Side server;
  Side client;

 private:
  std::unique_ptr<Listener> listener_;
};

/// Bytes that tell their position.
void FillPattern(void* data, size_t bytes, uint64_t position = 0);
/// Offset of the first byte that differs from the pattern, or `bytes`.
size_t CheckPattern(const void* data, size_t bytes, uint64_t position = 0);

}  // namespace qpip::test
