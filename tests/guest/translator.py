#!/usr/bin/env python3
"""TCP over IPv4 to TCP over IPv6 and back, with IPv4-mapped addresses (RFC 7915, without ICMP and fragments).

Usage: translator.py INTERFACE PORT NIC_PORT: a TUN device for the kernel's IPv4, and the UDP sockets of a NIC's wire,
this end's and the NIC's, which carries its IPv6 packets as they are. Without an IPv6 header's prefix ::ffff:0:0 the sums of TCP are the same: in ones'
complement ffff is nothing.
"""
import fcntl
import os
import select
import socket
import struct
import sys

TUNSETIFF, IFF_TUN, IFF_NO_PI, TCP = 0x400454CA, 1, 0x1000, 6
MAPPED = bytes(10) + b"\xff\xff"


def to_six(packet):
    header = (packet[0] & 15) * 4
    if packet[0] >> 4 != 4 or packet[9] != TCP or packet[6] & 0x3F or packet[7]:
        return None
    text = packet[header : struct.unpack_from("!H", packet, 2)[0]]
    first = struct.pack("!IHBB", 6 << 28 | packet[1] << 20, len(text), TCP, packet[8])
    return first + MAPPED + packet[12:16] + MAPPED + packet[16:20] + text


def to_four(packet):
    if packet[0] >> 4 != 6 or packet[6] != TCP or packet[8:20] != MAPPED or packet[24:36] != MAPPED:
        return None
    traffic_class = struct.unpack_from("!I", packet)[0] >> 20 & 255
    length = 20 + struct.unpack_from("!H", packet, 4)[0]
    header = struct.pack("!BBHHHBBH", 0x45, traffic_class, length, 0, 0x4000, packet[7], TCP, 0)
    header += packet[20:24] + packet[36:40]
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return header[:10] + struct.pack("!H", ~total & 0xFFFF) + header[12:] + packet[40 : 20 + length]


def main():
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", sys.argv[1].encode(), IFF_TUN | IFF_NO_PI))
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.bind(("127.0.0.1", int(sys.argv[2])))
    nic = None
    while True:
        for ready in select.select([tun, wire], [], [])[0]:
            if ready == tun:
                packet = to_six(os.read(tun, 65536))
                if packet:
                    try:
                        wire.sendto(packet, ("127.0.0.1", int(sys.argv[3])))
                    except ConnectionRefusedError:
                        pass  # the NIC is not there yet
            else:
                packet = to_four(wire.recv(65536))
                if packet:
                    os.write(tun, packet)


main()
