#!/usr/bin/env python3
"""Finds the resets in a recording that end nothing: answers to a segment of a connection that is over.

Usage: tshark -r RECORDING -Y "tcp && !icmpv6" -T fields -e frame.number -e ipv6.src -e tcp.srcport -e ipv6.dst
       -e tcp.dstport -e tcp.flags -e tcp.seq_raw -e tcp.ack_raw -e tcp.len | late_resets.py

Prints their frame numbers. A FIN whose ACK is late is sent again and acknowledged twice; the second ACK
finds nothing (RFC 9293 3.10.7.1). Such a reset has the number that the ACK asked for and no ACK flag, and
before it both ends had sent FIN, and both FINs had been acknowledged.

Or the connection had come to its end before the recording began, which has no SYN of it: the peer repeats its
FIN to a process that has ended, and the one that has its address now knows nothing of it.
"""

import sys

FIN, SYN, RST, ACK = 1, 2, 4, 16


def late_resets(packets):
    """packets: (frame, from, to, flags, sequence, acknowledged, length), ends as (address, port)"""
    fin_end = {}  # (from, to): the number behind its FIN
    acknowledged = {}  # (from, to): the last acknowledgement
    begun = set()  # (from, to): a SYN was seen
    for frame, source, to, flags, sequence, ack, length in packets:
        there, back = (source, to), (to, source)
        if flags & SYN:
            fin_end.pop(there, None)
            acknowledged.pop(there, None)
            begun.add(there)
        elif flags & RST:
            over = (there in fin_end and back in fin_end and acknowledged.get(back) == fin_end[there]
                    and acknowledged.get(there) == fin_end[back])
            if flags & ACK:
                continue
            before = (there not in begun and back not in begun and back in fin_end
                      and sequence == acknowledged.get(back))
            if before or (over and sequence == fin_end[there]):
                yield frame
        else:
            if flags & FIN:
                fin_end[there] = (sequence + length + 1) % 2**32
            if flags & ACK:
                acknowledged[there] = ack


def read(lines):
    for line in lines:
        frame, source, source_port, to, to_port, flags, sequence, ack, length = line.rstrip("\n").split("\t")
        yield (int(frame), (source, source_port), (to, to_port), int(flags, 16), int(sequence),
               int(ack or 0), int(length))


if __name__ == "__main__":
    print(*late_resets(read(sys.stdin)), sep=",")
