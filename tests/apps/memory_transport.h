// An NBD connection and a device in memory, which log what happens in order.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "apps/nbd/export.h"
#include "apps/nbd/transport.h"
#include "protocols/nbd/handshake.h"
#include "protocols/nbd/meta_context.h"
#include "protocols/nbd/transmission.h"
#include "storage/core/device.h"

namespace qpip::nbd::testing {

using Bytes = std::vector<uint8_t>;
using Log = std::vector<std::string>;

inline Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// The client's bytes are all there from the start, then the stream ends; they are shown in runs
/// of `run_bytes`, as receives would complete.
class MemoryTransport : public Transport {
 public:
  MemoryTransport(Bytes input, size_t run_bytes, size_t payload_size = 2 << 20)
      : input_(std::move(input)), run_bytes_(run_bytes), area_(payload_size) {}

  Readable Look(std::span<iovec> out, WaitFor /*what*/) override {
    size_t count = 0;
    size_t at = consumed_;
    while (count < out.size() && at < input_.size()) {
      const size_t length = std::min(run_bytes_ - at % run_bytes_, input_.size() - at);
      out[count++] = {input_.data() + at, length};
      at += length;
    }
    return {.runs = count, .ended = count == 0};
  }
  void Consume(size_t bytes) override { consumed_ += bytes; }
  void Await(storage::ThreadExecutor* /*executor*/, WaitFor /*what*/, bool /*reading*/,
             std::chrono::milliseconds /*most*/) override {
    sent_ = ticket_;
    if (!on_await) throw std::logic_error("waits for what will not come");
    on_await();
  }
  void Send(std::span<const uint8_t> bytes) override {
    output.insert(output.end(), bytes.begin(), bytes.end());
    sends_limited.push_back(deadline.has_value());
    if (log != nullptr) log->push_back("send");
  }
  std::span<std::byte> payload_area() override { return area_; }
  uint64_t SendPayload(std::span<const uint8_t> header,
                       std::span<const std::byte> payload) override {
    EXPECT_GE(payload.data(), area_.data());
    EXPECT_LE(payload.data() + payload.size(), area_.data() + area_.size());
    Send(header);
    const auto* const bytes = reinterpret_cast<const uint8_t*>(payload.data());
    output.insert(output.end(), bytes, bytes + payload.size());
    return ++ticket_;
  }
  bool Sent(uint64_t ticket) const override { return ticket <= sent_; }
  void Flush() override { sent_ = ticket_; }
  void SetDeadline(std::optional<std::chrono::steady_clock::time_point> until,
                   std::string /*why*/) override {
    deadline = until;
  }
  void Close() override {}

  bool all_consumed() const { return consumed_ == input_.size(); }

  Bytes output;
  Log* log = nullptr;
  std::optional<std::chrono::steady_clock::time_point> deadline;
  std::vector<bool> sends_limited;  ///< of each Send: whether there was a deadline
  std::function<void()> on_await;   ///< what happens when the server has to wait

 private:
  Bytes input_;
  size_t run_bytes_;
  size_t consumed_ = 0;
  std::vector<std::byte> area_;
  uint64_t ticket_ = 0;
  uint64_t sent_ = 0;
};

/// A disk whose operations can be made to fail, and to end when the test wants them to.
class ScriptedDevice : public storage::Device {
 public:
  explicit ScriptedDevice(size_t bytes, bool read_only = false)
      : content(bytes), read_only_(read_only) {}

  storage::Geometry geometry() const override {
    return {.bytes = content.size(), .read_only = read_only_, .trim = trim, .fast_zero = fast_zero};
  }
  /// From any thread; what else there is is for when nobody submits.
  void Submit(storage::Request& request) override {
    int error = 0;
    {
      const std::lock_guard lock(mutex_);
      seen.push_back({request.op, request.flags, request.offset, request.length});
      if (hold) {
        held.push_back(&request);
        return;
      }
      error = Do(request);
    }
    storage::Complete(request, error);
  }
  /// Ends the one that was held at `index`.
  void End(size_t index) {
    storage::Request* const request = held.at(index);
    held.erase(held.begin() + static_cast<ptrdiff_t>(index));
    storage::Complete(*request, Do(*request));
  }
  int Do(storage::Request& request) {
    const bool fua = (request.flags & storage::kFua) != 0;
    switch (request.op) {
      case storage::Op::kRead:
        if (fail_read_from < request.offset + request.length) return EIO;
        ForEachRun(request,
                   [](uint8_t* here, uint8_t* there, size_t n) { std::memcpy(there, here, n); });
        return 0;
      case storage::Op::kWrite:
        if (fail_write_from < request.offset + request.length) return write_error;
        ForEachRun(request,
                   [](uint8_t* here, uint8_t* there, size_t n) { std::memcpy(here, there, n); });
        Note("write");
        return fua ? Flush() : 0;
      case storage::Op::kFlush:
        return Flush();
      case storage::Op::kStatus:
        for (const storage::Extent& each : extents) request.extents->Add(each.length, each.flags);
        return 0;
      case storage::Op::kZero:
        return zero_error;
      default:
        return 0;
    }
  }

  struct Seen {
    storage::Op op;
    uint32_t flags;
    uint64_t offset;
    uint64_t length;
  };
  Bytes content;
  std::vector<Seen> seen;
  bool trim = true;
  bool fast_zero = true;
  bool hold = false;
  std::vector<storage::Request*> held;
  std::vector<storage::Extent> extents;
  uint64_t fail_read_from = UINT64_MAX;
  uint64_t fail_write_from = UINT64_MAX;
  int write_error = ENOSPC;
  int flush_error = 0;
  int zero_error = 0;
  Log* log = nullptr;

 private:
  std::mutex mutex_;
  template <typename Use>
  void ForEachRun(storage::Request& request, Use&& use) {
    uint8_t* here = content.data() + request.offset;
    for (const iovec& run : request.data) {
      use(here, static_cast<uint8_t*>(run.iov_base), run.iov_len);
      here += run.iov_len;
    }
  }
  int Flush() {
    Note("flush");
    return flush_error;
  }
  void Note(const char* what) {
    if (log != nullptr) log->push_back(what);
  }
  bool read_only_;
};

inline Text ToText(std::string_view text) { return {text.data(), text.size()}; }

inline Bytes OptionBytes(uint32_t option, const Bytes& data = {}) {
  Bytes bytes(kOptionHeaderBytes);
  EmitOptionHeader({option, static_cast<uint32_t>(data.size())},
                   std::span<uint8_t, kOptionHeaderBytes>(bytes.data(), kOptionHeaderBytes));
  return bytes + data;
}

inline Bytes InfoBytes(std::string_view name, uint32_t wanted = 0) {
  const InfoRequest request = {ToText(name), wanted};
  Bytes bytes(InfoRequestSize(request));
  EmitInfoRequest(request, bytes);
  return bytes;
}

inline Bytes MetaBytes(std::string_view name, const std::vector<std::string_view>& queries) {
  std::vector<Text> texts;
  for (const std::string_view query : queries) texts.push_back(ToText(query));
  Bytes bytes(MetaContextRequestSize(ToText(name), texts));
  EmitMetaContextRequest(ToText(name), texts, bytes);
  return bytes;
}

inline Bytes FlagBytes(uint32_t flags = kClientFixedNewstyle | kClientNoZeroes) {
  Bytes bytes(kClientFlagsBytes);
  EmitClientFlags(flags, std::span<uint8_t, kClientFlagsBytes>(bytes.data(), kClientFlagsBytes));
  return bytes;
}

inline Bytes RequestBytes(const Request& request, const Bytes& payload = {}) {
  Bytes bytes(kRequestBytes);
  EmitRequest(request, std::span<uint8_t, kRequestBytes>(bytes.data(), kRequestBytes));
  return bytes + payload;
}

inline Bytes ExtendedRequestBytes(const Request& request, const Bytes& payload = {}) {
  Bytes bytes(kExtendedRequestBytes);
  EmitExtendedRequest(
      request, std::span<uint8_t, kExtendedRequestBytes>(bytes.data(), kExtendedRequestBytes));
  return bytes + payload;
}

inline Bytes Ramp(size_t bytes, uint8_t first = 1) {
  Bytes ramp(bytes);
  for (size_t i = 0; i < bytes; ++i) ramp[i] = static_cast<uint8_t>(first + i * 3);
  return ramp;
}

}  // namespace qpip::nbd::testing
