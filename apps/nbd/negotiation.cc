#include "apps/nbd/negotiation.h"

#include <array>
#include <string>
#include <vector>

namespace qpip::nbd {

namespace {

/// A client that sends more option data than this is hung up on rather than listened to.
constexpr uint32_t kMaxSkippedOptionBytes = 1u << 20;

std::string_view View(Text text) { return {text.data(), text.size()}; }
Text ToText(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

ExportLimits LimitsOf(const BlockDevice& device) {
  ExportLimits limits;
  limits.size_bytes = device.size_bytes();
  // All connections share one descriptor, so a flush covers what any of them has written.
  limits.transmission_flags = kHasFlags | kSendFlush | kSendFua | kCanMultiConn;
  if (device.read_only()) limits.transmission_flags |= kReadOnly;
  return limits;
}

const Export* Negotiation::Run() {
  State state = State::kGreeting;
  for (;;) {
    switch (state) {
      case State::kGreeting:
        state = SendGreeting();
        break;
      case State::kClientFlags:
        state = ReadClientFlags();
        break;
      case State::kOptions:
        state = ReadOption();
        break;
      case State::kTransmission:
        return chosen_;
      case State::kEnded:
        return nullptr;
    }
  }
}

Negotiation::State Negotiation::SendGreeting() {
  std::array<uint8_t, kGreetingBytes> bytes = {};
  EmitGreeting({}, bytes);
  transport_.Send(bytes);
  return State::kClientFlags;
}

Negotiation::State Negotiation::ReadClientFlags() {
  std::array<uint8_t, kClientFlagsBytes> bytes = {};
  if (!ReadExact(transport_, bytes, WaitFor::kNextMessage)) return State::kEnded;
  uint32_t flags = 0;
  const HandshakeError error = ParseClientFlags(bytes, &flags);
  if (error != HandshakeError::kNone) {
    throw ConnectionLost(std::string("bad client flags: ") + HandshakeErrorName(error));
  }
  no_zeroes_ = (flags & kClientNoZeroes) != 0;
  return State::kOptions;
}

Negotiation::State Negotiation::ReadOption() {
  std::array<uint8_t, kOptionHeaderBytes> bytes = {};
  if (!ReadExact(transport_, bytes, WaitFor::kNextMessage)) return State::kEnded;
  OptionHeader header;
  const HandshakeError error = ParseOptionHeader(bytes, &header);
  if (error != HandshakeError::kNone) {
    throw ConnectionLost(std::string("bad option header: ") + HandshakeErrorName(error));
  }
  if (header.length > kMaxOptionBytes) {
    // EXPORT_NAME has no error reply.
    if (header.length > kMaxSkippedOptionBytes || header.option == kOptionExportName) {
      throw ConnectionLost("option of " + std::to_string(header.length) + " bytes");
    }
    Drain(transport_, header.length);
    Reply(header.option, kReplyErrTooBig);
    return State::kOptions;
  }
  std::vector<uint8_t> data(header.length);
  if (!ReadExact(transport_, data, WaitFor::kRestOfMessage)) {
    throw ConnectionLost("the peer closed in the middle of an option");
  }
  switch (header.option) {
    case kOptionExportName:
      return OnExportName(data);
    case kOptionAbort:
      return OnAbort();
    case kOptionList:
      return OnList(data);
    case kOptionInfo:
    case kOptionGo:
      return OnInfoOrGo(header.option, data);
    default:
      Reply(header.option, kReplyErrUnsup);
      return State::kOptions;
  }
}

Negotiation::State Negotiation::OnExportName(std::span<const uint8_t> data) {
  Text name;
  const HandshakeError error = ParseExportName(data, &name);
  chosen_ = error == HandshakeError::kNone ? exports_.Find(View(name)) : nullptr;
  if (chosen_ == nullptr) throw ConnectionLost("no such export");
  const ExportLimits limits = LimitsOf(*chosen_->device);
  std::vector<uint8_t> reply(ExportNameReplySize(no_zeroes_));
  EmitExportNameReply({limits.size_bytes, limits.transmission_flags}, no_zeroes_, reply);
  transport_.Send(reply);
  return State::kTransmission;
}

Negotiation::State Negotiation::OnAbort() {
  Reply(kOptionAbort, kReplyAck);
  return State::kEnded;
}

Negotiation::State Negotiation::OnList(std::span<const uint8_t> data) {
  if (!data.empty()) {
    Reply(kOptionList, kReplyErrInvalid);
    return State::kOptions;
  }
  for (const Export& each : exports_.all()) {
    const ServerEntry entry = {ToText(each.name), {}};
    std::vector<uint8_t> bytes(ServerEntrySize(entry));
    EmitServerEntry(entry, bytes);
    Reply(kOptionList, kReplyServer, bytes);
  }
  Reply(kOptionList, kReplyAck);
  return State::kOptions;
}

Negotiation::State Negotiation::OnInfoOrGo(uint32_t option, std::span<const uint8_t> data) {
  InfoRequest request;
  if (ParseInfoRequest(data, &request) != HandshakeError::kNone) {
    Reply(option, kReplyErrInvalid);
    return State::kOptions;
  }
  const Export* found = exports_.Find(View(request.name));
  if (found == nullptr) {
    Reply(option, kReplyErrUnknown);
    return State::kOptions;
  }
  ReplyExportInfo(option, request, *found);
  Reply(option, kReplyAck);
  if (option == kOptionInfo) return State::kOptions;
  chosen_ = found;
  return State::kTransmission;
}

void Negotiation::ReplyExportInfo(uint32_t option, const InfoRequest& request,
                                  const Export& chosen) {
  const ExportLimits limits = LimitsOf(*chosen.device);
  std::array<uint8_t, kExportInfoBytes> info = {};
  EmitExportInfo({limits.size_bytes, limits.transmission_flags}, info);
  Reply(option, kReplyInfo, info);
  if (request.Wants(kInfoName)) {
    const Text name = ToText(chosen.name);
    std::vector<uint8_t> bytes(TextInfoSize(name));
    EmitTextInfo(kInfoName, name, bytes);
    Reply(option, kReplyInfo, bytes);
  }
  if (request.Wants(kInfoBlockSize)) {
    std::array<uint8_t, kBlockSizeInfoBytes> bytes = {};
    EmitBlockSizeInfo({.maximum = limits.max_payload_bytes}, bytes);
    Reply(option, kReplyInfo, bytes);
  }
}

void Negotiation::Reply(uint32_t option, uint32_t reply, std::span<const uint8_t> data) {
  std::vector<uint8_t> bytes(kOptionReplyHeaderBytes + data.size());
  EmitOptionReplyHeader(
      {option, reply, static_cast<uint32_t>(data.size())},
      std::span<uint8_t, kOptionReplyHeaderBytes>(bytes.data(), kOptionReplyHeaderBytes));
  std::copy(data.begin(), data.end(), bytes.begin() + kOptionReplyHeaderBytes);
  transport_.Send(bytes);
}

}  // namespace qpip::nbd
