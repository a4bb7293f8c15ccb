// NBD metadata contexts: the options LIST_META_CONTEXT and SET_META_CONTEXT (NBD project,
// doc/proto.md, "Metadata querying"). Pure and reentrant; texts are views into the input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "protocols/nbd/handshake.h"

namespace qpip::nbd {

/// The one context of the standard's own: whether blocks are allocated, and zero.
inline constexpr char kBaseAllocation[] = "base:allocation";

/// Data of both options: name length (32 bits), name of the export, count (32 bits), and so often a
/// length (32 bits) and a query.
class MetaContextRequest {
 public:
  Text export_name() const { return export_name_; }
  uint32_t query_count() const { return query_count_; }
  /// Calls use(Text) for each query, in order.
  template <typename Use>
  void ForEachQuery(Use&& use) const {
    std::span<const uint8_t> rest = queries_;
    for (uint32_t i = 0; i < query_count_; ++i) use(TakeQuery(&rest));
  }

 private:
  friend HandshakeError ParseMetaContextRequest(std::span<const uint8_t> data,
                                                MetaContextRequest* request);
  static Text TakeQuery(std::span<const uint8_t>* rest);

  Text export_name_;
  uint32_t query_count_ = 0;
  std::span<const uint8_t> queries_;  ///< all of them fit
};
/// `data` is the whole option data.
HandshakeError ParseMetaContextRequest(std::span<const uint8_t> data, MetaContextRequest* request);
size_t MetaContextRequestSize(Text export_name, std::span<const Text> queries);
/// Writes MetaContextRequestSize bytes and returns that number; `out` must hold them.
size_t EmitMetaContextRequest(Text export_name, std::span<const Text> queries,
                              std::span<uint8_t> out);

/// Data of kReplyMetaContext.
struct MetaContext {
  uint32_t id = 0;  ///< in block status; reserved in the answer to LIST_META_CONTEXT
  Text name;
};
HandshakeError ParseMetaContext(std::span<const uint8_t> data, MetaContext* context);
constexpr size_t MetaContextSize(const MetaContext& context) { return 4 + context.name.size(); }
/// Writes MetaContextSize bytes and returns that number; `out` must hold them.
size_t EmitMetaContext(const MetaContext& context, std::span<uint8_t> out);

/// Whether `query` asks for the context `name` ("NAMESPACE:LEAF"). `listing`: "NAMESPACE:" stands
/// for all of the namespace, as it does in LIST_META_CONTEXT and not in SET_META_CONTEXT.
bool QueryMatches(Text query, Text name, bool listing);

}  // namespace qpip::nbd
