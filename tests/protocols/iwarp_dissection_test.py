#!/usr/bin/env python3
"""Has tshark dissect what qpip_iwarp_recording writes: every FPDU of every connection, all CRCs good where there
are some, and nothing that it would call malformed or warn of.

Usage: iwarp_dissection_test.py [EMULATOR] PROGRAM. Exits with 77 where there is no tshark.
"""

import collections
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import iwarp_tshark

# What iwarp_recording.cc's Talk says, FPDU by FPDU: operation codes, and how many segments of each.
EXPECTED = collections.Counter({"write": 1 + 5, "send": 1 + 4, "send_invalidate": 1, "send_solicited": 1,
                                "send_solicited_invalidate": 1, "read_request": 1, "read_response": 3, "immediate": 1,
                                "immediate_solicited": 1, "atomic_request": 2, "atomic_response": 2, "terminate": 1})
CONNECTIONS = 6
WITH_CRC = {3, 4, 5}
WITH_MARKERS = {2, 5}


def complaints(recording):
    found = []
    wrong = iwarp_tshark.complaints(recording)
    if wrong:
        found.append("tshark complains:\n" + wrong)
    codes, markers = iwarp_tshark.operations(recording)
    for stream in range(CONNECTIONS):
        if codes[stream] != EXPECTED:
            found.append(f"connection {stream}: {dict(codes[stream])}, expected {dict(EXPECTED)}")
        if (markers[stream] > 20) != (stream in WITH_MARKERS):
            found.append(f"connection {stream}: {markers[stream]} markers")
    checks, good = iwarp_tshark.crcs(recording)
    wanted = len(WITH_CRC) * sum(EXPECTED.values())
    if good != wanted or checks != wanted:
        found.append(f"{good} good CRCs of {checks}, expected {wanted}")
    return found


def main():
    if not shutil.which("tshark"):
        print("there is no tshark")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "iwarp.pcap"
        subprocess.run([*sys.argv[1:], str(recording)], check=True)
        found = complaints(recording)
    print("\n".join(found) if found else "nothing to complain of")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
