#include "apps/nbd/negotiation.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace qpip::nbd {

namespace {

/// Longer option data is not even skipped.
constexpr uint32_t kMaxSkippedOptionBytes = 1u << 20;

std::string_view View(Text text) { return {text.data(), text.size()}; }
Text ToText(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

ExportLimits LimitsOf(const Export& served, bool structured) {
  const storage::Geometry geometry = served.device->geometry();
  ExportLimits limits;
  limits.size_bytes = geometry.bytes;
  limits.max_payload_bytes = kMaxPayloadBytes;
  uint16_t& flags = limits.transmission_flags;
  flags = kHasFlags | kSendFlush | kSendFua | kSendCache;
  if (served.read_only || geometry.read_only) {
    flags |= kReadOnly;
  } else {
    flags |= kSendWriteZeroes;
    if (geometry.trim) flags |= kSendTrim;
    if (geometry.fast_zero) flags |= kSendFastZero;
  }
  if (structured) flags |= kSendDf;
  if (geometry.shared_flush) flags |= kCanMultiConn;
  if (geometry.rotational) flags |= kRotational;
  return limits;
}

Agreement Negotiation::Run() {
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
        return agreement_;
      case State::kEnded:
        transport_.Flush();
        return {};
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
    return Refuse(header.option, kReplyErrTooBig,
                  "option data is limited to " + std::to_string(kMaxOptionBytes) + " bytes");
  }
  std::vector<uint8_t> data(header.length);
  if (!ReadExact(transport_, data, WaitFor::kRestOfMessage)) {
    throw ConnectionLost("the peer closed in the middle of an option");
  }
  return OnOption(header.option, data);
}

Negotiation::State Negotiation::OnOption(uint32_t option, std::span<const uint8_t> data) {
  const bool tls_first = tls_ != nullptr && tls_->required() && !secure_;
  if (tls_first && option != kOptionStartTls && option != kOptionAbort) {
    // "FORCEDTLS": EXPORT_NAME cannot be refused otherwise.
    if (option == kOptionExportName) throw ConnectionLost("no TLS, which is required");
    return Refuse(option, kReplyErrTlsRequired, "begin TLS first");
  }
  switch (option) {
    case kOptionExportName:
      return OnExportName(data);
    case kOptionAbort:
      return OnAbort();
    case kOptionList:
      return OnList(data);
    case kOptionInfo:
    case kOptionGo:
      return OnInfoOrGo(option, data);
    case kOptionStructuredReply:
      return OnStructuredReply(data);
    case kOptionExtendedHeaders:
      return OnExtendedHeaders(data);
    case kOptionListMetaContext:
    case kOptionSetMetaContext:
      return OnMetaContext(option, data);
    case kOptionStartTls:
      return OnStartTls(data);
    default:
      return Refuse(option, kReplyErrUnsup, "unknown option");
  }
}

Negotiation::State Negotiation::Choose(const Export& chosen, const ExportLimits& limits) {
  agreement_ = {&chosen, structured_ || extended_, limits};
  return State::kTransmission;
}

ExportLimits Negotiation::LimitsNow(const Export& served) const {
  ExportLimits limits = LimitsOf(served, structured_ || extended_);
  limits.headers = extended_ ? Headers::kExtended : Headers::kCompact;
  limits.block_status = context_of_ == &served;
  return limits;
}

Negotiation::State Negotiation::OnExportName(std::span<const uint8_t> data) {
  Text name;
  const HandshakeError error = ParseExportName(data, &name);
  const Export* const chosen = error == HandshakeError::kNone ? exports_.Find(View(name)) : nullptr;
  if (chosen == nullptr) throw ConnectionLost("no such export");
  const ExportLimits limits = LimitsNow(*chosen);
  std::vector<uint8_t> reply(ExportNameReplySize(no_zeroes_));
  EmitExportNameReply({limits.size_bytes, limits.transmission_flags}, no_zeroes_, reply);
  transport_.Send(reply);
  return Choose(*chosen, limits);
}

Negotiation::State Negotiation::OnAbort() {
  Reply(kOptionAbort, kReplyAck);
  return State::kEnded;
}

Negotiation::State Negotiation::OnList(std::span<const uint8_t> data) {
  if (!data.empty()) return Refuse(kOptionList, kReplyErrInvalid, "LIST takes no data");
  for (const Export& each : exports_.all()) {
    const ServerEntry entry = {ToText(each.name), ToText(each.description)};
    std::vector<uint8_t> bytes(ServerEntrySize(entry));
    EmitServerEntry(entry, bytes);
    Reply(kOptionList, kReplyServer, bytes);
  }
  Reply(kOptionList, kReplyAck);
  return State::kOptions;
}

Negotiation::State Negotiation::OnInfoOrGo(uint32_t option, std::span<const uint8_t> data) {
  InfoRequest request;
  if (const auto error = ParseInfoRequest(data, &request); error != HandshakeError::kNone) {
    return Refuse(option, kReplyErrInvalid, HandshakeErrorName(error));
  }
  const Export* found = exports_.Find(View(request.name));
  if (found == nullptr) return RefuseUnknown(option, request.name);
  const ExportLimits limits = LimitsNow(*found);
  ReplyExportInfo(option, request, *found, limits);
  Reply(option, kReplyAck);
  return option == kOptionInfo ? State::kOptions : Choose(*found, limits);
}

Negotiation::State Negotiation::OnStartTls(std::span<const uint8_t> data) {
  if (tls_ == nullptr) return Refuse(kOptionStartTls, kReplyErrUnsup, "TLS is not spoken here");
  if (!data.empty()) return Refuse(kOptionStartTls, kReplyErrInvalid, "STARTTLS takes no data");
  if (secure_) return Refuse(kOptionStartTls, kReplyErrInvalid, "TLS has begun already");
  Reply(kOptionStartTls, kReplyAck);
  transport_.StartTls(*tls_);
  secure_ = true;
  // "The server MUST NOT preserve any negotiation state".
  structured_ = false;
  extended_ = false;
  context_of_ = nullptr;
  return State::kOptions;
}

Negotiation::State Negotiation::OnStructuredReply(std::span<const uint8_t> data) {
  if (!data.empty()) {
    return Refuse(kOptionStructuredReply, kReplyErrInvalid, "STRUCTURED_REPLY takes no data");
  }
  if (extended_) {
    return Refuse(kOptionStructuredReply, kReplyErrExtendedHeadersRequired,
                  "extended headers are in use");
  }
  structured_ = true;
  Reply(kOptionStructuredReply, kReplyAck);
  return State::kOptions;
}

Negotiation::State Negotiation::OnExtendedHeaders(std::span<const uint8_t> data) {
  if (!data.empty()) {
    return Refuse(kOptionExtendedHeaders, kReplyErrInvalid, "EXTENDED_HEADERS takes no data");
  }
  extended_ = true;
  Reply(kOptionExtendedHeaders, kReplyAck);
  return State::kOptions;
}

Negotiation::State Negotiation::OnMetaContext(uint32_t option, std::span<const uint8_t> data) {
  const bool listing = option == kOptionListMetaContext;
  if (!listing) context_of_ = nullptr;  // "including when this command fails"
  if (!structured_ && !extended_) {
    return Refuse(option, kReplyErrInvalid, "metadata contexts need structured replies");
  }
  MetaContextRequest request;
  if (const auto error = ParseMetaContextRequest(data, &request); error != HandshakeError::kNone) {
    return Refuse(option, kReplyErrInvalid, HandshakeErrorName(error));
  }
  const Export* const found = exports_.Find(View(request.export_name()));
  if (found == nullptr) return RefuseUnknown(option, request.export_name());
  const Text name = ToText(kBaseAllocation);
  bool matches = listing && request.query_count() == 0;
  request.ForEachQuery([&](Text query) { matches |= QueryMatches(query, name, listing); });
  if (matches) {
    const MetaContext context = {listing ? 0 : kAllocationContext, name};
    std::vector<uint8_t> bytes(MetaContextSize(context));
    EmitMetaContext(context, bytes);
    Reply(option, kReplyMetaContext, bytes);
    if (!listing) context_of_ = found;
  }
  Reply(option, kReplyAck);
  return State::kOptions;
}

void Negotiation::ReplyExportInfo(uint32_t option, const InfoRequest& request, const Export& chosen,
                                  const ExportLimits& limits) {
  std::array<uint8_t, kExportInfoBytes> info = {};
  EmitExportInfo({limits.size_bytes, limits.transmission_flags}, info);
  Reply(option, kReplyInfo, info);
  const auto reply_text = [&](InfoType type, std::string_view text) {
    std::vector<uint8_t> bytes(TextInfoSize(ToText(text)));
    EmitTextInfo(type, ToText(text), bytes);
    Reply(option, kReplyInfo, bytes);
  };
  if (request.Wants(kInfoName)) reply_text(kInfoName, chosen.name);
  if (request.Wants(kInfoDescription) && !chosen.description.empty()) {
    reply_text(kInfoDescription, chosen.description);
  }
  if (request.Wants(kInfoBlockSize)) {
    const storage::Geometry geometry = chosen.device->geometry();
    std::array<uint8_t, kBlockSizeInfoBytes> bytes = {};
    EmitBlockSizeInfo({.minimum = geometry.minimum,
                       .preferred = std::max<uint32_t>(geometry.preferred, 512),
                       .maximum = limits.max_payload_bytes},
                      bytes);
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

Negotiation::State Negotiation::Refuse(uint32_t option, uint32_t reply, std::string_view why) {
  Reply(option, reply, {reinterpret_cast<const uint8_t*>(why.data()), why.size()});
  return State::kOptions;
}

Negotiation::State Negotiation::RefuseUnknown(uint32_t option, Text name) {
  return Refuse(option, kReplyErrUnknown,
                "no export of the name '" +
                    std::string(View(name.first(std::min<size_t>(name.size(), 256)))) + "'");
}

}  // namespace qpip::nbd
