// One connection of a client's: negotiation, requests out, replies in.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "channel.h"
#include "handshake.h"
#include "protocols/nbd/reply_chunk.h"
#include "protocols/nbd/transmission.h"
#include "qpip/nbd.h"

namespace qpip::nbd::internal {

/// The server has said no to what the client wants, rather than being lost.
class Refusal : public Error {
 public:
  using Error::Error;
};

inline bool IsChange(Command command) {
  return command == kCommandWrite || command == kCommandTrim || command == kCommandWriteZeroes;
}

/// One request on the wire: an Io, or a part of one.
struct Piece {
  Io* io = nullptr;
  Command command = kCommandRead;
  uint16_t flags = 0;           ///< CommandFlags
  bool zeroes = false;          ///< a write of zeroes, not of the Io's data
  uint64_t offset = 0;          ///< in the export
  uint64_t length = 0;          ///< bytes
  bool told = false;            ///< a status has come
  int error = 0;                ///< errno that the reply has named so far
  uint64_t changes = 0;         ///< kCommandFlush: changes answered before it was sent
  uint64_t changes_before = 0;  ///< changes answered before its link began
};

/// Who is told of pieces that are over.
class PieceOwner {
 public:
  virtual void OnPieceDone(const Piece& piece) = 0;

 protected:
  ~PieceOwner() = default;
};

class Link {
 public:
  enum class State { kDown, kConnecting, kNegotiating, kReady };

  Link(Wire& wire, const ClientOptions& options, PieceOwner& owner);

  State state() const { return state_; }
  bool ready() const { return state_ == State::kReady; }
  const Agreed& agreed() const { return handshake_->agreed(); }
  size_t in_flight() const { return slots_.size() - free_.size(); }
  bool HasRoom() const;

  /// Begins to connect. From here to Drop, calls throw Error: Lost, Refusal, what connecting says.
  void Start(Clock::time_point now);
  /// Goes on connecting and negotiating. Returns true once it has become ready.
  bool Advance(Clock::time_point now);
  /// Takes a piece on, for which there HasRoom.
  void Take(const Piece& piece);
  /// Sends what there is room for.
  void Send(Clock::time_point now);
  /// Takes what has come. Pieces that are over are the owner's.
  void Receive(Clock::time_point now);
  /// When it counts as lost unless something comes, or goes.
  std::optional<Clock::time_point> deadline() const;
  void ThrowIfOverdue(Clock::time_point now) const;
  /// Says good-bye. Nothing is sent afterwards.
  void Disconnect(Clock::time_point now);
  /// The connection is over: nothing refers to payload any more. Returns what was in flight, in
  /// the order in which it was sent.
  std::vector<Piece> Drop();

  // Kept for it by the client, between connections.
  Clock::time_point next_attempt{};
  std::chrono::milliseconds backoff{0};
  bool was_ready = false;
  uint64_t changes_before = 0;  ///< changes answered when it became ready

 private:
  struct Slot {
    Piece piece;
    uint64_t serial = 0;  ///< 0: free
    /// What has come of a read, [first, second) in the export, in order and with gaps between.
    std::vector<std::pair<uint64_t, uint64_t>> ranges;
  };
  enum class In { kHeader, kOffset, kData, kOther };

  /// Of the channel; what comes is heard.
  size_t Get(std::span<const iovec> into);
  bool Fill(std::span<uint8_t> room);
  bool TakeHeader();
  void OnSimpleReply();
  void OnChunk(const ReplyChunk& chunk);
  void OnOffset();
  bool TakeData();
  void OnOther();
  void OnStatus();
  /// A chunk has or zeroes so much of the read. It must lie within, and nothing come twice
  /// ("Structured reply chunk message": chunks of content must not overlap).
  void Cover(uint64_t offset, uint64_t bytes);
  /// The reply's chunk is over, and its piece with it when it was the last.
  void EndChunk();
  void EndPiece(Slot& slot);
  /// The server shuts down: what it refuses for that is for the next one. Where changes are not
  /// sent twice, one of them has the server's word instead.
  bool IsForTheNextServer(const Piece& over) const;
  Slot& Find(uint64_t cookie);
  void StageHeader(const Piece& piece, uint64_t cookie);
  /// Runs of the piece's data, from `skip` bytes on, behind those in `out`.
  static void Slice(const Piece& piece, uint64_t skip, uint64_t bytes, std::vector<iovec>& out);

  Wire& wire_;
  const ClientOptions& options_;
  PieceOwner& owner_;
  State state_ = State::kDown;
  std::unique_ptr<Channel> channel_;
  std::optional<Handshake> handshake_;
  Clock::time_point attempt_ends_{};
  Clock::time_point now_{};    ///< of the Receive that runs
  Clock::time_point moved_{};  ///< bytes came or went, or a first command was taken on

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  uint64_t serial_ = 0;
  std::vector<uint8_t>
      headers_;  ///< of requests in out_; refilled from its start when all are sent
  size_t headers_used_ = 0;
  std::vector<iovec> out_;
  size_t out_first_ = 0;

  In in_ = In::kHeader;
  std::array<uint8_t, kExtendedReplyBytes> header_ = {};
  size_t have_ = 0;   ///< bytes of what is being filled
  ReplyChunk chunk_;  ///< its payload is read
  Slot* slot_ = nullptr;
  std::vector<uint8_t> other_;  ///< a payload that is not data
  std::vector<iovec> data_;     ///< where data goes
  size_t data_first_ = 0;
};

}  // namespace qpip::nbd::internal
