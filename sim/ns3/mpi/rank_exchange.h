// What the ranks of a simulation send each other: once a window, everything at once.
//
//     | State | message | message | ...      to each other rank, as one message of MPI
//
// MPI costs by the message, not by the byte: the frames and credits of a window go together, and
// with them the times from which every rank works out the next window for itself.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace qpip::sim {

/// The ranks of this run, one in each process. Times are steps of ns-3's clock. Not thread-safe.
class RankExchange {
 public:
  static constexpr uint64_t kNever = UINT64_MAX;
  /// Of one rank, or of all: the earliest, the least, any.
  struct State {
    uint64_t next = kNever;        ///< when something happens, there or by what it has posted
    uint64_t look_ahead = kNever;  ///< what it posts takes effect that much later at least
    uint32_t stop = 0;             ///< wants Simulator::Run to return
    uint32_t leaves = 0;           ///< takes part no more
  };
  /// Gets all messages of one rank, in the order in which they were posted.
  using Receiver = std::function<void(std::span<const uint8_t> messages)>;

  /// Every rank calls these; between MPI_Init and MPI_Finalize.
  static void Open();
  static void Close();
  /// Throws std::logic_error when it is not open.
  static RankExchange& Get();

  uint32_t rank() const { return rank_; }
  uint32_t ranks() const { return static_cast<uint32_t>(boxes_.size()); }

  void set_receiver(Receiver receiver) { receiver_ = std::move(receiver); }
  /// What this rank posts takes effect no sooner than `steps` after the present. The least counts.
  void BoundLookAhead(uint64_t steps);
  /// Where to append a message to `rank`, which takes effect at `at`; sent by the next Swap.
  std::vector<uint8_t>& Post(uint32_t rank, uint64_t at);
  /// Sends and receives; returns what holds for all ranks. `next`: when this one's next event is.
  /// Every rank calls it; throws std::runtime_error when one has left instead.
  State Swap(uint64_t next, bool stop);

 private:
  struct Box {
    std::vector<uint8_t> out;  ///< begins with this rank's state
    std::vector<uint8_t> in;
    size_t in_bytes = 0;
    bool gone = false;
  };
  RankExchange();
  /// Adds the others' states to `state`.
  void SendAndReceive(State* state);
  State Receive(uint32_t rank);

  uint32_t rank_ = 0;
  uint64_t look_ahead_ = kNever;
  uint64_t earliest_posted_ = kNever;
  std::vector<Box> boxes_;  ///< by rank; this one's is not used
  Receiver receiver_;
};

}  // namespace qpip::sim
