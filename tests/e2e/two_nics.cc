#include "two_nics.h"

#include <unistd.h>

#include <atomic>
#include <cstring>

namespace qpip::test {

std::string UniqueFabric() {
  static std::atomic<int> next{0};
  return "test-" + std::to_string(getpid()) + "-" + std::to_string(next++);
}

std::string PortUri(const std::string& scheme, const std::string& fabric, int last,
                    const std::string& options) {
  return scheme + ":" + fabric + "?address=fd00::" + std::to_string(last) +
         (options.empty() ? "" : "&" + options);
}

Side::Side(const std::string& uri)
    : nic(Nic::Open(uri)), pd(nic->AllocatePd()), cq(nic->CreateCq(4096)) {}

std::unique_ptr<QueuePair> Side::Qp(QpOptions options) {
  if (options.send_cq == nullptr) options.send_cq = cq.get();
  if (options.recv_cq == nullptr) options.recv_cq = cq.get();
  return nic->CreateQp(*pd, options);
}

WorkCompletion Side::One() {
  WorkCompletion wc{};
  EXPECT_EQ(cq->Wait({&wc, 1}, kPatience), 1u) << "no completion came";
  return wc;
}

std::vector<WorkCompletion> Side::Collect(size_t count) {
  std::vector<WorkCompletion> out(count);
  size_t have = 0;
  while (have < count) {
    const size_t n = cq->Wait(std::span(out).subspan(have), kPatience);
    if (n == 0) {
      ADD_FAILURE() << "only " << have << " of " << count << " completions came";
      out.resize(have);
      break;
    }
    have += n;
  }
  return out;
}

TwoNics::TwoNics(const std::string& scheme, const std::string& options)
    : fabric(UniqueFabric()),
      server(PortUri(scheme, fabric, 1, options)),
      client(PortUri(scheme, fabric, 2, options)) {}

void TwoNics::Connect(QueuePair& from, QueuePair& to) {
  if (!listener_) listener_ = server.nic->Listen(7000, 64);
  listener_->Offer(to);
  from.Connect(ServerAt(7000), kPatience);
  ASSERT_EQ(listener_->Accept(kPatience), &to);
}

namespace {
uint8_t PatternByte(uint64_t position) {
  return static_cast<uint8_t>((position * 0x9e3779b97f4a7c15ull) >> 56);
}
}  // namespace

void FillPattern(void* data, size_t bytes, uint64_t position) {
  auto* out = static_cast<uint8_t*>(data);
  for (size_t i = 0; i < bytes; ++i) out[i] = PatternByte(position + i);
}

size_t CheckPattern(const void* data, size_t bytes, uint64_t position) {
  const auto* in = static_cast<const uint8_t*>(data);
  for (size_t i = 0; i < bytes; ++i) {
    if (in[i] != PatternByte(position + i)) return i;
  }
  return bytes;
}

}  // namespace qpip::test
