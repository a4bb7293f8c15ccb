#include "protocols/nbd/meta_context.h"

#include "protocols/common/byte_order.h"

namespace qpip::nbd {
namespace {

HandshakeError TakeText(std::span<const uint8_t>* rest, Text* text) {
  if (rest->size() < 4) {
    return HandshakeError::kTooShort;
  }
  const uint32_t length = LoadBe32(rest->data());
  if (length > rest->size() - 4) {
    return HandshakeError::kBadLength;
  }
  *text = {reinterpret_cast<const char*>(rest->data()) + 4, length};
  *rest = rest->subspan(size_t{4} + length);
  return length <= kMaxNameBytes ? HandshakeError::kNone : HandshakeError::kNameTooLong;
}

size_t EmitText(Text text, uint8_t* out) {
  StoreBe32(out, static_cast<uint32_t>(text.size()));
  if (!text.empty()) {
    __builtin_memcpy(out + 4, text.data(), text.size());
  }
  return 4 + text.size();
}

bool StartsWith(Text text, Text start) {
  if (text.size() < start.size()) {
    return false;
  }
  for (size_t i = 0; i < start.size(); ++i) {
    if (text[i] != start[i]) {
      return false;
    }
  }
  return true;
}

}  // namespace

Text MetaContextRequest::TakeQuery(std::span<const uint8_t>* rest) {
  Text query;
  TakeText(rest, &query);
  return query;
}

HandshakeError ParseMetaContextRequest(std::span<const uint8_t> data, MetaContextRequest* request) {
  HandshakeError error = TakeText(&data, &request->export_name_);
  if (error != HandshakeError::kNone) {
    return error;
  }
  if (data.size() < 4) {
    return HandshakeError::kTooShort;
  }
  request->query_count_ = LoadBe32(data.data());
  data = data.subspan(4);
  request->queries_ = data;
  for (uint32_t i = 0; i < request->query_count_; ++i) {
    Text query;
    error = TakeText(&data, &query);
    if (error != HandshakeError::kNone) {
      return error;
    }
  }
  return data.empty() ? HandshakeError::kNone : HandshakeError::kBadLength;
}

size_t MetaContextRequestSize(Text export_name, std::span<const Text> queries) {
  size_t size = 4 + export_name.size() + 4;
  for (const Text query : queries) {
    size += 4 + query.size();
  }
  return size;
}

size_t EmitMetaContextRequest(Text export_name, std::span<const Text> queries,
                              std::span<uint8_t> out) {
  size_t at = EmitText(export_name, out.data());
  StoreBe32(&out[at], static_cast<uint32_t>(queries.size()));
  at += 4;
  for (const Text query : queries) {
    at += EmitText(query, &out[at]);
  }
  return at;
}

HandshakeError ParseMetaContext(std::span<const uint8_t> data, MetaContext* context) {
  if (data.size() < 4) {
    return HandshakeError::kTooShort;
  }
  if (data.size() - 4 > kMaxNameBytes) {
    return HandshakeError::kNameTooLong;
  }
  context->id = LoadBe32(data.data());
  context->name = {reinterpret_cast<const char*>(data.data()) + 4, data.size() - 4};
  return HandshakeError::kNone;
}

size_t EmitMetaContext(const MetaContext& context, std::span<uint8_t> out) {
  StoreBe32(out.data(), context.id);
  if (!context.name.empty()) {
    __builtin_memcpy(&out[4], context.name.data(), context.name.size());
  }
  return MetaContextSize(context);
}

bool QueryMatches(Text query, Text name, bool listing) {
  if (query.size() == name.size()) {
    return StartsWith(query, name);
  }
  const bool is_namespace = !query.empty() && query.back() == ':';
  return listing && is_namespace && StartsWith(name, query);
}

}  // namespace qpip::nbd
