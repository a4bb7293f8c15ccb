// UCX's tag-matching messages over shared memory, or TCP between hosts, measured by its own
// ucx_perftest.
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "bench/comparison/contender.h"
#include "bench/comparison/process_pair.h"

namespace qpip::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// A started ucx_perftest; killed and reaped on destruction.
class PerfTest {
 public:
  PerfTest(int core, const std::string& netns, const std::string& transports,
           const std::string& device, const std::vector<std::string>& arguments) {
    int ends[2];
    if (pipe(ends) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    pid_ = fork();
    if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid_ == 0) Exec(core, netns, transports, device, arguments, ends);
    close(ends[1]);
    output_ = ends[0];
  }
  PerfTest(const PerfTest&) = delete;
  PerfTest& operator=(const PerfTest&) = delete;
  ~PerfTest() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(output_);
  }

  pid_t pid() const { return pid_; }
  bool Running() {
    siginfo_t info = {};
    return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
  }

  /// Waits for the end: what it printed, and the CPU seconds it used in all its life.
  std::string Finish(Clock::time_point deadline, double* cpu_seconds) {
    std::string text;
    char buffer[4096];
    for (;;) {
      pollfd wait = {output_, POLLIN, 0};
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
      if (left <= 0 || poll(&wait, 1, static_cast<int>(left)) == 0) {
        throw std::runtime_error("ucx_perftest gave no result in time: " + text);
      }
      const ssize_t n = read(output_, buffer, sizeof(buffer));
      if (n == 0) break;
      if (n > 0) text.append(buffer, static_cast<size_t>(n));
    }
    int status = 0;
    rusage usage = {};
    wait4(pid_, &status, 0, &usage);
    pid_ = -1;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      throw std::runtime_error("ucx_perftest failed: " + text);
    }
    *cpu_seconds = static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    return text;
  }

 private:
  [[noreturn]] static void Exec(int core, const std::string& netns, const std::string& transports,
                                const std::string& device,
                                const std::vector<std::string>& arguments, const int* ends) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      PinToCore(core);
    } catch (const std::exception&) {
      _exit(126);
    }
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    setenv("UCX_TLS", transports.c_str(), 1);
    setenv("UCX_LOG_LEVEL", "error", 1);
    if (!device.empty()) setenv("UCX_NET_DEVICES", device.c_str(), 1);
    std::vector<std::string> words = {"ucx_perftest"};
    // UCX looks for devices in /sys, which ip-netns(8) mounts anew.
    if (!netns.empty()) words = {"ip", "netns", "exec", netns, "ucx_perftest"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    execvp(pointers.front(), pointers.data());
    _exit(127);
  }

  pid_t pid_ = -1;
  int output_ = -1;
};

/// A TCP port nobody uses just now, for ucx_perftest's own set-up connection.
uint16_t FreePort() {
  const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  socklen_t length = sizeof(address);
  const bool good =
      descriptor >= 0 &&
      bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
      getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  const int error = errno;
  if (descriptor >= 0) close(descriptor);
  if (!good) throw std::system_error(error, std::generic_category(), "find a free port");
  return ntohs(address.sin_port);
}

/// True when a TCP socket where the process is listens on the port. Connecting to find out would
/// use up the one connection that the server accepts.
bool Listens(uint16_t port, pid_t process) {
  for (const char* table : {"/net/tcp", "/net/tcp6"}) {
    std::ifstream lines("/proc/" + std::to_string(process) + table);
    std::string line;
    while (std::getline(lines, line)) {
      std::istringstream fields(line);
      std::string index, local, remote, state;
      fields >> index >> local >> remote >> state;
      const size_t colon = local.rfind(':');
      if (state == "0A" && colon != std::string::npos &&
          std::stoul(local.substr(colon + 1), nullptr, 16) == port) {
        return true;
      }
    }
  }
  return false;
}

void AwaitListening(uint16_t port, PerfTest& server, Clock::time_point deadline) {
  while (!Listens(port, server.pid())) {
    double cpu = 0;
    if (!server.Running()) server.Finish(deadline, &cpu);  // throws what it said
    if (Clock::now() > deadline)
      throw std::runtime_error("the ucx_perftest server does not listen");
    usleep(2000);
  }
}

/// The line of numbers behind ucx_perftest's CSV header (-f -v).
struct PerfResult {
  double overall_latency_us = 0;  ///< round trips: half of one (libperf divides by two)
  double overall_rate = 0;        ///< messages a second
};
PerfResult ParseResult(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    if (line.rfind("iterations,", 0) != 0) continue;
    if (!std::getline(lines, line)) break;
    std::vector<double> fields;
    std::istringstream columns(line);
    for (std::string field; std::getline(columns, field, ',');) fields.push_back(std::stod(field));
    if (fields.size() < 8 || fields[3] <= 0 || fields[7] <= 0) break;
    return {fields[3], fields[7]};
  }
  throw std::runtime_error("ucx_perftest printed no result: " + text);
}

class UcxContender : public Contender {
 public:
  UcxContender(std::string name, std::string transports, std::string server = "127.0.0.1",
               std::string device = "")
      : name_(std::move(name)),
        transports_(std::move(transports)),
        server_(std::move(server)),
        device_(std::move(device)) {}

  std::string name() const override { return name_; }
  std::string description() const override {
    return "UCX tag messages (ucx_perftest), UCX_TLS=" + transports_ + ", " +
           (transports_ == "tcp" ? "to " + server_ : "no checksums") + ", polling";
  }
  Completion completion() const override { return Completion::kPoll; }
  bool Supports(const Case& which) const override { return which.transport == Transport::kTcp; }

  Sample Measure(const Case& which, const Pinning& pinning, std::chrono::seconds timeout) override {
    if (idle_cpu_seconds_ < 0) idle_cpu_seconds_ = MeasureSetUp(pinning, timeout);
    double cpu = 0;
    const PerfResult result = Run(which, pinning, timeout, &cpu);
    Sample sample;
    const auto messages = static_cast<double>(which.messages);
    sample.seconds = which.pattern == Pattern::kRoundTrip
                         ? messages * 2 * result.overall_latency_us * 1e-6
                         : messages / result.overall_rate;
    sample.cpu_seconds = std::max(0.0, cpu - idle_cpu_seconds_);
    return sample;
  }

 private:
  PerfResult Run(const Case& which, const Pinning& pinning, std::chrono::seconds timeout,
                 double* cpu_seconds) const {
    const auto deadline = Clock::now() + timeout;
    const uint16_t port = FreePort();
    const std::vector<std::string> common = {
        "-p", std::to_string(port),
        "-t", which.pattern == Pattern::kRoundTrip ? "tag_lat" : "tag_bw",
        "-s", std::to_string(which.bytes),
        "-n", std::to_string(which.messages),
        "-w", std::to_string(which.warm_up),
        "-O", std::to_string(which.window),
        "-f", "-v"};
    PerfTest server(pinning.server_core, pinning.server_netns, transports_, device_, common);
    AwaitListening(port, server, deadline);
    std::vector<std::string> with_server = {server_};
    with_server.insert(with_server.end(), common.begin(), common.end());
    PerfTest client(pinning.client_core, pinning.client_netns, transports_, device_, with_server);
    double client_cpu = 0;
    double server_cpu = 0;
    const PerfResult result = ParseResult(client.Finish(deadline, &client_cpu));
    server.Finish(deadline, &server_cpu);
    *cpu_seconds = client_cpu + server_cpu;
    return result;
  }

  /// CPU time of a run that sends next to nothing: subtracted, since UCX's clock starts later.
  double MeasureSetUp(const Pinning& pinning, std::chrono::seconds timeout) const {
    double least = 1e9;
    for (int i = 0; i < 3; ++i) {
      double cpu = 0;
      Run({.name = "set-up", .bytes = 1, .messages = 1, .warm_up = 1}, pinning, timeout, &cpu);
      least = std::min(least, cpu);
    }
    return least;
  }

  std::string name_;
  std::string transports_;
  std::string server_;
  std::string device_;  ///< the network's; empty: UCX chooses
  double idle_cpu_seconds_ = -1;
};

}  // namespace

bool UcxAvailable() {
  const char* path = getenv("PATH");
  std::istringstream directories(path != nullptr ? path : "");
  for (std::string directory; std::getline(directories, directory, ':');) {
    if (access((directory + "/ucx_perftest").c_str(), X_OK) == 0) return true;
  }
  return false;
}

std::vector<std::unique_ptr<Contender>> UcxContenders() {
  std::vector<std::unique_ptr<Contender>> contenders;
  contenders.push_back(std::make_unique<UcxContender>("ucx-posix", "posix"));
  contenders.push_back(std::make_unique<UcxContender>("ucx-cma", "posix,cma"));
  return contenders;
}

std::vector<std::unique_ptr<Contender>> UcxTcpContenders(const std::string& server,
                                                         const std::string& device) {
  std::vector<std::unique_ptr<Contender>> contenders;
  contenders.push_back(std::make_unique<UcxContender>("ucx-tcp", "tcp", server, device));
  return contenders;
}

}  // namespace qpip::bench
