#include "apps/nbd/transmission.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

namespace qpip::nbd {

namespace {

/// Runs of received bytes that one pwritev takes.
constexpr size_t kMaxRuns = 32;

std::array<uint8_t, kSimpleReplyBytes> ReplyBytes(const Request& request, uint32_t error) {
  std::array<uint8_t, kSimpleReplyBytes> bytes = {};
  EmitSimpleReply({error, request.cookie}, bytes);
  return bytes;
}

/// Cuts a list of runs to at most `limit` bytes. Returns how many bytes are left in it.
size_t Limit(std::span<iovec>* runs, uint64_t limit) {
  size_t total = 0;
  for (size_t i = 0; i < runs->size(); ++i) {
    iovec& run = (*runs)[i];
    run.iov_len = static_cast<size_t>(std::min<uint64_t>(run.iov_len, limit - total));
    total += run.iov_len;
    if (total == limit) {
      *runs = runs->first(i + 1);
      break;
    }
  }
  return total;
}

}  // namespace

void Transmission::Run() {
  for (;;) {
    std::array<uint8_t, kRequestBytes> bytes = {};
    if (!ReadExact(transport_, bytes, WaitFor::kNextMessage)) return;
    Request request;
    const TransmissionError error = ParseRequest(bytes, &request);
    if (error != TransmissionError::kNone) {
      throw ConnectionLost(std::string("bad request: ") + TransmissionErrorName(error));
    }
    ++counts_.requests;
    if (request.command == kCommandDisconnect) return;
    if (const WireError refusal = CheckRequest(request, limits_); refusal != kErrorNone) {
      Refuse(request, refusal);
    } else {
      Handle(request);
    }
  }
}

void Transmission::Handle(const Request& request) {
  switch (request.command) {
    case kCommandRead:
      return HandleRead(request);
    case kCommandWrite:
      return HandleWrite(request);
    case kCommandFlush:
      return HandleFlush(request);
    default:  // CheckRequest lets nothing else through with the flags that are announced
      return Refuse(request, kErrorInval);
  }
}

void Transmission::Refuse(const Request& request, WireError error) {
  Drain(transport_, RequestPayloadBytes(request));
  Reply(request, error);
}

void Transmission::HandleRead(const Request& request) {
  const size_t piece = transport_.payload_bytes();
  if (request.length > piece * transport_.payload_buffers()) return StreamRead(request);
  uint32_t taken = 0;
  while (taken < request.length) {
    std::span<uint8_t> buffer = transport_.TakePayload();
    buffer = buffer.first(std::min<size_t>(piece, request.length - taken));
    if (const int error = device_.Read(request.offset + taken, buffer); error != 0) {
      transport_.PutBackPayload();
      return Reply(request, WireErrorFromErrno(error, request.flags));
    }
    taken += static_cast<uint32_t>(buffer.size());
  }
  const auto header = ReplyBytes(request, kErrorNone);
  for (uint32_t sent = 0; sent < taken;) {
    const size_t bytes = std::min<size_t>(piece, taken - sent);
    transport_.SendPayload(
        sent == 0 ? std::span<const uint8_t>(header) : std::span<const uint8_t>{}, bytes);
    sent += static_cast<uint32_t>(bytes);
  }
  counts_.bytes_read += taken;
}

void Transmission::StreamRead(const Request& request) {
  const auto header = ReplyBytes(request, kErrorNone);
  for (uint32_t done = 0; done < request.length;) {
    std::span<uint8_t> buffer = transport_.TakePayload();
    buffer = buffer.first(std::min<size_t>(buffer.size(), request.length - done));
    if (const int error = device_.Read(request.offset + done, buffer); error != 0) {
      transport_.PutBackPayload();
      if (done == 0) return Reply(request, WireErrorFromErrno(error, request.flags));
      // A simple reply cannot take back its header: "the server MUST initiate a hard disconnect".
      throw ConnectionLost(std::string("read failed behind the reply's header: ") +
                           std::strerror(error));
    }
    transport_.SendPayload(
        done == 0 ? std::span<const uint8_t>(header) : std::span<const uint8_t>{}, buffer.size());
    done += static_cast<uint32_t>(buffer.size());
  }
  counts_.bytes_read += request.length;
}

int Transmission::ReceiveToDevice(const Request& request) {
  int first_error = 0;
  uint32_t done = 0;
  while (done < request.length) {
    std::array<iovec, kMaxRuns> storage;
    const size_t count = transport_.WaitReadable(storage, WaitFor::kRestOfMessage);
    if (count == 0) throw ConnectionLost("the peer closed in the middle of a write");
    std::span<iovec> runs(storage.data(), count);
    const size_t bytes = Limit(&runs, request.length - done);
    if (first_error == 0) first_error = device_.Write(request.offset + done, runs);
    transport_.Consume(bytes);
    done += static_cast<uint32_t>(bytes);
  }
  return first_error;
}

void Transmission::HandleWrite(const Request& request) {
  int error = ReceiveToDevice(request);
  if (error == 0) counts_.bytes_written += request.length;
  if (error == 0 && (request.flags & kCommandFua) != 0) error = device_.Flush();
  Reply(request, WireErrorFromErrno(error, request.flags));
}

void Transmission::HandleFlush(const Request& request) {
  Reply(request, WireErrorFromErrno(device_.Flush(), request.flags));
}

void Transmission::Reply(const Request& request, uint32_t error) {
  if (error != kErrorNone) ++counts_.errors;
  transport_.Send(ReplyBytes(request, error));
}

}  // namespace qpip::nbd
