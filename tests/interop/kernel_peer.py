#!/usr/bin/env python3
"""The kernel's sockets as a peer: sends or takes bytes over TCP, or echoes datagrams."""

import argparse
import errno
import hashlib
import os
import socket
import sys
import time


def take(port, path, seconds=0, total=0):
    """Accepts one connection, writes what arrives to a file, closes after the end of stream. `seconds`: takes
    `total` bytes evenly over so long."""
    listener = socket.create_server(("::", port), family=socket.AF_INET6)
    print("listening", flush=True)
    connection, _ = listener.accept()
    connection.settimeout(60)
    digest = hashlib.sha256()
    taken, begin = 0, time.monotonic()
    with open(path, "wb") as file:
        while data := connection.recv(1 << 20):
            digest.update(data)
            file.write(data)
            taken += len(data)
            if seconds:
                time.sleep(max(0, begin + seconds * taken / total - time.monotonic()))
    connection.close()
    print(digest.hexdigest(), flush=True)


def give(address, port, path):
    """Sends a file, half-closes, and waits for the peer's end of stream."""
    connection = socket.create_connection((address, port), timeout=60)
    with open(path, "rb") as file:
        connection.sendfile(file)
    connection.shutdown(socket.SHUT_WR)
    rest = connection.recv(1)
    assert rest == b"", rest


def ask(address, port, count, largest=1400):
    """Datagrams of many sizes to an echo server; each must come back as it was."""
    connection = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    connection.settimeout(10)
    connection.connect((address, port))
    for i in range(count):
        data = os.urandom(1 + i * (largest - 1) // (count - 1))
        connection.send(data)
        assert connection.recv(65536) == data, f"datagram of {len(data)} bytes"


def refused(address, port, size=1):
    """A datagram to a port that nobody has: its sender learns that from an ICMPv6 error."""
    connection = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    connection.settimeout(10)
    connection.connect((address, port))
    connection.send(bytes(size))
    try:
        connection.recv(1)
    except ConnectionRefusedError:
        return
    raise AssertionError("an answer from a closed port")


def echo(port):
    """Sends every datagram back, but those that the kernel has no room for: its table of neighbours is
    shared by all namespaces."""
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.bind(("::", port))
    print("ready", flush=True)
    while True:
        data, peer = server.recvfrom(65536)
        try:
            server.sendto(data, peer)
        except OSError as error:
            if error.errno not in (errno.ENOBUFS, errno.EHOSTUNREACH, errno.EAGAIN):
                raise


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("take", "give", "ask", "refused", "echo"))
    parser.add_argument("rest", nargs="+")
    arguments = parser.parse_args()
    rest = [int(word) if word.isdigit() else word for word in arguments.rest]
    {"take": take, "give": give, "ask": ask, "refused": refused, "echo": echo}[arguments.what](*rest)


if __name__ == "__main__":
    sys.exit(main())
