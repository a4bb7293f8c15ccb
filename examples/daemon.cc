// A server that becomes a daemon. A NIC belongs to the process that opened it: daemon(3) forks, so
// it comes first, and what is opened before it is of no use after it (every call then throws Error
// EPERM).
#include <qpip/qpip.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

namespace {

constexpr uint16_t kPort = 5001;

/// Answers one message, in the daemon. `ready` is written to once clients may come.
void Serve(const std::string& fabric, int ready) {
  auto nic = qpip::Nic::Open("shm:" + fabric + "?address=fd00::1");
  auto domain = nic->AllocatePd();
  auto memory = domain->Allocate(4096);
  auto completions = nic->CreateCq();
  auto qp = nic->CreateQp(*domain, {.send_cq = completions.get(), .recv_cq = completions.get()});
  if (qp->PostRecv(1, memory->Sge(0, 4096)) != 0) return;
  auto listener = nic->Listen(kPort);
  listener->Offer(*qp);
  if (write(ready, "r", 1) != 1) return;
  close(ready);

  qpip::WorkCompletion done;
  if (completions->Wait({&done, 1}) != 1 || done.status != IBV_WC_SUCCESS) return;
  if (qp->PostSend(2, memory->Sge(0, done.byte_len)) != 0) return;
  qp->Disconnect(std::chrono::seconds(5));
}

/// Sends a message and prints what comes back.
void Ask(const std::string& fabric) {
  auto nic = qpip::Nic::Open("shm:" + fabric + "?address=fd00::2");
  auto domain = nic->AllocatePd();
  auto memory = domain->Allocate(4096);
  auto completions = nic->CreateCq();
  auto qp = nic->CreateQp(*domain, {.send_cq = completions.get(), .recv_cq = completions.get()});
  if (qp->PostRecv(1, memory->Sge(2048, 2048)) != 0) return;
  qp->Connect(qpip::Endpoint::Parse("[fd00::1]:5001"));
  std::strcpy(static_cast<char*>(memory->data()), "hello, daemon");
  if (qp->PostSend(2, memory->Sge(0, 14), 0) != 0) return;
  qpip::WorkCompletion done;
  if (completions->Wait({&done, 1}) != 1 || done.status != IBV_WC_SUCCESS) return;
  std::printf("the daemon answers: %s\n", static_cast<char*>(memory->data()) + 2048);
  qp->Disconnect(std::chrono::seconds(5));
}

}  // namespace

int main() try {
  const std::string fabric = "daemon-" + std::to_string(getpid());
  int ready[2];
  if (pipe(ready) != 0) return 1;
  const pid_t server = fork();
  if (server == 0) {
    close(ready[0]);
    // The process that calls daemon ends in it; the one that returns is its child.
    if (daemon(/*nochdir=*/1, /*noclose=*/1) != 0) return 1;
    Serve(fabric, ready[1]);
    return 0;
  }
  close(ready[1]);
  waitpid(server, nullptr, 0);
  char byte;
  if (read(ready[0], &byte, 1) != 1) return 1;
  Ask(fabric);
} catch (const qpip::Error& error) {
  std::fprintf(stderr, "daemon: %s\n", error.what());
  return 1;
}
