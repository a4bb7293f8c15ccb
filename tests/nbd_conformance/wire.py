"""NBD byte by byte: what no client library lets one send, and what none shows of what came back.

Names and numbers are those of doc/proto.md of the NBD project; extended headers are of its branch
extension-ext-header.
"""

import socket
import struct
import urllib.parse

PATIENCE_S = 20

FIXED_NEWSTYLE, NO_ZEROES = 1, 2
IHAVEOPT = 0x49484156454F5054
OPTION_REPLY = 0x3E889045565A9
OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_STARTTLS, OPT_INFO, OPT_GO = 1, 2, 3, 5, 6, 7
OPT_STRUCTURED_REPLY, OPT_LIST_META_CONTEXT, OPT_SET_META_CONTEXT, OPT_EXTENDED_HEADERS = 8, 9, 10, 11
REP_ACK, REP_SERVER, REP_INFO, REP_META_CONTEXT = 1, 2, 3, 4
REP_ERR_UNSUP, REP_ERR_POLICY, REP_ERR_INVALID, REP_ERR_PLATFORM, REP_ERR_TLS_REQD, REP_ERR_UNKNOWN = (
    0x80000000 + n for n in range(1, 7))
REP_ERR_BLOCK_SIZE_REQD, REP_ERR_TOO_BIG, REP_ERR_EXT_HEADER_REQD = (0x80000000 + n for n in (8, 9, 10))
INFO_EXPORT, INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE = range(4)

(HAS_FLAGS, READ_ONLY, SEND_FLUSH, SEND_FUA, ROTATIONAL, SEND_TRIM, SEND_WRITE_ZEROES, SEND_DF, CAN_MULTI_CONN,
 SEND_RESIZE, SEND_CACHE, SEND_FAST_ZERO) = (1 << n for n in range(12))
READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS = range(8)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO, PAYLOAD_LEN = (1 << n for n in range(6))
REQUEST, EXTENDED_REQUEST = 0x25609513, 0x21E41C71
SIMPLE, STRUCTURED, EXTENDED = 0x67446698, 0x668E33EF, 0x6E8A278C
DONE = 1
NONE, OFFSET_DATA, OFFSET_HOLE, BLOCK_STATUS, BLOCK_STATUS_EXT, ERROR, ERROR_OFFSET = (
    0, 1, 2, 5, 6, 0x8001, 0x8002)
EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP, ESHUTDOWN = 1, 5, 12, 22, 28, 75, 95, 108
ERRORS = {EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP, ESHUTDOWN}


class Closed(Exception):
    """The server has hung up."""


class Chunk:
    """One message of the server's in the transmission phase; a simple reply is a chunk too."""

    def __init__(self, magic, cookie, flags=DONE, kind=NONE, payload=b"", offset=None, error=0):
        self.magic, self.cookie, self.flags, self.kind = magic, cookie, flags, kind
        self.payload, self.offset, self.error = payload, offset, error
        if kind & 0x8000:
            assert len(payload) >= 6, f"an error chunk of {len(payload)} bytes"
            self.error, length = struct.unpack(">IH", payload[:6])
            assert length <= len(payload) - 6 - (8 if kind == ERROR_OFFSET else 0), "an error text beyond its chunk"
            assert length <= 4096, "an error text of more than 4096 bytes"
            assert self.error != 0, "an error chunk without an error"


class Connection:
    """A client without opinions."""

    def __init__(self, uri, flags=FIXED_NEWSTYLE | NO_ZEROES, greet=True):
        parts = urllib.parse.urlsplit(uri)
        if parts.scheme == "nbd+unix":
            self.socket = socket.socket(socket.AF_UNIX)
            address = urllib.parse.parse_qs(parts.query)["socket"][0]
        elif parts.scheme == "nbd":
            family = socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET
            self.socket = socket.socket(family)
            address = (parts.hostname, parts.port or 10809)
        else:
            raise SystemExit(f"not an NBD URI: {uri}")
        self.export = urllib.parse.unquote(parts.path[1:]).encode()
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(address)
        self.structured = self.extended = False
        self.contexts = {}
        self.next_cookie = 0x1122334455660000
        self.flags = None
        self.sizes = None
        if greet:
            self.greeting = self.take(18)
            self.handshake_flags = struct.unpack(">H", self.greeting[16:])[0]
            self.send(struct.pack(">I", flags & (self.handshake_flags | 0xFFFFFFFC)))

    def close(self):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed("while sending") from error

    def take(self, size):
        data = bytearray()
        while len(data) < size:
            try:
                piece = self.socket.recv(size - len(data))
            except ConnectionResetError as error:
                raise Closed("by a reset") from error
            if not piece:
                raise Closed(f"after {len(data)} of {size} bytes")
            data += piece
        return bytes(data)

    def is_closed(self):
        """Waits for the server to hang up; whatever it sends before is forgotten."""
        try:
            while self.take(1):
                pass
        except Closed:
            return True

    # --- Negotiation

    def option(self, option, data=b"", length=None):
        """Sends one. Returns its replies, (type, data) each, up to the final one."""
        self.send(struct.pack(">QII", IHAVEOPT, option, len(data) if length is None else length) + data)
        replies = []
        while True:
            magic, answered, kind, size = struct.unpack(">QIII", self.take(20))
            assert magic == OPTION_REPLY, f"an option reply with magic {magic:#x}"
            assert answered == option, f"option {option} was answered as {answered}"
            replies.append((kind, self.take(size)))
            if kind & 0x80000000:
                text = replies[-1][1]
                assert len(text) <= 4096 and b"\0" not in text, "an error text that is no string"
                text.decode()
            if kind & 0x80000000 or kind == REP_ACK:
                return replies

    def final(self, option, data=b""):
        return self.option(option, data)[-1][0]

    def name(self, export=None):
        export = self.export if export is None else export
        return struct.pack(">I", len(export)) + export

    def info(self, option=OPT_INFO, export=None, wishes=()):
        data = self.name(export) + struct.pack(">H", len(wishes))
        return self.option(option, data + b"".join(struct.pack(">H", wish) for wish in wishes))

    def contexts_by(self, option, queries, export=None):
        data = self.name(export) + struct.pack(">I", len(queries))
        return self.option(option, data + b"".join(self.name(query) for query in queries))

    def ask_structured(self):
        self.structured = self.final(OPT_STRUCTURED_REPLY) == REP_ACK
        return self.structured

    def ask_extended(self):
        self.extended = self.final(OPT_EXTENDED_HEADERS) == REP_ACK
        return self.extended

    def ask_context(self, name=b"base:allocation"):
        for kind, data in self.contexts_by(OPT_SET_META_CONTEXT, [name]):
            if kind == REP_META_CONTEXT:
                self.contexts[struct.unpack(">I", data[:4])[0]] = data[4:]
        return bool(self.contexts)

    def go(self):
        replies = self.info(OPT_GO, wishes=(INFO_BLOCK_SIZE,))
        assert replies[-1][0] == REP_ACK, f"GO was answered with {replies[-1][0]:#x}"
        self.read_infos(replies)
        return self

    def read_infos(self, replies):
        for kind, data in replies:
            if kind == REP_INFO and data[:2] == b"\0\0":
                self.size, self.flags = struct.unpack(">QH", data[2:])
            if kind == REP_INFO and data[:2] == b"\0\3":
                self.sizes = struct.unpack(">III", data[2:])

    # --- Transmission

    def post(self, command, offset=0, length=0, data=b"", flags=0, cookie=None, flagged=True):
        """Sends a request, a write with extended headers with its flag unless it is not to be. Returns its cookie."""
        if cookie is None:
            cookie = self.next_cookie
            self.next_cookie += 1
        if self.extended:
            if command == WRITE and flagged:
                flags |= PAYLOAD_LEN
            head = struct.pack(">IHHQQQ", EXTENDED_REQUEST, flags, command, cookie, offset, length)
        else:
            head = struct.pack(">IHHQQI", REQUEST, flags, command, cookie, offset, length)
        self.send(head + data)
        return cookie

    def chunk(self, read_length=0):
        """The next message. `read_length`: of a read that may be answered by a simple reply."""
        magic = struct.unpack(">I", self.take(4))[0]
        if magic == SIMPLE:
            error, cookie = struct.unpack(">IQ", self.take(12))
            data = self.take(read_length) if error == 0 else b""
            return Chunk(magic, cookie, error=error, payload=data)
        if magic == STRUCTURED:
            flags, kind, cookie, length = struct.unpack(">HHQI", self.take(16))
            return Chunk(magic, cookie, flags, kind, self.take(length))
        assert magic == EXTENDED, f"a reply with magic {magic:#x}"
        flags, kind, cookie, offset, length = struct.unpack(">HHQQQ", self.take(28))
        return Chunk(magic, cookie, flags, kind, self.take(length), offset)

    def chunks(self, command, offset=0, length=0, data=b"", flags=0, flagged=True):
        """Sends a request and takes the whole reply."""
        cookie = self.post(command, offset, length, data, flags, flagged=flagged)
        reply = []
        while not reply or not reply[-1].flags & DONE:
            reply.append(self.chunk(length if command == READ else 0))
            assert reply[-1].cookie == cookie, "a reply with another cookie"
        return reply

    def ask(self, command, offset=0, length=0, data=b"", flags=0, flagged=True):
        """The same; returns the first error, 0 when there is none."""
        if command == WRITE and not length:
            length = len(data)
        error = next((c.error for c in self.chunks(command, offset, length, data, flags, flagged) if c.error), 0)
        assert error == 0 or error in ERRORS, f"error {error}, which the protocol does not have"
        return error

    def read(self, offset, length, flags=0):
        """The bytes, put together."""
        data = bytearray(length)
        for part in self.chunks(READ, offset, length, flags=flags):
            assert not part.error, f"error {part.error} of a read"
            if part.magic == SIMPLE:
                return part.payload
            if part.kind == OFFSET_DATA:
                at = struct.unpack(">Q", part.payload[:8])[0] - offset
                data[at:at + len(part.payload) - 8] = part.payload[8:]
        return bytes(data)

    def works(self):
        return len(self.read(0, 512)) == 512
