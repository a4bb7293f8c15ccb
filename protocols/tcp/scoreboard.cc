#include "protocols/tcp/scoreboard.h"

namespace qpip::tcp {
namespace {

void EraseRun(Scoreboard& board, uint32_t index) {
  --board.count;
  for (uint32_t i = index; i < board.count; ++i) board.runs[i] = board.runs[i + 1];
}

void SetLastSentAt(SentRun& run, uint64_t time) {
  constexpr uint64_t kUnit = uint64_t{1} << SentRun::kSpreadShift;
  const uint64_t units = (time - run.sent_at + kUnit - 1) >> SentRun::kSpreadShift;
  run.spread = static_cast<uint16_t>(units < 0xffff ? units : 0xffff);
}

/// Makes run `index` part of the one behind it, which has the same flags.
void JoinNext(Scoreboard& board, uint32_t index) {
  const SentRun& run = board.runs[index];
  SentRun& next = board.runs[index + 1];
  const uint64_t last = run.LastSentAt() > next.LastSentAt() ? run.LastSentAt() : next.LastSentAt();
  if (run.sent_at < next.sent_at) next.sent_at = run.sent_at;
  SetLastSentAt(next, last);
  EraseRun(board, index);
}

/// Joins the neighbours of the same fate that are closest in time. Indices change. False: there are
/// none.
bool JoinClosest(Scoreboard& board) {
  uint32_t best = board.count;
  uint64_t best_gap = ~uint64_t{0};
  for (uint32_t i = 0; i + 1 < board.count; ++i) {
    const SentRun& run = board.runs[i];
    const SentRun& next = board.runs[i + 1];
    if (run.flags != next.flags) continue;
    const uint64_t gap =
        run.sent_at < next.sent_at ? next.sent_at - run.sent_at : run.sent_at - next.sent_at;
    if (gap < best_gap) {
      best = i;
      best_gap = gap;
    }
  }
  if (best == board.count) return false;
  JoinNext(board, best);
  return true;
}

/// Makes room for `more` runs by joining neighbours of the same fate. Indices change. False: there
/// are not enough such.
bool MakeRoom(Scoreboard& board, uint32_t more) {
  while (board.count + more > board.runs.capacity()) {
    if (!JoinClosest(board)) return false;
  }
  return true;
}

/// A run ends at `at`, which lies on the board. There is room for it.
void SplitAt(Scoreboard& board, SequenceNumber at) {
  uint32_t index = 0;
  while (index < board.count && board.runs[index].end.Before(at)) ++index;
  if (index == board.count || board.runs[index].end == at || board.StartOf(index) == at) return;
  for (uint32_t i = board.count; i > index; --i) board.runs[i] = board.runs[i - 1];
  ++board.count;
  board.runs[index].end = at;
}

uint32_t IndexFrom(const Scoreboard& board, SequenceNumber from) {
  uint32_t index = 0;
  while (index < board.count && board.runs[index].end.AtOrBefore(from)) ++index;
  return index;
}

/// Notes run `index` as delivered.
void Deliver(const Scoreboard& board, uint32_t index, SequenceNumber fack, Delivery* delivery) {
  const SentRun& run = board.runs[index];
  delivery->bytes += board.LengthOf(index);
  const bool resent = (run.flags & kRunResent) != 0;
  const bool known = !board.incomplete || run.end.After(board.incomplete_to);
  if (!resent && known && run.end.Before(fack)) delivery->reordered = true;
  if (!resent && run.sent_at < delivery->original_sent_at) delivery->original_sent_at = run.sent_at;
  const bool later =
      !delivery->any || SentAfter(run.sent_at, run.end, delivery->sent_at, delivery->end);
  if (!later) return;
  delivery->any = true;
  delivery->resent = resent;
  delivery->sent_at = run.sent_at;
  delivery->end = run.end;
}

void ClearLost(Scoreboard& board, uint32_t index) {
  SentRun& run = board.runs[index];
  if ((run.flags & kRunLost) == 0) return;
  run.flags = static_cast<uint8_t>(run.flags & ~(kRunLost | kRunSurelyLost));
  board.lost -= board.LengthOf(index);
}

/// The peer holds something up to `end` that is not on the board.
void NoteIncomplete(Scoreboard& board, SequenceNumber end) {
  board.incomplete_to = board.incomplete ? Max(board.incomplete_to, end) : end;
  board.incomplete = true;
}

void NoteResent(Scoreboard& board, SequenceNumber from, SequenceNumber to, uint64_t now) {
  // Without room for the ends, all of the runs they lie in count as sent again: what was not is
  // deemed lost in its time.
  if (MakeRoom(board, 2)) {
    SplitAt(board, from);
    SplitAt(board, to);
  }
  for (uint32_t i = IndexFrom(board, from); i < board.count && board.StartOf(i).Before(to); ++i) {
    if ((board.runs[i].flags & kRunSacked) != 0) continue;
    ClearLost(board, i);
    board.runs[i].flags |= kRunResent;
    board.runs[i].sent_at = now;
    board.runs[i].spread = 0;
  }
}

}  // namespace

void ResetScoreboard(Scoreboard& board, SequenceNumber start) {
  board.start = start;
  board.sacked = 0;
  board.lost = 0;
  board.incomplete = false;
  board.count = 0;
}

void NoteSentRun(Scoreboard& board, SequenceNumber from, SequenceNumber to, uint64_t now,
                 uint64_t join_ns) {
  if (from.Before(board.End())) {
    board.resent_at = now;
    NoteResent(board, from, to.After(board.End()) ? board.End() : to, now);
    if (to.AtOrBefore(board.End())) return;
  }
  if (board.count != 0) {
    SentRun& last = board.runs[board.count - 1];
    // Not across a repetition, whose loss is told by what was sent after it.
    const bool together = last.sent_at >= board.resent_at && now - last.sent_at < join_ns;
    if (last.flags == 0 && together) {
      last.end = to;
      SetLastSentAt(last, now);
      return;
    }
    if (board.count >= Scoreboard::kPlenty) JoinClosest(board);
    if (!MakeRoom(board, 1)) {
      // Fates alternate all along. The last run's is forgotten, at the cost of a repetition.
      const uint32_t index = board.count - 1u;
      ClearLost(board, index);
      if ((last.flags & kRunSacked) != 0) {
        board.sacked -= board.LengthOf(index);
        NoteIncomplete(board, last.end);
      }
      last = {now, to, 0, 0};
      return;
    }
  }
  board.runs[board.count++] = {now, to, 0, 0};
}

void AcknowledgeRuns(Scoreboard& board, SequenceNumber una, SequenceNumber fack,
                     Delivery* delivery) {
  if (board.count != 0 && una.Before(board.runs[0].end)) {  // within the first run
    if (una.AtOrBefore(board.start)) return;
  }
  uint32_t gone = 0;
  while (gone < board.count && board.StartOf(gone).Before(una)) {
    const SentRun run = board.runs[gone];
    const bool whole = run.end.AtOrBefore(una);
    const SequenceNumber end = whole ? run.end : una;
    const uint32_t length = board.StartOf(gone).DistanceTo(end);
    if ((run.flags & kRunLost) != 0) board.lost -= length;
    if ((run.flags & kRunSacked) != 0) {
      board.sacked -= length;
    } else {
      board.runs[gone].end = end;
      Deliver(board, gone, fack, delivery);
      board.runs[gone].end = run.end;
    }
    if (!whole) break;
    ++gone;
  }
  if (gone != 0) {
    for (uint32_t i = gone; i < board.count; ++i) board.runs[i - gone] = board.runs[i];
  }
  board.count = static_cast<uint16_t>(board.count - gone);
  board.start = una;
  if (una.AtOrAfter(board.incomplete_to)) board.incomplete = false;
}

void SackRuns(Scoreboard& board, SequenceNumber from, SequenceNumber to, SequenceNumber fack,
              Delivery* delivery) {
  uint32_t first = IndexFrom(board, from);
  // Blocks are repeated: most say nothing new.
  uint32_t i = first;
  while (i < board.count && (board.runs[i].flags & kRunSacked) != 0 &&
         board.runs[i].end.Before(to)) {
    ++i;
  }
  if (i == board.count || (board.runs[i].flags & kRunSacked) != 0) return;
  if (!MakeRoom(board, 2 + 2)) {  // two are left for what is sent again, and new
    NoteIncomplete(board, to);
    return;
  }
  SplitAt(board, from);
  SplitAt(board, to);
  first = IndexFrom(board, from);
  for (i = first; i < board.count && board.StartOf(i).Before(to); ++i) {
    if ((board.runs[i].flags & kRunSacked) != 0) continue;
    ClearLost(board, i);
    Deliver(board, i, fack, delivery);
    board.runs[i].flags = kRunSacked;
    board.sacked += board.LengthOf(i);
    delivery->sacked_bytes += board.LengthOf(i);
  }
  // What the peer holds has one fate: its times matter no more.
  for (i = first == 0 ? 0 : first - 1; i + 1 < board.count && board.StartOf(i).AtOrBefore(to);) {
    const bool both = (board.runs[i].flags & board.runs[i + 1].flags & kRunSacked) != 0;
    if (!both) {
      ++i;
      continue;
    }
    EraseRun(board, i);
  }
}

void LoseRun(Scoreboard& board, uint32_t index) {
  SentRun& run = board.runs[index];
  if ((run.flags & (kRunLost | kRunSacked)) != 0) return;
  run.flags |= kRunLost;
  board.lost += board.LengthOf(index);
}

void LoseFrom(Scoreboard& board, SequenceNumber from) {
  // Without room for the end, the run it lies in counts whole.
  if (MakeRoom(board, 1)) SplitAt(board, from);
  for (uint32_t i = IndexFrom(board, from); i < board.count; ++i) LoseRun(board, i);
}

void LoseBetween(Scoreboard& board, SequenceNumber from, SequenceNumber to) {
  if (MakeRoom(board, 2)) {
    SplitAt(board, from);
    SplitAt(board, to);
  }
  for (uint32_t i = IndexFrom(board, from); i < board.count && board.StartOf(i).Before(to); ++i) {
    LoseRun(board, i);
    if ((board.runs[i].flags & kRunLost) != 0) board.runs[i].flags |= kRunSurelyLost;
  }
}

void LoseAll(Scoreboard& board, bool forget_sacks) {
  for (uint32_t i = 0; i < board.count; ++i) {
    SentRun& run = board.runs[i];
    if (forget_sacks && (run.flags & kRunSacked) != 0) {
      run.flags = static_cast<uint8_t>(run.flags & ~kRunSacked);
      board.sacked -= board.LengthOf(i);
    }
    LoseRun(board, i);
  }
}

void FindAll(Scoreboard& board) {
  for (uint32_t i = 0; i < board.count; ++i) {
    if ((board.runs[i].flags & kRunSurelyLost) == 0) ClearLost(board, i);
  }
}

bool FirstLost(const Scoreboard& board, SequenceNumber* start, uint32_t* length) {
  if (board.lost == 0) return false;
  for (uint32_t i = 0; i < board.count; ++i) {
    if ((board.runs[i].flags & kRunLost) == 0) continue;
    *start = board.StartOf(i);
    *length = board.LengthOf(i);
    // Neighbours may be lost too, and a segment may span them.
    for (++i; i < board.count && (board.runs[i].flags & kRunLost) != 0; ++i) {
      *length += board.LengthOf(i);
    }
    return true;
  }
  return false;
}

}  // namespace qpip::tcp
