#include "status.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>

namespace qpip::internal {

namespace {

// Indexed by abi::CompletionStatus.
constexpr ibv_wc_status kWcStatus[] = {
    IBV_WC_SUCCESS,           // kSuccess
    IBV_WC_LOC_LEN_ERR,       // kLocalLengthError
    IBV_WC_LOC_PROT_ERR,      // kLocalProtectionError
    IBV_WC_LOC_QP_OP_ERR,     // kLocalQpOperationError
    IBV_WC_REM_ABORT_ERR,     // kRemoteAborted
    IBV_WC_RETRY_EXC_ERR,     // kRetryExceeded
    IBV_WC_WR_FLUSH_ERR,      // kFlushed
    IBV_WC_RESP_TIMEOUT_ERR,  // kResponseTimeout
    IBV_WC_REM_ACCESS_ERR,    // kRemoteAccessError
    IBV_WC_REM_INV_REQ_ERR,   // kRemoteInvalidRequest
    IBV_WC_REM_OP_ERR,        // kRemoteOperationError
    IBV_WC_MW_BIND_ERR,       // kBadKey
};
static_assert(std::size(kWcStatus) == static_cast<size_t>(abi::CompletionStatus::kBadKey) + 1);

// Indexed by abi::DisconnectReason.
constexpr DisconnectReason kReasons[] = {
    DisconnectReason::kNone,    DisconnectReason::kClosed,     DisconnectReason::kReset,
    DisconnectReason::kRefused, DisconnectReason::kTimedOut,   DisconnectReason::kUnreachable,
    DisconnectReason::kAborted, DisconnectReason::kLocalError, DisconnectReason::kTerminated,
};
static_assert(std::size(kReasons) == static_cast<size_t>(abi::DisconnectReason::kTerminated) + 1);

// Indexed by abi::CommandStatus.
struct CommandError {
  int code;
  const char* text;
};
constexpr CommandError kCommandErrors[] = {
    {0, "no error"},
    {EINVAL, "the NIC refused an argument"},
    {ENOMEM, "a table of the NIC is full; open it with larger limits or release objects"},
    {EINVAL, "the NIC does not know the object"},
    {EISCONN, "not possible in the object's present state"},
    {EADDRINUSE, "address already in use; choose another port"},
    {EBUSY, "still in use"},
};
static_assert(std::size(kCommandErrors) == static_cast<size_t>(abi::CommandStatus::kBusy) + 1);

constexpr CommandError kUnknownCommandError = {EIO, "the NIC answered with an unknown status"};

const CommandError& LookUp(uint8_t status) {
  return status < std::size(kCommandErrors) ? kCommandErrors[status] : kUnknownCommandError;
}

}  // namespace

ibv_wc_status ToWcStatus(uint8_t completion_status) {
  return completion_status < std::size(kWcStatus) ? kWcStatus[completion_status]
                                                  : IBV_WC_GENERAL_ERR;
}

DisconnectReason ToDisconnectReason(uint8_t reason) {
  return reason < std::size(kReasons) ? kReasons[reason] : DisconnectReason::kLocalError;
}

int ToErrno(uint8_t command_status) { return LookUp(command_status).code; }

void ThrowIfFailed(const abi::Event& answer, const std::string& what) {
  const CommandError& error = LookUp(answer.status);
  if (error.code != 0) throw Error(error.code, what + ": " + error.text);
}

Error ConnectError(const Endpoint& peer, DisconnectReason reason, const QpNotices& notices) {
  const std::string what = "connect to " + peer.ToString() + ": ";
  switch (reason) {
    case DisconnectReason::kRefused:
      return Error(ECONNREFUSED, what + "connection refused: nobody listens on that port");
    case DisconnectReason::kTimedOut:
      return Error(ETIMEDOUT, what + "timed out: the peer did not answer");
    case DisconnectReason::kUnreachable:
      if (notices.icmp_errors != 0) {
        return Error(EHOSTUNREACH, what + "host unreachable: ICMPv6 error: " +
                                       IcmpText(notices.icmp_type, notices.icmp_code));
      }
      return Error(
          EHOSTUNREACH,
          what + "host unreachable: nobody on the link has that address, and no route leads there");
    case DisconnectReason::kReset:
      return Error(ECONNRESET, what + "connection reset by the peer during the handshake");
    case DisconnectReason::kAborted:
      return Error(ECONNABORTED, what + "aborted from this side");
    case DisconnectReason::kWireFailed:
      return Error(ENETDOWN, what + "this NIC's own link is gone");
    case DisconnectReason::kNone:
    case DisconnectReason::kClosed:
    case DisconnectReason::kLocalError:
    case DisconnectReason::kTerminated:
      break;
  }
  return Error(EIO, what + "the connection ended before it was established");
}

std::string IcmpText(uint8_t type, uint8_t code) {
  static constexpr const char* kUnreachable[] = {
      "no route to the destination",
      "administratively prohibited",
      "beyond the scope of the source address",
      "address unreachable",
      "port unreachable",
      "source address failed a policy",
      "route rejected",
  };
  static constexpr const char* kTypes[] = {"", "destination unreachable", "packet too big",
                                           "time exceeded", "parameter problem"};
  std::string text = "unknown error";
  if (type == 1 && code < std::size(kUnreachable)) {
    text = kUnreachable[code];
  } else if (type != 0 && type < std::size(kTypes)) {
    text = kTypes[type];
  }
  return text + " (type " + std::to_string(type) + ", code " + std::to_string(code) + ")";
}

ibv_wc_status StatusOf(DisconnectReason reason) {
  switch (reason) {
    case DisconnectReason::kReset:
    case DisconnectReason::kRefused:
      return IBV_WC_REM_ABORT_ERR;
    case DisconnectReason::kTimedOut:
    case DisconnectReason::kUnreachable:
    case DisconnectReason::kWireFailed:
      return IBV_WC_RETRY_EXC_ERR;
    case DisconnectReason::kNone:
    case DisconnectReason::kClosed:
    case DisconnectReason::kAborted:
    case DisconnectReason::kLocalError:
    case DisconnectReason::kTerminated:
      break;
  }
  return IBV_WC_WR_FLUSH_ERR;
}

in6_addr ToIn6(const abi::Ip6Address& address) {
  in6_addr out;
  static_assert(sizeof(out) == sizeof(address));
  std::memcpy(&out, &address, sizeof(out));
  return out;
}

abi::Ip6Address ToAbi(const in6_addr& address) {
  abi::Ip6Address out;
  std::memcpy(out.bytes, &address, sizeof(out.bytes));
  return out;
}

}  // namespace qpip::internal

namespace qpip {

int ErrnoOf(DisconnectReason reason) {
  switch (reason) {
    case DisconnectReason::kNone:
      return 0;
    case DisconnectReason::kClosed:
      return EPIPE;
    case DisconnectReason::kReset:
      return ECONNRESET;
    case DisconnectReason::kRefused:
      return ECONNREFUSED;
    case DisconnectReason::kTimedOut:
      return ETIMEDOUT;
    case DisconnectReason::kUnreachable:
      return EHOSTUNREACH;
    case DisconnectReason::kAborted:
      return ECONNABORTED;
    case DisconnectReason::kWireFailed:
      return ENETDOWN;
    case DisconnectReason::kTerminated:
      return EPROTO;
    case DisconnectReason::kLocalError:
      break;
  }
  return EIO;
}

std::string Describe(const WorkCompletion& completion) {
  std::string text = ToString(completion.status);
  // Local statuses say themselves what was wrong.
  if (completion.reason != DisconnectReason::kNone &&
      completion.reason != DisconnectReason::kLocalError) {
    text += std::string(": ") + ToString(completion.reason);
  }
  return text;
}

const char* ToString(ibv_wc_status status) {
  switch (status) {
    case IBV_WC_SUCCESS:
      return "success";
    case IBV_WC_LOC_LEN_ERR:
      return "message longer than its receive";
    case IBV_WC_LOC_PROT_ERR:
      return "memory key, bounds or rights";
    case IBV_WC_LOC_QP_OP_ERR:
      return "malformed work request";
    case IBV_WC_REM_ABORT_ERR:
      return "ended by the peer";
    case IBV_WC_RETRY_EXC_ERR:
      return "peer does not answer";
    case IBV_WC_RESP_TIMEOUT_ERR:
      return "user time-out";
    case IBV_WC_REM_ACCESS_ERR:
      return "peer's memory key, bounds or rights";
    case IBV_WC_REM_INV_REQ_ERR:
      return "peer had no receive for it, or too short a one";
    case IBV_WC_REM_OP_ERR:
      return "refused by the peer";
    case IBV_WC_MW_BIND_ERR:
      return "no memory key to be invalidated";
    case IBV_WC_WR_FLUSH_ERR:
      return "flushed when the connection ended";
    default:
      return "unexpected status";
  }
}

}  // namespace qpip
