// A log of writes to an NBD server that may be killed at any time: every block is checked against
// the last write that was answered, whenever it is read. Usage: qpip_nbd_write_log URI CONNECTIONS
// SEED [NIC], told on standard input:
//   step COUNT   COUNT more commands, then "stepped REPLAYED"
//   settle       all of them, and a flush, then "settled"
//   verify       every block read back, then "verified ..."
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "apps/common/command_line.h"
#include "apps/nbd/upstream.h"

namespace qpip::nbd {
namespace {

constexpr size_t kBlocks = 512;
constexpr size_t kBlockBytes = 8192;
constexpr size_t kInFlight = 48;

/// What a block holds after its write number `version`; 0: nothing was ever written.
void Fill(std::span<uint64_t> words, uint64_t block, uint64_t version) {
  for (size_t i = 0; i < words.size(); ++i) {
    words[i] = version == 0 ? 0 : (block << 40 ^ version << 12 ^ i) * 0x9e3779b97f4a7c15;
  }
}

class WriteLog {
 public:
  WriteLog(Client& client, uint64_t seed) : client_(client), random_(seed), blocks_(kBlocks) {
    const std::span<std::byte> memory = client.Allocate(kBlocks * kBlockBytes);
    for (size_t i = 0; i < kBlocks; ++i) {
      Block& block = blocks_[i];
      block.log = this;
      block.number = i;
      block.bytes = memory.subspan(i * kBlockBytes, kBlockBytes);
      block.run = {block.bytes.data(), kBlockBytes};
    }
  }

  void Step(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      while (client_.in_flight() >= kInFlight) (void)client_.Wait();
      const uint64_t dice = random_() % 16;
      if (dice == 0) {
        Flush();
      } else {
        Block& block = blocks_[random_() % kBlocks];
        if (block.busy) continue;
        Submit(block, dice < 5 ? Io::Op::kRead : dice < 7 ? Io::Op::kZero : Io::Op::kWrite);
      }
      if (random_() % 4 == 0) (void)client_.Poll();
    }
  }
  void Drain() {
    while (client_.in_flight() > 0) (void)client_.Wait();
  }
  void Settle() {
    Drain();
    if (const int error = client_.Flush(); error != 0) Fault("a flush", error);
  }
  void Verify() {
    for (Block& block : blocks_) {
      while (client_.in_flight() >= kInFlight) (void)client_.Wait();
      Submit(block, Io::Op::kRead);
    }
    Drain();
  }
  uint64_t writes() const { return writes_; }
  uint64_t flushes() const { return flushes_; }
  uint64_t reads() const { return reads_; }

 private:
  struct Block {
    WriteLog* log = nullptr;
    uint64_t number = 0;
    std::span<std::byte> bytes;
    iovec run = {};
    Io io;
    uint64_t version = 0;  ///< of the last write that was answered
    uint64_t next = 0;     ///< of the one that is on its way
    bool busy = false;
  };

  /// The end, at once: commands that are in flight lie in what an exception would destroy.
  [[noreturn]] static void End(const std::string& why) {
    apps::PrintErrorLine("qpip_nbd_write_log", why);
    std::_Exit(apps::kExitFailed);
  }
  [[noreturn]] void Fault(const std::string& what, int error) {
    End(what + " failed: " + std::strerror(error) + ": " + client_.failure());
  }
  std::span<uint64_t> WordsOf(Block& block) {
    return {reinterpret_cast<uint64_t*>(block.bytes.data()), kBlockBytes / sizeof(uint64_t)};
  }

  void Submit(Block& block, Io::Op op) {
    block.busy = true;
    block.io.op = op;
    block.io.flags = op != Io::Op::kRead && random_() % 8 == 0 ? Io::kFua : 0;
    block.io.offset = block.number * kBlockBytes;
    block.io.length = kBlockBytes;
    block.io.data = {&block.run, 1};
    block.io.context = &block;
    block.io.done = [](Io& over) {
      auto& ended = *static_cast<Block*>(over.context);
      ended.log->OnDone(ended);
    };
    if (op == Io::Op::kWrite) {
      block.next = ++versions_;
      Fill(WordsOf(block), block.number, block.next);
    } else if (op == Io::Op::kZero) {
      block.next = 0;
    } else {
      std::memset(block.bytes.data(), 0xee, kBlockBytes);
    }
    client_.Submit(block.io);
  }

  void OnDone(Block& block) {
    block.busy = false;
    if (block.io.error != 0) Fault("a command", block.io.error);
    if (block.io.op != Io::Op::kRead) {
      ++writes_;
      block.version = block.next;
      return;
    }
    ++reads_;
    std::vector<uint64_t> expected(kBlockBytes / sizeof(uint64_t));
    Fill(expected, block.number, block.version);
    if (std::memcmp(expected.data(), block.bytes.data(), kBlockBytes) != 0) {
      End("block " + std::to_string(block.number) + " has not what write " +
          std::to_string(block.version) + " left there");
    }
  }

  void Flush() {
    if (flush_busy_) return;
    flush_busy_ = true;
    flush_.op = Io::Op::kFlush;
    flush_.context = this;
    flush_.done = [](Io& over) {
      auto& log = *static_cast<WriteLog*>(over.context);
      log.flush_busy_ = false;
      ++log.flushes_;
      if (over.error != 0) log.Fault("a flush", over.error);
    };
    client_.Submit(flush_);
  }

  Client& client_;
  std::mt19937_64 random_;
  std::vector<Block> blocks_;
  uint64_t versions_ = 0;
  uint64_t writes_ = 0, flushes_ = 0, reads_ = 0;
  Io flush_;
  bool flush_busy_ = false;
};

int Main(int argc, char** argv) {
  if (argc < 4) throw apps::UsageError("give URI CONNECTIONS SEED [NIC]");
  UpstreamOptions options;
  options.volatile_server = false;  // what is killed is a process, not a machine
  options.connections = static_cast<unsigned>(std::stoul(argv[2]));
  options.patience = std::chrono::seconds(60);
  options.reconnect = std::chrono::seconds(60);
  std::shared_ptr<Nic> nic;
  std::unique_ptr<ProtectionDomain> pd;
  if (argc > 4) {
    nic = Nic::Open(argv[4]);
    pd = nic->AllocatePd();
    options.nic = nic.get();
    options.pd = pd.get();
  }
  const std::unique_ptr<Client> client = OpenClient(argv[1], options);
  WriteLog log(*client, std::stoull(argv[3]));
  std::string word;
  while (std::cin >> word) {
    if (word == "step") {
      uint64_t count = 0;
      std::cin >> count;
      log.Step(count);
      std::cout << "stepped " << client->counts().replayed << std::endl;
    } else if (word == "settle") {
      log.Settle();
      std::cout << "settled" << std::endl;
    } else {
      log.Verify();
      std::cout << "verified " << kBlocks << " blocks after " << log.writes() << " writes, "
                << log.reads() << " reads, " << log.flushes() << " flushes, "
                << client->counts().reconnects << " reconnects, " << client->counts().replayed
                << " replayed" << std::endl;
    }
  }
  return 0;
}

}  // namespace
}  // namespace qpip::nbd

int main(int argc, char** argv) {
  return qpip::apps::RunCommand("qpip_nbd_write_log", [&] { return qpip::nbd::Main(argc, argv); });
}
