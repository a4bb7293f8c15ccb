#!/usr/bin/env python3
"""What tshark finds in the packets that `qpip-sim run --pcap` writes.

Usage: sim_pcap_test.py BIN_DIR [unittest's arguments]. Exits with 77 where there is no tshark.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path

BIN = None
PATIENCE_S = 120
WRONG = ("_ws.malformed || ipv6.plen == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0 || "
         "tcp.checksum.status == 2 || udp.checksum.status == 2")


def tshark(recording, *arguments):
    words = ["tshark", "-r", str(recording), "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


class SimPcap(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.work = Path(directory.name)

    def record(self, *arguments):
        """The run's metrics, and each host's recording."""
        words = [os.path.join(BIN, "qpip-sim"), "run", *arguments, "--json", "--pcap", str(self.work / "run")]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
        recordings = sorted(self.work.glob("run-*.pcap"), key=lambda path: int(path.stem.split("-")[1]))
        for recording in recordings:
            self.assertEqual(tshark(recording, "-Y", WRONG), "", recording)
        return json.loads(done.stdout)["metrics"], recordings

    def sent_by(self, recording, address):
        """How often each packet of one sender is in a recording."""
        fields = ["-e", "frame.len", "-e", "tcp.seq_raw", "-e", "tcp.ack_raw", "-e", "tcp.options.timestamp.tsval",
                  "-e", "udp.checksum"]
        return Counter(tshark(recording, "-Y", f"ipv6.src == {address}", "-T", "fields", *fields).splitlines())

    def test_given_datagrams_when_recorded_then_every_one_is_in_both_recordings(self):
        metrics, (server, client) = self.record("ping", "transport=udp", "count=30", "bytes=1000")
        for address in ("fd00::1", "fd00::2"):
            packets = self.sent_by(server, address)
            self.assertEqual(packets, self.sent_by(client, address))
            self.assertGreaterEqual(packets.total(), 30)
        self.assertEqual(metrics["frames_lost"], 0)

    def test_given_frames_that_are_lost_when_recorded_then_only_their_senders_have_them(self):
        metrics, recordings = self.record("ttcp", "bytes=2M", "message=1400", "loss=0.01", "seed=3",
                                          "--profile", "lanai9-hardware-checksum+modern-tcp")
        self.assertEqual(len(recordings), 2)
        lost = 0
        for host, address in enumerate(("fd00::1", "fd00::2")):
            missing = self.sent_by(recordings[host], address)
            missing.subtract(self.sent_by(recordings[1 - host], address))
            self.assertGreaterEqual(min(missing.values()), 0)
            lost += missing.total()
        self.assertGreater(metrics["frames_lost"], 5)
        self.assertEqual(lost, metrics["frames_lost"])

    def test_given_a_round_trip_when_recorded_then_its_time_is_there_in_nanoseconds(self):
        metrics, (_, client) = self.record("ping", "count=20")
        times = tshark(client, "-Y", "tcp.len == 1", "-T", "fields", "-e", "frame.time_epoch").split()
        ns = [int(seconds) * 10**9 + int(part) for seconds, part in (time.split(".") for time in times)]
        self.assertTrue(any(time % 1000 for time in ns), ns)
        trips = [answer - request for request, answer in zip(ns[::2], ns[1::2])]
        # From the host's post to its poll it is longer than from line to line.
        self.assertLess(max(trips[-20:]), metrics["rtt_max_us"] * 1000)
        self.assertGreater(min(trips[-20:]), metrics["rtt_min_us"] * 1000 / 3)


if __name__ == "__main__":
    if not shutil.which("tshark"):
        print("there is no tshark")
        sys.exit(77)
    BIN = sys.argv.pop(1)
    unittest.main(verbosity=2)
