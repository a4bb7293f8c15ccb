#!/usr/bin/env python3
"""The kernel's end of close_orders.cc: accepts and opens connections and closes them in all orders.

Usage: close_orders.py CONTROL_SOCKET QPIP_ADDRESS COUNT
"""

import os
import socket
import struct
import sys
import threading
import time

PORT = 41000
FIRST_PORT = 42000
OPENING = 24
ORDERS = 10
(QPIP_FIRST, KERNEL_FIRST, SIMULTANEOUS, QPIP_HALF, KERNEL_HALF, QPIP_ABORTS, KERNEL_ABORTS,
 KERNEL_UNREAD, KERNEL_MIDWAY, KERNEL_DEAF) = range(ORDERS)
MAX_BYTES = 65536
PATIENCE = 60
IPV6_CHECKSUM = 7


def make_pattern(size):
    """The bytes that both ends know."""
    x = 1
    out = bytearray()
    for _ in range(size):
        x = (x * 1103515245 + 12345) & 0xFFFFFFFF
        out.append(x >> 16 & 255)
    return bytes(out)


PATTERN = make_pattern(MAX_BYTES + 4096)


class Connection:
    """One connection; its number says all, as in close_orders.cc."""

    def __init__(self, number, sock):
        self.number = number
        self.sock = sock
        self.order = number // 2 % ORDERS
        up = number * 40503 % (MAX_BYTES + 1)
        if self.order == KERNEL_UNREAD:
            up = 1 + up // 2
        self.up = PATTERN[number * 37 % 4096:][:up]
        self.down = PATTERN[number * 101 % 4096:][:number * 24001 % (MAX_BYTES + 1)]
        sock.settimeout(PATIENCE)

    def take(self):
        """All bytes from the other end."""
        got = bytearray()
        while len(got) < len(self.up):
            data = self.sock.recv(len(self.up) - len(got))
            assert data, f"the stream ends after {len(got)} of {len(self.up)} bytes"
            got += data
        assert got == self.up, "bytes differ"

    def take_end(self):
        rest = self.sock.recv(1)
        assert rest == b"", f"{rest} instead of the end of the stream"

    def run(self, told_to_close):
        sock, order = self.sock, self.order
        if order == QPIP_HALF:
            self.take()
            self.take_end()
            sock.sendall(self.down)
        elif order == KERNEL_HALF:
            sock.sendall(self.down)
            sock.shutdown(socket.SHUT_WR)
            self.take()
            self.take_end()
        else:
            sock.sendall(self.down)
            if order != KERNEL_UNREAD:
                self.take()
        if order == QPIP_FIRST:
            self.take_end()
        elif order == KERNEL_FIRST:
            sock.shutdown(socket.SHUT_WR)
            self.take_end()
        elif order == SIMULTANEOUS:
            assert told_to_close.wait(PATIENCE), "not told to close"
            sock.shutdown(socket.SHUT_WR)
            self.take_end()
        elif order == QPIP_ABORTS:
            try:
                rest = sock.recv(1)
                raise AssertionError(f"{rest} instead of a reset")
            except ConnectionResetError:
                pass
        elif order == KERNEL_ABORTS:
            assert told_to_close.wait(PATIENCE), "not told to close"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif order == KERNEL_UNREAD:
            assert told_to_close.wait(PATIENCE), "not told to close"
        sock.close()


class Peer:
    def __init__(self, address, count):
        self.address = address
        self.count = count
        self.told_to_close = [threading.Event() for _ in range(count)]
        self.next = 1
        self.lock = threading.Lock()
        self.failed = []
        self.ended = 0

    def guard(self, connection):
        try:
            connection.run(self.told_to_close[connection.number])
            with self.lock:
                self.ended += 1
        except Exception as error:  # pylint: disable=broad-except
            self.fail(connection.number, error)
            connection.sock.close()

    def fail(self, number, error):
        order = number // 2 % ORDERS
        with self.lock:
            self.failed.append(number)
            if len(self.failed) <= 10:
                print(f"connection {number}, order {order}: {error!r}", file=sys.stderr,
                      flush=True)

    def accept(self, listener):
        while True:
            sock, peer = listener.accept()
            connection = Connection(peer[1] - FIRST_PORT, sock)
            threading.Thread(target=self.guard, args=(connection,), daemon=True).start()

    def open(self):
        """Opens the odd ones, one after the other; many threads do this."""
        while True:
            with self.lock:
                number = self.next
                self.next += 2
            if number >= self.count:
                return
            sock = socket.socket(socket.AF_INET6)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("::", FIRST_PORT + number))
                sock.settimeout(PATIENCE)
                sock.connect((self.address, PORT))
            except OSError as error:
                self.fail(number, error)
                continue
            self.guard(Connection(number, sock))

    def probe(self, first, last):
        """A segment that belongs to nothing for the ports of each of these connections."""
        raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP)
        raw.setsockopt(socket.IPPROTO_IPV6, IPV6_CHECKSUM, 16)
        for number in range(first, last):
            ports = (PORT, FIRST_PORT + number)
            if number % 2:
                ports = (FIRST_PORT + number, PORT)
            # An ACK, header of 5 words; the kernel fills in the checksum.
            raw.sendto(struct.pack("!HHIIBBHHH", *ports, 1, 1, 5 << 4, 0x10, 1000, 0, 0),
                       (self.address, 0))


def main():
    path, address, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    peer = Peer(address, count)
    listener = socket.create_server(("::", PORT), family=socket.AF_INET6, backlog=128)
    threading.Thread(target=peer.accept, args=(listener,), daemon=True).start()
    control = socket.socket(socket.AF_UNIX)
    control.bind(path)
    control.listen()
    print("listening", flush=True)
    said, _ = control.accept()
    openers = [threading.Thread(target=peer.open, daemon=True) for _ in range(OPENING)]
    word = ""
    for line in said.makefile():
        word, *rest = line.split()
        if word == "go":
            for opener in openers:
                opener.start()
        elif word == "close":
            peer.told_to_close[int(rest[0])].set()
        elif word == "probe":
            peer.probe(int(rest[0]), int(rest[1]))
            said.send(b".")
        elif word == "end":
            break
    os.unlink(path)
    listener.close()
    deadline = time.monotonic() + PATIENCE
    while peer.ended + len(peer.failed) < count and word == "end" and time.monotonic() < deadline:
        time.sleep(0.01)
    print(f"{peer.ended} ended as they should, {len(peer.failed)} did not", flush=True)
    return peer.ended != count or bool(peer.failed)


if __name__ == "__main__":
    sys.exit(main())
