// Datagrams over UDP queue pairs: one message, one datagram. A datagram for which no receive is
// posted is dropped and counted, as on any UDP socket, so a client needs a time-out.
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <thread>

#include "qpip/qpip.h"

namespace {

constexpr uint16_t kPort = 7;
constexpr uint32_t kBytes = 1024;
constexpr int kMessages = 100;
constexpr uint64_t kSend = 1000;  // wr_id of sends; receives carry the number of their buffer

/// Posts answer 0 or an errno value.
void Check(int error) {
  if (error != 0) throw qpip::Error(error, std::string("post: ") + std::strerror(error));
}

/// Echoes datagrams until one is empty: a zero-length message is a datagram's privilege.
void Serve(qpip::QueuePair& qp, qpip::CompletionQueue& cq, qpip::MemoryRegion& memory) {
  for (;;) {
    std::array<qpip::WorkCompletion, 8> completions;
    const size_t count = cq.Wait(completions);
    for (size_t i = 0; i < count; ++i) {
      const qpip::WorkCompletion& wc = completions[i];
      if (wc.wr_id < kSend) {
        if (wc.byte_len == 0) return;
        // Back from the buffer it came in, to where it came from.
        Check(qp.PostSendTo(kSend + wc.wr_id, memory.Sge(wc.wr_id * kBytes, wc.byte_len), wc.peer));
      } else {
        // The datagram has left, so its buffer can receive again.
        const uint64_t buffer = wc.wr_id - kSend;
        Check(qp.PostRecv(buffer, memory.Sge(buffer * kBytes, kBytes)));
      }
    }
  }
}

int Talk(qpip::Nic& nic, const qpip::Endpoint& server) {
  auto pd = nic.AllocatePd();
  auto memory = pd->Allocate(2 * kBytes);
  auto cq = nic.CreateCq();
  auto qp =
      nic.CreateQp(*pd, {.type = qpip::QpType::kUdp, .send_cq = cq.get(), .recv_cq = cq.get()});
  qp->Bind(0);  // any port

  // Every send is signalled: its completion gives back its place in the send queue.
  const auto send = [&](uint32_t bytes) {
    Check(qp->PostSendTo(kSend, memory->Sge(0, bytes), server));
  };
  int echoed = 0;
  for (int i = 0; i < kMessages; ++i) {
    std::memset(memory->data(), i + 1, kBytes);
    Check(qp->PostRecv(0, memory->Sge(kBytes, kBytes)));
    send(kBytes);
    for (bool answered = false; !answered;) {
      std::array<qpip::WorkCompletion, 1> wc;
      if (cq->Wait(wc, std::chrono::seconds(1)) == 0) break;  // lost
      answered = wc[0].wr_id != kSend;
    }
    if (std::memcmp(memory->data(), static_cast<char*>(memory->data()) + kBytes, kBytes) == 0) {
      ++echoed;
    }
  }
  // Tells the server to end. On a fabric that loses datagrams this one might not arrive either.
  send(0);
  std::array<qpip::WorkCompletion, 1> wc;
  (void)cq->Wait(wc, std::chrono::seconds(1));  // until it has left
  return echoed;
}

}  // namespace

int main() try {
  auto server_nic = qpip::Nic::Open("mem:udp-echo?address=fd00::1");
  auto client_nic = qpip::Nic::Open("mem:udp-echo?address=fd00::2");

  auto pd = server_nic->AllocatePd();
  auto cq = server_nic->CreateCq();
  auto qp = server_nic->CreateQp(
      *pd, {.type = qpip::QpType::kUdp, .send_cq = cq.get(), .recv_cq = cq.get()});
  constexpr uint64_t kBuffers = 4;
  auto memory = pd->Allocate(kBuffers * kBytes);
  for (uint64_t i = 0; i < kBuffers; ++i) Check(qp->PostRecv(i, memory->Sge(i * kBytes, kBytes)));
  qp->Bind(kPort);

  std::thread server([&] { Serve(*qp, *cq, *memory); });
  const int echoed = Talk(*client_nic, {server_nic->address(), kPort});
  server.join();
  std::printf("%d of %d datagrams came back\n", echoed, kMessages);
  return echoed == kMessages ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "udp_echo: %s\n", error.what());
  return 1;
}
