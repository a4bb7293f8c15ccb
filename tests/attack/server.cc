#include "server.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <vector>

#include "clients.h"
#include "lan.h"
#include "qpip/qpip.h"

namespace qpip::attack {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

constexpr uint32_t kChunk = 16384;  // bytes that a source posts at a time
constexpr uint32_t kChunks = 4;
constexpr uint32_t kDatagrams = 256;  // receives
constexpr uint32_t kDatagramBytes = 2048;
constexpr milliseconds kSweep(100);  // how often those that are idle are looked for

volatile std::sig_atomic_t stop_requested = 0;

int64_t ResidentKibibytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  file >> total >> resident;
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

void PrintEnd(size_t sessions, int64_t kibibytes, const std::string& statistics) {
  std::cout << "{\"sessions\": " << sessions
            << ", \"kibibytes\": " << ResidentKibibytes() - kibibytes
            << ", \"statistics\": " << statistics << "}" << std::endl;
}

// ---------------------------------------------------------------- queue pairs

/// One queue pair that is offered, serves one connection, and goes with it.
struct Session {
  std::unique_ptr<MemoryRegion> memory;
  std::unique_ptr<QueuePair> qp;
  uint64_t id = 0;
  bool source = false;  ///< sends without end, rather than echoes
  bool taken = false;
  bool ending = false;
  steady_clock::time_point heard;  ///< when it last came forward
};

class QpipServer {
 public:
  QpipServer(const std::string& uri, uint32_t offered, uint32_t most)
      : most_(most),
        nic_(Nic::Open(uri)),
        pd_(nic_->AllocatePd()),
        cq_(nic_->CreateCq(16 * most + 2 * kDatagrams)),
        datagrams_(pd_->Allocate(kDatagrams * kDatagramBytes)) {
    udp_ = nic_->CreateQp(*pd_, {.type = QpType::kUdp,
                                 .send_cq = cq_.get(),
                                 .recv_cq = cq_.get(),
                                 .send_depth = kDatagrams,
                                 .recv_depth = kDatagrams});
    for (uint32_t i = 0; i < kDatagrams; ++i) ReceiveDatagram(i);
    udp_->Bind(kEchoPort);
    echo_ = nic_->Listen(kEchoPort, 64);
    source_ = nic_->Listen(kSourcePort, 64);
    for (uint32_t i = 0; i < offered; ++i) Offer(false);
    for (uint32_t i = 0; i < std::min(offered, most - offered); ++i) Offer(true);
    fewest_ = sessions_.size();
  }

  void Run() {
    const int64_t kibibytes = ResidentKibibytes();
    std::vector<WorkCompletion> done(64);
    std::cout << "ready" << std::endl;
    auto sweep = steady_clock::now() + kSweep;
    while (stop_requested == 0) {
      const size_t count = cq_->Wait(done, milliseconds(1));
      now_ = steady_clock::now();
      for (size_t i = 0; i < count; ++i) OnCompletion(done[i]);
      Accept(*echo_);
      Accept(*source_);
      Replace();
      if (now_ < sweep) continue;
      sweep = now_ + kSweep;
      EndIdle();
    }
    PrintEnd(sessions_.size() - std::min(sessions_.size(), fewest_), kibibytes,
             nic_->StatisticsJson());
  }

 private:
  static constexpr uint64_t kDatagramIds = uint64_t{1} << 62;  // of the UDP queue pair's requests

  void Offer(bool source) {
    auto session = std::make_unique<Session>();
    session->id = next_id_++;
    session->source = source;
    session->memory = pd_->Allocate(source ? kChunk : kMessage);
    session->qp = nic_->CreateQp(*pd_, {.framing = Framing::kStream,
                                        .send_cq = cq_.get(),
                                        .recv_cq = cq_.get(),
                                        .send_depth = 4,
                                        .recv_depth = 2,
                                        .receive_reservation = 8192,
                                        .context = session.get()});
    (void)session->qp->PostRecv(session->id, session->memory->Sge(0, kMessage));
    (source ? source_ : echo_)->Offer(*session->qp);
    sessions_.emplace(session->id, std::move(session));
  }

  void Accept(Listener& listener) {
    while (QueuePair* qp = listener.Accept(nanoseconds(0))) {
      auto& session = *static_cast<Session*>(qp->context());
      session.taken = true;
      session.heard = now_;
      if (session.source) {
        for (uint32_t i = 0; i < kChunks; ++i) SendChunk(session);
      }
      if (sessions_.size() < most_) {
        Offer(session.source);
        ++more_[session.source];
      }
    }
  }

  void SendChunk(Session& session) {
    (void)session.qp->PostSend(session.id, session.memory->Sge(0, kChunk));
  }

  void ReceiveDatagram(uint32_t slot) {
    (void)udp_->PostRecv(kDatagramIds + slot,
                         datagrams_->Sge(slot * kDatagramBytes, kDatagramBytes));
  }

  void OnDatagram(const WorkCompletion& wc) {
    const auto slot = static_cast<uint32_t>(wc.wr_id - kDatagramIds);
    if (wc.opcode != IBV_WC_RECV) return ReceiveDatagram(slot);
    const bool sent =
        wc.status == IBV_WC_SUCCESS &&
        udp_->PostSendTo(wc.wr_id, datagrams_->Sge(slot * kDatagramBytes, wc.byte_len), wc.peer) ==
            0;
    if (!sent) ReceiveDatagram(slot);
  }

  void OnCompletion(const WorkCompletion& wc) {
    if (wc.wr_id >= kDatagramIds) return OnDatagram(wc);
    const auto found = sessions_.find(wc.wr_id);
    if (found == sessions_.end()) return;
    Session& session = *found->second;
    session.heard = now_;
    if (wc.status != IBV_WC_SUCCESS) {
      End(session);
    } else if (wc.end_of_stream) {
      End(session);
      if (session.qp->state() != QpState::kClosed) session.qp->Shutdown();
    } else if (wc.opcode == IBV_WC_RECV) {
      if (!session.source) {
        (void)session.qp->PostSend(session.id, session.memory->Sge(0, wc.byte_len),
                                   IBV_SEND_SIGNALED | IBV_SEND_INLINE);
      }
      (void)session.qp->PostRecv(session.id, session.memory->Sge(0, kMessage));
    } else if (session.source && !session.ending) {
      SendChunk(session);
    }
  }

  void End(Session& session) {
    if (!session.ending) ended_.push_back(session.id);
    session.ending = true;
  }

  void EndIdle() {
    for (auto& [id, session] : sessions_) {
      if (!session->taken || now_ - session->heard < kIdle) continue;
      End(*session);
      session->qp->Abort();
    }
  }

  void Replace() {
    std::erase_if(ended_, [this](uint64_t id) {
      const auto found = sessions_.find(id);
      if (found->second->qp->state() != QpState::kClosed) return false;
      const bool source = found->second->source;
      sessions_.erase(found);
      if (more_[source] > 0) {
        --more_[source];
      } else {
        Offer(source);
      }
      return true;
    });
  }

  const uint32_t most_;
  size_t fewest_ = 0;
  std::shared_ptr<Nic> nic_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<MemoryRegion> datagrams_;
  std::unique_ptr<QueuePair> udp_;
  std::unique_ptr<Listener> echo_;
  std::unique_ptr<Listener> source_;
  std::map<uint64_t, std::unique_ptr<Session>> sessions_;
  std::vector<uint64_t> ended_;
  std::array<uint32_t, 2> more_ = {};  // offered beyond those of the start, of each kind
  uint64_t next_id_ = 1;
  steady_clock::time_point now_;
};

// ---------------------------------------------------------------- the kernel's sockets

int BoundSocket(int type, uint16_t port) {
  const int fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) Fail("socket");
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) Fail("bind");
  return fd;
}

class KernelServer {
 public:
  explicit KernelServer(int backlog) {
    polled_ = {{BoundSocket(SOCK_DGRAM, kEchoPort), POLLIN, 0},
               {BoundSocket(SOCK_STREAM, kEchoPort), POLLIN, 0},
               {BoundSocket(SOCK_STREAM, kSourcePort), POLLIN, 0}};
    heard_.resize(kFirst);
    for (size_t i = 1; i < kFirst; ++i) {
      if (listen(polled_[i].fd, backlog) != 0) Fail("listen");
    }
  }

  void Run() {
    const int64_t kibibytes = ResidentKibibytes();
    std::cout << "ready" << std::endl;
    auto sweep = steady_clock::now() + kSweep;
    while (stop_requested == 0) {
      (void)poll(polled_.data(), polled_.size(), 100);
      now_ = steady_clock::now();
      if (polled_[0].revents != 0) EchoDatagrams();
      for (size_t i = polled_.size(); i-- > kFirst;) {
        if (polled_[i].revents != 0 && !Serve(i)) Close(i);
      }
      for (size_t i = 1; i < kFirst; ++i) {
        if (polled_[i].revents != 0) Accept(i);
      }
      if (now_ < sweep) continue;
      sweep = now_ + kSweep;
      for (size_t i = polled_.size(); i-- > kFirst;) {
        if (now_ - heard_[i] < kIdle) continue;
        const linger none = {1, 0};
        setsockopt(polled_[i].fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
        Close(i);
      }
    }
    PrintEnd(polled_.size() - kFirst, kibibytes, "{}");
  }

 private:
  static constexpr size_t kFirst = 3;  // of the connections

  void EchoDatagrams() {
    char bytes[kDatagramBytes];
    sockaddr_in6 from = {};
    socklen_t length = sizeof(from);
    for (uint32_t i = 0; i < kDatagrams; ++i) {
      const ssize_t got = recvfrom(polled_[0].fd, bytes, sizeof(bytes), 0,
                                   reinterpret_cast<sockaddr*>(&from), &length);
      if (got < 0) return;
      if (ntohs(from.sin6_port) == kEchoPort) continue;
      (void)sendto(polled_[0].fd, bytes, static_cast<size_t>(got), 0,
                   reinterpret_cast<const sockaddr*>(&from), length);
    }
  }

  bool Serve(size_t i) {
    char bytes[kMessage];
    const int fd = polled_[i].fd;
    if ((polled_[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0) {
      const ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
      if (got <= 0) return got < 0 && errno == EAGAIN;
      heard_[i] = now_;
      const bool echoes = (polled_[i].events & POLLOUT) == 0;
      if (echoes) (void)send(fd, bytes, static_cast<size_t>(got), MSG_NOSIGNAL);
    }
    if ((polled_[i].revents & POLLOUT) != 0) {
      static const std::vector<char> chunk(kChunk);
      if (send(fd, chunk.data(), chunk.size(), MSG_NOSIGNAL) <= 0) return errno == EAGAIN;
      heard_[i] = now_;
    }
    return true;
  }

  void Accept(size_t listener) {
    for (int fd = 0; (fd = accept4(polled_[listener].fd, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
      polled_.push_back({fd, static_cast<short>(listener == 1 ? POLLIN : POLLIN | POLLOUT), 0});
      heard_.push_back(now_);
    }
  }

  void Close(size_t i) {
    close(polled_[i].fd);
    polled_.erase(polled_.begin() + static_cast<std::ptrdiff_t>(i));
    heard_.erase(heard_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  std::vector<pollfd> polled_;
  std::vector<steady_clock::time_point> heard_;  // of each, when it last came forward
  steady_clock::time_point now_;
};

}  // namespace

void ServeQpip(const std::string& uri, uint32_t offered, uint32_t most) {
  QpipServer(uri, offered, most).Run();
}
void ServeKernel(int backlog) { KernelServer(backlog).Run(); }
void RequestStop() { stop_requested = 1; }

}  // namespace qpip::attack
