#!/usr/bin/env python3
"""What the dumbbell shows: QPIP with today's TCP against ns-3's own where packets are lost.

    dumbbell_check.py DUMBBELL VERSION_OF_NS3
"""

import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from pathlib import Path

SEEDS = range(1, 6)


def run(*arguments, status=0):
    done = subprocess.run([sys.argv[1], *arguments], capture_output=True, text=True)
    ended = done.returncode == 0
    assert ended == (status == 0), (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def rate(text, name):
    return float(re.search(rf"{name}:\s+([\d.]+) Mb/s", text)[1])


def rates(name, *arguments):
    return [rate(run(*arguments, f"--RngRun={seed}"), name) for seed in SEEDS]


def main():
    with tempfile.TemporaryDirectory() as directory:
        flows = Path(directory) / "flows.xml"
        # Each pair alone, 1% loss each way, with several seeds.
        ns3 = rates("ns-3 TCP", "--pairs=ns3")
        large = rates("ns-3 TCP", "--pairs=ns3", "--ns3::TcpSocket::SegmentSize=1428")
        qpip = rates("QPIP", "--pairs=qpip")
        print(f"alone, Mb/s: ns-3 TCP {ns3}, with segments of 1428 bytes {large}, QPIP {qpip}")
        # ns-3's TCP after 3.37 is another: in 3.43 it recovers as well as QPIP's when its segments are as large.
        old = tuple(int(part) for part in sys.argv[2].split(".")[:2]) <= (3, 37)
        assert min(qpip) >= (4 if old else 2.5) * max(ns3), (qpip, ns3)
        assert min(qpip) >= (2 if old else 1) * max(large), (qpip, large)

        text = run("--pairs=qpip", f"--flows={flows}", f"--pcap={directory}/nic")
        qpip = rate(text, "QPIP")
        assert int(re.search(r"up to (\d+) bytes", text)[1]) > 10 * 1400, text
        assert len(list(Path(directory).glob("nic-*.pcap"))) == 2

        # FlowMonitor's report has both directions, and what the receiver's program counted.
        report = xml.parse(flows).getroot()
        stats = [flow.attrib for flow in report.find("FlowStats")]
        assert len(stats) == 2, stats
        data = max(stats, key=lambda flow: int(flow["txBytes"]))
        received = int(data["rxBytes"]) * 8e-6 / 10
        assert qpip <= received < 1.2 * qpip, (received, qpip)
        # Of what was sent 1% was lost; a second before the end the last are still under way.
        missing = int(data["txPackets"]) - int(data["rxPackets"])
        assert 0.005 < missing / int(data["txPackets"]) < 0.03, data
        delay = float(data["delaySum"].rstrip("ns")) / int(data["rxPackets"])
        assert delay > 5e6, delay
        tuples = report.find("Ipv6FlowClassifier")
        ports = {flow.attrib["destinationPort"] for flow in tuples}
        assert "5001" in ports, ports

    # Numbers of the profile are attributes; what is refused is named.
    alike = run("--pairs=qpip", "--ns3::QpipNetDevice::ProtocolSack=0", "--duration=2")
    assert "QPIP:" in alike
    assert "give ns3, qpip or both" in run("--pairs=none", status=1)
    for bad, says in (("ProtocolSack=3", "ProtocolSack"), ("ProtocolAckDelay=40", "with its unit"),
                      ("Profile=no-such", "Profile"), ("LinkDataRate=fast", "LinkDataRate")):
        text = run(f"--ns3::QpipNetDevice::{bad}", status=1)
        assert says in text, (bad, text)


main()
