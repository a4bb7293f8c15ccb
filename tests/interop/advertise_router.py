#!/usr/bin/env python3
"""Advertises this kernel as a router on an interface, ten times a second, until it is ended."""

import fcntl
import socket
import struct
import sys
import time

SIOCGIFHWADDR = 0x8927


def main():
    name = sys.argv[1]
    print("advertising", flush=True)
    while True:
        # The interface comes and goes with its NIC.
        try:
            index = socket.if_nametoindex(name)
            sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            request = struct.pack("256s", name.encode())
            link = fcntl.ioctl(sender.fileno(), SIOCGIFHWADDR, request)[18:24]
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            # RFC 4861 4.2: type, code, checksum (the kernel's), hop limit 64, lifetime 1800 s; then
            # the source link-layer address.
            message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
            message += struct.pack("!BB", 1, 1) + link
            sender.sendto(message, ("ff02::1", 0, 0, index))
            sender.close()
        except OSError:
            pass
        time.sleep(0.1)


if __name__ == "__main__":
    main()
