#include "handshake.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string_view>

#include "protocols/nbd/meta_context.h"

namespace qpip::nbd::internal {

namespace {

/// Longest option reply that is looked at: more is no reply to what was asked.
constexpr uint32_t kMaxReplyBytes = 64 * 1024;

[[noreturn]] void Broken(const std::string& what) {
  throw Error(EPROTO, "not as NBD has it: " + what);
}

std::string TextOf(Text text) { return {text.data(), text.size()}; }

}  // namespace

Handshake::Handshake(const ClientOptions& options)
    : name_(options.export_name),
      wants_chunks_(options.structured_replies),
      wants_extended_(options.structured_replies && options.extended_headers),
      wants_status_(options.block_status) {
  Expect(State::kGreeting, kGreetingBytes);
}

void Handshake::Sent(size_t bytes) {
  sent_ += bytes;
  if (sent_ < output_.size()) return;
  output_.clear();
  sent_ = 0;
}

void Handshake::Expect(State state, size_t bytes) {
  state_ = state;
  input_.assign(bytes, 0);
  have_ = 0;
}

void Handshake::Received(size_t bytes) {
  have_ += bytes;
  if (have_ < input_.size()) return;
  switch (state_) {
    case State::kGreeting:
      return OnGreeting();
    case State::kReplyHeader:
      return OnReplyHeader();
    case State::kReplyData:
      return OnReply();
    case State::kExportName:
      return OnExportName();
    case State::kDone:
      return;
  }
}

void Handshake::Send(std::span<const uint8_t> bytes) {
  output_.insert(output_.end(), bytes.begin(), bytes.end());
}

void Handshake::Ask(Option option, std::span<const uint8_t> data) {
  std::array<uint8_t, kOptionHeaderBytes> header;
  EmitOptionHeader({option, static_cast<uint32_t>(data.size())}, header);
  Send(header);
  Send(data);
  option_ = option;
  Expect(State::kReplyHeader, kOptionReplyHeaderBytes);
}

void Handshake::OnGreeting() {
  Greeting greeting;
  const HandshakeError error = ParseGreeting(input_, &greeting);
  if (error != HandshakeError::kNone) Broken(std::string("greeting: ") + HandshakeErrorName(error));
  const bool fixed = (greeting.handshake_flags & kFixedNewstyle) != 0;
  no_zeroes_ = (greeting.handshake_flags & kNoZeroes) != 0;
  std::array<uint8_t, kClientFlagsBytes> flags;
  EmitClientFlags((fixed ? kClientFixedNewstyle : 0u) | (no_zeroes_ ? kClientNoZeroes : 0u), flags);
  Send(flags);
  if (!fixed) return GoTheOldWay();  // which has no options but one
  if (wants_extended_) return Ask(kOptionExtendedHeaders);
  if (wants_chunks_) return Ask(kOptionStructuredReply);
  Go();
}

void Handshake::OnReplyHeader() {
  OptionReplyHeader header;
  const HandshakeError error = ParseOptionReplyHeader(input_, &header);
  if (error != HandshakeError::kNone) Broken(HandshakeErrorName(error));
  if (header.option != option_) Broken("a reply to another option");
  if (header.length > kMaxReplyBytes) Broken("an option reply that is too long");
  reply_ = header.reply;
  Expect(State::kReplyData, header.length);
  if (header.length == 0) OnReply();
}

void Handshake::OnReply() {
  if (reply_ == kReplyErrTlsRequired) Refused();
  switch (option_) {
    case kOptionSetMetaContext:
      return OnMetaContext();
    case kOptionGo:
      return OnGo();
    default:
      return OnFeature();
  }
}

void Handshake::OnFeature() {
  const bool has = reply_ == kReplyAck;
  if (option_ == kOptionExtendedHeaders) {
    if (!has) return Ask(kOptionStructuredReply);
    agreed_.headers = Headers::kExtended;
    agreed_.facts.extended_headers = true;
  }
  agreed_.chunks = has;
  agreed_.facts.structured_replies = has;
  if (has && wants_status_) return AskForAllocation();
  Go();
}

void Handshake::AskForAllocation() {
  const std::string_view text = kBaseAllocation;
  const std::array<Text, 1> queries = {Text(text.data(), text.size())};
  std::vector<uint8_t> data(MetaContextRequestSize(name(), queries));
  EmitMetaContextRequest(name(), queries, data);
  Ask(kOptionSetMetaContext, data);
}

void Handshake::OnMetaContext() {
  if (reply_ != kReplyMetaContext) return Go();  // the last, or an error: there is none then
  MetaContext context;
  if (ParseMetaContext(input_, &context) != HandshakeError::kNone) {
    Broken("a meta context that cannot be read");
  }
  if (TextOf(context.name) == kBaseAllocation) {
    agreed_.allocation_id = context.id;
    agreed_.facts.block_status = true;
  }
  Expect(State::kReplyHeader, kOptionReplyHeaderBytes);
}

void Handshake::Go() {
  const InfoRequest request = {name(), InfoBit(kInfoBlockSize) | InfoBit(kInfoDescription)};
  std::vector<uint8_t> data(InfoRequestSize(request));
  EmitInfoRequest(request, data);
  Ask(kOptionGo, data);
}

void Handshake::OnGo() {
  if (reply_ == kReplyErrUnsup) return GoTheOldWay();
  if (reply_ == kReplyAck) {
    if (!any_info_) Broken("an export without information");
    state_ = State::kDone;
    return;
  }
  if (reply_ != kReplyInfo) Refused();
  TakeInfo();
  Expect(State::kReplyHeader, kOptionReplyHeaderBytes);
}

void Handshake::GoTheOldWay() {
  const std::span name(reinterpret_cast<const uint8_t*>(name_.data()), name_.size());
  Ask(kOptionExportName, name);
  Expect(State::kExportName, ExportNameReplySize(no_zeroes_));
}

void Handshake::OnExportName() {
  ExportNameReply reply;
  if (ParseExportNameReply(input_, &reply) != HandshakeError::kNone) Broken("an export's size");
  TakeFlags(reply.size_bytes, reply.transmission_flags);
  state_ = State::kDone;
}

void Handshake::Refused() {
  int code = EPROTO;
  if (reply_ == kReplyErrUnknown) code = ENOENT;
  if (reply_ == kReplyErrTlsRequired || reply_ == kReplyErrPolicy) code = EACCES;
  if (reply_ == kReplyErrShutdown) code = ESHUTDOWN;
  std::string text = std::string("refused by the server: ") + OptionName(option_) + " of export '" +
                     name_ + "': " + ReplyName(reply_);
  if (!input_.empty()) text += ": " + std::string(input_.begin(), input_.end());
  throw Error(code, text);
}

void Handshake::TakeFlags(uint64_t bytes, uint16_t flags) {
  // Ranges are added up, and are files' offsets to those who use them.
  if (bytes > uint64_t{INT64_MAX}) Broken("a size that no file can have");
  const auto has = [flags](uint16_t bit) { return (flags & bit) != 0; };
  ExportFacts& facts = agreed_.facts;
  facts.bytes = bytes;
  facts.read_only = has(kReadOnly);
  facts.flush = has(kSendFlush);
  facts.fua = has(kSendFua);
  facts.trim = has(kSendTrim);
  facts.zero = has(kSendWriteZeroes);
  facts.fast_zero = has(kSendFastZero);
  facts.cache = has(kSendCache);
  facts.rotational = has(kRotational);
  facts.multi_conn = has(kCanMultiConn);
}

void Handshake::TakeInfo() {
  uint16_t type = 0;
  if (ParseInfoType(input_, &type) != HandshakeError::kNone) Broken("an empty information");
  ExportInfo info;
  BlockSizeInfo sizes;
  Text description;
  switch (type) {
    case kInfoExport:
      if (ParseExportInfo(input_, &info) != HandshakeError::kNone) {
        Broken("an export's information");
      }
      any_info_ = true;
      return TakeFlags(info.size_bytes, info.transmission_flags);
    case kInfoBlockSize:
      if (ParseBlockSizeInfo(input_, &sizes) != HandshakeError::kNone) Broken("block sizes");
      agreed_.facts.minimum = sizes.minimum;
      agreed_.facts.preferred = sizes.preferred;
      agreed_.facts.maximum = sizes.maximum;
      return;
    case kInfoDescription:
      if (ParseTextInfo(input_, kInfoDescription, &description) == HandshakeError::kNone) {
        agreed_.facts.description = TextOf(description);
      }
      return;
    default:  // what was not asked for is to be ignored
      return;
  }
}

}  // namespace qpip::nbd::internal
