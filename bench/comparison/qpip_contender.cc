// QPIP's queue pairs, over shared memory or between hosts, one NIC a process.
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "bench/comparison/contender.h"
#include "bench/comparison/process_pair.h"
#include "qpip/qpip.h"

namespace qpip::bench {
namespace {

constexpr uint16_t kPort = 5001;
constexpr uint16_t kWirePort = 4791;
constexpr uint32_t kRoundTripReceives = 8;
constexpr std::chrono::seconds kStall{20};

/// What the NICs are on.
enum class Link { kFabric, kUdp, kWireguard };

struct Mode {
  const char* name;
  std::string description;
  Completion completion;
  std::string query;         ///< further URI parameters
  Addresses addresses = {};  ///< of sockets, unless on a fabric
  Link link = Link::kFabric;
  bool lists = false;  ///< posts what the window has room for as one list of work requests
  bool pair = false;   ///< udp: the server names the client, too
};

/// Files of two WireGuard interfaces, for this benchmark alone: everybody may read their keys here.
class WireguardFiles {
 public:
  explicit WireguardFiles(const Addresses& addresses) {
    char name[] = "/tmp/qpip-compare-XXXXXX";
    if (mkdtemp(name) == nullptr) {
      throw std::system_error(errno, std::generic_category(), "a directory for keys in /tmp");
    }
    directory_ = name;
    const std::string at = ":" + std::to_string(kWirePort) + "\n";
    Write(true, "4E849rlhtQ323UCYFMSTbbhBrbEDOY/cwO7DthIA9VM=",
          "vzaWRUG2pSIu+XZzqOcb3WJs8yCDuLwernd3EYwFoDE=", "fd00::2", "");
    Write(false, "sI5vqWJj/pxJ5lgen6fipHMmkDsnd6Z6idkEgH3Q5Vw=",
          "WFp2TkxMkRL8wQYG87h+PpmAhCBIVXxjXu1PsWvGnhw=", "fd00::1",
          "Endpoint = [" + addresses.server + "]" + at);
  }
  WireguardFiles(const WireguardFiles&) = delete;
  WireguardFiles& operator=(const WireguardFiles&) = delete;
  ~WireguardFiles() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  std::string Path(bool server) const { return directory_ + (server ? "/server" : "/client"); }

 private:
  void Write(bool server, const char* private_key, const char* peers_key, const char* peers_address,
             const std::string& endpoint) const {
    std::ofstream file(Path(server));
    chmod(Path(server).c_str(), S_IRUSR | S_IWUSR);
    file << "[Interface]\nPrivateKey = " << private_key << "\nListenPort = " << kWirePort
         << "\n[Peer]\nPublicKey = " << peers_key << "\nAllowedIPs = " << peers_address << "/128\n"
         << endpoint;
    file.close();
    if (!file) throw std::runtime_error("cannot write " + Path(server));
  }
  std::string directory_;
};

/// The URI of one side's NIC.
std::string UriOf(const Mode& mode, const std::string& fabric, bool server) {
  const std::string address = std::string("?address=") + (server ? "fd00::1" : "fd00::2");
  // Of a link by WireGuard the fabric is a file, Path().
  if (mode.link == Link::kWireguard) return "wg:" + fabric + address + mode.query;
  if (mode.link == Link::kFabric) return "shm:" + fabric + address + mode.query;
  const std::string port = std::to_string(kWirePort);
  const std::string own = server ? mode.addresses.server : mode.addresses.client;
  std::string uri = "udp:[" + own + "]:" + port + address + mode.query;
  if (server && !mode.pair) return uri;
  const std::string& peer = server ? mode.addresses.client : mode.addresses.server;
  return uri + "&peer=[" + peer + "]:" + port;
}

void Check(int error, const char* what) {
  if (error != 0) throw std::system_error(error, std::generic_category(), what);
}

/// A NIC with one queue pair, its completion queue and its message buffers.
class Node {
 public:
  Node(const Case& which, const Mode& mode, const std::string& fabric, bool server)
      : which_(which),
        wait_(mode.completion == Completion::kWait),
        lists_(mode.lists),
        receives_(which.pattern == Pattern::kRoundTrip ? kRoundTripReceives : 2 * which.window),
        nic_(Nic::Open(UriOf(mode, fabric, server))),
        pd_(nic_->AllocatePd()),
        send_memory_(pd_->Allocate(size_t{which.bytes} * which.window)),
        recv_memory_(pd_->Allocate(size_t{which.bytes} * receives_)),
        cq_(nic_->CreateCq(SendDepth() + receives_)),
        qp_(nic_->CreateQp(*pd_, Options())) {
    memset(send_memory_->data(), 1, send_memory_->size());
    for (uint32_t i = 0; i < receives_; ++i) PostReceive(i);
    peer_ = Endpoint{ParseAddress(Address(!server)), kPort};
  }

  /// Connects the pair; what is exchanged through `side` only orders the two.
  void ConnectAsServer(Side& side) {
    if (which_.transport == Transport::kUdp) {
      qp_->Bind(kPort);
      side.Tell(0);
      side.Hear();
      return;
    }
    const auto listener = nic_->Listen(kPort);
    listener->Offer(*qp_);
    side.Tell(0);
    if (listener->Accept(kStall) == nullptr) throw std::runtime_error("nobody connected");
  }
  void ConnectAsClient(Side& side) {
    side.Hear();
    if (which_.transport == Transport::kUdp) {
      qp_->Bind(kPort);
      side.Tell(0);
      return;
    }
    qp_->Connect(peer_, kStall);
  }

  void ServeRoundTrips(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t slot = TakeReceive();
      PostSmallSend(i);
      PostReceive(slot);
    }
  }
  void MakeRoundTrips(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      PostSmallSend(i);
      PostReceive(TakeReceive());
    }
  }

  /// Receives `count` messages, then answers with one byte.
  void ReceiveAll(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) PostReceive(TakeReceive());
    const ibv_sge sge = send_memory_->Sge(0, 1);
    Check(qp_->PostSend(0, sge, IBV_SEND_SIGNALED), "post the answer");
    sends_done_ = 0;
    while (sends_done_ == 0) Gather();
  }
  /// Sends `count` messages with at most `window` outstanding, then waits for the answer.
  void SendAll(uint64_t count) {
    // A completion frees all sends before it, so only some need ask for one.
    const uint64_t signal_every = std::max<uint64_t>(1, which_.window / 4);
    uint64_t posted = 0;
    sends_done_ = 0;
    while (sends_done_ < count) {
      while (posted < count && posted - sends_done_ < which_.window) {
        const uint64_t room = std::min(count - posted, which_.window - (posted - sends_done_));
        posted += PostSends(posted, lists_ ? room : 1, signal_every, count);
      }
      Gather();
    }
    PostReceive(TakeReceive());
  }

 private:
  static const char* Address(bool server) { return server ? "fd00::1" : "fd00::2"; }

  uint32_t SendDepth() const { return std::max<uint32_t>(64, which_.window); }

  QpOptions Options() const {
    QpOptions options;
    options.type = which_.transport == Transport::kTcp ? QpType::kTcp : QpType::kUdp;
    options.send_cq = options.recv_cq = cq_.get();
    options.send_depth = SendDepth();
    options.recv_depth = receives_;
    options.receive_reservation = 8u << 20;
    return options;
  }

  /// Posts messages from `first` on. Returns how many.
  uint64_t PostSends(uint64_t first, uint64_t messages, uint64_t signal_every, uint64_t count) {
    list_.resize(std::max<size_t>(list_.size(), messages));
    sges_.resize(list_.size());
    for (uint64_t i = 0; i < messages; ++i) {
      const uint64_t number = first + i;
      const bool signal = (number + 1) % signal_every == 0 || number + 1 == count;
      const size_t slot = number % which_.window;
      sges_[i] = send_memory_->Sge(slot * which_.bytes, which_.bytes);
      list_[i] = {};
      list_[i].wr_id = number;
      list_[i].next = i + 1 < messages ? &list_[i + 1] : nullptr;
      list_[i].sg_list = &sges_[i];
      list_[i].num_sge = 1;
      list_[i].opcode = IBV_WR_SEND;
      list_[i].send_flags = signal ? static_cast<unsigned>(IBV_SEND_SIGNALED) : 0u;
    }
    Check(qp_->PostSend(list_.data()), "PostSend");
    return messages;
  }

  void PostReceive(uint64_t slot) {
    Check(qp_->PostRecv(slot, recv_memory_->Sge(slot * which_.bytes, which_.bytes)), "PostRecv");
  }

  void PostSmallSend(uint64_t index) {
    const int flags = IBV_SEND_INLINE | (index % 16 == 0 ? IBV_SEND_SIGNALED : 0);
    const ibv_sge sge = send_memory_->Sge(0, which_.bytes);
    Check(which_.transport == Transport::kTcp ? qp_->PostSend(index, sge, flags)
                                              : qp_->PostSendTo(index, sge, peer_, flags),
          "post a round trip's send");
  }

  /// Takes completions until there is at least one: polls for ever, or sleeps.
  void Gather() {
    std::array<WorkCompletion, 32> completions;
    size_t count = 0;
    if (wait_) {
      count = cq_->Wait(completions, kStall);
      if (count == 0) throw std::runtime_error("nothing completed for 20 s");
    } else {
      while (count == 0) count = cq_->Poll(completions);
    }
    for (size_t i = 0; i < count; ++i) {
      const WorkCompletion& done = completions[i];
      if (done.status != IBV_WC_SUCCESS) {
        throw std::runtime_error(std::string(done.opcode == IBV_WC_RECV ? "receive" : "send") +
                                 " completed with " + ToString(done.status) + ", connection " +
                                 ToString(done.reason));
      }
      if (done.opcode == IBV_WC_RECV) {
        if (done.byte_len != which_.bytes && done.byte_len != 1) {
          throw std::runtime_error("a message arrived with " + std::to_string(done.byte_len) +
                                   " bytes");
        }
        received_.push_back(done.wr_id);
      } else {
        sends_done_ = done.wr_id + 1;
      }
    }
  }

  /// The receive slot of the next message.
  uint64_t TakeReceive() {
    while (taken_ == received_.size()) {
      received_.clear();
      taken_ = 0;
      Gather();
    }
    return received_[taken_++];
  }

  const Case& which_;
  bool wait_;
  bool lists_;
  uint32_t receives_;
  Endpoint peer_;
  std::shared_ptr<Nic> nic_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::unique_ptr<MemoryRegion> send_memory_;
  std::unique_ptr<MemoryRegion> recv_memory_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<QueuePair> qp_;
  std::vector<uint64_t> received_;  ///< slots of receives that completed, not yet taken
  size_t taken_ = 0;
  uint64_t sends_done_ = 0;
  std::vector<ibv_send_wr> list_;
  std::vector<ibv_sge> sges_;
};

/// A queue pair that is destroyed resets its connection: nobody leaves while the other still waits
/// for an acknowledgement.
void PartTogether(Side& side) {
  side.Tell(0);
  side.Hear();
}

class QpipContender : public Contender {
 public:
  explicit QpipContender(const Mode& mode) : mode_(mode) {}

  std::string name() const override { return mode_.name; }
  std::string description() const override { return mode_.description; }
  Completion completion() const override { return mode_.completion; }
  bool Supports(const Case& which) const override {
    return which.pattern == Pattern::kRoundTrip || which.transport == Transport::kTcp;
  }

  Sample Measure(const Case& which, const Pinning& pinning, std::chrono::seconds timeout) override {
    if (mode_.link == Link::kUdp) return MeasureOn("", "", which, pinning, timeout);
    if (mode_.link == Link::kWireguard) {
      const WireguardFiles files(mode_.addresses);
      return MeasureOn(files.Path(true), files.Path(false), which, pinning, timeout);
    }
    const std::string fabric = "compare-" + std::to_string(getpid());
    try {
      return MeasureOn(fabric, fabric, which, pinning, timeout);
    } catch (...) {
      // Killed sides leave the fabric's files behind. Whoever attaches next finds nobody alive, and
      // the last to leave removes them.
      Nic::Open("shm:" + fabric + "?address=fd00::1");
      throw;
    }
  }

 private:
  /// `server_on`, `client_on`: the sides' fabric, see UriOf.
  Sample MeasureOn(const std::string& server_on, const std::string& client_on, const Case& which,
                   const Pinning& pinning, std::chrono::seconds timeout) const {
    const bool round_trip = which.pattern == Pattern::kRoundTrip;
    return RunPair(
        pinning, timeout,
        [&](Side& side) {
          Node node(which, mode_, server_on, true);
          node.ConnectAsServer(side);
          const auto run = [&](uint64_t count) {
            round_trip ? node.ServeRoundTrips(count) : node.ReceiveAll(count);
          };
          WarmUpAndMeasure(side, which, run);
          PartTogether(side);
        },
        [&](Side& side) {
          Node node(which, mode_, client_on, false);
          node.ConnectAsClient(side);
          const auto run = [&](uint64_t count) {
            round_trip ? node.MakeRoundTrips(count) : node.SendAll(count);
          };
          WarmUpAndMeasure(side, which, run);
          PartTogether(side);
        });
  }

  Mode mode_;
};

}  // namespace

std::vector<std::unique_ptr<Contender>> QpipContenders() {
  static const Mode kModes[] = {
      {"qpip-poll", "QPIP shm:, segment framing, trusted wire: no checksums, Poll in a loop",
       Completion::kPoll, ""},
      {"qpip-checksum",
       "QPIP shm:, segment framing, checksums computed and verified, Poll in a loop",
       Completion::kPoll, "&checksum=1"},
      {"qpip-wait", "QPIP shm:, segment framing, trusted wire: no checksums, Wait",
       Completion::kWait, ""},
  };
  std::vector<std::unique_ptr<Contender>> contenders;
  for (const Mode& mode : kModes) contenders.push_back(std::make_unique<QpipContender>(mode));
  return contenders;
}

std::vector<std::unique_ptr<Contender>> QpipHostContenders(const Addresses& addresses,
                                                           const std::string& query) {
  const std::string more = query.empty() ? "" : " (" + query + ")";
  const std::string to = " to " + addresses.server + more + ", segment framing, ";
  const Mode modes[] = {
      {"qpip-udp-poll", "QPIP udp:" + to + "Poll in a loop", Completion::kPoll, query, addresses,
       Link::kUdp},
      {"qpip-udp-wait", "QPIP udp:" + to + "Wait", Completion::kWait, query, addresses, Link::kUdp},
      {"qpip-udp-list", "QPIP udp:" + to + "Wait, sends posted as lists", Completion::kWait, query,
       addresses, Link::kUdp, true},
      {"qpip-pair-poll", "QPIP udp:" + to + "each side names the other, Poll in a loop",
       Completion::kPoll, query, addresses, Link::kUdp, false, true},
      {"qpip-wg-poll", "QPIP wg:" + to + "Poll in a loop", Completion::kPoll, query, addresses,
       Link::kWireguard},
      {"qpip-wg-wait", "QPIP wg:" + to + "Wait", Completion::kWait, query, addresses,
       Link::kWireguard},
  };
  std::vector<std::unique_ptr<Contender>> contenders;
  for (const Mode& mode : modes) contenders.push_back(std::make_unique<QpipContender>(mode));
  return contenders;
}

}  // namespace qpip::bench
