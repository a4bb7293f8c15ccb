#include "sim/ns3/mpi/rank_exchange.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <thread>

namespace qpip::sim {
namespace {

std::unique_ptr<RankExchange> the_exchange;

/// Waits actively while the other rank can be expected to be at work on what is waited for, and
/// asleep after that: it may be waiting for the core that this one keeps busy.
template <typename Done>
void WaitUntil(Done done) {
  using Clock = std::chrono::steady_clock;
  const auto patience = Clock::now() + std::chrono::microseconds(100);
  while (!done()) {
    if (Clock::now() > patience) std::this_thread::sleep_for(std::chrono::microseconds(10));
  }
}

}  // namespace

void RankExchange::Open() { the_exchange.reset(new RankExchange); }

void RankExchange::Close() {
  State leaving;
  leaving.leaves = 1;
  the_exchange->SendAndReceive(&leaving);
  the_exchange.reset();
}

RankExchange& RankExchange::Get() {
  if (the_exchange == nullptr) {
    throw std::logic_error("there are no ranks: make a DistributedRun first thing in main");
  }
  return *the_exchange;
}

RankExchange::RankExchange() {
  int rank = 0;
  int ranks = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  rank_ = static_cast<uint32_t>(rank);
  boxes_.resize(static_cast<size_t>(ranks));
  for (Box& box : boxes_) box.out.resize(sizeof(State));
  boxes_[rank_].gone = true;
}

void RankExchange::BoundLookAhead(uint64_t steps) { look_ahead_ = std::min(look_ahead_, steps); }

std::vector<uint8_t>& RankExchange::Post(uint32_t rank, uint64_t at) {
  earliest_posted_ = std::min(earliest_posted_, at);
  return boxes_[rank].out;
}

RankExchange::State RankExchange::Swap(uint64_t next, bool stop) {
  State state{std::min(next, earliest_posted_), look_ahead_, stop ? 1u : 0u, 0};
  earliest_posted_ = kNever;
  SendAndReceive(&state);
  if (state.leaves != 0) {
    throw std::runtime_error("another rank has ended its program while this one still simulates");
  }
  for (Box& box : boxes_) {
    const std::span<const uint8_t> all(box.in.data(), box.in_bytes);
    if (all.size() > sizeof(State)) receiver_(all.subspan(sizeof(State)));
  }
  return state;
}

void RankExchange::SendAndReceive(State* state) {
  std::vector<MPI_Request> sends;
  sends.reserve(boxes_.size());
  for (uint32_t rank = 0; rank < ranks(); ++rank) {
    Box& box = boxes_[rank];
    if (box.gone) continue;
    std::memcpy(box.out.data(), state, sizeof(*state));
    MPI_Isend(box.out.data(), static_cast<int>(box.out.size()), MPI_BYTE, static_cast<int>(rank), 0,
              MPI_COMM_WORLD, &sends.emplace_back());
  }
  for (uint32_t rank = 0; rank < ranks(); ++rank) {
    if (boxes_[rank].gone) continue;
    const State other = Receive(rank);
    boxes_[rank].gone = other.leaves != 0;
    state->next = std::min(state->next, other.next);
    state->look_ahead = std::min(state->look_ahead, other.look_ahead);
    state->stop |= other.stop;
    state->leaves |= other.leaves;
  }
  WaitUntil([&sends] {
    int sent = 0;
    MPI_Testall(static_cast<int>(sends.size()), sends.data(), &sent, MPI_STATUSES_IGNORE);
    return sent != 0;
  });
  for (Box& box : boxes_) box.out.resize(sizeof(State));
}

RankExchange::State RankExchange::Receive(uint32_t rank) {
  Box& box = boxes_[rank];
  MPI_Message message;
  MPI_Status status;
  WaitUntil([&] {
    int there = 0;
    MPI_Improbe(static_cast<int>(rank), 0, MPI_COMM_WORLD, &there, &message, &status);
    return there != 0;
  });
  int bytes = 0;
  MPI_Get_count(&status, MPI_BYTE, &bytes);
  box.in_bytes = static_cast<size_t>(bytes);
  if (box.in.size() < box.in_bytes) box.in.resize(box.in_bytes);  // never shrinks
  MPI_Mrecv(box.in.data(), bytes, MPI_BYTE, &message, MPI_STATUS_IGNORE);
  State state;
  std::memcpy(&state, box.in.data(), sizeof(state));
  return state;
}

}  // namespace qpip::sim
