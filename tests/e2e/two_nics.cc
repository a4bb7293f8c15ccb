#include "two_nics.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
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

constexpr int kWireguardNics = 3;
/// Made with `wg genkey` and `wg pubkey`, for these tests.
constexpr const char* kWireguardKeys[kWireguardNics][2] = {
    {"MPesUbq5+8em8Qq7Di/kHP4ayC2Ye21ouF9FHyKIIUA=",
     "xLbGwW8XCOmVMU8etoesSJGkMwKUgGl+F4zMMUXoo3o="},
    {"4E849rlhtQ323UCYFMSTbbhBrbEDOY/cwO7DthIA9VM=",
     "WFp2TkxMkRL8wQYG87h+PpmAhCBIVXxjXu1PsWvGnhw="},
    {"sI5vqWJj/pxJ5lgen6fipHMmkDsnd6Z6idkEgH3Q5Vw=",
     "vzaWRUG2pSIu+XZzqOcb3WJs8yCDuLwernd3EYwFoDE="},
};

class Wireguard : public Testbed {
 public:
  explicit Wireguard(std::string options) : options_(std::move(options)) {
    char name[] = "/tmp/qpip-e2e-wg-XXXXXX";
    directory_ = ::mkdtemp(name);
    // Ports that are free now; each socket is closed when all are chosen.
    std::array<int, kWireguardNics> sockets;
    for (int i = 0; i < kWireguardNics; ++i) {
      sockets[i] = ::socket(AF_INET, SOCK_DGRAM, 0);
      sockaddr_in address = {};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      socklen_t length = sizeof address;
      ::bind(sockets[i], reinterpret_cast<sockaddr*>(&address), length);
      ::getsockname(sockets[i], reinterpret_cast<sockaddr*>(&address), &length);
      ports_[i] = ntohs(address.sin_port);
    }
    for (const int socket : sockets) ::close(socket);
  }
  ~Wireguard() override { std::filesystem::remove_all(directory_); }

  std::shared_ptr<Nic> Open(int last) override {
    const std::string path = directory_ + "/" + std::to_string(last) + ".conf";
    std::ofstream file(path);
    ::chmod(path.c_str(), 0600);
    file << "[Interface]\nPrivateKey = " << kWireguardKeys[last - 1][0]
         << "\nAddress = fd00::" << last << "\nListenPort = " << ports_[last - 1] << "\n";
    for (int peer = 1; peer <= kWireguardNics; ++peer) {
      if (peer == last) continue;
      file << "[Peer]\nPublicKey = " << kWireguardKeys[peer - 1][1]
           << "\nAllowedIPs = fd00::" << peer << "/128\nEndpoint = 127.0.0.1:" << ports_[peer - 1]
           << "\n";
    }
    file.close();
    return Nic::Open("wg:" + path + (options_.empty() ? "" : "?" + options_));
  }
  std::unique_ptr<Task> Start(std::function<void()> program) override {
    return std::make_unique<Thread>(std::move(program));
  }

 private:
  const std::string options_;
  std::string directory_;
  std::array<uint16_t, kWireguardNics> ports_ = {};
};

}  // namespace

std::unique_ptr<Testbed> WireguardTestbed(const std::string& options) {
  return std::make_unique<Wireguard>(options);
}

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
