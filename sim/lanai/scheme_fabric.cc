// `shm:` and `mem:`: fabrics in memory.
#include "sim/lanai/scheme.h"

namespace qpip::lanai {
namespace {

wire::FabricOptions& Options(NicUri& uri) { return uri.Wire<wire::FabricOptions>(); }
const wire::FabricOptions& Options(const NicUri& uri) { return uri.Wire<wire::FabricOptions>(); }

void SetName(NicUri& uri, std::string_view name) {
  if (!wire::IsFabricName(name)) {
    Refuse("fabric name " + Quote(name) + ": " + wire::kFabricNameRule + " are accepted");
  }
  Options(uri).name = name;
}

std::any Complete(const NicUri& uri) {
  wire::FabricOptions options = Options(uri);
  options.address = uri.address;
  options.mtu = uri.mtu;
  options.checksum = uri.checksum;
  return options;
}

constexpr Parameter kParameters[] = {
    QPIP_URI_NUMBER("copy", Options(uri).copy, 0, 1),
};

constexpr Scheme Row(std::string_view name, std::string_view place,
                     std::unique_ptr<wire::Wire> (*open)(const std::any&)) {
  return {
      .name = name,
      .place = place,
      .default_mtu = wire::kFabricMtu,
      .make = [] { return std::any(wire::FabricOptions()); },
      .set_place = SetName,
      .format_place = [](const NicUri& uri) { return Options(uri).name; },
      .complete = Complete,
      .open = open,
      .parameters = kParameters,
  };
}

}  // namespace

extern const Scheme kSharedMemoryScheme, kMemoryScheme;
constinit const Scheme kSharedMemoryScheme = Row("shm", "FABRIC", [](const std::any& options) {
  return wire::OpenSharedMemoryWire(std::any_cast<const wire::FabricOptions&>(options));
});
constinit const Scheme kMemoryScheme = Row("mem", "NAME", [](const std::any& options) {
  return wire::OpenMemoryWire(std::any_cast<const wire::FabricOptions&>(options));
});

}  // namespace qpip::lanai
