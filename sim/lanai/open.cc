// From a URI to a NIC: fabric, decorators, firmware.

#include "host_lib/port/host_port.h"
#include "nic_fw/firmware.h"
#include "sim/lanai/host_port.h"
#include "sim/lanai/scheme.h"
#include "sim/lanai/uri.h"
#include "sim/wire/fork.h"
#include "sim/wire/wire.h"

namespace qpip::abi {

namespace {

std::unique_ptr<wire::Wire> OpenWire(const lanai::NicUri& uri) {
  std::unique_ptr<wire::Wire> wire = uri.scheme->open(uri.scheme->complete(uri));
  // The recording is inside the faults: it shows what really went over the wire.
  if (!uri.pcap.empty()) wire = wire::DecoratePcap(std::move(wire), uri.pcap);
  if (uri.fault.any()) wire = wire::DecorateFault(std::move(wire), uri.fault);
  return wire;
}

constexpr lanai::Firmware kLinkedFirmware = {
    fw::qpip_fw_arena,    fw::qpip_fw_init, fw::qpip_fw_step,          fw::qpip_fw_receive,
    fw::qpip_fw_transmit, fw::qpip_fw_due,  fw::qpip_fw_next_deadline, fw::qpip_fw_notifications,
};

}  // namespace

std::unique_ptr<HostPort> OpenHostPort(std::string_view uri) {
  lanai::NicUri parsed = lanai::ParseUri(uri);
  std::unique_ptr<wire::Wire> wire = OpenWire(parsed);
  // The device's or a file's, unless given.
  parsed.mtu = wire->mtu();
  parsed.address = wire->address();
  return lanai::MakeHostPort(parsed, std::move(wire), kLinkedFirmware);
}

void WatchForks() { const wire::ForkWatch first; }

}  // namespace qpip::abi
