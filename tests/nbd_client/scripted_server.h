// An NBD server in memory that negotiates by itself and answers what the test says.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "channel.h"
#include "protocols/nbd/handshake.h"
#include "protocols/nbd/meta_context.h"
#include "protocols/nbd/reply_chunk.h"
#include "protocols/nbd/transmission.h"

namespace qpip::nbd::testing {

using Bytes = std::vector<uint8_t>;

/// What the server is like.
struct Script {
  bool structured = true;
  bool extended = true;
  bool fixed = true;   ///< newstyle; otherwise there is EXPORT_NAME alone
  bool has_go = true;  ///< GO is known
  uint64_t bytes = 1 << 20;
  uint16_t flags = kHasFlags | kSendFlush | kSendFua | kSendTrim | kSendWriteZeroes |
                   kSendFastZero | kSendCache | kCanMultiConn;
  BlockSizeInfo sizes = {};
  uint32_t go_refusal = 0;          ///< an error reply to GO
  size_t receive_bytes = SIZE_MAX;  ///< the client gets at most so many at a time
  size_t send_bytes = SIZE_MAX;     ///< and sends at most so many at a time
};

/// The server's end of a connection.
class Connection {
 public:
  explicit Connection(const Script& script) : script_(script) {
    Bytes greeting(kGreetingBytes);
    const uint16_t flags = script.fixed ? kFixedNewstyle | kNoZeroes : 0;
    EmitGreeting({flags}, std::span<uint8_t, kGreetingBytes>(greeting));
    Put(greeting);
    need_ = kClientFlagsBytes;
  }

  struct Asked {
    Request request;
    Bytes payload;
  };
  std::vector<Asked> asked;       ///< and not taken by the test
  std::vector<uint32_t> options;  ///< in the order in which they were asked for
  bool closed = false;            ///< by the server: the client reads its end
  bool negotiated = false;
  size_t room = SIZE_MAX;  ///< bytes that are still taken from the client

  Headers headers() const { return headers_; }
  bool chunks() const { return chunks_; }

  // From the client
  size_t Take(std::span<const iovec> list) {
    size_t taken = 0;
    for (const iovec& run : list) {
      const size_t bytes = std::min({run.iov_len, script_.send_bytes - taken, room});
      const auto* const at = static_cast<const uint8_t*>(run.iov_base);
      in_.insert(in_.end(), at, at + bytes);
      taken += bytes;
      room -= bytes;
      if (bytes < run.iov_len) break;
    }
    while (Step()) {
    }
    return taken;
  }
  size_t Give(std::span<const iovec> into) {
    size_t given = 0;
    for (const iovec& run : into) {
      const size_t bytes =
          std::min({run.iov_len, out_.size() - out_at_, script_.receive_bytes - given});
      if (bytes == 0) break;
      std::memcpy(run.iov_base, out_.data() + out_at_, bytes);
      out_at_ += bytes;
      given += bytes;
    }
    return given;
  }
  bool drained() const { return out_at_ == out_.size(); }
  /// What was put last and is to come later: Put again.
  Bytes TakeBack(size_t bytes) {
    const Bytes last(out_.end() - static_cast<ptrdiff_t>(bytes), out_.end());
    out_.resize(out_.size() - bytes);
    return last;
  }

  // Answers
  void Put(std::span<const uint8_t> bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void PutSimple(uint64_t cookie, uint32_t error = 0, const Bytes& data = {}) {
    Bytes bytes(kSimpleReplyBytes);
    EmitSimpleReply({error, cookie}, std::span<uint8_t, kSimpleReplyBytes>(bytes));
    Put(bytes);
    Put(data);
  }
  void PutChunk(uint64_t cookie, uint16_t type, const Bytes& payload, bool done = true) {
    ReplyChunk chunk;
    chunk.flags = done ? kChunkDone : 0;
    chunk.type = type;
    chunk.cookie = cookie;
    chunk.length = payload.size();
    Bytes bytes(ReplyChunkBytes(headers_));
    EmitReplyChunk(chunk, headers_, bytes);
    Put(bytes);
    Put(payload);
  }
  void PutData(uint64_t cookie, uint64_t offset, const Bytes& data, bool done = true) {
    Bytes payload(kOffsetBytes);
    EmitOffset(offset, std::span<uint8_t, kOffsetBytes>(payload));
    payload.insert(payload.end(), data.begin(), data.end());
    PutChunk(cookie, kChunkOffsetData, payload, done);
  }
  void PutHole(uint64_t cookie, uint64_t offset, uint32_t length, bool done = true) {
    Bytes payload(kHoleChunkBytes);
    EmitHoleChunk({offset, length}, std::span<uint8_t, kHoleChunkBytes>(payload));
    PutChunk(cookie, kChunkOffsetHole, payload, done);
  }
  void PutError(uint64_t cookie, uint32_t error) {
    const ErrorChunk chunk = {.error = error, .message = {}, .offset = 0};
    Bytes payload(ErrorChunkSize(chunk, kChunkError));
    EmitErrorChunk(chunk, kChunkError, payload);
    PutChunk(cookie, kChunkError, payload);
  }
  void PutStatus(uint64_t cookie, const std::vector<StatusExtent>& extents) {
    const ChunkType type =
        headers_ == Headers::kExtended ? kChunkBlockStatusExt : kChunkBlockStatus;
    Bytes payload(BlockStatusSize(extents.size(), type));
    EmitBlockStatus(kContext, extents, type, payload);
    PutChunk(cookie, type, payload);
  }
  /// Success without data, as this connection has it.
  void PutDone(uint64_t cookie) {
    if (headers_ == Headers::kExtended) return PutChunk(cookie, kChunkNone, {});
    PutSimple(cookie);
  }

 private:
  static constexpr uint32_t kContext = 7;

  /// Deals with the next thing that is there as a whole. Returns false when none is.
  bool Step() {
    if (!negotiated) return in_.size() >= need_ && Negotiate();
    const size_t header = RequestHeaderBytes(headers_);
    if (in_.size() < header) return false;
    Asked next;
    EXPECT_EQ(ParseRequest(in_, &next.request, headers_), TransmissionError::kNone);
    const size_t payload = static_cast<size_t>(RequestPayloadBytes(next.request, headers_));
    if (in_.size() < header + payload) return false;
    next.payload.assign(in_.begin() + static_cast<ptrdiff_t>(header),
                        in_.begin() + static_cast<ptrdiff_t>(header + payload));
    Drop(header + payload);
    asked.push_back(std::move(next));
    return true;
  }
  void Drop(size_t bytes) { in_.erase(in_.begin(), in_.begin() + static_cast<ptrdiff_t>(bytes)); }

  bool Negotiate() {
    if (!flags_taken_) {
      flags_taken_ = true;
      Drop(kClientFlagsBytes);
      need_ = kOptionHeaderBytes;
      return true;
    }
    OptionHeader header;
    EXPECT_EQ(ParseOptionHeader(in_, &header), HandshakeError::kNone);
    need_ = kOptionHeaderBytes + header.length;
    if (in_.size() < need_) return false;
    Drop(need_);
    need_ = kOptionHeaderBytes;
    options.push_back(header.option);
    Answer(header.option);
    return true;
  }
  void Reply(uint32_t option, uint32_t reply, const Bytes& data = {}) {
    Bytes bytes(kOptionReplyHeaderBytes);
    EmitOptionReplyHeader({option, reply, static_cast<uint32_t>(data.size())},
                          std::span<uint8_t, kOptionReplyHeaderBytes>(bytes));
    Put(bytes);
    Put(data);
  }
  void Answer(uint32_t option) {
    switch (option) {
      case kOptionExtendedHeaders:
        if (!script_.extended) return Reply(option, kReplyErrUnsup);
        headers_ = Headers::kExtended;
        chunks_ = true;
        return Reply(option, kReplyAck);
      case kOptionStructuredReply:
        if (!script_.structured) return Reply(option, kReplyErrUnsup);
        chunks_ = true;
        return Reply(option, kReplyAck);
      case kOptionSetMetaContext: {
        const std::string_view name = kBaseAllocation;
        const MetaContext context = {kContext, Text(name.data(), name.size())};
        Bytes data(MetaContextSize(context));
        EmitMetaContext(context, data);
        Reply(option, kReplyMetaContext, data);
        return Reply(option, kReplyAck);
      }
      case kOptionGo:
        return AnswerGo();
      default: {  // EXPORT_NAME, which has no reply header
        Bytes data(ExportNameReplySize(script_.fixed));
        EmitExportNameReply({script_.bytes, script_.flags}, script_.fixed, data);
        Put(data);
        negotiated = true;
      }
    }
  }
  void AnswerGo() {
    if (!script_.has_go) return Reply(kOptionGo, kReplyErrUnsup);
    if (script_.go_refusal != 0) return Reply(kOptionGo, script_.go_refusal);
    Bytes info(kExportInfoBytes);
    EmitExportInfo({script_.bytes, script_.flags}, std::span<uint8_t, kExportInfoBytes>(info));
    Reply(kOptionGo, kReplyInfo, info);
    Bytes sizes(kBlockSizeInfoBytes);
    EmitBlockSizeInfo(script_.sizes, std::span<uint8_t, kBlockSizeInfoBytes>(sizes));
    Reply(kOptionGo, kReplyInfo, sizes);
    Reply(kOptionGo, kReplyAck);
    negotiated = true;
  }

  Script script_;
  Bytes in_;
  Bytes out_;
  size_t out_at_ = 0;
  size_t need_;
  bool flags_taken_ = false;
  bool chunks_ = false;
  Headers headers_ = Headers::kCompact;
};

/// Every connection that is made is kept, oldest first.
class ScriptedWire : public internal::Wire {
 public:
  Script script;    ///< of the next connections
  int refusal = 0;  ///< errno: nobody listens
  std::vector<std::shared_ptr<Connection>> connections;
  size_t alive = 0;               ///< of the client's channels
  std::function<void()> on_wait;  ///< instead of time passing

  std::unique_ptr<internal::Channel> Connect() override {
    if (refusal != 0) throw Error(refusal, "nobody listens");
    connections.push_back(std::make_shared<Connection>(script));
    return std::make_unique<End>(*this, connections.back());
  }
  bool Wait(Timeout /*timeout*/) override {
    if (on_wait) on_wait();
    return true;
  }
  bool Poll() override { return true; }
  int fd() override { return -1; }
  bool Arm() override { return true; }
  std::span<std::byte> Allocate(size_t /*bytes*/) override { return {}; }
  void Use(const MemoryRegion& /*region*/) override {}

 private:
  class End : public internal::Channel {
   public:
    End(ScriptedWire& wire, std::shared_ptr<Connection> connection)
        : wire_(wire), connection_(std::move(connection)) {
      ++wire_.alive;
    }
    ~End() override { --wire_.alive; }
    bool Connected() override { return true; }
    size_t Send(std::span<const iovec> list) override { return connection_->Take(list); }
    size_t Receive(std::span<const iovec> into) override {
      const size_t bytes = connection_->Give(into);
      if (bytes == 0 && connection_->closed && connection_->drained()) {
        throw internal::Lost(ECONNRESET, "closed by the script");
      }
      return bytes;
    }
    void Shutdown() override { connection_->closed = true; }

   private:
    ScriptedWire& wire_;
    std::shared_ptr<Connection> connection_;
  };
};

}  // namespace qpip::nbd::testing
