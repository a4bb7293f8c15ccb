"""Every command of NBD by libnbd, for nbdsh: h is connected, with base:allocation asked for, to an empty
disk of 96 MiB and 4097 bytes that is all hole."""

import errno
import random

SIZE = (96 << 20) + 4097
random.seed(1)


def error_of(call):
    try:
        call()
    except nbd.Error as error:
        return errno.errorcode[error.errnum]
    return None


def extents(offset, length, flags=0):
    found = []

    def keep(context, at, entries, _error):
        assert (context, at) == ("base:allocation", offset), (context, at)
        found.extend(zip(entries[::2], entries[1::2]))

    h.block_status(length, offset, keep, flags)
    return found


assert h.get_size() == SIZE
for can in ("flush", "fua", "trim", "zero", "fast_zero", "cache", "df", "multi_conn"):
    assert getattr(h, "can_" + can)(), can
assert not h.is_read_only()
assert h.get_structured_replies_negotiated()
assert [h.get_block_size(i) for i in range(3)] == [1, 4096, 64 << 20]
assert extents(0, SIZE) == [(SIZE, 3)]

# Writes and reads of odd sizes at odd places, against a model.
model = bytearray(SIZE)
for length in (1, 511, 4096, 4097, 65536, 262144, 262145, 1 << 20, 33 << 20):
    offset = random.randrange(SIZE - length)
    data = random.randbytes(length)
    h.pwrite(data, offset, nbd.CMD_FLAG_FUA if length < 5000 else 0)
    model[offset:offset + length] = data
for length in (1, 262144, 262145, 5 << 20, 64 << 20):
    offset = random.randrange(SIZE - length)
    assert h.pread(length, offset) == model[offset:offset + length], (length, offset)
assert h.pread(4097, SIZE - 4097) == model[SIZE - 4097:]

# The same of requests that are in flight all at once, on blocks that they do not share.
blocks = random.sample(range(SIZE // 8192), 256)
pending = []
for number, block in enumerate(blocks):
    data = random.randbytes(8192)
    model[block * 8192:(block + 1) * 8192] = data
    pending.append(h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)), block * 8192))
for cookie in pending:
    while not h.aio_command_completed(cookie):
        h.poll(-1)
reads = []
for block in blocks:
    buffer = nbd.Buffer(8192)
    reads.append((block, buffer, h.aio_pread(buffer, block * 8192)))
for block, buffer, cookie in reads:
    while not h.aio_command_completed(cookie):
        h.poll(-1)
    assert buffer.to_bytearray() == model[block * 8192:(block + 1) * 8192], block

# Zeroes, trims, caches, flushes.
h.zero(1 << 20, 12345)
model[12345:12345 + (1 << 20)] = bytes(1 << 20)
h.zero(100001, 7 << 20, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
model[7 << 20:(7 << 20) + 100001] = bytes(100001)
assert error_of(lambda: h.zero(1 << 20, 40 << 20, nbd.CMD_FLAG_FAST_ZERO)) in (None, "EOPNOTSUPP")
model[40 << 20:41 << 20] = h.pread(1 << 20, 40 << 20)
h.trim(1 << 20, 50 << 20)
h.trim(3, 77, nbd.CMD_FLAG_FUA)
model[50 << 20:51 << 20] = h.pread(1 << 20, 50 << 20)
model[77:80] = h.pread(3, 77)
h.cache(SIZE, 0)
h.flush()
assert h.pread(64 << 20, 0) == model[:64 << 20]
assert h.pread(SIZE - (64 << 20), 64 << 20) == model[64 << 20:]

# What is known of blocks: all of it is covered, once; one extent when one is asked for.
known = extents(0, SIZE)
assert sum(length for length, _ in known) == SIZE, known
assert len(extents(4096, SIZE - 4096, nbd.CMD_FLAG_REQ_ONE)) == 1

# The standard's errors, and the connection goes on behind each.
h.set_strict_mode(0)
assert error_of(lambda: h.pread(2, SIZE - 1)) == "EINVAL"
assert error_of(lambda: h.pwrite(b"ab", SIZE - 1)) == "ENOSPC"
assert error_of(lambda: h.zero(2, SIZE - 1)) == "ENOSPC"
assert error_of(lambda: h.trim(2, SIZE - 1)) == "EINVAL"
assert error_of(lambda: h.cache(2, SIZE - 1)) == "EINVAL"
assert error_of(lambda: h.pread(0, 0)) == "EINVAL"
assert error_of(lambda: h.pread(1 << 20, 0, nbd.CMD_FLAG_DF)) is None
assert error_of(lambda: h.pread((1 << 20) + 1, 0, nbd.CMD_FLAG_DF)) == "EOVERFLOW"
assert error_of(lambda: h.trim(512, 0, nbd.CMD_FLAG_DF)) == "EINVAL"
assert h.pread(512, 0) == model[:512]
print("every command")
