"""Figures that documents quote of simulations, run again. Usage: figures_test.py QPIP_SIM"""
import csv
import json
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def text_of(name):
    return (ROOT / "docs" / name).read_text()


def commands(text):
    """The qpip-sim commands of a document, as lists of arguments."""
    joined = re.sub(r" \\\n\s+", " ", text)
    return [line.split()[1:] for line in re.findall(r"^    (build/release/bin/qpip-sim .*)$", joined, re.M)]


def run(words):
    got = subprocess.run([SIM, *words, "--json"], capture_output=True, text=True, check=True)
    return json.loads(got.stdout)


class Tutorial(unittest.TestCase):
    text = text_of("tutorial.md")

    def test_table_of_the_grid(self):
        words = next(words for words in commands(self.text) if "core.multiply_cycles=0:800:9" in words)
        with tempfile.TemporaryDirectory() as directory:
            words[words.index("--out") + 1] = directory
            while "--plot" in words:
                del words[words.index("--plot"):words.index("--plot") + 2]
            subprocess.run([SIM, *words], capture_output=True, check=True)
            rows = list(csv.DictReader((Path(directory) / "sweep.csv").read_text().splitlines()))
        found = {}
        for row in rows:
            share = [f"{100 * float(row[name]):.0f}%" for name in ("sender_core_utilisation",
                                                                   "sender_dma_read_utilisation")]
            found[row["core.multiply_cycles"], row["protocol.ack_every"]] = (
                f"{float(row['throughput_MB_per_s']):.1f} ({', '.join(share)})")
        quoted = re.findall(r"^\| (\d+) \| (.*?) \| (.*?) \| (.*?) \|$", self.text, re.M)
        self.assertGreater(len(quoted), 4)
        for cycles, *cells in quoted:
            for every, cell in zip("124", cells):
                self.assertEqual(cell, found[cycles, every], f"{cycles} cycles, every {every}")

    def test_single_runs(self):
        for words in commands(self.text):
            if words[:2] != ["run", "ttcp"] or not any("link.mtu" in word for word in words):
                continue
            metrics = run(words)["metrics"]
            paragraph = self.text[self.text.index(" ".join(words)):][:900]
            quoted = re.search(r"([\d.]+) MB/s.{0,40}?core.{0,20}?(\d+)%", paragraph, re.S)
            rate, share = quoted.groups()
            decimals = len(rate.partition(".")[2])
            self.assertEqual(f"{metrics['throughput_MB_per_s']:.{decimals}f}", rate)
            self.assertEqual(f"{100 * metrics['sender_core_utilisation']:.0f}", share)


class Scale(unittest.TestCase):
    def test_events_and_packets(self):
        text = text_of("simulation.md")
        words = re.search(r"qpip-sim (run all-to-all nics=1024[^\n]*) \\\n\s+(.*)\n", text)
        quoted = re.search(r"simulated (\d+) events and (\d+) packets", text).groups()
        got = subprocess.run([SIM, *" ".join(words.groups()).split()], capture_output=True, text=True, check=True)
        self.assertEqual(re.search(r"simulated (\d+) events and (\d+) packets", got.stderr).groups(), quoted)


class Paper(unittest.TestCase):
    def test_largest_error(self):
        page = text_of("reproducing-the-paper.md")
        error = re.search(r"the largest error is [+-]([\d.]+%) \(", page).group(1)
        self.assertIn(f"within {error}, from a profile of the prototype and a delta", text_of("commands.md"))


if __name__ == "__main__":
    SIM = sys.argv.pop(1)
    unittest.main()
