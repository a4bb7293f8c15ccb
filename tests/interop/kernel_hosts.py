#!/usr/bin/env python3
"""Many hosts of one kernel's: each of its addresses is a neighbour of its own to whom it talks to."""

import argparse
import errno
import json
import resource
import selectors
import socket
import subprocess
import sys
import time

IPV6_FREEBIND = 78  # linux/in6.h; the socket module has no name for it


def host(prefix, number):
    return f"{prefix}1:{number:x}"


def appear(prefix, count, device):
    """Gives the device `count` addresses."""
    lines = "".join(f"addr add {host(prefix, i)}/64 dev {device} nodad\n" for i in range(count))
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)


def talk(prefix, count, address, port, seconds):
    """Each of `count` hosts sends to an echo server, and sends again as soon as it has its answer,
    or has waited for long. It ends when the time is over and each has had an answer; at the latest
    after a minute. Prints the answers a second, and the fewest that a host has had."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    patience = 0.2
    selector = selectors.DefaultSelector()
    answers = [0] * count
    sent_at = [0.0] * count
    sockets = []
    for i in range(count):
        one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        one.bind((host(prefix, i), 0))
        one.connect((address, port))
        one.setblocking(False)
        selector.register(one, selectors.EVENT_READ, i)
        sockets.append(one)

    def ask(i):
        sent_at[i] = time.monotonic()
        sockets[i].send(i.to_bytes(4, "big"))

    begin = time.monotonic()
    for i in range(count):
        ask(i)
    look_again = begin + patience
    end = begin + seconds
    while (now := time.monotonic()) < end or (min(answers) == 0 and now < begin + 60):
        for key, _ in selector.select(0.1):
            i = key.data
            try:
                assert sockets[i].recv(100) == i.to_bytes(4, "big"), "somebody else's answer"
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
                continue
            answers[i] += 1
            ask(i)
        if now >= look_again:
            look_again = now + patience
            for i in range(count):
                if now - sent_at[i] >= patience:
                    ask(i)
    print(json.dumps({"hosts": count, "answers_per_second": sum(answers) / (now - begin),
                      "fewest": min(answers)}))


def vanish(prefix, count, address, port):
    """A datagram from each of `count` addresses that the kernel sends from, but answers no neighbour
    solicitation for: PREFIX:0/112 has to be a local route."""
    for i in range(1, count + 1):
        one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        one.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        one.bind((f"{prefix}{i:x}", 0))
        one.sendto(b"answer me", (address, port))
        one.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("appear", "talk", "vanish"))
    parser.add_argument("prefix")
    parser.add_argument("count", type=int)
    parser.add_argument("rest", nargs="+")
    arguments = parser.parse_args()
    rest = [int(word) if word.isdigit() else word for word in arguments.rest]
    {"appear": appear, "talk": talk, "vanish": vanish}[arguments.what](
        arguments.prefix, arguments.count, *rest)


if __name__ == "__main__":
    sys.exit(main())
