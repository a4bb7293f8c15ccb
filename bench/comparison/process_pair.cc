#include "bench/comparison/process_pair.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace qpip::bench {
namespace {

constexpr std::chrono::seconds kSecondSideSpeaks{2};

[[noreturn]] void ThrowErrno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

/// What a child sends to its parent when it is done. Plain bytes through a pipe.
struct Outcome {
  double seconds = 0;
  double cpu_seconds = 0;
  std::array<char, 240> error = {};  ///< empty: success
};

/// A child process, killed and reaped on destruction if it still runs.
class Child {
 public:
  Child(const char* role, int core, const std::string& netns, int channel, int other_channel,
        const std::function<void(Side&)>& body)
      : role_(role) {
    int ends[2];
    if (pipe(ends) != 0) ThrowErrno("pipe");
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ < 0) ThrowErrno("fork");
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(1);
      close(ends[0]);
      close(other_channel);
      RunBody(core, netns, channel, ends[1], body);
    }
    close(ends[1]);
    result_ = ends[0];
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    close(result_);
  }

  int result_descriptor() const { return result_; }

  /// Reads what the child has to say; its pipe is readable. Throws what went wrong.
  Outcome Collect() const {
    Outcome outcome;
    const ssize_t got = read(result_, &outcome, sizeof(outcome));
    if (got != static_cast<ssize_t>(sizeof(outcome))) {
      throw std::runtime_error(std::string(role_) + " died without a result");
    }
    if (outcome.error[0] != 0) {
      throw std::runtime_error(std::string(role_) + ": " + outcome.error.data());
    }
    return outcome;
  }

 private:
  [[noreturn]] static void RunBody(int core, const std::string& netns, int channel, int result,
                                   const std::function<void(Side&)>& body) {
    Outcome outcome;
    try {
      PinToCore(core);
      EnterNetworkNamespace(netns);
      Side side(channel);
      body(side);
      outcome.seconds = side.seconds();
      outcome.cpu_seconds = side.cpu_seconds();
    } catch (const std::exception& error) {
      strncpy(outcome.error.data(), error.what(), outcome.error.size() - 1);
    }
    // Smaller than PIPE_BUF: written at once.
    const ssize_t wrote = write(result, &outcome, sizeof(outcome));
    _exit(wrote == static_cast<ssize_t>(sizeof(outcome)) && outcome.error[0] == 0 ? 0 : 1);
  }

  const char* role_;
  pid_t pid_ = -1;
  int result_ = -1;
};

int MillisecondsUntil(std::chrono::steady_clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  return left.count() > 0 ? static_cast<int>(left.count()) : 0;
}

}  // namespace

void PinToCore(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(core), &set);
  if (sched_setaffinity(0, sizeof(set), &set) != 0) {
    ThrowErrno("pin to core " + std::to_string(core));
  }
}

void EnterNetworkNamespace(const std::string& name) {
  if (name.empty()) return;
  const std::string path = name.find('/') == std::string::npos ? "/run/netns/" + name : name;
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) ThrowErrno("open network namespace " + path);
  const int error = setns(descriptor, CLONE_NEWNET) == 0 ? 0 : errno;
  close(descriptor);
  errno = error;
  if (error != 0) ThrowErrno("enter network namespace " + path);
}

double ProcessCpuSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void Side::Tell(uint32_t value) {
  if (send(channel_, &value, sizeof(value), MSG_NOSIGNAL) != sizeof(value)) {
    ThrowErrno("the other side is gone");
  }
}

uint32_t Side::Hear() {
  uint32_t value = 0;
  const ssize_t got = recv(channel_, &value, sizeof(value), MSG_WAITALL);
  if (got == 0) throw std::runtime_error("the other side is gone");
  if (got != sizeof(value)) ThrowErrno("hear the other side");
  return value;
}

void Side::Start() {
  cpu_at_start_ = ProcessCpuSeconds();
  started_ = std::chrono::steady_clock::now();
}

void Side::Stop() {
  seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
  cpu_seconds_ = ProcessCpuSeconds() - cpu_at_start_;
}

Sample RunPair(const Pinning& pinning, std::chrono::seconds timeout,
               const std::function<void(Side&)>& server, const std::function<void(Side&)>& client) {
  int channel[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, channel) != 0) ThrowErrno("socketpair");
  auto deadline = std::chrono::steady_clock::now() + timeout;
  Child server_child("server", pinning.server_core, pinning.server_netns, channel[0], channel[1],
                     server);
  Child client_child("client", pinning.client_core, pinning.client_netns, channel[1], channel[0],
                     client);
  close(channel[0]);
  close(channel[1]);

  Sample sample;
  std::string errors;
  const std::array<const Child*, 2> children = {&server_child, &client_child};
  std::array<bool, 2> done = {};
  while (!done[0] || !done[1]) {
    std::array<pollfd, 2> waits = {};
    for (size_t i = 0; i < 2; ++i) {
      waits[i] = {done[i] ? -1 : children[i]->result_descriptor(), POLLIN, 0};
    }
    const int ready = poll(waits.data(), waits.size(), MillisecondsUntil(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) break;
    for (size_t i = 0; i < 2; ++i) {
      if (waits[i].revents == 0) continue;
      done[i] = true;
      try {
        const Outcome outcome = children[i]->Collect();
        sample.cpu_seconds += outcome.cpu_seconds;
        if (i == 0) sample.server_cpu_seconds = outcome.cpu_seconds;
        if (i == 1) sample.seconds = outcome.seconds;
      } catch (const std::exception& error) {
        // The other side may know the cause of which this is the effect: it gets a moment to say
        // so.
        errors += (errors.empty() ? "" : "; ") + std::string(error.what());
        deadline = std::min(deadline, std::chrono::steady_clock::now() + kSecondSideSpeaks);
      }
    }
  }
  if (!errors.empty()) throw std::runtime_error(errors);
  if (!done[0] || !done[1]) {
    throw std::runtime_error("no result after " + std::to_string(timeout.count()) + " s");
  }
  return sample;
}

}  // namespace qpip::bench
