// What is compared: a contender runs a case between two pinned processes and answers with a sample.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace qpip::bench {

/// What is measured.
enum class Pattern {
  kRoundTrip,   ///< one message there, one back, `messages` times
  kThroughput,  ///< `messages` one way, then one byte back once all have arrived
};
enum class Transport { kTcp, kUdp };

/// One line of the comparison.
struct Case {
  std::string name;  ///< as given to --cases: "tcp-rtt", "tcp-65536", ...
  Pattern pattern = Pattern::kRoundTrip;
  Transport transport = Transport::kTcp;
  uint32_t bytes = 1;     ///< a message
  uint64_t messages = 0;  ///< measured
  uint64_t warm_up = 0;   ///< sent before, in the same way, not measured
  uint32_t window = 1;    ///< kThroughput: messages outstanding at most
};

/// Where the two processes run.
struct Pinning {
  int server_core = 0;
  int client_core = 1;
  std::string server_netns = {};  ///< name or path of a network namespace; empty: ours
  std::string client_netns = {};
};

/// IPv6 addresses of the two sides, as text.
struct Addresses {
  std::string server = "::1";
  std::string client = "::1";
};

/// One run of one case by one contender.
struct Sample {
  double seconds = 0;             ///< of the measured part, the client's clock
  double cpu_seconds = 0;         ///< user and system time of both processes in the measured part
  double server_cpu_seconds = 0;  ///< the server's share of it
};

/// How a contender notices that something has arrived; compared like with like.
enum class Completion {
  kPoll,  ///< both sides look again and again, each on a core of its own
  kWait,  ///< both sides sleep in the kernel
};

class Contender {
 public:
  virtual ~Contender() = default;
  virtual std::string name() const = 0;         ///< as given to --contenders: "qpip-poll"
  virtual std::string description() const = 0;  ///< checksums, transport, options
  virtual Completion completion() const = 0;
  virtual bool Supports(const Case& which) const = 0;
  /// Runs one round. Throws std::runtime_error when it fails or takes longer than `timeout`; no
  /// process is left behind.
  virtual Sample Measure(const Case& which, const Pinning& pinning,
                         std::chrono::seconds timeout) = 0;
};

/// QPIP over shm:, trusted wire ("qpip-poll", "qpip-wait"), and with checksums ("qpip-checksum").
std::vector<std::unique_ptr<Contender>> QpipContenders();
/// QPIP over udp: between two hosts, MTU as the wire finds it ("qpip-udp-poll", "qpip-udp-wait",
/// "qpip-udp-list", "qpip-pair-poll"), and over wg: ("qpip-wg-poll", "qpip-wg-wait"). `query`:
/// further parameters of the URIs, such as "&delay_us=1000".
std::vector<std::unique_ptr<Contender>> QpipHostContenders(const Addresses& addresses,
                                                           const std::string& query);
/// The kernel's sockets ("kernel-poll", "kernel-block").
std::vector<std::unique_ptr<Contender>> KernelContenders(const Addresses& addresses = {});
/// The kernel's sockets at addresses that a tunnel of wireguard-go's joins ("tunnel-poll",
/// "tunnel-block"). wireguard-go's own CPU time is not counted.
std::vector<std::unique_ptr<Contender>> TunnelContenders(const Addresses& addresses);
/// ucx_perftest over shared memory ("ucx-posix", "ucx-cma").
std::vector<std::unique_ptr<Contender>> UcxContenders();
/// ucx_perftest over the kernel's TCP ("ucx-tcp"), to a server at an IPv4 address, both by the
/// network device of that name.
std::vector<std::unique_ptr<Contender>> UcxTcpContenders(const std::string& server,
                                                         const std::string& device);
/// True when ucx_perftest can be found in PATH.
bool UcxAvailable();

}  // namespace qpip::bench
