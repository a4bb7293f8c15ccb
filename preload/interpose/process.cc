// The life of the process: the environment when it begins, what it has sent when it ends, fork.
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "preload/interpose/interpose.h"

namespace qpip::preload {

Sockets* g_sockets = nullptr;
thread_local int g_inside __attribute__((tls_model("initial-exec"))) = 0;

namespace {

void Say(const std::string& line) {
  const std::string text = "qpip-preload: " + std::string(program_invocation_short_name) + " (" +
                           std::to_string(getpid()) + "): " + line + "\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
}

const char* Variable(const char* name) {
  const char* value = secure_getenv(name);
  return value == nullptr ? "" : value;
}

// fork(2)'s handlers run on the thread that forks; one that is inside has no lock to wait for.
thread_local bool holds_lock = false;

void BeforeFork() {
  if (!Outside()) return;
  g_sockets->BeforeFork();
  holds_lock = true;
}
void AfterForkInParent() {
  if (std::exchange(holds_lock, false)) g_sockets->AfterForkInParent();
}
void AfterForkInChild() {
  const Inside inside;
  if (std::exchange(holds_lock, false)) g_sockets->AfterForkInChild();
}

__attribute__((constructor)) void Begin() {
  const char* uri = Variable("QPIP_SOCKETS");
  if (*uri == '\0') return;
  const Inside inside;
  try {
    g_sockets = new Sockets(
        AddressRule(uri, Variable("QPIP_SOCKETS_PREFIX"), Variable("QPIP_SOCKETS_ANY"), getpid()),
        Say);
  } catch (const std::exception& error) {
    Say(error.what());
    _exit(2);
  }
  // The sockets' lock first, then the NIC's: threads that have the first wait for the second.
  Nic::WatchForks();
  pthread_atfork(BeforeFork, AfterForkInParent, AfterForkInChild);
}

void End() {
  if (!Outside()) return;
  const Inside inside;
  try {
    g_sockets->Finish();
  } catch (const std::exception& error) {
    Say(error.what());
  }
}

// After the program's own, which may send.
__attribute__((destructor)) void AtExit() { End(); }

struct Start {
  void* (*function)(void*);
  void* argument;
};

void* RunInside(void* argument) {
  const Start start = *static_cast<Start*>(argument);
  delete static_cast<Start*>(argument);
  g_inside = 1;
  return start.function(start.argument);
}

}  // namespace
}  // namespace qpip::preload

using namespace qpip::preload;  // NOLINT: the C library's names are outside of it

extern "C" {

// Threads that the library starts are inside for ever.
int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*function)(void*),
                   void* argument) {
  QPIP_REAL(pthread_create);
  if (g_inside == 0) return real(thread, attributes, function, argument);
  auto* start = new (std::nothrow) Start{function, argument};
  if (start == nullptr) return EAGAIN;
  const int result = real(thread, attributes, RunInside, start);
  if (result != 0) delete start;
  return result;
}

// In a child of vfork(2) the table would be its parent's.
pid_t vfork() { return fork(); }

void _exit(int status) {
  End();
  syscall(SYS_exit_group, status);
  __builtin_unreachable();
}

void _Exit(int status) { _exit(status); }

}  // extern "C"
