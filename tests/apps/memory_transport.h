// An NBD connection and a device in memory, which log what happens in order.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "apps/nbd/export.h"
#include "apps/nbd/transport.h"
#include "protocols/nbd/handshake.h"
#include "protocols/nbd/transmission.h"

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
  MemoryTransport(Bytes input, size_t run_bytes, size_t payload_size = 4096,
                  size_t payload_count = 2)
      : input_(std::move(input)), run_bytes_(run_bytes), payload_bytes_(payload_size) {
    for (size_t i = 0; i < payload_count; ++i) buffers_.emplace_back(payload_size);
  }

  size_t WaitReadable(std::span<iovec> out, WaitFor /*what*/) override {
    size_t count = 0;
    size_t at = consumed_;
    while (count < out.size() && at < input_.size()) {
      const size_t length = std::min(run_bytes_ - at % run_bytes_, input_.size() - at);
      out[count++] = {input_.data() + at, length};
      at += length;
    }
    return count;
  }
  void Consume(size_t bytes) override { consumed_ += bytes; }
  void Send(std::span<const uint8_t> bytes) override {
    output.insert(output.end(), bytes.begin(), bytes.end());
    if (log != nullptr) log->push_back("send");
  }
  size_t payload_bytes() const override { return payload_bytes_; }
  size_t payload_buffers() const override { return buffers_.size(); }
  std::span<uint8_t> TakePayload() override {
    // A caller that takes more than there are would wait for ever on a queue pair.
    if (taken_ - sent_ >= buffers_.size()) throw std::logic_error("more payload than buffers");
    return buffers_[taken_++ % buffers_.size()];
  }
  void SendPayload(std::span<const uint8_t> header, size_t bytes) override {
    const Bytes& buffer = buffers_[sent_++ % buffers_.size()];
    output.insert(output.end(), header.begin(), header.end());
    output.insert(output.end(), buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(bytes));
  }
  void PutBackPayload() override { taken_ = sent_; }

  bool all_consumed() const { return consumed_ == input_.size(); }
  size_t held_payload() const { return taken_ - sent_; }

  Bytes output;
  Log* log = nullptr;

 private:
  Bytes input_;
  size_t run_bytes_;
  size_t payload_bytes_;
  size_t consumed_ = 0;
  std::vector<Bytes> buffers_;
  uint64_t taken_ = 0;
  uint64_t sent_ = 0;
};

/// A disk whose operations can be made to fail.
class MemoryDevice : public BlockDevice {
 public:
  explicit MemoryDevice(size_t bytes, bool read_only = false)
      : content(bytes), read_only_(read_only) {}

  uint64_t size_bytes() const override { return content.size(); }
  bool read_only() const override { return read_only_; }
  int Read(uint64_t offset, std::span<uint8_t> out) override {
    if (fail_read_from <= offset) return EIO;
    std::memcpy(out.data(), content.data() + offset, out.size());
    return 0;
  }
  int Write(uint64_t offset, std::span<iovec> data) override {
    size_t total = 0;
    for (const iovec& run : data) total += run.iov_len;
    if (fail_write_from < offset + total) return write_error;
    for (const iovec& run : data) {
      std::memcpy(content.data() + offset, run.iov_base, run.iov_len);
      offset += run.iov_len;
    }
    if (log != nullptr) log->push_back("write");
    return 0;
  }
  int Flush() override {
    if (log != nullptr) log->push_back("flush");
    return flush_error;
  }

  Bytes content;
  uint64_t fail_read_from = UINT64_MAX;
  uint64_t fail_write_from = UINT64_MAX;
  int write_error = ENOSPC;
  int flush_error = 0;
  Log* log = nullptr;

 private:
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

inline Bytes Ramp(size_t bytes, uint8_t first = 1) {
  Bytes ramp(bytes);
  for (size_t i = 0; i < bytes; ++i) ramp[i] = static_cast<uint8_t>(first + i * 3);
  return ramp;
}

}  // namespace qpip::nbd::testing
