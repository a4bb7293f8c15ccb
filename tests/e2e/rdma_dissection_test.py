#!/usr/bin/env python3
"""Has tshark dissect what qpip_rdma_recording records of two NICs: every operation of the firmware's is there, every
CRC is good, and nothing is malformed or to be warned of. With large packets, and with those of an Ethernet.

Usage: rdma_dissection_test.py PROGRAM. Exits with 77 where there is no tshark.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "protocols"))
import iwarp_tshark  # noqa: E402

# How often rdma_recording.cc carries out each operation; long messages have more FPDUs, and a Write goes ahead of
# everything (RFC 6581 section 9).
LEAST = {"write": 1 + 4 + 2 + 1, "send": 4, "send_solicited": 4, "send_invalidate": 1, "send_solicited_invalidate": 1,
         "read_request": 4, "read_response": 4, "immediate": 1, "immediate_solicited": 1, "atomic_request": 2,
         "atomic_response": 2, "terminate": 1}
EXACTLY = {"read_request", "immediate", "immediate_solicited", "atomic_request", "atomic_response", "terminate",
           "send_invalidate", "send_solicited_invalidate"}


def complaints(recording):
    found = []
    # TCP's own part, the reset behind the Terminate and what a busy machine makes it send twice, is looked at elsewhere.
    wrong = iwarp_tshark.complaints(recording, among="iwarp_mpa || iwarp_rdma")
    if wrong:
        found.append("tshark complains:\n" + wrong)
    codes = iwarp_tshark.operations(recording)[0]
    if len(codes) != 1:
        return found + [f"{len(codes)} connections with FPDUs"]
    count = next(iter(codes.values()))
    for name, least in LEAST.items():
        if count[name] < least or (name in EXACTLY and count[name] != least):
            found.append(f"{count[name]} FPDUs of {name}, expected {least}")
    # Behind the Request and the Reply, RDMA messages and nothing else; each segment begins with an FPDU, and ends with
    # one.
    for what, expected in (("tcp.len > 0 && (iwarp_mpa.req || iwarp_mpa.rep)", 2),
                           ("tcp.len > 0 && !iwarp_rdma && !iwarp_mpa.req && !iwarp_mpa.rep && "
                            "!tcp.analysis.retransmission && !tcp.analysis.spurious_retransmission", 0),
                           ("tcp.segments || tcp.reassembled_in", 0)):
        found_so = iwarp_tshark.count(recording, what)
        if found_so != expected:
            found.append(f"{found_so} packets of {what}, expected {expected}")
    checks, good = iwarp_tshark.crcs(recording)
    if not checks == good == sum(count.values()):
        found.append(f"{good} good CRCs of {checks}, and {sum(count.values())} FPDUs")
    return found


def main():
    if not shutil.which("tshark"):
        print("there is no tshark")
        return 77
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for parameters in ("checksum=1", "mtu=1500", "mtu=9000"):
            recording = Path(folder) / "rdma.pcap"
            subprocess.run([sys.argv[1], str(recording), parameters], check=True, timeout=60)
            found += [f"{parameters}: {one}" for one in complaints(recording)]
    print("\n".join(found) if found else "nothing to complain of")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
