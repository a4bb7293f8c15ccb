"""The handshake: greeting, options, exports."""

import struct

from suite import MUST, SHOULD, Skip, case
from wire import *  # noqa: F403 (the protocol's names)

NEWSTYLE = "Newstyle negotiation"
FIXED = "Fixed newstyle negotiation"


@case(NEWSTYLE, MUST, "the server greets with NBDMAGIC and IHAVEOPT")
def greeting(server):
    assert server.connect().greeting[:16] == b"NBDMAGICIHAVEOPT"


@case("Handshake flags", MUST, "NBD_FLAG_FIXED_NEWSTYLE is set")
def fixed_newstyle_is_set(server):
    assert server.connect().handshake_flags & FIXED_NEWSTYLE


@case("Handshake flags", MUST, "no other flags are set than NBD_FLAG_FIXED_NEWSTYLE and NBD_FLAG_NO_ZEROES")
def no_other_handshake_flags(server):
    assert server.connect().handshake_flags & ~(FIXED_NEWSTYLE | NO_ZEROES) == 0


@case("Client flags", MUST, "the connection is dropped when the client sets an unknown flag")
def unknown_client_flags(server):
    connection = server.connect(greet=False)
    connection.take(18)
    connection.send(struct.pack(">I", FIXED_NEWSTYLE | 1 << 20))
    assert connection.is_closed()


@case("NBD_OPT_EXPORT_NAME", MUST, "size and flags follow, and with NBD_FLAG_C_NO_ZEROES nothing else")
def export_name_without_zeroes(server):
    connection = server.connect()
    if not connection.handshake_flags & NO_ZEROES:
        raise Skip("NBD_FLAG_NO_ZEROES is not set")
    connection.send(struct.pack(">QII", IHAVEOPT, OPT_EXPORT_NAME, len(connection.export)) + connection.export)
    size, flags = struct.unpack(">QH", connection.take(10))
    assert size > 0 and flags & HAS_FLAGS
    assert connection.works()


@case(NEWSTYLE, MUST, "124 zeroes follow unless the client has waived them")
def export_name_with_zeroes(server):
    connection = server.connect(flags=FIXED_NEWSTYLE)
    connection.send(struct.pack(">QII", IHAVEOPT, OPT_EXPORT_NAME, len(connection.export)) + connection.export)
    assert connection.take(134)[10:] == bytes(124)
    assert connection.works()


@case("NBD_OPT_EXPORT_NAME", MUST, "the session is terminated when there is no such export")
def export_name_of_nothing(server):
    connection = server.connect()
    connection.send(struct.pack(">QII", IHAVEOPT, OPT_EXPORT_NAME, 9) + b"no-such-x")
    assert connection.is_closed()


@case("NBD_OPT_GO", MUST, "no zeroes are sent behind the NBD_REP_ACK, whatever the client flags")
def go_without_zeroes(server):
    assert server.connect(flags=FIXED_NEWSTYLE).go().works()


@case("NBD_REP_ERR_UNSUP", SHOULD, "an option that the server does not know is answered so, its data skipped")
def unknown_option(server):
    connection = server.connect()
    assert connection.final(0x7FFF1234, b"some data") == REP_ERR_UNSUP
    assert connection.go().works()


@case("Termination of the session during option haggling", MUST, "an option that fails does not end the negotiation")
def failed_option_goes_on(server):
    connection = server.connect()
    for _ in range(3):
        assert connection.info(OPT_GO, b"no-such-export")[-1][0] & 0x80000000
    assert connection.go().works()


@case("NBD_OPT_ABORT", MUST, "it is answered with NBD_REP_ACK")
def abort(server):
    connection = server.connect()
    assert connection.final(OPT_ABORT) == REP_ACK
    assert connection.is_closed()


@case("NBD_OPT_ABORT", SHOULD, "data sent with it is ignored")
def abort_with_data(server):
    assert server.connect().final(OPT_ABORT, b"good bye") == REP_ACK


@case("NBD_OPT_ABORT", SHOULD, "a client that closes without waiting for the reply is dealt with")
def abort_and_close(server):
    connection = server.connect()
    connection.send(struct.pack(">QII", IHAVEOPT, OPT_ABORT, 0))
    connection.close()
    assert server.connect().go().works()


@case("NBD_OPT_LIST", MUST, "zero or more NBD_REP_SERVER, then NBD_REP_ACK; each name fits its reply and is known to NBD_OPT_INFO")
def list_exports(server):
    connection = server.connect()
    replies = connection.option(OPT_LIST)
    if replies[-1][0] in (REP_ERR_POLICY, REP_ERR_UNSUP):
        raise Skip("NBD_OPT_LIST is refused")
    assert replies[-1] == (REP_ACK, b"")
    for kind, data in replies[:-1]:
        assert kind == REP_SERVER
        length = struct.unpack(">I", data[:4])[0]
        assert length <= len(data) - 4
        data[4:].decode()
        assert connection.info(OPT_INFO, data[4:4 + length])[-1][0] == REP_ACK


@case("NBD_OPT_LIST", SHOULD, "a request with data is rejected with NBD_REP_ERR_INVALID")
def list_with_data(server):
    assert server.connect().final(OPT_LIST, b"x") == REP_ERR_INVALID


@case("NBD_OPT_INFO", MUST, "NBD_INFO_EXPORT, of 12 bytes, comes before the NBD_REP_ACK; haggling goes on")
def info_export(server):
    connection = server.connect()
    replies = connection.info()
    assert replies[-1][0] == REP_ACK
    exports = [data for kind, data in replies if kind == REP_INFO and data[:2] == b"\0\0"]
    assert len(exports) == 1 and len(exports[0]) == 12
    assert connection.go().works()


@case("NBD_OPT_INFO", MUST, "information requests that the server does not understand are ignored")
def unknown_info(server):
    replies = server.connect().info(wishes=(0x7777, INFO_NAME, 0xFFFF))
    assert replies[-1][0] == REP_ACK


@case("NBD_OPT_INFO", MUST, "a NBD_OPT_GO that follows with the same parameters gets the same information")
def info_then_go(server):
    connection = server.connect()
    wishes = (INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE)
    assert sorted(connection.info(OPT_INFO, wishes=wishes)) == sorted(connection.info(OPT_GO, wishes=wishes))
    assert connection.works()


@case("NBD_REP_ERR_UNKNOWN", MUST, "an export that does not exist is answered so")
def info_of_nothing(server):
    assert server.connect().info(OPT_INFO, b"no-such-export")[-1][0] == REP_ERR_UNKNOWN


@case("NBD_REP_ERR_UNKNOWN", SHOULD, "no NBD_REP_INFO is sent for an export that does not exist")
def no_info_of_nothing(server):
    assert len(server.connect().info(OPT_GO, b"no-such-export")) == 1


@case("NBD_OPT_INFO", SHOULD, "a name longer than the option's data is an error, and haggling goes on")
def info_whose_lengths_disagree(server):
    connection = server.connect()
    assert connection.final(OPT_INFO, struct.pack(">IH", 1000, 0)) == REP_ERR_INVALID
    assert connection.final(OPT_GO, b"\0\0") == REP_ERR_INVALID
    assert connection.go().works()


@case("NBD_INFO_NAME", MUST, "what is sent as the canonical name is a string that is an export's name")
def info_name(server):
    connection = server.connect()
    names = [data[2:] for kind, data in connection.info(wishes=(INFO_NAME,)) if kind == REP_INFO and data[:2] == b"\0\1"]
    if not names:
        raise Skip("NBD_INFO_NAME is not sent")
    assert connection.info(OPT_INFO, names[0])[-1][0] == REP_ACK


def block_sizes(server):
    connection = server.connect().go()
    if connection.sizes is None:
        raise Skip("no NBD_INFO_BLOCK_SIZE")
    return connection, *connection.sizes


def power_of_two(value):
    return value > 0 and value & (value - 1) == 0


@case("Block size constraints", MUST, "the minimum is a power of two of at most 65,536")
def minimum_block_size(server):
    _, minimum, _, _ = block_sizes(server)
    assert power_of_two(minimum) and minimum <= 65536


@case("Block size constraints", MUST, "the preferred size is a power of two, at least 512 and the minimum")
def preferred_block_size(server):
    _, minimum, preferred, _ = block_sizes(server)
    assert power_of_two(preferred) and preferred >= max(512, minimum)


@case("Block size constraints", MUST, "the maximum is a multiple of the minimum, or all ones, and not below the smaller of preferred size and export")
def maximum_block_size(server):
    connection, minimum, preferred, maximum = block_sizes(server)
    assert maximum == 0xFFFFFFFF or maximum % minimum == 0
    assert maximum >= min(preferred, connection.size)


@case("Block size constraints", SHOULD, "the maximum is at least 1,048,576 if the export is that large")
def maximum_is_a_mebibyte(server):
    connection, _, _, maximum = block_sizes(server)
    assert connection.size < 1 << 20 or maximum >= 1 << 20


@case("Block size constraints", SHOULD, "the export's size is a multiple of the minimum")
def size_is_a_multiple(server):
    connection, minimum, _, _ = block_sizes(server)
    assert connection.size % minimum == 0


@case("Transmission flags", MUST, "NBD_FLAG_HAS_FLAGS is always 1")
def has_flags(server):
    assert server.simple().flags & HAS_FLAGS


@case("Transmission flags", MUST, "NBD_FLAG_SEND_DF is clear where structured replies were not negotiated")
def no_df_without_structured_replies(server):
    assert not server.simple().flags & SEND_DF


@case("Transmission flags", MUST, "NBD_FLAG_SEND_FAST_ZERO is 0 if NBD_FLAG_SEND_WRITE_ZEROES is not set")
def no_fast_zero_without_zeroes(server):
    for connection in (server.simple(), server.read_only() if server.read_only_uri else server.simple()):
        assert connection.flags & SEND_WRITE_ZEROES or not connection.flags & SEND_FAST_ZERO


@case("NOTLS mode", MUST, "NBD_OPT_STARTTLS draws an error that the document permits, and no option NBD_REP_ERR_TLS_REQD")
def no_tls(server):
    connection = server.connect()
    kind = connection.final(OPT_STARTTLS)
    if kind == REP_ACK:
        raise Skip("it speaks TLS")
    assert kind in (REP_ERR_UNSUP, REP_ERR_POLICY, REP_ERR_PLATFORM), hex(kind)
    assert connection.go().works()


@case("NBD_OPT_STRUCTURED_REPLY", SHOULD, "a request with data is rejected with NBD_REP_ERR_INVALID")
def structured_reply_with_data(server):
    connection = server.connect()
    kind = connection.final(OPT_STRUCTURED_REPLY, b"x")
    if kind == REP_ERR_UNSUP:
        raise Skip("no structured replies")
    assert kind == REP_ERR_INVALID, hex(kind)


@case("NBD_OPT_SET_META_CONTEXT", SHOULD, "without structured replies it is rejected with NBD_REP_ERR_INVALID")
def set_context_without_structured_replies(server):
    connection = server.connect()
    kind = connection.contexts_by(OPT_SET_META_CONTEXT, [b"base:allocation"])[-1][0]
    if kind == REP_ERR_UNSUP:
        raise Skip("no metadata contexts")
    assert kind == REP_ERR_INVALID, hex(kind)


def with_contexts(server):
    connection = server.connect()
    if not connection.ask_structured():
        raise Skip("no structured replies")
    if connection.contexts_by(OPT_LIST_META_CONTEXT, [])[-1][0] == REP_ERR_UNSUP:
        raise Skip("no metadata contexts")
    return connection


def names(replies):
    return [data[4:] for kind, data in replies if kind == REP_META_CONTEXT]


@case("NBD_OPT_LIST_META_CONTEXT", MUST, "without queries all contexts are returned that can be selected")
def list_all_contexts(server):
    connection = with_contexts(server)
    replies = connection.contexts_by(OPT_LIST_META_CONTEXT, [])
    assert replies[-1][0] == REP_ACK
    for name in names(replies):
        assert b":" in name.decode().encode() and not name.startswith(b":")
    if connection.ask_context():
        assert b"base:allocation" in names(replies)


@case("The base: metadata namespace", MUST, "the query base: stands for all of it when listing")
def list_base(server):
    connection = with_contexts(server)
    if not connection.ask_context():
        raise Skip("no base:allocation")
    assert names(connection.contexts_by(OPT_LIST_META_CONTEXT, [b"base:"])) == [b"base:allocation"]


@case("The base: metadata namespace", MUST, "the query base: is ignored by NBD_OPT_SET_META_CONTEXT")
def set_base(server):
    replies = with_contexts(server).contexts_by(OPT_SET_META_CONTEXT, [b"base:"])
    assert replies == [(REP_ACK, b"")], replies


@case("The base: metadata namespace", MUST, "a leaf that is not recognised is ignored, not an error")
def unknown_leaf(server):
    connection = with_contexts(server)
    for option in (OPT_LIST_META_CONTEXT, OPT_SET_META_CONTEXT):
        assert connection.contexts_by(option, [b"base:no-such-leaf"]) == [(REP_ACK, b"")]


@case("NBD_OPT_LIST_META_CONTEXT", MUST, "queries of unknown namespaces are ignored; when nothing is found, one NBD_REP_ACK")
def unknown_namespace(server):
    connection = with_contexts(server)
    for option in (OPT_LIST_META_CONTEXT, OPT_SET_META_CONTEXT):
        assert connection.contexts_by(option, [b"x-qpip-test:leaf"]) == [(REP_ACK, b"")]


@case("NBD_OPT_LIST_META_CONTEXT", MUST, "a query that is longer than the option's data is NBD_REP_ERR_INVALID")
def query_beyond_the_data(server):
    connection = with_contexts(server)
    data = connection.name() + struct.pack(">II", 1, 1000) + b"base:"
    for option in (OPT_LIST_META_CONTEXT, OPT_SET_META_CONTEXT):
        assert connection.final(option, data) == REP_ERR_INVALID
    assert connection.go().works()


@case("NBD_OPT_SET_META_CONTEXT", MUST, "without queries no context is selected")
def set_nothing(server):
    connection = with_contexts(server)
    connection.ask_context()
    assert connection.contexts_by(OPT_SET_META_CONTEXT, []) == [(REP_ACK, b"")]
    connection.go()
    assert connection.ask(STATUS, 0, 4096) != 0


@case("NBD_OPT_SET_META_CONTEXT", MUST, "one reply for each context that is selected, each with an ID of its own, also when a query is repeated")
def context_ids(server):
    connection = with_contexts(server)
    replies = connection.contexts_by(OPT_SET_META_CONTEXT, [b"base:allocation", b"base:allocation"])
    assert replies[-1][0] == REP_ACK
    ids = [data[:4] for kind, data in replies if kind == REP_META_CONTEXT]
    if not ids:
        raise Skip("no base:allocation")
    assert len(ids) == len(set(ids)), f"{len(ids)} replies with {len(set(ids))} IDs"


@case("NBD_OPT_EXTENDED_HEADERS", SHOULD, "a request with data is rejected with NBD_REP_ERR_INVALID")
def extended_headers_with_data(server):
    kind = server.connect().final(OPT_EXTENDED_HEADERS, b"x")
    if kind == REP_ERR_UNSUP:
        raise Skip("no extended headers")
    assert kind == REP_ERR_INVALID, hex(kind)


@case("NBD_OPT_STRUCTURED_REPLY", MUST, "behind extended headers it is NBD_REP_ERR_EXT_HEADER_REQD")
def structured_replies_behind_extended_headers(server):
    connection = server.connect()
    if not connection.ask_extended():
        raise Skip("no extended headers")
    assert connection.final(OPT_STRUCTURED_REPLY) == REP_ERR_EXT_HEADER_REQD
