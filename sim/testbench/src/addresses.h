// Addresses between the public API and the layers below.
#pragma once

#include <netinet/in.h>

#include <cstring>

#include "nic_fw/abi/work_queue.h"
#include "protocols/common/ipv6_address.h"

namespace qpip::testbench {

inline ipv6::Address ToAddress(const in6_addr& address) {
  ipv6::Address out;
  std::memcpy(out.bytes, &address, sizeof(out.bytes));
  return out;
}

inline in6_addr ToIn6(const ipv6::Address& address) {
  in6_addr out;
  std::memcpy(&out, address.bytes, sizeof(out));
  return out;
}

inline in6_addr ToIn6(const abi::Ip6Address& address) {
  in6_addr out;
  std::memcpy(&out, address.bytes, sizeof(out));
  return out;
}

}  // namespace qpip::testbench
