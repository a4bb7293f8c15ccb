// A program on MPI that checks what it gets: collectives, messages, and memory of another rank's
// (MPI_Put, MPI_Get, atomic operations). Two ranks or more.
//
// With the word "die" the last rank kills itself when it has begun.
#include <mpi.h>
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace {

int rank = 0;
int ranks = 0;

void Check(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "collectives: rank %d: %s: not what was sent\n", rank, what);
  MPI_Abort(MPI_COMM_WORLD, 1);
}

int32_t Element(int of_rank, size_t index, int salt) {
  return static_cast<int32_t>(index * 2654435761u) ^ (of_rank * 40503 + salt);
}
std::vector<int32_t> Made(int of_rank, size_t length, int salt) {
  std::vector<int32_t> all(length);
  for (size_t i = 0; i < length; ++i) all[i] = Element(of_rank, i, salt);
  return all;
}

void Collectives(size_t length, int salt) {
  const int count = static_cast<int>(length);
  const size_t all_ranks = static_cast<size_t>(ranks);
  const std::vector<int32_t> own = Made(rank, length, salt);

  std::vector<int32_t> got = rank == 0 ? own : std::vector<int32_t>(length);
  MPI_Bcast(got.data(), count, MPI_INT32_T, 0, MPI_COMM_WORLD);
  Check(got == Made(0, length, salt), "MPI_Bcast");

  MPI_Allreduce(own.data(), got.data(), count, MPI_INT32_T, MPI_BXOR, MPI_COMM_WORLD);
  std::vector<int32_t> folded(length);
  for (int r = 0; r < ranks; ++r) {
    for (size_t i = 0; i < length; ++i) folded[i] ^= Element(r, i, salt);
  }
  Check(got == folded, "MPI_Allreduce");

  std::vector<int32_t> gathered(length * all_ranks);
  MPI_Allgather(own.data(), count, MPI_INT32_T, gathered.data(), count, MPI_INT32_T,
                MPI_COMM_WORLD);
  std::vector<int32_t> sent;
  std::vector<int32_t> expected;
  std::vector<int32_t> everybody;
  for (int r = 0; r < ranks; ++r) {
    const auto add = [&](std::vector<int32_t>* to, const std::vector<int32_t>& part) {
      to->insert(to->end(), part.begin(), part.end());
    };
    add(&everybody, Made(r, length, salt));
    add(&sent, Made(rank, length, salt + 17 * r));
    add(&expected, Made(r, length, salt + 17 * rank));
  }
  Check(gathered == everybody, "MPI_Allgather");
  MPI_Alltoall(sent.data(), count, MPI_INT32_T, gathered.data(), count, MPI_INT32_T,
               MPI_COMM_WORLD);
  Check(gathered == expected, "MPI_Alltoall");

  const int to = (rank + 1) % ranks;
  const int from = (rank + ranks - 1) % ranks;
  MPI_Sendrecv(own.data(), count, MPI_INT32_T, to, salt, got.data(), count, MPI_INT32_T, from, salt,
               MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  Check(got == Made(from, length, salt), "MPI_Sendrecv");
}

/// Every rank has a window of so many elements and writes to and reads from its neighbour's.
void OneSided(size_t length, int salt) {
  const int count = static_cast<int>(length);
  std::vector<int32_t> window(length);
  MPI_Win win;
  MPI_Win_create(window.data(), static_cast<MPI_Aint>(length * sizeof(int32_t)), sizeof(int32_t),
                 MPI_INFO_NULL, MPI_COMM_WORLD, &win);
  const int to = (rank + 1) % ranks;
  const int from = (rank + ranks - 1) % ranks;
  const std::vector<int32_t> own = Made(rank, length, salt);
  MPI_Win_fence(0, win);
  MPI_Put(own.data(), count, MPI_INT32_T, to, 0, count, MPI_INT32_T, win);
  MPI_Win_fence(0, win);
  Check(window == Made(from, length, salt), "MPI_Put");
  std::vector<int32_t> got(length);
  MPI_Get(got.data(), count, MPI_INT32_T, to, 0, count, MPI_INT32_T, win);
  MPI_Win_fence(0, win);
  Check(got == own, "MPI_Get");
  MPI_Win_free(&win);
}

/// All ranks count in rank 0's memory.
void Atomics(int rounds) {
  std::vector<int64_t> window(2);
  MPI_Win win;
  MPI_Win_create(window.data(), 2 * sizeof(int64_t), sizeof(int64_t), MPI_INFO_NULL, MPI_COMM_WORLD,
                 &win);
  MPI_Win_lock_all(0, win);
  int64_t last = -1;
  int64_t swapped = 0;
  for (int i = 0; i < rounds; ++i) {
    const int64_t one = 1;
    int64_t before = 0;
    MPI_Fetch_and_op(&one, &before, MPI_INT64_T, 0, 0, MPI_SUM, win);
    MPI_Win_flush(0, win);
    Check(before > last, "MPI_Fetch_and_op");
    last = before;
    for (int64_t seen = 0;;) {
      const int64_t next = seen + 1;
      MPI_Compare_and_swap(&next, &seen, &before, MPI_INT64_T, 0, 1, win);
      MPI_Win_flush(0, win);
      if (before == seen) break;
      seen = before;
    }
    ++swapped;
  }
  MPI_Win_unlock_all(win);
  MPI_Barrier(MPI_COMM_WORLD);
  int64_t all = 0;
  MPI_Allreduce(&swapped, &all, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  if (rank == 0) {
    MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, win);
    Check(window[0] == int64_t{rounds} * ranks && window[1] == all, "atomic operations");
    MPI_Win_unlock(0, win);
  }
  MPI_Win_free(&win);
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const bool die = argc == 2 && std::string(argv[1]) == "die";
  for (size_t length = 1; length <= size_t{1} << 18; length *= 8) {
    Collectives(length, static_cast<int>(length));
    if (die && rank == ranks - 1) kill(getpid(), SIGKILL);
    OneSided(length, static_cast<int>(length));
  }
  Atomics(50);
  if (rank == 0) std::puts("all as sent");
  MPI_Finalize();
  return 0;
}
