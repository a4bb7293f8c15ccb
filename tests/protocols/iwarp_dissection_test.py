#!/usr/bin/env python3
"""Has tshark dissect what qpip_iwarp_recording writes: every FPDU of every connection, all CRCs good where there
are some, and nothing that it would call malformed or warn of.

Usage: iwarp_dissection_test.py PROGRAM. Exits with 77 where there is no tshark.
"""

import collections
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# What iwarp_recording.cc's Talk says, FPDU by FPDU: operation codes, and how many segments of each.
EXPECTED = collections.Counter({"write": 1 + 5, "send": 1 + 4, "send_invalidate": 1, "send_solicited": 1,
                                "send_solicited_invalidate": 1, "read_request": 1, "read_response": 3, "immediate": 1,
                                "immediate_solicited": 1, "atomic_request": 2, "atomic_response": 2, "terminate": 1})
NAMES = ["write", "read_request", "read_response", "send", "send_invalidate", "send_solicited",
         "send_solicited_invalidate", "terminate", "immediate", "immediate_solicited", "atomic_request",
         "atomic_response"]
CONNECTIONS = 6
WITH_CRC = {3, 4, 5}
WITH_MARKERS = {2, 5}


def tshark(recording, *arguments):
    # (The payload is no RPC, whatever it looks like.)
    command = ["tshark", "-r", str(recording), "--disable-protocol", "rpcordma", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def complaints(recording):
    found = []
    wrong = tshark(recording, "-Y", "_ws.malformed || _ws.expert.severity >= warning || tcp.checksum.status == 0",
                   "-o", "tcp.check_checksum:TRUE")
    if wrong:
        found.append("tshark complains:\n" + wrong)

    codes = collections.defaultdict(collections.Counter)
    markers = collections.Counter()
    for line in tshark(recording, "-T", "fields", "-e", "tcp.stream", "-e", "iwarp_rdma.opcode", "-e",
                       "iwarp_mpa.marker_fpduptr").splitlines():
        stream, opcodes, pointers = (line.split("\t") + ["", ""])[:3]
        for code in filter(None, opcodes.split(",")):
            codes[int(stream)][NAMES[int(code, 0)]] += 1
        markers[int(stream)] += len([pointer for pointer in pointers.split(",") if pointer])
    for stream in range(CONNECTIONS):
        if codes[stream] != EXPECTED:
            found.append(f"connection {stream}: {dict(codes[stream])}, expected {dict(EXPECTED)}")
        if (markers[stream] > 20) != (stream in WITH_MARKERS):
            found.append(f"connection {stream}: {markers[stream]} markers")

    checks = [line for line in tshark(recording, "-V").splitlines() if "CRC check" in line]
    good = len([line for line in checks if "Good CRC32" in line])
    wanted = len(WITH_CRC) * sum(EXPECTED.values())
    if good != wanted or len(checks) != wanted:
        found.append(f"{good} good CRCs of {len(checks)}, expected {wanted}")
    return found


def main():
    if not shutil.which("tshark"):
        print("there is no tshark")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "iwarp.pcap"
        subprocess.run([sys.argv[1], str(recording)], check=True)
        found = complaints(recording)
    print("\n".join(found) if found else "nothing to complain of")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
