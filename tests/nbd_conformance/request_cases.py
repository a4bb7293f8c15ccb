"""The transmission phase: requests, and what they do."""

import struct

from suite import MUST, OURS, SHOULD, Skip, case, need
from wire import *  # noqa: F403 (the protocol's names)

ERROR_VALUES = "Error values"
FLAGS = "Command flags"


@case("Request message", MUST, "what was written is read, at odd offsets and lengths too")
def write_then_read(server):
    connection = server.simple()
    step = connection.sizes[0] if connection.sizes else 1
    for offset, length in ((0, 4096), (step, step), (3 * step, 511 * step), (65536 - step, 131072 + step)):
        data = server.bytes(length)
        assert connection.ask(WRITE, offset, data=data) == 0
        assert connection.read(offset, length) == data


@case("Transmission", MUST, "each of many requests in flight is answered once, with the cookie it came with")
def cookies(server):
    connection = server.simple()
    asked = {connection.post(READ, 512 * n, 512, cookie=(n * 0x9E3779B97F4A7C15) % (1 << 64)) for n in range(64)}
    answered = [connection.chunk(512).cookie for _ in range(64)]
    assert len(answered) == len(set(answered)) and set(answered) == asked
    assert connection.works()


@case("Ordering of messages and writes", MUST, "a write that was answered is seen by every read that follows")
def reads_see_writes(server):
    connection, other = server.simple(), server.simple()
    for n in range(32):
        data = server.bytes(4096)
        assert connection.ask(WRITE, 4096 * n, data=data) == 0
        reader = other if connection.flags & CAN_MULTI_CONN and n % 2 else connection
        assert reader.read(4096 * n, 4096) == data


@case("Transmission flags", MUST, "with NBD_FLAG_CAN_MULTI_CONN a flush of one connection covers the writes of another")
def flush_of_another_connection(server):
    connection, other = server.simple(), server.simple()
    need(connection, CAN_MULTI_CONN, "NBD_FLAG_CAN_MULTI_CONN")
    need(connection, SEND_FLUSH, "NBD_CMD_FLUSH")
    data = server.bytes(4096)
    assert connection.ask(WRITE, 8192, data=data) == 0
    assert other.ask(FLUSH) == 0
    assert server.simple().read(8192, 4096) == data


@case("NBD_CMD_DISC", MUST, "outstanding requests are handled, then the connection is closed, without a reply")
def disconnect(server):
    connection = server.simple()
    data = server.bytes(65536)
    cookie = connection.post(WRITE, 0, 65536, data)
    connection.post(DISC)
    reply = connection.chunk()
    assert (reply.cookie, reply.error) == (cookie, 0)
    try:
        connection.take(1)
        raise AssertionError("something follows")
    except Closed:
        pass
    assert server.simple().read(0, 65536) == data


def past_the_end(server, command, error, **how):
    connection = server.simple()
    for offset, length in ((connection.size - 512, 1024), (connection.size, 512), (1 << 62, 512)):
        got = connection.ask(command, offset, length, **how)
        assert got == error, f"{got} at {offset}+{length}"
    assert connection.works()


@case(ERROR_VALUES, SHOULD, "a read beyond the export's size is NBD_EINVAL")
def read_past_the_end(server):
    past_the_end(server, READ, EINVAL)


@case(ERROR_VALUES, SHOULD, "a write beyond the export's size is NBD_ENOSPC")
def write_past_the_end(server):
    connection = server.simple()
    before = connection.read(connection.size - 512, 512)
    for offset, length in ((connection.size - 512, 1024), (connection.size, 512), (1 << 62, 512)):
        got = connection.ask(WRITE, offset, data=server.bytes(length))
        assert got == ENOSPC, f"{got} at {offset}+{length}"
    assert connection.read(connection.size - 512, 512) == before


@case(ERROR_VALUES, SHOULD, "a trim beyond the export's size is NBD_EINVAL")
def trim_past_the_end(server):
    need(server.simple(), SEND_TRIM, "NBD_CMD_TRIM")
    past_the_end(server, TRIM, EINVAL)


@case("NBD_CMD_WRITE_ZEROES", SHOULD, "zeroes beyond the export's size are NBD_ENOSPC")
def zeroes_past_the_end(server):
    need(server.simple(), SEND_WRITE_ZEROES, "NBD_CMD_WRITE_ZEROES")
    past_the_end(server, ZEROES, ENOSPC)


@case(ERROR_VALUES, SHOULD, "an unknown command is NBD_EINVAL")
def unknown_command(server):
    connection = server.simple()
    for command in (9, 100, 0xFFFF):
        assert connection.ask(command, 0, 512) == EINVAL
    assert connection.works()


@case(ERROR_VALUES, SHOULD, "an unknown command flag is NBD_EINVAL")
def unknown_flag(server):
    connection = server.simple()
    for command in (READ, WRITE, FLUSH):
        data = bytes(512) if command == WRITE else b""
        length = 0 if command == FLUSH else 512
        got = connection.ask(command, 0, length, data, flags=1 << 14)
        assert got == EINVAL, f"{got} of command {command}"
    assert connection.works()


@case(ERROR_VALUES, SHOULD, "a flag that is not documented for the command is NBD_EINVAL")
def flag_of_another_command(server):
    connection = server.simple()
    assert connection.ask(READ, 0, 512, flags=NO_HOLE) == EINVAL
    assert connection.ask(WRITE, 0, data=bytes(512), flags=REQ_ONE) == EINVAL
    assert connection.works()


@case(FLAGS, MUST, "once announced, NBD_CMD_FLAG_FUA is accepted with all commands")
def fua_everywhere(server):
    connection = server.simple()
    need(connection, SEND_FUA, "NBD_CMD_FLAG_FUA")
    assert connection.ask(WRITE, 0, data=bytes(512), flags=FUA) == 0
    assert connection.ask(READ, 0, 512, flags=FUA) == 0
    for command, flag in ((FLUSH, SEND_FLUSH), (TRIM, SEND_TRIM), (ZEROES, SEND_WRITE_ZEROES)):
        if connection.flags & flag:
            assert connection.ask(command, 0, 0 if command == FLUSH else 512, flags=FUA) == 0, command


@case("NBD_CMD_FLUSH", MUST, "a flush that was announced is answered")
def flush(server):
    connection = server.simple()
    need(connection, SEND_FLUSH, "NBD_CMD_FLUSH")
    assert connection.ask(WRITE, 0, data=server.bytes(4096)) == 0
    assert connection.ask(FLUSH) == 0


def no_length(server, command, flag=0):
    connection = server.simple()
    need(connection, flag or HAS_FLAGS, "it")
    connection.ask(command, 0, 0)
    assert connection.works()


@case("NBD_CMD_READ", SHOULD, "a read of no bytes does not disconnect")
def read_nothing(server):
    no_length(server, READ)


@case("NBD_CMD_WRITE", SHOULD, "a write of no bytes does not disconnect")
def write_nothing(server):
    no_length(server, WRITE)


@case("NBD_CMD_TRIM", SHOULD, "a trim of no bytes does not disconnect")
def trim_nothing(server):
    no_length(server, TRIM, SEND_TRIM)


@case("NBD_CMD_WRITE_ZEROES", SHOULD, "zeroing no bytes does not disconnect")
def zero_nothing(server):
    no_length(server, ZEROES, SEND_WRITE_ZEROES)


@case("NBD_CMD_TRIM", MUST, "what is beside the range is left alone, at odd offsets and lengths too")
def trim(server):
    connection = server.simple()
    need(connection, SEND_TRIM, "NBD_CMD_TRIM")
    step = connection.sizes[0] if connection.sizes else 1
    data = server.bytes(1 << 20)
    assert connection.ask(WRITE, 0, data=data) == 0
    begin, length = 4096 * 3 + step, 1 << 19
    assert connection.ask(TRIM, begin, length) == 0
    assert connection.read(0, begin) == data[:begin]
    assert connection.read(begin + length, (1 << 20) - begin - length) == data[begin + length:]


def zero(server, flags):
    connection = server.simple()
    need(connection, SEND_WRITE_ZEROES, "NBD_CMD_WRITE_ZEROES")
    if flags & FAST_ZERO:
        need(connection, SEND_FAST_ZERO, "NBD_CMD_FLAG_FAST_ZERO")
    step = connection.sizes[0] if connection.sizes else 1
    data = server.bytes(1 << 20)
    assert connection.ask(WRITE, 0, data=data) == 0
    begin, length = 4096 * 3 + step, 1 << 19
    error = connection.ask(ZEROES, begin, length, flags=flags)
    if error == 0:
        data = data[:begin] + bytes(length) + data[begin + length:]
    assert connection.read(0, 1 << 20) == data, f"the content behind error {error}"
    return error


@case("NBD_CMD_WRITE_ZEROES", MUST, "the range reads as zeroes, and what is beside it is left alone")
def zeroes(server):
    assert zero(server, 0) == 0


@case("NBD_CMD_WRITE_ZEROES", MUST, "NBD_CMD_FLAG_NO_HOLE is supported")
def zeroes_without_a_hole(server):
    assert zero(server, NO_HOLE) == 0


@case("NBD_CMD_WRITE_ZEROES", MUST, "with NBD_CMD_FLAG_FAST_ZERO it is done, or NBD_ENOTSUP with the content as it was")
def fast_zeroes(server):
    for flags in (FAST_ZERO, FAST_ZERO | NO_HOLE):
        assert zero(server, flags) in (0, ENOTSUP)


@case("NBD_CMD_WRITE_ZEROES", SHOULD, "NBD_CMD_FLAG_FAST_ZERO that was not announced is NBD_EINVAL")
def fast_zeroes_that_were_not_announced(server):
    connection = server.simple()
    need(connection, SEND_WRITE_ZEROES, "NBD_CMD_WRITE_ZEROES")
    if connection.flags & SEND_FAST_ZERO:
        raise Skip("they are announced")
    assert connection.ask(ZEROES, 0, 512, flags=FAST_ZERO) == EINVAL


@case("NBD_CMD_CACHE", MUST, "there is no difference but in performance")
def cache(server):
    connection = server.simple()
    need(connection, SEND_CACHE, "NBD_CMD_CACHE")
    data = server.bytes(65536)
    assert connection.ask(WRITE, 0, data=data) == 0
    connection.ask(CACHE, 0, 65536)
    assert connection.read(0, 65536) == data


@case("NBD_CMD_CACHE", MUST, "command flags that are not recognised are rejected")
def cache_with_flags(server):
    connection = server.simple()
    need(connection, SEND_CACHE, "NBD_CMD_CACHE")
    assert connection.ask(CACHE, 0, 512, flags=1 << 13) == EINVAL


@case("Transmission flags", MUST, "writes to a read-only export are errors, and its content stays")
def read_only_is_kept(server):
    connection = server.read_only()
    assert connection.flags & READ_ONLY
    before = connection.read(0, 4096)
    assert connection.ask(WRITE, 0, data=server.bytes(4096)) != 0
    for command in (TRIM, ZEROES):
        assert connection.ask(command, 0, 4096) != 0
    assert connection.read(0, 4096) == before


@case(ERROR_VALUES, SHOULD, "a write or trim to a read-only export is NBD_EPERM")
def read_only_is_eperm(server):
    connection = server.read_only()
    got = connection.ask(WRITE, 0, data=bytes(512))
    assert got == EPERM, f"{got} of a write"
    if connection.flags & SEND_TRIM:
        got = connection.ask(TRIM, 0, 512)
        assert got == EPERM, f"{got} of a trim"


@case("NBD_CMD_WRITE_ZEROES", SHOULD, "zeroing a read-only export is NBD_EPERM")
def read_only_zeroes(server):
    connection = server.read_only()
    need(connection, SEND_WRITE_ZEROES, "NBD_CMD_WRITE_ZEROES")
    assert connection.ask(ZEROES, 0, 512) == EPERM


@case("Block size constraints", SHOULD, "a read longer than the advertised maximum is NBD_EINVAL")
def longer_than_the_maximum(server):
    connection = server.structured()
    maximum = connection.sizes[2] if connection.sizes else 0xFFFFFFFF
    if maximum >= connection.size or maximum == 0xFFFFFFFF:
        raise Skip("the export is not longer than the maximum")
    assert connection.ask(READ, 0, maximum + connection.sizes[0]) == EINVAL
    assert connection.works()


@case("Block size constraints", SHOULD, "a payload of up to 33,554,432 bytes is not taken for an attack")
def payload_of_32_mebibytes(server):
    connection = server.structured()
    length = min(1 << 25, connection.size)
    data = server.bytes(1 << 16) * (length >> 16)
    connection.ask(WRITE, 0, data=data)
    connection.ask(READ, 0, len(data))
    assert connection.works()


@case("Terminating the transmission phase", MUST, "a client that is cut off in a request harms no other")
def half_a_request(server):
    other = server.simple()
    before = other.read(0, 1 << 20)
    connection = server.simple()
    connection.post(WRITE, 0, 1 << 20, server.bytes(1 << 19))
    connection.close()
    assert other.works()
    after = server.simple().read(0, 1 << 20)
    assert after[1 << 19:] == before[1 << 19:]


@case("NBD_CMD_WRITE", OURS, "a write whose payload does not come in full is not applied in part")
def half_a_write(server):
    connection = server.simple()
    assert connection.ask(WRITE, 0, data=bytes(1 << 20)) == 0
    cut = server.simple()
    cut.post(WRITE, 0, 1 << 20, b"\xff" * (1 << 19))
    cut.close()
    for _ in range(3):
        assert connection.read(0, 1 << 20) == bytes(1 << 20)
