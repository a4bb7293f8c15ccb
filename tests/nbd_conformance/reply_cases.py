"""Replies in chunks: structured replies, block status, extended headers."""

import struct

from suite import MUST, OURS, SHOULD, Skip, case, need
from wire import *  # noqa: F403 (the protocol's names)

CHUNKS = "Structured reply chunk message"
STATUS_PLACE = "NBD_CMD_BLOCK_STATUS"
EXTENDED_PLACE = "Extended reply chunk message"


def content(reply):
    """(offset, length) of each chunk of content."""
    found = []
    for chunk in reply:
        if chunk.kind == OFFSET_DATA:
            assert len(chunk.payload) >= 9, "a chunk of data without data"
            found.append((struct.unpack(">Q", chunk.payload[:8])[0], len(chunk.payload) - 8))
        elif chunk.kind == OFFSET_HOLE:
            assert len(chunk.payload) == 12, "a chunk of a hole that is not of 12 bytes"
            found.append(struct.unpack(">QI", chunk.payload))
            assert found[-1][1] > 0
    return found


def check_cover(reply, offset, length):
    at = offset
    for start, size in sorted(content(reply)):
        assert start == at, f"chunks overlap or leave out bytes at {start}, {at}"
        at += size
    assert at == offset + length, f"the reply ends at {at}"


@case(CHUNKS, MUST, "once negotiated, reads are answered in chunks only, errors of bad flags too")
def reads_are_structured(server):
    connection = server.structured()
    assert all(c.magic == STRUCTURED for c in connection.chunks(READ, 0, 4096))
    for offset, flags in ((connection.size, 0), (0, 1 << 14)):
        reply = connection.chunks(READ, offset, 512, flags=flags)
        assert all(c.magic == STRUCTURED for c in reply) and any(c.error for c in reply)


@case(CHUNKS, MUST, "NBD_REPLY_FLAG_DONE is on the last chunk of a reply, and no chunk follows")
def done_is_last(server):
    connection = server.structured()
    cookies = [connection.post(READ, 65536 * n, 65536) for n in range(16)]
    open_replies = set(cookies)
    while open_replies:
        chunk = connection.chunk()
        assert chunk.cookie in open_replies, "a chunk behind the last, or of nobody"
        if chunk.flags & DONE:
            open_replies.remove(chunk.cookie)
    assert connection.works()


@case("NBD_CMD_READ", MUST, "the chunks of a read cover its range, lie in it and do not overlap")
def chunks_cover(server):
    connection = server.structured()
    connection.ask(ZEROES if connection.flags & SEND_WRITE_ZEROES else FLUSH, 65536, 1 << 20)
    step = connection.sizes[0] if connection.sizes else 1
    for offset, length in ((0, 512), (step, 4096 - step), (0, 3 << 20), (65536 - step, 2 << 20)):
        check_cover(connection.chunks(READ, offset, length), offset, length)


@case("NBD_CMD_READ", MUST, "what the chunks hold is what was written; zeroes where they say hole")
def chunks_hold(server):
    connection = server.structured()
    data = server.bytes(1 << 20)
    assert connection.ask(WRITE, 0, data=data) == 0
    if connection.flags & SEND_WRITE_ZEROES:
        assert connection.ask(ZEROES, 1 << 18, 1 << 18) == 0
        data = data[:1 << 18] + bytes(1 << 18) + data[1 << 19:]
    assert connection.read(0, 1 << 20) == data


@case("NBD_CMD_READ", SHOULD, "lengths and offsets of chunks are multiples of 512 where the request is")
def chunks_are_aligned(server):
    for start, size in content(server.structured().chunks(READ, 512, 1 << 20)):
        assert start % 512 == 0 and size % 512 == 0, (start, size)


@case("NBD_REPLY_TYPE_NONE", MUST, "it has no payload, and NBD_REPLY_FLAG_DONE")
def none_chunks(server):
    connection = server.structured()
    replies = [connection.chunks(READ, 0, 1 << 20), connection.chunks(FLUSH)]
    for chunk in sum(replies, []):
        if chunk.magic == STRUCTURED and chunk.kind == NONE:
            assert not chunk.payload and chunk.flags & DONE


@case("NBD_CMD_READ", MUST, "with NBD_CMD_FLAG_DF there is one chunk of content; 65,536 bytes are supported")
def unfragmented(server):
    connection = server.structured()
    need(connection, SEND_DF, "NBD_CMD_FLAG_DF")
    for offset, length in ((0, 65536), (512, 1024)):
        reply = connection.chunks(READ, offset, length, flags=DF)
        assert len(content(reply)) == 1
        check_cover(reply, offset, length)


@case("NBD_CMD_READ", MUST, "where NBD_CMD_FLAG_DF draws NBD_EOVERFLOW no content is sent; else it is one chunk")
def unfragmented_and_long(server):
    connection = server.structured()
    need(connection, SEND_DF, "NBD_CMD_FLAG_DF")
    reply = connection.chunks(READ, 0, min(connection.size, 8 << 20), flags=DF)
    errors = [chunk.error for chunk in reply if chunk.error]
    assert errors in ([], [EOVERFLOW]), errors
    assert len(content(reply)) == (0 if errors else 1)


@case(CHUNKS, SHOULD, "errors are sent as a chunk, which has room for a text")
def errors_are_structured(server):
    connection = server.structured()
    reply = connection.chunks(WRITE, connection.size, 512, bytes(512))
    assert reply[-1].magic == STRUCTURED and reply[-1].kind & 0x8000, "a simple reply"


def extents(connection, chunk):
    wide = chunk.kind == BLOCK_STATUS_EXT
    head, form = (8, ">QQ") if wide else (4, ">II")
    size = struct.calcsize(form)
    assert len(chunk.payload) > head and (len(chunk.payload) - head) % size == 0, "a status chunk of an odd length"
    assert struct.unpack(">I", chunk.payload[:4])[0] in connection.contexts, "a context that was not selected"
    if wide:
        count = struct.unpack(">I", chunk.payload[4:8])[0]
        assert count in (0, (len(chunk.payload) - head) // size), "another count of extents"
    return [struct.unpack_from(form, chunk.payload, at) for at in range(head, len(chunk.payload), size)]


def status(connection, offset, length, flags=0):
    reply = connection.chunks(STATUS, offset, length, flags=flags)
    assert not any(chunk.error for chunk in reply), f"error {reply[-1].error}"
    parts = [chunk for chunk in reply if chunk.kind in (BLOCK_STATUS, BLOCK_STATUS_EXT)]
    assert len(parts) == len(connection.contexts), f"{len(parts)} status chunks"
    return extents(connection, parts[0])


@case(STATUS_PLACE, MUST, "one chunk for each context, of extents that have a length")
def status_chunks(server):
    connection = server.structured(context=True)
    for length, _ in status(connection, 0, connection.size):
        assert length > 0


@case("NBD_REPLY_TYPE_BLOCK_STATUS", MUST, "all extents but the last end within the range that was asked for")
def status_within_the_range(server):
    connection = server.structured(context=True)
    connection.ask(ZEROES if connection.flags & SEND_WRITE_ZEROES else FLUSH, 0, 1 << 20)
    assert connection.ask(WRITE, 65536, data=server.bytes(65536)) == 0
    for asked in (65536, 100000, 131072, 1 << 20):
        found = status(connection, 0, asked)
        assert sum(length for length, _ in found[:-1]) < asked


@case("NBD_REPLY_TYPE_BLOCK_STATUS", MUST, "with NBD_CMD_FLAG_REQ_ONE one extent, not longer than asked for")
def status_of_one_extent(server):
    connection = server.structured(context=True)
    for offset, length in ((0, 4096), (4096, 512), (0, 1 << 20)):
        found = status(connection, offset, length, flags=REQ_ONE)
        assert len(found) == 1 and 0 < found[0][0] <= length, found


@case(STATUS_PLACE, MUST, "lengths are multiples of the advertised minimum block size")
def status_is_aligned(server):
    connection = server.structured(context=True)
    minimum = connection.sizes[0] if connection.sizes else 1
    for length, _ in status(connection, minimum, connection.size - minimum):
        assert length % minimum == 0


@case("base:allocation metadata context", MUST, "what has NBD_STATE_ZERO reads as zeroes")
def zero_means_zero(server):
    connection = server.structured(context=True)
    if connection.flags & SEND_WRITE_ZEROES:
        assert connection.ask(ZEROES, 0, 2 << 20) == 0
    assert connection.ask(WRITE, 1 << 20, data=b"\x55" * 65536) == 0
    at = 0
    while at < 2 << 20:
        for length, flags in status(connection, at, (2 << 20) - at):
            length = min(length, (2 << 20) - at)
            if flags & 2:
                assert connection.read(at, length) == bytes(length), f"at {at}"
            at += length


@case("base:allocation metadata context", SHOULD, "no other flags are set than the two that are defined")
def only_two_flags(server):
    for _, flags in status(server.structured(context=True), 0, 4 << 20):
        assert flags & ~3 == 0


@case("NBD_CMD_FLAG_NO_HOLE", SHOULD, "what was zeroed so is not told to be a hole")
def no_hole_is_no_hole(server):
    connection = server.structured(context=True)
    need(connection, SEND_WRITE_ZEROES, "NBD_CMD_WRITE_ZEROES")
    assert connection.ask(ZEROES, 0, 1 << 20, flags=NO_HOLE) == 0
    at = 0
    while at < 1 << 20:
        for length, flags in status(connection, at, (1 << 20) - at):
            assert not flags & 1, f"a hole at {at}"
            at += length


@case(STATUS_PLACE, SHOULD, "a status of no bytes does not disconnect")
def status_of_nothing(server):
    connection = server.structured(context=True)
    connection.chunks(STATUS, 0, 0)
    assert connection.works()


@case(STATUS_PLACE, SHOULD, "a range beyond the export's size is NBD_EINVAL")
def status_past_the_end(server):
    connection = server.structured(context=True)
    assert connection.ask(STATUS, connection.size - 512, 1024) == EINVAL
    assert connection.works()


@case("Metadata querying", SHOULD, "without a selected context NBD_CMD_BLOCK_STATUS is NBD_EINVAL")
def status_without_a_context(server):
    connection = server.structured()
    assert connection.ask(STATUS, 0, 4096) == EINVAL
    assert connection.works()


@case(EXTENDED_PLACE, MUST, "every reply has an extended header, with the offset of its request")
def extended_replies(server):
    connection = server.extended(context=True)
    asked = [(READ, 4096, 512, b""), (WRITE, 8192, 512, bytes(512)), (FLUSH, 0, 0, b""), (STATUS, 512, 4096, b""),
             (READ, connection.size, 512, b"")]
    for command, offset, length, data in asked:
        for chunk in connection.chunks(command, offset, length, data):
            assert chunk.magic == EXTENDED and chunk.offset == offset, (command, chunk.offset)


@case("NBD_CMD_FLAG_PAYLOAD_LEN", SHOULD, "on a command that takes no payload it is NBD_EINVAL, and the payload is skipped")
def payload_of_a_trim(server):
    connection = server.extended()
    assert connection.ask(TRIM, 0, 512, server.bytes(512), flags=PAYLOAD_LEN) == EINVAL
    assert connection.works()


@case("NBD_CMD_FLAG_PAYLOAD_LEN", OURS, "a write without the flag is taken with its payload, as QEMU's client sends it")
def write_without_the_flag(server):
    connection = server.extended()
    data = server.bytes(512)
    assert connection.ask(WRITE, 1024, 512, data, flagged=False) == 0
    assert connection.read(1024, 512) == data
    assert connection.works()


@case("NBD_REPLY_TYPE_BLOCK_STATUS_EXT", MUST, "block status is of one of the two kinds, its count that of its extents")
def extended_status(server):
    connection = server.extended(context=True)
    for length, _ in status(connection, 0, connection.size):
        assert length > 0
