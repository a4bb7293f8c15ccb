"""What a case is, and how all of them are run against a server."""

import random
import struct

import wire

MUST, SHOULD = "MUST", "SHOULD"
OURS = "ours"  # the document is silent, and this project asks it of its server
LEVELS = (MUST, SHOULD, OURS)
CASES = []


class Skip(Exception):
    """The server does not offer what the case is about, and need not."""


class Case:
    def __init__(self, function, place, level, text):
        self.name, self.function = function.__name__, function
        self.place, self.level, self.text = place, level, text


def case(place, level, text):
    """Registers a function of a Server as a case. `place`: the section of doc/proto.md, or the list entry, that the
    sentence stands in; `text`: its paraphrase."""

    def register(function):
        CASES.append(Case(function, place, level, text))
        return function

    return register


class Server:
    """What a case gets: connections to the server under test. Its export may be written, everywhere."""

    def __init__(self, uri, read_only_uri=None):
        self.uri, self.read_only_uri = uri, read_only_uri
        self.random = random.Random(1)
        self.opened = []

    def connect(self, uri=None, **how):
        connection = wire.Connection(uri or self.uri, **how)
        self.opened.append(connection)
        return connection

    def simple(self):
        """In transmission, with simple replies."""
        return self.connect().go()

    def structured(self, context=False):
        connection = self.connect()
        if not connection.ask_structured():
            raise Skip("no structured replies")
        if context and not connection.ask_context():
            raise Skip("no base:allocation")
        return connection.go()

    def extended(self, context=False):
        connection = self.connect()
        if not connection.ask_extended():
            raise Skip("no extended headers")
        if context and not connection.ask_context():
            raise Skip("no base:allocation")
        return connection.go()

    def read_only(self):
        if not self.read_only_uri:
            raise Skip("no read-only export given")
        connection = self.connect(self.read_only_uri)
        connection.ask_structured()
        return connection.go()

    def bytes(self, count):
        return self.random.randbytes(count)

    def close(self):
        for connection in self.opened:
            connection.close()
        self.opened.clear()


def need(connection, flag, what):
    if not connection.flags & flag:
        raise Skip(f"{what} is not announced")


def run(server, cases, revive=lambda hung_up: False):
    """{name: "met" | "fails: WHY" | "skipped: WHY"}. `revive`: starts a server that has ended again, and says whether
    it had."""
    results = {}
    for each in cases:
        try:
            each.function(server)
            results[each.name] = "met"
        except Skip as reason:
            results[each.name] = f"skipped: {reason}"
        except wire.Closed as reason:
            results[each.name] = f"fails: it hung up {reason}"
        except (AssertionError, OSError, UnicodeDecodeError, struct.error) as reason:
            results[each.name] = f"fails: {reason}" if str(reason) else "fails"
        finally:
            server.close()
        if revive(results[each.name].startswith("fails: it hung up")):
            results[each.name] = "fails: the server has ended, for all its clients"
    return results
