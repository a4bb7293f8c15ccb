#include "two_nics.h"

#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <utility>

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

namespace {

class Thread : public Task {
 public:
  explicit Thread(std::function<void()> program) : thread_(std::move(program)) {}
  void Join() override { thread_.join(); }

 private:
  std::thread thread_;
};

class RealTime : public Testbed {
 public:
  RealTime(std::string scheme, std::string options)
      : scheme_(std::move(scheme)), options_(std::move(options)) {}
  std::shared_ptr<Nic> Open(int last) override {
    return Nic::Open(PortUri(scheme_, fabric_, last, options_));
  }
  std::unique_ptr<Task> Start(std::function<void()> program) override {
    return std::make_unique<Thread>(std::move(program));
  }

 private:
  const std::string fabric_ = UniqueFabric();
  const std::string scheme_;
  const std::string options_;
};

}  // namespace

std::unique_ptr<Testbed> RealTimeTestbed(const std::string& scheme, const std::string& options) {
  return std::make_unique<RealTime>(scheme, options);
}

Side::Side(std::shared_ptr<Nic> opened)
    : nic(std::move(opened)), pd(nic->AllocatePd()), cq(nic->CreateCq(4096)) {}

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

void Side::AwaitPosted() { (void)nic->CreateCq(1); }

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

TwoNics::TwoNics(std::unique_ptr<Testbed> testbed)
    : testbed_(std::move(testbed)), server(testbed_->Open(1)), client(testbed_->Open(2)) {}

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
