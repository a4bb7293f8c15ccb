// Two NICs on one fabric, and short ways to connect queue pairs of theirs. The same in real time
// (threads, NICs opened by URI) and in virtual time (fibres, simulated NICs): see Testbed.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
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

/// A program that runs beside the test's own.
class Task {
 public:
  virtual ~Task() = default;
  /// Waits until it has ended. Once, before it is destroyed.
  virtual void Join() = 0;
};

/// A fabric of its own: makes NICs on it, and runs programs that use them. Outlives both.
class Testbed {
 public:
  virtual ~Testbed() = default;
  /// The NIC with the address fd00::LAST.
  virtual std::shared_ptr<Nic> Open(int last) = 0;
  virtual std::unique_ptr<Task> Start(std::function<void()> program) = 0;
};

/// NICs opened by URI, programs on threads.
std::unique_ptr<Testbed> RealTimeTestbed(const std::string& scheme, const std::string& options);

/// NICs fd00::1 to fd00::3 on wg: wires of this machine's loopback, each with the others as peers.
std::unique_ptr<Testbed> WireguardTestbed(const std::string& options);

/// One side: a NIC with what every test needs.
struct Side {
  std::shared_ptr<Nic> nic;
  std::unique_ptr<ProtectionDomain> pd;
  std::unique_ptr<CompletionQueue> cq;

  Side() = default;
  explicit Side(std::shared_ptr<Nic> opened);
  explicit Side(const std::string& uri) : Side(Nic::Open(uri)) {}
  std::unique_ptr<QueuePair> Qp(QpOptions options = {});
  /// Waits for exactly one completion.
  WorkCompletion One();
  /// Waits for `count` completions.
  std::vector<WorkCompletion> Collect(size_t count);
  /// Returns when the NIC knows of all that was posted: it answers a command in its turn. What ends
  /// a connection after this ends requests that were outstanding, however long a thread was away.
  void AwaitPosted();
};

/// URI of a port: "shm:NAME?address=fd00::LAST&OPTIONS".
std::string PortUri(const std::string& scheme, const std::string& fabric, int last,
                    const std::string& options);

class TwoNics {
 public:
  explicit TwoNics(std::unique_ptr<Testbed> testbed);
  explicit TwoNics(const std::string& scheme, const std::string& options = "")
      : TwoNics(RealTimeTestbed(scheme, options)) {}

  Endpoint ServerAt(uint16_t port) const { return {server.nic->address(), port}; }
  /// Connects `from` (a client QP) to `to` (a server QP) through a listener of its own.
  void Connect(QueuePair& from, QueuePair& to);
  Testbed& testbed() { return *testbed_; }

 private:
  std::unique_ptr<Testbed> testbed_;

 public:
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
