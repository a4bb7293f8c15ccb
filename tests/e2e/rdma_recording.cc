// Records every RDMA operation of the firmware's, with CRCs, for tshark (rdma_dissection_test.py).
//
// Usage: qpip_rdma_recording FILE [URI_PARAMETERS]    "mtu=1500"
//
// Two NICs in this process; the client's records. Each operation is carried out with several
// sizes, and checked; then a Write to a key that nobody has, which the server terminates.
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "qpip/qpip.h"
#include "qpip/rdma.h"

namespace qpip::test {
namespace {

constexpr uint16_t kPort = 4791;
constexpr uint32_t kBytes = 1 << 17;
constexpr uint32_t kSizes[] = {0, 1, 1000, 70000};
constexpr std::chrono::seconds kPatience{60};
constexpr int kAllAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                           IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

struct End {
  explicit End(const std::string& uri) : nic(Nic::Open(uri)) {}
  void Complete(const char* what, ibv_wc_status status = IBV_WC_SUCCESS) {
    WorkCompletion done;
    if (cq->Wait({&done, 1}, kPatience) != 1) throw std::runtime_error("nothing completes");
    if (done.status != status) throw std::runtime_error(what + (": " + Describe(done)));
  }

  std::shared_ptr<Nic> nic;
  std::unique_ptr<ProtectionDomain> pd = nic->AllocatePd();
  std::unique_ptr<MemoryRegion> memory = pd->Allocate(kBytes, kAllAccess);
  std::unique_ptr<CompletionQueue> cq = nic->CreateCq();
  std::unique_ptr<QueuePair> qp =
      nic->CreateQp(*pd, {.framing = Framing::kMpa, .send_cq = cq.get(), .recv_cq = cq.get()});
};

class Recording {
 public:
  Recording(const std::string& file, const std::string& parameters)
      : server_("mem:rdma-recording?address=fd00::1&" + parameters),
        client_("mem:rdma-recording?address=fd00::2&" + parameters + "&pcap=" + file) {
    RdmaListener listener(*server_.nic, kPort);
    std::thread accepting([&] {
      if (const auto request = listener.Next(kPatience)) {
        request->Accept(*server_.qp, {.private_data = "welcome", .crc = true});
      }
    });
    try {
      RdmaConnect(*client_.nic, *client_.qp, {server_.nic->address(), kPort},
                  {.private_data = "hello", .crc = true}, kPatience);
    } catch (...) {
      accepting.join();
      throw;
    }
    accepting.join();
  }

  void Run() {
    for (const uint32_t size : kSizes) {
      for (const int flags : {0, int{IBV_SEND_SOLICITED}}) Send(IBV_WR_SEND, size, flags);
      OneSided(IBV_WR_RDMA_WRITE, size);
      OneSided(IBV_WR_RDMA_READ, size);
    }
    for (const int flags : {0, int{IBV_SEND_SOLICITED}}) {
      Send(IBV_WR_SEND_WITH_INV, 100, flags);
      WriteWithImmediate(flags);
    }
    Atomic(IBV_WR_ATOMIC_FETCH_AND_ADD);
    Atomic(IBV_WR_ATOMIC_CMP_AND_SWP);
    ibv_send_wr bad = Request(IBV_WR_RDMA_WRITE, 100, 0);
    bad.wr.rdma.rkey ^= 0x1234;
    Post(bad);
    client_.Complete("a bad key", IBV_WC_REM_ACCESS_ERR);
  }

 private:
  ibv_send_wr Request(ibv_wr_opcode opcode, uint32_t size, int flags) {
    element_ = client_.memory->Sge(0, size);
    ibv_send_wr wr{};
    wr.opcode = opcode;
    wr.sg_list = &element_;
    wr.num_sge = 1;
    wr.send_flags = IBV_SEND_SIGNALED | static_cast<unsigned>(flags);
    wr.wr.rdma = {reinterpret_cast<uintptr_t>(server_.memory->data()), server_.memory->rkey()};
    return wr;
  }
  void Post(ibv_send_wr& wr) {
    if (client_.qp->PostSend(&wr) != 0) throw std::runtime_error("a work request is refused");
  }
  void PostReceive() {
    if (server_.qp->PostRecv(1, server_.memory->Sge(0, kBytes)) != 0) {
      throw std::runtime_error("a receive is refused");
    }
  }

  void Send(ibv_wr_opcode opcode, uint32_t size, int flags) {
    PostReceive();
    ibv_send_wr wr = Request(opcode, size, flags);
    // A key of the server's for this peer alone, which the peer then invalidates.
    std::array<char, 64> own = {};
    std::unique_ptr<MemoryRegion> bound;
    if (opcode == IBV_WR_SEND_WITH_INV) {
      bound = server_.pd->Register(own.data(), own.size(), kAllAccess,
                                   {.queue_pair = server_.qp.get(), .iova = std::nullopt});
      wr.invalidate_rkey = bound->rkey();
    }
    Post(wr);
    client_.Complete("send");
    server_.Complete("receive");
  }
  void OneSided(ibv_wr_opcode opcode, uint32_t size) {
    ibv_send_wr wr = Request(opcode, size, 0);
    Post(wr);
    client_.Complete("write or read");
  }
  void WriteWithImmediate(int flags) {
    PostReceive();
    ibv_send_wr wr = Request(IBV_WR_RDMA_WRITE_WITH_IMM, 500, flags);
    wr.imm_data = 0x12345678;
    Post(wr);
    client_.Complete("write with immediate data");
    server_.Complete("immediate data");
  }
  void Atomic(ibv_wr_opcode opcode) {
    ibv_send_wr wr = Request(opcode, 8, 0);
    wr.wr.atomic = {reinterpret_cast<uintptr_t>(server_.memory->data()), 2, 3,
                    server_.memory->rkey()};
    Post(wr);
    client_.Complete("atomic");
  }

  End server_;
  End client_;
  ibv_sge element_ = {};
};

}  // namespace
}  // namespace qpip::test

int main(int count, char** words) try {
  if (count < 2) throw std::runtime_error("usage: qpip_rdma_recording FILE [URI_PARAMETERS]");
  qpip::test::Recording(words[1], count > 2 ? words[2] : "checksum=1").Run();
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "qpip_rdma_recording: %s\n", error.what());
  return 1;
}
