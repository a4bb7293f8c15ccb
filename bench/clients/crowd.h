// A server and its clients, each a process of its own, measured while all of them talk.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace qpip::bench {

inline constexpr uint32_t kMostClients = 1000;

/// What one client has done; a cache line of its own, in memory that all processes share.
struct alignas(64) Tally {
  std::atomic<uint64_t> echoes;
};

/// What the processes tell each other outside of what is measured.
struct Board {
  std::atomic<uint32_t> server_port;  ///< 0: the server is not yet ready
  std::atomic<uint32_t> ready;        ///< clients that have had their first echo
  std::atomic<bool> begun;            ///< clients may go on behind their first echo
  std::atomic<bool> over;             ///< clients leave behind the echo that they wait for
  std::atomic<uint32_t> left;  ///< clients that have: the server serves until all of them have
  Tally clients[kMostClients];
};

/// A kind of server and client. `Serve` and `Talk` run in processes of their own; what they throw
/// is the round's failure. Both return once `over`: a client looks before each echo, a server at
/// least ten times a second.
class Crowd {
 public:
  virtual ~Crowd() = default;
  virtual std::string name() const = 0;
  /// Stores `server_port` when clients may come.
  virtual void Serve(uint32_t clients, uint32_t bytes, Board& board) = 0;
  /// Counts each echo in its tally. Behind the first one it raises `ready` and waits for `begun`.
  virtual void Talk(uint32_t number, uint32_t bytes, Board& board) = 0;
};

std::unique_ptr<Crowd> QpipCrowd(std::string scheme, std::string settings);
std::unique_ptr<Crowd> KernelCrowd();

/// One measurement.
struct Sample {
  double echoes_a_second = 0;
  double cpu_us = 0;       ///< user and system time of all processes, an echo
  double least_share = 0;  ///< the worst-served client's echoes over the average's
};

/// Forks server and clients, lets them talk for `warm_up`, then measures for `duration`. Throws
/// std::runtime_error with what went wrong; no process is left behind either way.
Sample Measure(Crowd& crowd, uint32_t clients, uint32_t bytes, std::chrono::milliseconds warm_up,
               std::chrono::milliseconds duration);

/// Waits in a client until every client has had its first echo.
void AwaitTheOthers(Board& board);

}  // namespace qpip::bench
