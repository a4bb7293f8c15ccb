// What became of the bytes in flight, as runs of the sequence space (RFC 6675's scoreboard, with
// the times RFC 8985 needs).
//
//     snd.una                                                     snd.nxt
//        | lost   | sacked      | lost | resent | sacked | in flight  |
//     ---|--------|-------------|------|--------|--------|------------|---> sequence
//
// A run is what was sent at about the same time and has had the same fate; segments are not kept
// one by one. From kPlenty runs on, whenever something is sent, the two neighbours of the same fate
// that are closest in time become one: what the times are good for needs no more, and each
// acknowledgement looks at all runs. Fates are another matter: they have all the room there is.
// When that is not enough, neighbours become one as well, and SACK blocks that would need yet
// another run are ignored, as the peer repeats them. What such a block has named says nothing about
// reordering when it is acknowledged.
//
// So a run has two times, and each errs to the safe side: what is delivered was sent at the first
// (less is deemed sent before it), what is not was sent at the last (it is deemed lost later).
#pragma once

#include <cstdint>

#include "protocols/tcp/annex.h"
#include "protocols/tcp/sequence_number.h"

namespace qpip::tcp {

enum RunFlags : uint8_t {
  kRunSacked = 1,      ///< the peer holds it
  kRunLost = 2,        ///< deemed lost, not sent again yet
  kRunResent = 4,      ///< sent more than once
  kRunSurelyLost = 8,  ///< ... and not by inference: lost, whatever arrives late
};

struct SentRun {
  static constexpr uint32_t kSpreadShift = 14;

  uint64_t sent_at = 0;  ///< when the first of it was last sent, nanoseconds
  SequenceNumber end;    ///< starts where the run before it ends
  uint8_t flags = 0;     ///< RunFlags
  uint16_t spread = 0;   ///< how much later the last of it was, in 2^14 ns, rounded up

  constexpr uint64_t LastSentAt() const { return sent_at + (uint64_t{spread} << kSpreadShift); }
};
static_assert(sizeof(SentRun) == 16);  // there are many

struct Scoreboard {
  static constexpr uint32_t kPlenty = 32;
  static constexpr uint32_t kLeastRuns = 8;

  SequenceNumber start;          ///< of the first run: snd.una
  uint32_t sacked = 0;           ///< bytes of runs that are sacked
  uint32_t lost = 0;             ///< bytes of runs that are lost
  SequenceNumber incomplete_to;  ///< incomplete: end of the highest block that was ignored
  bool incomplete = false;
  uint16_t count = 0;
  uint64_t resent_at = 0;  ///< when anything was last sent again
  Annex<SentRun> runs;     ///< room for kLeastRuns at least

  SequenceNumber StartOf(uint32_t index) const { return index == 0 ? start : runs[index - 1].end; }
  uint32_t LengthOf(uint32_t index) const { return StartOf(index).DistanceTo(runs[index].end); }
  SequenceNumber End() const { return count == 0 ? start : runs[count - 1].end; }
  /// Bytes on their way: what RFC 6675 calls pipe.
  uint32_t Pipe() const { return start.DistanceTo(End()) - sacked - lost; }
};

/// What acknowledgements have newly delivered: by acknowledgement number or by SACK.
struct Delivery {
  uint32_t bytes = 0;         ///< delivered, none counted before
  uint32_t sacked_bytes = 0;  ///< of these by SACK
  bool any = false;           ///< the three below are of the last sent of the runs delivered
  bool resent = false;
  uint64_t sent_at = 0;
  SequenceNumber end;
  uint64_t original_sent_at = ~uint64_t{0};  ///< of the oldest that was sent but once
  /// A run that was never resent was delivered after something behind it: reordering.
  bool reordered = false;
};

/// Starts an empty board.
void ResetScoreboard(Scoreboard& board, SequenceNumber start);

/// [from, to) was sent. At the end of the board it is new, and joins the last run when that was
/// sent less than `join_ns` before; else it was sent again.
void NoteSentRun(Scoreboard& board, SequenceNumber from, SequenceNumber to, uint64_t now,
                 uint64_t join_ns);

/// Everything before `una` is acknowledged. `fack`: the highest byte delivered before.
void AcknowledgeRuns(Scoreboard& board, SequenceNumber una, SequenceNumber fack,
                     Delivery* delivery);

/// The peer holds [from, to), which must lie on the board.
void SackRuns(Scoreboard& board, SequenceNumber from, SequenceNumber to, SequenceNumber fack,
              Delivery* delivery);

/// Run `index` is deemed lost.
void LoseRun(Scoreboard& board, uint32_t index);
/// What the peer does not hold of the bytes from `from` on is deemed lost.
void LoseFrom(Scoreboard& board, SequenceNumber from);
/// The same of [from, to), which the peer cannot have: it did not leave, or the path does not take
/// it.
void LoseBetween(Scoreboard& board, SequenceNumber from, SequenceNumber to);
/// Everything that the peer does not hold is deemed lost. With `forget_sacks`, everything.
void LoseAll(Scoreboard& board, bool forget_sacks);

/// Nothing is deemed lost any more, apart from what LoseBetween said.
void FindAll(Scoreboard& board);

/// The first lost bytes. False: there are none.
bool FirstLost(const Scoreboard& board, SequenceNumber* start, uint32_t* length);

/// Whether the first was sent after the second; segments of one time went in order (RFC 8985 6.1).
constexpr bool SentAfter(uint64_t time, SequenceNumber end, uint64_t other_time,
                         SequenceNumber other_end) {
  return time != other_time ? time > other_time : end.After(other_end);
}

}  // namespace qpip::tcp
