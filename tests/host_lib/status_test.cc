#include "status.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

namespace qpip::internal {
namespace {

using abi::CommandStatus;
using abi::CompletionStatus;

uint8_t Raw(auto value) { return static_cast<uint8_t>(value); }

TEST(StatusTest, GivenEachCompletionStatusWhenMappedThenItIsTheDocumentedOne) {
  EXPECT_EQ(ToWcStatus(Raw(CompletionStatus::kSuccess)), IBV_WC_SUCCESS);
  EXPECT_EQ(ToWcStatus(Raw(CompletionStatus::kLocalLengthError)), IBV_WC_LOC_LEN_ERR);
  EXPECT_EQ(ToWcStatus(Raw(CompletionStatus::kLocalProtectionError)), IBV_WC_LOC_PROT_ERR);
  EXPECT_EQ(ToWcStatus(Raw(CompletionStatus::kLocalQpOperationError)), IBV_WC_LOC_QP_OP_ERR);
  EXPECT_EQ(ToWcStatus(Raw(CompletionStatus::kRemoteAborted)), IBV_WC_REM_ABORT_ERR);
  EXPECT_EQ(ToWcStatus(Raw(CompletionStatus::kRetryExceeded)), IBV_WC_RETRY_EXC_ERR);
  EXPECT_EQ(ToWcStatus(Raw(CompletionStatus::kFlushed)), IBV_WC_WR_FLUSH_ERR);
  EXPECT_EQ(ToWcStatus(Raw(CompletionStatus::kResponseTimeout)), IBV_WC_RESP_TIMEOUT_ERR);
  EXPECT_EQ(ToWcStatus(200), IBV_WC_GENERAL_ERR);
}

TEST(StatusTest, GivenEachCommandStatusWhenMappedThenOnlyOkIsZero) {
  EXPECT_EQ(ToErrno(Raw(CommandStatus::kOk)), 0);
  EXPECT_EQ(ToErrno(Raw(CommandStatus::kBadCommand)), EINVAL);
  EXPECT_EQ(ToErrno(Raw(CommandStatus::kNoResource)), ENOMEM);
  EXPECT_EQ(ToErrno(Raw(CommandStatus::kBadHandle)), EINVAL);
  EXPECT_EQ(ToErrno(Raw(CommandStatus::kBadState)), EISCONN);
  EXPECT_EQ(ToErrno(Raw(CommandStatus::kAddressInUse)), EADDRINUSE);
  EXPECT_EQ(ToErrno(Raw(CommandStatus::kBusy)), EBUSY);
  EXPECT_EQ(ToErrno(200), EIO);
}

TEST(StatusTest, GivenEachReasonWhenMappedThenNameAndValueAreItsOwn) {
  std::set<std::string> names;
  for (uint8_t raw = 0; raw <= Raw(abi::DisconnectReason::kLocalError); ++raw) {
    names.insert(ToString(ToDisconnectReason(raw)));
  }
  EXPECT_EQ(names.size(), 8u);
  EXPECT_EQ(ToDisconnectReason(Raw(abi::DisconnectReason::kReset)), DisconnectReason::kReset);
  EXPECT_EQ(ToDisconnectReason(77), DisconnectReason::kLocalError);
}

TEST(StatusTest, GivenAddressWhenConvertedThereAndBackThenItIsTheSame) {
  const in6_addr address = ParseAddress("2001:db8::17");
  EXPECT_EQ(ToAbi(address).bytes[15], 0x17);
  EXPECT_EQ(AddressToString(ToIn6(ToAbi(address))), "2001:db8::17");
}

}  // namespace
}  // namespace qpip::internal
