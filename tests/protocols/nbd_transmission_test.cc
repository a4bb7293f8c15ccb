#include "protocols/nbd/transmission.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>

#include "protocols/common/byte_order.h"

namespace qpip::nbd {
namespace {

constexpr uint64_t kSize = 1 << 20;

ExportLimits Writable() {
  return {.size_bytes = kSize,
          .transmission_flags = kHasFlags | kSendFlush | kSendFua | kSendTrim | kSendWriteZeroes,
          .max_payload_bytes = 65536};
}

ExportLimits With(uint16_t transmission_flags) {
  ExportLimits limits = Writable();
  limits.transmission_flags = transmission_flags;
  return limits;
}

Request Make(uint16_t command, uint64_t offset, uint32_t length, uint16_t flags = 0) {
  return {.flags = flags, .command = command, .cookie = 1, .offset = offset, .length = length};
}

TEST(NbdRequestTest, GivenFieldsWhenEmittedAndParsedThenTheyAreTheSame) {
  std::array<uint8_t, kRequestBytes> bytes;
  EmitRequest({.flags = 0x0102,
               .command = kCommandWriteZeroes,
               .cookie = 0x1112131415161718,
               .offset = 0x2122232425262728,
               .length = 0x31323334},
              bytes);
  const std::array<uint8_t, kRequestBytes> expected = {
      0x25, 0x60, 0x95, 0x13, 0x01, 0x02, 0x00, 0x06, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
      0x17, 0x18, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x31, 0x32, 0x33, 0x34};
  EXPECT_EQ(bytes, expected);
  Request request;
  ASSERT_EQ(ParseRequest(bytes, &request), TransmissionError::kNone);
  EXPECT_EQ(request.flags, 0x0102);
  EXPECT_EQ(request.command, kCommandWriteZeroes);
  EXPECT_EQ(request.cookie, 0x1112131415161718u);
  EXPECT_EQ(request.offset, 0x2122232425262728u);
  EXPECT_EQ(request.length, 0x31323334u);
}

TEST(NbdRequestTest, GivenAnythingElseWhenParsedThenTheReasonIsNamed) {
  std::array<uint8_t, kRequestBytes> bytes;
  EmitRequest(Request{}, bytes);
  Request request;
  for (size_t size = 0; size < kRequestBytes; ++size) {
    EXPECT_EQ(ParseRequest(std::span(bytes).first(size), &request), TransmissionError::kTooShort);
  }
  StoreBe32(bytes.data(), kSimpleReplyMagic);
  EXPECT_EQ(ParseRequest(bytes, &request), TransmissionError::kBadMagic);
  EXPECT_STREQ(TransmissionErrorName(TransmissionError::kBadMagic), "bad_magic");
  EXPECT_STREQ(TransmissionErrorName(TransmissionError::kTooShort), "too_short");
}

TEST(NbdRequestTest, GivenCommandsWhenAskedForTheirPayloadThenOnlyWriteHasAny) {
  EXPECT_EQ(RequestPayloadBytes(Make(kCommandWrite, 0, 4096)), 4096u);
  for (const Command command : {kCommandRead, kCommandTrim, kCommandWriteZeroes, kCommandFlush}) {
    EXPECT_EQ(RequestPayloadBytes(Make(command, 0, 4096)), 0u);
  }
}

TEST(NbdSimpleReplyTest, GivenFieldsWhenEmittedAndParsedThenTheyAreTheSame) {
  std::array<uint8_t, kSimpleReplyBytes> bytes;
  EmitSimpleReply({.error = kErrorNoSpc, .cookie = 0x1112131415161718}, bytes);
  const std::array<uint8_t, kSimpleReplyBytes> expected = {
      0x67, 0x44, 0x66, 0x98, 0, 0, 0, 28, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18};
  EXPECT_EQ(bytes, expected);
  SimpleReply reply;
  ASSERT_EQ(ParseSimpleReply(bytes, &reply), TransmissionError::kNone);
  EXPECT_EQ(reply.error, kErrorNoSpc);
  EXPECT_EQ(reply.cookie, 0x1112131415161718u);

  EXPECT_EQ(ParseSimpleReply(std::span(bytes).first(15), &reply), TransmissionError::kTooShort);
  bytes[3] ^= 1;
  EXPECT_EQ(ParseSimpleReply(bytes, &reply), TransmissionError::kBadMagic);
}

// --- The server's check

TEST(NbdCheckTest, GivenRequestsAtTheEndWhenCheckedThenOnlyThoseWithinTheExportPass) {
  struct Case {
    uint64_t offset;
    uint32_t length;
    bool inside;
  };
  const Case cases[] = {{0, 1, true},
                        {0, 65536, true},
                        {kSize - 512, 512, true},
                        {kSize - 512, 513, false},
                        {kSize, 1, false},
                        {kSize + 1, 1, false},
                        {~uint64_t{0}, 1, false},
                        {~uint64_t{0}, 2, false},
                        {1ull << 63, 512, false}};
  for (const Case& c : cases) {
    const WireError read = CheckRequest(Make(kCommandRead, c.offset, c.length), Writable());
    const WireError write = CheckRequest(Make(kCommandWrite, c.offset, c.length), Writable());
    const WireError trim = CheckRequest(Make(kCommandTrim, c.offset, c.length), Writable());
    EXPECT_EQ(read, c.inside ? kErrorNone : kErrorInval) << c.offset << " " << c.length;
    EXPECT_EQ(write, c.inside ? kErrorNone : kErrorNoSpc) << c.offset << " " << c.length;
    EXPECT_EQ(trim, c.inside ? kErrorNone : kErrorInval) << c.offset << " " << c.length;
  }
}

TEST(NbdCheckTest, GivenMorePayloadThanAllowedWhenCheckedThenOnlyPayloadIsLimited) {
  EXPECT_EQ(CheckRequest(Make(kCommandRead, 0, 65537), Writable()), kErrorInval);
  EXPECT_EQ(CheckRequest(Make(kCommandWrite, 0, 65537), Writable()), kErrorInval);
  EXPECT_EQ(CheckRequest(Make(kCommandTrim, 0, 65537), Writable()), kErrorNone);
  EXPECT_EQ(CheckRequest(Make(kCommandWriteZeroes, 0, kSize), Writable()), kErrorNone);
}

TEST(NbdCheckTest, GivenNoLengthWhenCheckedThenItIsInvalid) {
  for (const Command command : {kCommandRead, kCommandWrite, kCommandTrim, kCommandWriteZeroes}) {
    EXPECT_EQ(CheckRequest(Make(command, 0, 0), Writable()), kErrorInval) << command;
  }
}

TEST(NbdCheckTest, GivenAReadOnlyExportWhenCheckedThenChangesAreNotPermitted) {
  const ExportLimits limits = With(Writable().transmission_flags | kReadOnly);
  EXPECT_EQ(CheckRequest(Make(kCommandRead, 0, 512), limits), kErrorNone);
  EXPECT_EQ(CheckRequest(Make(kCommandFlush, 0, 0), limits), kErrorNone);
  for (const Command command : {kCommandWrite, kCommandTrim, kCommandWriteZeroes}) {
    EXPECT_EQ(CheckRequest(Make(command, 0, 512), limits), kErrorPerm) << command;
  }
}

TEST(NbdCheckTest, GivenACommandThatWasNotAnnouncedWhenCheckedThenItIsInvalid) {
  const ExportLimits limits = With(kHasFlags);
  EXPECT_EQ(CheckRequest(Make(kCommandRead, 0, 512), limits), kErrorNone);
  EXPECT_EQ(CheckRequest(Make(kCommandWrite, 0, 512), limits), kErrorNone);
  EXPECT_EQ(CheckRequest(Make(kCommandFlush, 0, 0), limits), kErrorInval);
  for (const Command command :
       {kCommandTrim, kCommandCache, kCommandWriteZeroes, kCommandBlockStatus, kCommandResize}) {
    EXPECT_EQ(CheckRequest(Make(command, 0, 512), limits), kErrorInval) << command;
  }
  EXPECT_EQ(CheckRequest(Make(kCommandCache, 0, 512), With(kHasFlags | kSendCache)), kErrorNone);
  EXPECT_EQ(CheckRequest(Make(999, 0, 512), With(0xffff & ~kReadOnly)), kErrorInval);
}

TEST(NbdCheckTest, GivenFlagsWhenCheckedThenOnlyAnnouncedAndFittingOnesPass) {
  const auto check = [](uint16_t command, uint16_t flags, uint16_t transmission_flags) {
    return CheckRequest(Make(command, 0, 512, flags), With(transmission_flags));
  };
  EXPECT_EQ(check(kCommandWrite, kCommandFua, kHasFlags | kSendFua), kErrorNone);
  EXPECT_EQ(check(kCommandRead, kCommandFua, kHasFlags | kSendFua), kErrorNone);
  EXPECT_EQ(check(kCommandWrite, kCommandFua, kHasFlags), kErrorInval);
  EXPECT_EQ(check(kCommandWrite, kCommandNoHole, kHasFlags | kSendFua), kErrorInval);
  EXPECT_EQ(check(kCommandWriteZeroes, kCommandNoHole, kHasFlags | kSendWriteZeroes), kErrorNone);
  EXPECT_EQ(check(kCommandWriteZeroes, kCommandFastZero, kHasFlags | kSendWriteZeroes),
            kErrorInval);
  EXPECT_EQ(
      check(kCommandWriteZeroes, kCommandFastZero, kHasFlags | kSendWriteZeroes | kSendFastZero),
      kErrorNone);
  EXPECT_EQ(check(kCommandRead, 0x8000, 0xffff), kErrorInval);
}

TEST(NbdCheckTest, GivenFlushAndDisconnectWhenCheckedThenFlushHasNoRangeAndDisconnectPasses) {
  EXPECT_EQ(CheckRequest(Make(kCommandFlush, 0, 0), Writable()), kErrorNone);
  EXPECT_EQ(CheckRequest(Make(kCommandFlush, 1, 0), Writable()), kErrorInval);
  EXPECT_EQ(CheckRequest(Make(kCommandFlush, 0, 1), Writable()), kErrorInval);
  EXPECT_EQ(CheckRequest(Make(kCommandDisconnect, 5, 5, 0xffff), Writable()), kErrorNone);
}

TEST(NbdCheckTest, GivenReadsWhenDfIsAnnouncedThenTheyMayAskForOneChunk) {
  const uint16_t df = kCommandDf;
  EXPECT_EQ(CheckRequest(Make(kCommandRead, 0, 512, df), With(kHasFlags | kSendDf)), kErrorNone);
  EXPECT_EQ(CheckRequest(Make(kCommandRead, 0, 512, df), With(kHasFlags)), kErrorInval);
  EXPECT_EQ(CheckRequest(Make(kCommandWrite, 0, 512, df), With(kHasFlags | kSendDf)), kErrorInval);
}

TEST(NbdCheckTest, GivenBlockStatusWhenAContextWasSelectedThenOnlyItsFlagsAndRangePass) {
  ExportLimits limits = Writable();
  EXPECT_EQ(CheckRequest(Make(kCommandBlockStatus, 0, 512), limits), kErrorInval);
  limits.block_status = true;
  EXPECT_EQ(CheckRequest(Make(kCommandBlockStatus, 0, kSize), limits), kErrorNone);
  EXPECT_EQ(CheckRequest(Make(kCommandBlockStatus, 0, 512, kCommandReqOne), limits), kErrorNone);
  EXPECT_EQ(CheckRequest(Make(kCommandBlockStatus, 0, kSize + 1), limits), kErrorInval);
  EXPECT_EQ(CheckRequest(Make(kCommandBlockStatus, 0, 512, kCommandNoHole), limits), kErrorInval);
  EXPECT_EQ(CheckRequest(Make(kCommandRead, 0, 512, kCommandReqOne), limits), kErrorInval);
}

TEST(NbdCheckTest, GivenExtendedHeadersThenWritesMayAndOthersMayNotSayThatPayloadFollows) {
  ExportLimits limits = Writable();
  const uint16_t payload = kCommandPayloadLen;
  EXPECT_EQ(CheckRequest(Make(kCommandWrite, 0, 512, payload), limits), kErrorInval);
  limits.headers = Headers::kExtended;
  EXPECT_EQ(CheckRequest(Make(kCommandWrite, 0, 512, payload), limits), kErrorNone);
  EXPECT_EQ(CheckRequest(Make(kCommandWrite, 0, 512), limits),
            kErrorNone);  // as QEMU's client has it
  EXPECT_EQ(CheckRequest(Make(kCommandRead, 0, 512, payload), limits), kErrorInval);
  Request huge = Make(kCommandTrim, 0, 0);
  huge.length = uint64_t{1} << 40;
  limits.size_bytes = uint64_t{1} << 41;
  EXPECT_EQ(CheckRequest(huge, limits), kErrorNone);
}

TEST(NbdRequestTest, GivenExtendedHeadersWhenEmittedAndParsedThenTheyAreTheSame) {
  const Request request = {.flags = kCommandPayloadLen | kCommandFua,
                           .command = kCommandWrite,
                           .cookie = 0x1122334455667788,
                           .offset = 0x99aabbccddeeff00,
                           .length = 0x0123456789abcdef};
  std::array<uint8_t, kExtendedRequestBytes> bytes;
  EmitExtendedRequest(request, bytes);
  EXPECT_EQ(LoadBe32(&bytes[0]), kExtendedRequestMagic);
  Request parsed;
  ASSERT_EQ(ParseRequest(bytes, &parsed, Headers::kExtended), TransmissionError::kNone);
  EXPECT_EQ(parsed.flags, request.flags);
  EXPECT_EQ(parsed.command, request.command);
  EXPECT_EQ(parsed.cookie, request.cookie);
  EXPECT_EQ(parsed.offset, request.offset);
  EXPECT_EQ(parsed.length, request.length);
  EXPECT_EQ(RequestPayloadBytes(parsed, Headers::kExtended), request.length);
  EXPECT_EQ(ParseRequest(bytes, &parsed), TransmissionError::kBadMagic);
  EXPECT_EQ(ParseRequest(std::span(bytes).first(31), &parsed, Headers::kExtended),
            TransmissionError::kTooShort);
  parsed.flags = 0;
  EXPECT_EQ(RequestPayloadBytes(parsed, Headers::kExtended),
            request.length);  // a write always has it
  parsed.command = kCommandTrim;
  EXPECT_EQ(RequestPayloadBytes(parsed, Headers::kExtended), 0u);
  parsed.flags = kCommandPayloadLen;
  EXPECT_EQ(RequestPayloadBytes(parsed, Headers::kExtended), request.length);
}

// --- Errors

TEST(NbdErrnoTest, GivenTheSystemsErrnoWhenMappedThenTheWiresErrorResults) {
  EXPECT_EQ(WireErrorFromErrno(0), kErrorNone);
  EXPECT_EQ(WireErrorFromErrno(EPERM), kErrorPerm);
  EXPECT_EQ(WireErrorFromErrno(EACCES), kErrorPerm);
  EXPECT_EQ(WireErrorFromErrno(EROFS), kErrorPerm);
  EXPECT_EQ(WireErrorFromErrno(EIO), kErrorIo);
  EXPECT_EQ(WireErrorFromErrno(ENOMEM), kErrorNoMem);
  EXPECT_EQ(WireErrorFromErrno(EINVAL), kErrorInval);
  EXPECT_EQ(WireErrorFromErrno(ENOSPC), kErrorNoSpc);
  EXPECT_EQ(WireErrorFromErrno(EFBIG), kErrorNoSpc);
  EXPECT_EQ(WireErrorFromErrno(EDQUOT), kErrorNoSpc);
  EXPECT_EQ(WireErrorFromErrno(ESHUTDOWN), kErrorShutdown);
  EXPECT_EQ(WireErrorFromErrno(EBADF), kErrorIo);
  EXPECT_EQ(WireErrorFromErrno(-1), kErrorIo);
}

TEST(NbdErrnoTest, GivenReservedErrorsWhenMappedThenOnlyTheirRequestsGetThem) {
  EXPECT_EQ(WireErrorFromErrno(EOVERFLOW), kErrorInval);
  EXPECT_EQ(WireErrorFromErrno(EOVERFLOW, kCommandDf), kErrorOverflow);
  EXPECT_EQ(WireErrorFromErrno(EOPNOTSUPP), kErrorInval);
  EXPECT_EQ(WireErrorFromErrno(ENOTSUP, kCommandFastZero | kCommandFua), kErrorNotSup);
}

TEST(NbdErrnoTest, GivenTheWiresErrorsWhenMappedThenTheSystemsErrnoResults) {
  EXPECT_EQ(ErrnoFromWireError(kErrorNone), 0);
  EXPECT_EQ(ErrnoFromWireError(kErrorPerm), EPERM);
  EXPECT_EQ(ErrnoFromWireError(kErrorIo), EIO);
  EXPECT_EQ(ErrnoFromWireError(kErrorNoMem), ENOMEM);
  EXPECT_EQ(ErrnoFromWireError(kErrorInval), EINVAL);
  EXPECT_EQ(ErrnoFromWireError(kErrorNoSpc), ENOSPC);
  EXPECT_EQ(ErrnoFromWireError(kErrorOverflow), EOVERFLOW);
  EXPECT_EQ(ErrnoFromWireError(kErrorNotSup), ENOTSUP);
  EXPECT_EQ(ErrnoFromWireError(kErrorShutdown), ESHUTDOWN);
  EXPECT_EQ(ErrnoFromWireError(2), EINVAL);
  EXPECT_EQ(ErrnoFromWireError(0xffffffff), EINVAL);
}

TEST(NbdNamesTest, GivenCommandsAndErrorsWhenNamedThenNamesAreRight) {
  EXPECT_STREQ(CommandName(kCommandWriteZeroes), "write_zeroes");
  EXPECT_STREQ(CommandName(1000), "unknown");
  EXPECT_STREQ(WireErrorName(kErrorNone), "ok");
  EXPECT_STREQ(WireErrorName(kErrorShutdown), "ESHUTDOWN");
  EXPECT_STREQ(WireErrorName(2), "unknown");
}

}  // namespace
}  // namespace qpip::nbd
