// The URI that opens a NIC: `shm:FABRIC?address=fd00::1&mtu=9000` (docs/uri.md lists everything).
#pragma once

#include <any>
#include <cstdint>
#include <string>
#include <string_view>

#include "nic_fw/firmware.h"
#include "sim/lanai/doorbell_fifo.h"
#include "sim/wire/wire.h"

namespace qpip::lanai {

struct Scheme;  // scheme.h

/// What a URI says, with defaults for what it does not say.
struct NicUri {
  const Scheme* scheme;   ///< its row; never null
  std::any wire_options;  ///< what only the scheme has: options of wire.h; see Wire
  abi::Ip6Address address = {};
  uint32_t mtu = 0;       ///< bytes; 0: the wire's own
  bool checksum = false;  ///< checksums are computed although the wire would do without
  wire::FaultOptions fault;
  std::string pcap;      ///< file that records the traffic; empty: none
  std::string timeline;  ///< file for the Trace Event JSON; empty: none
  bool occupancy = false;
  uint32_t spin_us = 20;  ///< how long a waiting thread polls before it sleeps
  uint32_t doorbells = DoorbellFifo::kDefaultEntries;  ///< entries of the doorbell FIFO
  fw::NicConfig nic;  ///< real-time profile; address, MTU and rings are filled in later

  NicUri();  ///< of the default scheme
  explicit NicUri(const Scheme& row);

  /// The scheme's own options; `Options` must be its type.
  template <typename Options>
  Options& Wire() {
    return *std::any_cast<Options>(&wire_options);
  }
  template <typename Options>
  const Options& Wire() const {
    return *std::any_cast<Options>(&wire_options);
  }
};

/// Parses a URI. Throws std::invalid_argument with one line that says what was wrong and what is
/// accepted: unknown scheme or parameter, a number out of range, no address.
NicUri ParseUri(std::string_view text);

/// The URI with every default filled in, percent-encoded; ParseUri gives the same value back.
std::string FormatUri(const NicUri& uri);

}  // namespace qpip::lanai
