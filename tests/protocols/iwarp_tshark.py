#!/usr/bin/env python3
"""What tshark finds in recordings of iWARP; for the tests of the machines and of the firmware.

As a program: `iwarp_tshark.py RECORDING` fails when something is malformed or an error to tshark, or a CRC is not good,
or there is none.
"""

import collections
import subprocess
import sys

NAMES = ["write", "read_request", "read_response", "send", "send_invalidate", "send_solicited",
         "send_solicited_invalidate", "terminate", "immediate", "immediate_solicited", "atomic_request",
         "atomic_response"]


def tshark(recording, *arguments):
    # (The payload is no RPC, whatever it looks like.)
    command = ["tshark", "-r", str(recording), "--disable-protocol", "rpcordma", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def complaints(recording, among="frame"):
    """Packets that are malformed, have a wrong checksum, or that tshark warns of; among those of a filter."""
    wrong = "_ws.malformed || _ws.expert.severity >= warning || tcp.checksum.status == 0"
    return tshark(recording, "-Y", f"({wrong}) && ({among})", "-o", "tcp.check_checksum:TRUE")


def operations(recording):
    """For each TCP stream: how many FPDUs of each operation; and how many markers."""
    codes, markers = collections.defaultdict(collections.Counter), collections.Counter()
    for line in tshark(recording, "-T", "fields", "-e", "tcp.stream", "-e", "iwarp_rdma.opcode", "-e",
                       "iwarp_mpa.marker_fpduptr").splitlines():
        stream, opcodes, pointers = (line.split("\t") + ["", ""])[:3]
        for code in filter(None, opcodes.split(",")):
            codes[int(stream)][NAMES[int(code, 0)]] += 1
        if stream:
            markers[int(stream)] += len([pointer for pointer in pointers.split(",") if pointer])
    return codes, markers


def crcs(recording):
    """How many CRCs were looked at, and how many of them are good."""
    checks = [line for line in tshark(recording, "-V").splitlines() if "CRC check" in line]
    return len(checks), len([line for line in checks if "Good CRC32" in line])


def count(recording, display_filter):
    """Packets that the filter names."""
    return len(tshark(recording, "-Y", display_filter).splitlines())


def main():
    recording = sys.argv[1]
    wrong = tshark(recording, "-Y", "_ws.malformed || _ws.expert.severity == error")
    checks, good = crcs(recording)
    print(f"{wrong}{good} good CRCs of {checks}")
    return 0 if not wrong and checks == good > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
