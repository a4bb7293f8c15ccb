// An executor, workers and requests for tests: each request is waited for.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <cstdint>
#include <vector>

#include "storage/core/device.h"
#include "storage/core/thread_executor.h"
#include "storage/core/thread_pool.h"

namespace qpip::storage::testing {

using Bytes = std::vector<uint8_t>;

inline Bytes Ramp(size_t bytes, uint8_t first = 1) {
  Bytes ramp(bytes);
  for (size_t i = 0; i < bytes; ++i) ramp[i] = static_cast<uint8_t>(first + i * 3 + i / 251);
  return ramp;
}

/// Runs an executor until `over`.
template <typename Over>
void RunUntil(ThreadExecutor& executor, Over&& over) {
  while (!over()) {
    if (executor.RunReady() || !executor.Sleep()) continue;
    pollfd waited = {executor.fd(), POLLIN, 0};
    poll(&waited, 1, -1);
    executor.Awake();
  }
}

class Bench {
 public:
  explicit Bench(ThreadExecutor::Rings rings = ThreadExecutor::Rings::kWherePermitted)
      : executor(rings) {}

  /// Submits and waits. Returns the error.
  int Run(Device& device, Request& request) {
    bool over = false;
    request.executor = &executor;
    request.context = &over;
    request.done = [](Request& ended) { *static_cast<bool*>(ended.context) = true; };
    device.Submit(request);
    RunUntil(executor, [&] { return over; });
    return request.error;
  }
  int Run(Device& device, Op op, uint64_t offset, uint64_t length, uint32_t flags = 0) {
    Request request;
    request.op = op;
    request.flags = flags;
    request.offset = offset;
    request.length = length;
    return Run(device, request);
  }
  /// In runs of `run_bytes`.
  int Move(Device& device, Op op, uint64_t offset, Bytes& bytes, uint32_t flags = 0,
           size_t run_bytes = SIZE_MAX) {
    std::vector<iovec> runs;
    for (size_t at = 0; at < bytes.size();) {
      const size_t run = std::min(run_bytes, bytes.size() - at);
      runs.push_back({bytes.data() + at, run});
      at += run;
    }
    Request request;
    request.op = op;
    request.flags = flags;
    request.offset = offset;
    request.length = bytes.size();
    request.data = runs;
    return Run(device, request);
  }
  int Write(Device& device, uint64_t offset, Bytes bytes, uint32_t flags = 0,
            size_t run_bytes = SIZE_MAX) {
    return Move(device, Op::kWrite, offset, bytes, flags, run_bytes);
  }
  Bytes Read(Device& device, uint64_t offset, size_t length, size_t run_bytes = SIZE_MAX) {
    Bytes bytes(length, 0xee);
    EXPECT_EQ(Move(device, Op::kRead, offset, bytes, 0, run_bytes), 0);
    return bytes;
  }
  /// (length, flags) of each extent.
  std::vector<std::pair<uint64_t, uint32_t>> Status(Device& device, uint64_t offset,
                                                    uint64_t length, uint32_t flags = 0,
                                                    size_t room = 100) {
    std::vector<Extent> memory(room);
    ExtentList list(memory);
    Request request;
    request.op = Op::kStatus;
    request.flags = flags;
    request.offset = offset;
    request.length = length;
    request.extents = &list;
    EXPECT_EQ(Run(device, request), 0);
    std::vector<std::pair<uint64_t, uint32_t>> result;
    for (const Extent& extent : list.extents()) result.emplace_back(extent.length, extent.flags);
    return result;
  }

  ThreadExecutor executor;
};

}  // namespace qpip::storage::testing
