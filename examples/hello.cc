#include <qpip/qpip.h>

#include <cstdio>
#include <cstring>

int main() try {
  // Two network interfaces in this process. With "shm:hello" they could be in two processes.
  auto server_nic = qpip::Nic::Open("mem:hello?address=fd00::1");
  auto client_nic = qpip::Nic::Open("mem:hello?address=fd00::2");

  // The server posts where a message may be put. Then it offers its queue pair to whoever calls.
  auto server_domain = server_nic->AllocatePd();
  auto inbox = server_domain->Allocate(4096);
  auto server_queue = server_nic->CreateCq();
  auto server = server_nic->CreateQp(
      *server_domain, {.send_cq = server_queue.get(), .recv_cq = server_queue.get()});
  if (server->PostRecv(1, inbox->Sge(0, 4096)) != 0) return 1;
  auto listener = server_nic->Listen(5001);
  listener->Offer(*server);

  // The client connects and posts a message.
  auto client_domain = client_nic->AllocatePd();
  auto outbox = client_domain->Allocate(4096);
  auto client_queue = client_nic->CreateCq();
  auto client = client_nic->CreateQp(
      *client_domain, {.send_cq = client_queue.get(), .recv_cq = client_queue.get()});
  client->Connect({server_nic->address(), 5001});
  std::strcpy(static_cast<char*>(outbox->data()), "hello over TCP");
  if (client->PostSend(2, outbox->Sge(0, 15)) != 0) return 1;

  // Each side is told when its work is done.
  qpip::WorkCompletion done;
  if (server_queue->Wait({&done, 1}) != 1 || done.status != IBV_WC_SUCCESS) return 1;
  std::printf("received %u bytes: %s\n", done.byte_len, static_cast<char*>(inbox->data()));
  if (client_queue->Wait({&done, 1}) != 1 || done.status != IBV_WC_SUCCESS) return 1;
  std::printf("the other side has it\n");
} catch (const qpip::Error& error) {
  std::fprintf(stderr, "hello: %s\n", error.what());
  return 1;
}
