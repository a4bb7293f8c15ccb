#include "bench/clients/crowd.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace qpip::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{60};  // until everybody has had an echo, or has ended

[[noreturn]] void ThrowErrno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

/// A board in memory that children inherit.
class SharedBoard {
 public:
  SharedBoard()
      : memory_(::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                       -1, 0)) {
    if (memory_ == MAP_FAILED) ThrowErrno("mmap");
  }
  SharedBoard(const SharedBoard&) = delete;
  SharedBoard& operator=(const SharedBoard&) = delete;
  ~SharedBoard() { ::munmap(memory_, sizeof(Board)); }
  Board& operator*() { return *static_cast<Board*>(memory_); }  // zeros are its initial state

 private:
  void* memory_;
};

/// A child process, killed and reaped on destruction if it still runs.
class Process {
 public:
  template <typename Body>
  Process(const char* role, Body body) : role_(role) {
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) ThrowErrno("fork");
    if (pid_ > 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    int status = ::getppid() == parent ? 0 : 1;
    try {
      if (status == 0) body();
    } catch (const std::exception& error) {
      fprintf(stderr, "%s: %s\n", role, error.what());
      status = 1;
    }
    ::_exit(status);
  }
  Process(Process&& other) noexcept : role_(other.role_), pid_(other.pid_) { other.pid_ = -1; }
  Process& operator=(Process&&) = delete;
  ~Process() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  /// Has it ended well? Throws when it has failed.
  bool Ended() {
    if (pid_ < 0) return true;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == 0) return false;
    pid_ = -1;
    if (status != 0) throw std::runtime_error("a " + std::string(role_) + " failed");
    return true;
  }
  double CpuSeconds() const {
    clockid_t clock;
    timespec time = {};
    if (::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &time) != 0) {
      throw std::runtime_error("a " + std::string(role_) + " ended early");
    }
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  }

 private:
  const char* role_;
  pid_t pid_ = -1;
};

using Processes = std::vector<Process>;

/// Until `condition`; throws when a process fails or ends first, or patience does.
template <typename Condition>
void Await(Processes& processes, const char* what, Condition condition) {
  const auto deadline = steady_clock::now() + kPatience;
  while (!condition()) {
    for (Process& process : processes) {
      if (process.Ended()) throw std::runtime_error(std::string("a process ended before ") + what);
    }
    if (steady_clock::now() > deadline) {
      throw std::runtime_error(std::string("it takes too long until ") + what);
    }
    std::this_thread::sleep_for(milliseconds(2));
  }
}

struct Reading {
  steady_clock::time_point at;
  double cpu_seconds = 0;
  std::vector<uint64_t> echoes;
};

Reading Read(const Processes& processes, const Board& board, uint32_t clients) {
  Reading reading;
  reading.at = steady_clock::now();
  for (const Process& process : processes) reading.cpu_seconds += process.CpuSeconds();
  for (uint32_t i = 0; i < clients; ++i) reading.echoes.push_back(board.clients[i].echoes.load());
  return reading;
}

Sample Difference(const Reading& begin, const Reading& end) {
  uint64_t all = 0;
  uint64_t least = UINT64_MAX;
  for (size_t i = 0; i < end.echoes.size(); ++i) {
    const uint64_t echoes = end.echoes[i] - begin.echoes[i];
    all += echoes;
    least = std::min(least, echoes);
  }
  if (all == 0) throw std::runtime_error("no echo in all the time");
  const std::chrono::duration<double> took = end.at - begin.at;
  const auto echoes = static_cast<double>(all);
  return {
      .echoes_a_second = echoes / took.count(),
      .cpu_us = (end.cpu_seconds - begin.cpu_seconds) * 1e6 / echoes,
      .least_share = static_cast<double>(least) * static_cast<double>(end.echoes.size()) / echoes};
}

}  // namespace

void AwaitTheOthers(Board& board) {
  board.ready.fetch_add(1);
  while (!board.begun.load()) std::this_thread::sleep_for(milliseconds(2));
}

Sample Measure(Crowd& crowd, uint32_t clients, uint32_t bytes, milliseconds warm_up,
               milliseconds duration) {
  SharedBoard shared;
  Board& board = *shared;
  Processes processes;
  processes.emplace_back("server", [&] { crowd.Serve(clients, bytes, board); });
  Await(processes, "the server is ready", [&] { return board.server_port.load() != 0; });
  for (uint32_t i = 0; i < clients; ++i) {
    processes.emplace_back("client", [&, i] {
      crowd.Talk(i, bytes, board);
      board.left.fetch_add(1);
    });
  }
  Await(processes, "every client has an echo", [&] { return board.ready.load() == clients; });
  board.begun.store(true);
  std::this_thread::sleep_for(warm_up);
  const Reading begin = Read(processes, board, clients);
  std::this_thread::sleep_for(duration);
  const Reading end = Read(processes, board, clients);
  board.over.store(true);
  const auto deadline = steady_clock::now() + kPatience;
  while (!processes.empty()) {
    if (processes.back().Ended()) {
      processes.pop_back();
    } else if (steady_clock::now() > deadline) {
      throw std::runtime_error("a process does not end");
    } else {
      std::this_thread::sleep_for(milliseconds(2));
    }
  }
  return Difference(begin, end);
}

}  // namespace qpip::bench
