// The ABI's status codes in the public vocabulary: each mapping is one table or one switch.
#pragma once

#include <string>

#include "nic_fw/abi/command.h"
#include "nic_fw/abi/completion.h"
#include "qpip/types.h"

namespace qpip::internal {

/// Status of a CQE; a value the ABI does not know is IBV_WC_GENERAL_ERR.
ibv_wc_status ToWcStatus(uint8_t completion_status);

/// DisconnectReason of an event; unknown values are kLocalError.
DisconnectReason ToDisconnectReason(uint8_t reason);

/// An errno value for a command's answer; 0 for kOk.
int ToErrno(uint8_t command_status);

/// Throws Error "`what`: ..." unless the answer is kOk.
void ThrowIfFailed(const abi::Event& answer, const std::string& what);

/// The Error for a connection attempt to `peer` that ended with `reason`; `notices` may name an
/// ICMPv6 error.
Error ConnectError(const Endpoint& peer, DisconnectReason reason, const QpNotices& notices);

/// An ICMPv6 error in words (RFC 4443 section 3): "address unreachable (type 1, code 3)".
std::string IcmpText(uint8_t type, uint8_t code);

/// The status that says what `reason` does, for work whose own completion cannot say more than that
/// it was flushed.
ibv_wc_status StatusOf(DisconnectReason reason);

in6_addr ToIn6(const abi::Ip6Address& address);
abi::Ip6Address ToAbi(const in6_addr& address);

}  // namespace qpip::internal
