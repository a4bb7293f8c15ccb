// Hosts that mean it: what they are served beside an attack, and how fast.
#pragma once

#include <netinet/in.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <ostream>
#include <thread>
#include <vector>

#include "protocols/common/ipv6_address.h"

namespace qpip::attack {

inline constexpr uint16_t kEchoPort = 7;
inline constexpr uint16_t kSourcePort = 19;  ///< sends without end, as chargen (RFC 864)
inline constexpr uint32_t kMessage = 8;      ///< bytes

/// One phase of a trial as the clients saw it.
struct Served {
  uint64_t echoes = 0;     ///< on connections that stay
  uint64_t datagrams = 0;  ///< echoed
  uint64_t lost = 0;       ///< datagrams that were not, in 200 ms
  uint64_t resets = 0;     ///< of any connection
  uint64_t refused = 0;
  uint64_t timeouts = 0;
  std::vector<double> connect_ms;
  std::vector<double> visit_ms;  ///< from connect to the echo
  double seconds = 0;

  void Add(const Served& other);
  /// Rates and percentiles as a JSON object. Sorts the times.
  void Print(std::ostream& out);
};

/// A connection that stays: what a blind attacker may have guessed of it.
struct LiveConnection {
  ipv6::Address address;
  uint16_t port = 0;
};

enum class Phase : uint8_t { kWarm, kBefore, kDuring, kSettling, kAfter, kCount };

class Clients {
 public:
  static constexpr int kSteady = 2;    ///< threads with a connection that stays
  static constexpr int kVisitors = 2;  ///< threads that connect, echo once and close

  /// Starts them; they try for as long as the object lives.
  explicit Clients(const in6_addr& target);
  ~Clients();
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  /// What is served from now on counts for `phase`.
  void Enter(Phase phase);
  std::vector<LiveConnection> live() const;
  /// Stops them. What they were served in each phase.
  std::array<Served, static_cast<size_t>(Phase::kCount)> Stop();

 private:
  struct Worker {
    std::array<Served, static_cast<size_t>(Phase::kCount)> served;
    std::atomic<uint16_t> port{0};
    ipv6::Address address;  ///< written before `port`
    std::thread thread;
  };
  Served& Now(Worker& worker) { return worker.served[phase_.load(std::memory_order_relaxed)]; }
  void Visit(Worker& worker);
  void Stay(Worker& worker);
  void Ask(Worker& worker);

  const in6_addr target_;
  std::atomic<size_t> phase_{0};
  std::atomic<bool> stop_{false};
  std::array<double, static_cast<size_t>(Phase::kCount)> seconds_ = {};
  double entered_ = 0;
  std::vector<Worker> workers_;
};

}  // namespace qpip::attack
