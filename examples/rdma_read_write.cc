// RDMA: one side writes into the other's memory, and reads from it, without its doing anything. A
// server and a client, each with a NIC of its own on a fabric inside this process.
#include <array>
#include <cstdio>
#include <cstring>
#include <exception>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "qpip/qpip.h"
#include "qpip/rdma.h"

namespace {

constexpr uint16_t kPort = 5001;
constexpr size_t kBytes = 4096;
constexpr int kForPeers = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;

/// Where the server's memory is: what it tells the client as private data.
struct Window {
  uint64_t address;
  uint32_t key;
};

qpip::QpOptions RdmaOptions(qpip::CompletionQueue& cq) {
  return {.framing = qpip::Framing::kMpa, .send_cq = &cq, .recv_cq = &cq};
}

void Serve(qpip::Nic& nic, qpip::RdmaListener& listener) {
  auto pd = nic.AllocatePd();
  auto memory = pd->Allocate(kBytes, kForPeers);
  std::strcpy(static_cast<char*>(memory->data()), "the server's own text");
  auto cq = nic.CreateCq();
  auto qp = nic.CreateQp(*pd, RdmaOptions(*cq));
  auto done = pd->Allocate(1);
  if (qp->PostRecv(1, done->Sge(0, 1)) != 0) throw std::runtime_error("the receive was refused");

  const auto request = listener.Next();
  const Window window = {reinterpret_cast<uint64_t>(memory->data()), memory->rkey()};
  request->Accept(*qp, {.private_data = std::as_bytes(std::span(&window, 1))});

  // Nothing says that a Write has come; the empty message behind it does.
  std::array<qpip::WorkCompletion, 1> received;
  if (cq->Wait(received) != 1 || received[0].status != IBV_WC_SUCCESS) {
    throw std::runtime_error(qpip::Describe(received[0]));
  }
  std::printf("server: in my memory: \"%s\"\n", static_cast<const char*>(memory->data()));
  qp->Disconnect();
}

void Talk(qpip::Nic& nic, const qpip::Endpoint& server) {
  auto pd = nic.AllocatePd();
  auto memory = pd->Allocate(2 * kBytes);  // the first half to write from, the second to read into
  auto cq = nic.CreateCq();
  auto qp = nic.CreateQp(*pd, RdmaOptions(*cq));
  std::vector<std::byte> private_data;
  qpip::RdmaConnect(nic, *qp, server, {}, std::nullopt, &private_data);
  Window window;
  if (private_data.size() != sizeof window) throw std::runtime_error("what does it tell?");
  std::memcpy(&window, private_data.data(), sizeof window);

  // Read first, then write, then say so: three work requests, carried out in this order.
  const std::string text = "written by the client";
  std::memcpy(memory->data(), text.c_str(), text.size() + 1);
  ibv_sge into = memory->Sge(kBytes, 32);
  ibv_sge from = memory->Sge(0, static_cast<uint32_t>(text.size() + 1));
  ibv_send_wr read{}, write{}, send{};
  read.opcode = IBV_WR_RDMA_READ;
  read.sg_list = &into;
  read.num_sge = 1;
  read.send_flags = IBV_SEND_SIGNALED;
  read.wr.rdma = {window.address, window.key};
  read.next = &write;
  write.opcode = IBV_WR_RDMA_WRITE;
  write.sg_list = &from;
  write.num_sge = 1;
  write.send_flags = IBV_SEND_FENCE;  // not before the read has its bytes
  write.wr.rdma = {window.address, window.key};
  write.next = &send;
  send.opcode = IBV_WR_SEND;
  send.send_flags = IBV_SEND_SIGNALED;
  if (qp->PostSend(&read) != 0) throw std::runtime_error("a work request was refused");
  for (int i = 0; i < 2; ++i) {
    std::array<qpip::WorkCompletion, 1> done;
    if (cq->Wait(done) != 1 || done[0].status != IBV_WC_SUCCESS) {
      throw std::runtime_error(qpip::Describe(done[0]));
    }
  }
  std::printf("client: read from the server: \"%s\"\n",
              static_cast<const char*>(memory->data()) + kBytes);
  qp->Disconnect();
}

}  // namespace

int main() try {
  auto server_nic = qpip::Nic::Open("mem:rdma-read-write?address=fd00::1");
  auto client_nic = qpip::Nic::Open("mem:rdma-read-write?address=fd00::2");
  qpip::RdmaListener listener(*server_nic, kPort);
  std::exception_ptr server_failure;
  std::thread server([&] {
    try {
      Serve(*server_nic, listener);
    } catch (...) {
      server_failure = std::current_exception();
    }
  });
  Talk(*client_nic, {server_nic->address(), kPort});
  server.join();
  if (server_failure) std::rethrow_exception(server_failure);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "rdma_read_write: %s\n", error.what());
  return 1;
}
