#include "apps/nbd/export.h"

#include <algorithm>

#include "apps/common/command_line.h"
#include "protocols/nbd/handshake.h"
#include "storage/leaves/file_device.h"
#include "storage/leaves/memory_device.h"
#include "storage/leaves/null_device.h"

namespace qpip::nbd {

using apps::UsageError;

namespace {

constexpr std::string_view kMemory = "memory:";
constexpr std::string_view kNull = "null:";
/// Name of what comes from another server's default export.
constexpr char kUnnamed[] = "nbd";

uint64_t SizeOf(std::string_view what, std::string_view scheme) {
  std::string text(what.substr(scheme.size()));
  uint64_t scale = 1;
  if (!text.empty() && text.back() == 'T') {
    text.back() = 'G';
    scale = 1024;
  }
  return scale * apps::ParseNumber(text, "size of " + std::string(what), 1,
                                   storage::MemoryDevice::kMaxBytes / scale);
}

void CheckText(const std::string& what, const std::string& text) {
  if (text.size() <= kMaxNameBytes) return;
  throw UsageError("export " + what + " too long: " + text.substr(0, 32) + "...: at most " +
                   std::to_string(kMaxNameBytes) + " bytes");
}

}  // namespace

void ExportTable::Add(Export added) {
  if (added.name.empty()) throw UsageError("export without a name: give NAME=FILE");
  CheckText("name", added.name);
  CheckText("description", added.description);
  if (std::any_of(exports_.begin(), exports_.end(),
                  [&added](const Export& other) { return other.name == added.name; })) {
    throw UsageError("two exports of one name: " + added.name + ": name one of them by NAME=FILE");
  }
  exports_.push_back(std::move(added));
}

const Export* ExportTable::Find(std::string_view name) const {
  if (name.empty()) return exports_.empty() ? nullptr : &exports_.front();
  for (const Export& candidate : exports_) {
    if (candidate.name == name) return &candidate;
  }
  return nullptr;
}

ExportTable ExportTable::VisibleTo(const ClientAddress& client) const {
  ExportTable visible;
  for (const Export& each : exports_) {
    const bool may = !client || each.allowed.empty() ||
                     std::any_of(each.allowed.begin(), each.allowed.end(),
                                 [&client](const Prefix& rule) { return rule.Contains(*client); });
    if (may) visible.exports_.push_back(each);
  }
  return visible;
}

ExportArgument ParseExportArgument(const std::string& text) {
  const size_t equals = text.find('=');
  ExportArgument argument;
  if (Uri::Is(text)) {
    const std::string name = Uri::Parse(text).export_name;
    argument = {name.empty() ? kUnnamed : name, text};
  } else if (equals != std::string::npos) {
    argument = {text.substr(0, equals), text.substr(equals + 1)};
  } else {
    const size_t slash = text.rfind('/');
    argument = {slash == std::string::npos ? text : text.substr(slash + 1), text};
  }
  if (argument.name.empty() || argument.what.empty()) {
    throw UsageError("bad export: '" + text + "': give NAME=FILE or FILE");
  }
  return argument;
}

std::shared_ptr<storage::Device> OpenDevice(const std::string& what, bool read_only,
                                            storage::Workers& workers,
                                            const UpstreamOptions& upstream) {
  if (Uri::Is(what)) return OpenUpstream(what, upstream);
  if (what.starts_with(kMemory)) {
    return std::make_shared<storage::MemoryDevice>(SizeOf(what, kMemory));
  }
  if (what.starts_with(kNull)) return std::make_shared<storage::NullDevice>(SizeOf(what, kNull));
  try {
    const storage::FileOptions options = {.read_only = read_only};
    return std::make_shared<storage::FileDevice>(what, options, workers);
  } catch (const std::runtime_error& error) {
    throw apps::Failure(error.what());
  }
}

}  // namespace qpip::nbd
