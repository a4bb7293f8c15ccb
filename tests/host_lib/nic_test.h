// A NIC over the fake, with a protection domain, memory and a completion queue.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "fake_nic.h"
#include "nic_impl.h"
#include "qpip/qpip.h"

namespace qpip::test {

inline const Endpoint kPeer = Endpoint::Parse("[fd00::2]:5001");

/// The code of the Error that `action` throws; 0 when it throws none. `what` receives its text.
template <typename Action>
int ErrorOf(Action action, std::string* what = nullptr) {
  try {
    action();
  } catch (const Error& error) {
    if (what != nullptr) *what = error.what();
    return error.code();
  }
  return 0;
}

inline std::vector<std::byte> Bytes(size_t count, int seed = 0) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<std::byte>((i * 131 + (i >> 8) * 17 + static_cast<size_t>(seed)) & 255);
  }
  return bytes;
}

class NicTest : public testing::Test {
 protected:
  NicTest() {
    auto port = std::make_unique<FakeNic>();
    fake = port.get();
    nic = internal::NicImpl::Start(std::move(port));
    pd = nic->AllocatePd();
    memory = pd->Allocate(1 << 16);
    cq = nic->CreateCq(64);
  }

  void TearDown() override { EXPECT_THAT(fake->broken_promises, testing::IsEmpty()); }

  QpOptions Options(uint32_t depth = 4) const {
    QpOptions options;
    options.send_cq = cq.get();
    options.recv_cq = cq.get();
    options.send_depth = depth;
    options.recv_depth = depth;
    return options;
  }
  std::unique_ptr<QueuePair> Idle(uint32_t depth = 4) { return nic->CreateQp(*pd, Options(depth)); }
  std::unique_ptr<QueuePair> Connected(QpOptions options) {
    auto qp = nic->CreateQp(*pd, options);
    qp->Connect(kPeer);
    return qp;
  }
  std::unique_ptr<QueuePair> Connected(uint32_t depth = 4) { return Connected(Options(depth)); }
  std::unique_ptr<QueuePair> Bound(uint16_t port = 7) {
    QpOptions options = Options();
    options.type = QpType::kUdp;
    auto qp = nic->CreateQp(*pd, options);
    qp->Bind(port);
    return qp;
  }
  std::vector<WorkCompletion> PollAll(CompletionQueue& from) {
    std::vector<WorkCompletion> all;
    std::array<WorkCompletion, 8> some;
    while (const size_t count = from.Poll(some)) all.insert(all.end(), &some[0], &some[0] + count);
    return all;
  }
  std::vector<WorkCompletion> PollAll() { return PollAll(*cq); }

  std::shared_ptr<Nic> nic;
  FakeNic* fake;  ///< owned by the NIC: valid while `nic` or any object is
  std::unique_ptr<ProtectionDomain> pd;
  std::unique_ptr<MemoryRegion> memory;
  std::unique_ptr<CompletionQueue> cq;
};

/// TCP queue pairs' numbers are the NIC's handles.
inline uint32_t HandleOf(const QueuePair& qp) { return qp.qp_num(); }

}  // namespace qpip::test
