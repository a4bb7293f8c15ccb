// What a Client is: commands cut in pieces, and the links they go over.
//
//     Submit ──> waiting ──> pieces ──> a link ──> server      new
//                again ───────────────> another link           lost with a connection
//     done   <── over    <── pieces <── the link <── server
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "channel.h"
#include "link.h"
#include "qpip/nbd.h"

namespace qpip::nbd::internal {

/// First in, first out, by Io::next.
class IoList {
 public:
  bool empty() const { return first_ == nullptr; }
  Io& front() const { return *first_; }
  void Push(Io& io) {
    io.next = nullptr;
    (first_ == nullptr ? first_ : last_->next) = &io;
    last_ = &io;
  }
  Io& Pop() {
    Io& io = *first_;
    first_ = io.next;
    return io;
  }

 private:
  Io* first_ = nullptr;
  Io* last_ = nullptr;
};

class ClientImpl final : public PieceOwner {
 public:
  ClientImpl(std::unique_ptr<Wire> wire, const ClientOptions& options);
  ~ClientImpl();
  ClientImpl(const ClientImpl&) = delete;
  ClientImpl& operator=(const ClientImpl&) = delete;

  void Submit(Io& io);
  size_t Poll();
  size_t Wait(Timeout timeout);
  int fd();
  bool Arm();

  Wire& wire() { return *wire_; }
  const ExportFacts& facts() const { return facts_; }
  ClientCounts counts() const { return counts_; }
  size_t connections() const;
  size_t in_flight() const { return in_flight_; }
  const std::string& failure() const { return failure_; }

  void OnPieceDone(const Piece& piece) override;

 private:
  void AwaitConnections();
  // Of Poll
  void RunLinks(Clock::time_point now);
  void RunLink(Link& link, Clock::time_point now);
  void OnReady(Link& link);
  /// Throws Refusal: the export is another one than it was to be.
  void CompareFacts(const ExportFacts& found) const;
  void OnLoss(Link& link, const Error& error, bool refused, Clock::time_point now);
  void PutBack(const std::vector<Piece>& pieces);
  void Dispatch();
  void SendAll(Clock::time_point now);
  size_t Deliver();
  void Fail(int code, const std::string& text);

  // Of commands
  /// A volatile server was lost with changes that were not flushed, and no flush has said so.
  bool suspect() const { return options_.volatile_server && ledger_->losses() != told_losses_; }
  Link* PickLink();
  /// Cuts the next piece off the first command that waits. Returns false when that ended instead.
  bool CutPiece(Piece* piece);
  /// errno, 0: it may go out.
  int Check(const Io& io) const;
  /// Whether it is done without the server's help.
  bool IsDoneHere(const Io& io) const;
  uint64_t MostBytes(const Io& io) const;
  void AllSent(Io& io);
  void EndIfOver(Io& io);
  void End(Io& io, int error);
  std::optional<Clock::time_point> NextDeadline() const;
  Timeout UntilDeadline(Clock::time_point now, std::optional<Clock::time_point> other) const;

  ClientOptions options_;
  std::unique_ptr<Wire> wire_;
  std::vector<std::unique_ptr<Link>> links_;
  ExportFacts facts_;
  ClientCounts counts_;

  IoList waiting_;
  uint64_t cut_ = 0;  ///< bytes of the first of them that pieces have been made of
  std::deque<Piece> again_;
  IoList over_;
  size_t in_flight_ = 0;

  bool ever_ready_ = false;
  std::optional<Clock::time_point> lost_since_;  ///< there is no connection
  /// The server has said that it shuts down, and has not done anything since.
  std::optional<Clock::time_point> refusing_since_;
  int failed_ = 0;  ///< errno of the end of everything
  std::string failure_;

  std::shared_ptr<ChangeLedger> ledger_;
  uint64_t told_losses_;  ///< of the ledger's, for which a flush of this client's has failed

  int epoll_ = -1;
  int timer_ = -1;
};

}  // namespace qpip::nbd::internal
