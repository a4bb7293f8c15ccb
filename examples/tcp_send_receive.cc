// Messages over a TCP queue pair: a server and a client, each with a NIC of its own on a fabric
// inside this process. With segment framing (the default) a message arrives as it was sent.
#include <array>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <thread>

#include "qpip/qpip.h"

namespace {

constexpr uint16_t kPort = 5001;
constexpr size_t kBytes = 4096;

void Check(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(what);
}

/// Posts answer 0 or an errno value.
void CheckPosted(int error) {
  if (error != 0) throw qpip::Error(error, std::string("post: ") + std::strerror(error));
}

/// Waits for one completion and checks that it is good.
qpip::WorkCompletion WaitForOne(qpip::CompletionQueue& cq) {
  std::array<qpip::WorkCompletion, 1> completion;
  Check(cq.Wait(completion) == 1, "no completion came");
  if (completion[0].status != IBV_WC_SUCCESS) {
    throw std::runtime_error(qpip::Describe(completion[0]));
  }
  return completion[0];
}

void Serve(qpip::Nic& nic, qpip::Listener& listener) {
  auto pd = nic.AllocatePd();
  auto memory = pd->Allocate(kBytes);
  auto cq = nic.CreateCq();
  auto qp = nic.CreateQp(*pd, {.send_cq = cq.get(), .recv_cq = cq.get()});

  // The receive is posted before there is a connection, so the first message finds it.
  CheckPosted(qp->PostRecv(1, memory->Sge(0, kBytes)));
  listener.Offer(*qp);
  listener.Accept();

  const qpip::WorkCompletion received = WaitForOne(*cq);
  std::printf("server: got %u bytes: \"%s\"\n", received.byte_len,
              static_cast<const char*>(memory->data()));

  // Answers from the same memory, then waits until the client has acknowledged the answer.
  const std::string answer = "and the same to you";
  std::memcpy(memory->data(), answer.c_str(), answer.size() + 1);
  CheckPosted(qp->PostSend(2, memory->Sge(0, static_cast<uint32_t>(answer.size() + 1))));
  WaitForOne(*cq);
  qp->Disconnect();
}

void Talk(qpip::Nic& nic, const qpip::Endpoint& server) {
  auto pd = nic.AllocatePd();
  auto memory = pd->Allocate(2 * kBytes);  // the first half for sending, the second for receiving
  auto cq = nic.CreateCq();
  auto qp = nic.CreateQp(*pd, {.send_cq = cq.get(), .recv_cq = cq.get()});
  CheckPosted(qp->PostRecv(1, memory->Sge(kBytes, kBytes)));
  qp->Connect(server);

  const std::string message = "a message over a queue pair";
  std::memcpy(memory->data(), message.c_str(), message.size() + 1);
  // Without IBV_SEND_SIGNALED only a failure would complete; the answer tells that it arrived.
  CheckPosted(qp->PostSend(2, memory->Sge(0, static_cast<uint32_t>(message.size() + 1)), 0));

  const qpip::WorkCompletion received = WaitForOne(*cq);
  const char* const answer = static_cast<const char*>(memory->data()) + kBytes;
  std::printf("client: got %u bytes: \"%s\"\n", received.byte_len, answer);
  Check(std::strcmp(answer, "and the same to you") == 0, "wrong answer");
  Check(qp->Disconnect(std::chrono::seconds(5)), "the server did not close");
}

}  // namespace

int main() try {
  auto server_nic = qpip::Nic::Open("mem:tcp-send-receive?address=fd00::1");
  auto client_nic = qpip::Nic::Open("mem:tcp-send-receive?address=fd00::2");
  auto listener = server_nic->Listen(kPort);
  std::exception_ptr server_failure;
  std::thread server([&] {
    try {
      Serve(*server_nic, *listener);
    } catch (...) {
      server_failure = std::current_exception();
    }
  });
  Talk(*client_nic, {server_nic->address(), kPort});
  server.join();
  if (server_failure) std::rethrow_exception(server_failure);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "tcp_send_receive: %s\n", error.what());
  return 1;
}
