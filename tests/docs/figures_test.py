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


def sweep(words):
    """The rows of a sweep's table; it draws nothing."""
    with tempfile.TemporaryDirectory() as directory:
        words = list(words)
        words[words.index("--out") + 1] = directory
        while "--plot" in words:
            del words[words.index("--plot"):words.index("--plot") + 2]
        subprocess.run([SIM, *words], capture_output=True, check=True)
        return list(csv.DictReader((Path(directory) / "sweep.csv").read_text().splitlines()))


class Tutorial(unittest.TestCase):
    text = text_of("tutorial.md")

    def test_table_of_the_grid(self):
        words = next(words for words in commands(self.text) if "core.multiply_cycles=0:800:9" in words)
        rows = sweep(words)
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


class Studies(unittest.TestCase):
    text = text_of("studies.md")

    def rows_of(self, out):
        return sweep(next(words for words in commands(self.text) if out in words))

    def test_the_multiplier_and_the_checksum(self):
        found = {(row["link.mtu"], row["core.checksum_in_firmware"], row["core.multiply_cycles"]):
                 f"{float(row['throughput_MB_per_s']):.1f}" for row in self.rows_of("multiplier")}
        quoted = re.findall(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", self.text, re.M)
        self.assertEqual(len(quoted), 5)
        columns = [(place, cycles) for place in "01" for cycles in ("186.2", "4")]
        for mtu, *cells in quoted:
            self.assertEqual(cells, [found[mtu, place, cycles] for place, cycles in columns], mtu)

    def test_when_the_core_stops_being_the_bottleneck(self):
        found = {(row["core.hz"], row["doorbell.entries"], row["message"]): row for row in self.rows_of("cores")}
        quoted = re.findall(r"^\| (\d+)M \| ([\d.]+) \| ([a-z ]+) \| ([\d.]+) \| ([a-z ]+) \| (\d+), (\d+) \|$",
                            self.text, re.M)
        self.assertEqual(len(quoted), 5)
        for clock, *cells in quoted:
            for message, rate, limit, overflows in (("1024", cells[0], cells[1], cells[4]),
                                                    ("16384", cells[2], cells[3], cells[5])):
                for entries in ("2", "1024"):
                    row = found[clock + "000000", entries, message]
                    self.assertEqual(f"{float(row['throughput_MB_per_s']):.1f}", rate, row)
                    self.assertEqual(row["bottleneck"], limit)
                self.assertEqual(float(found[clock + "000000", "2", message]["doorbell_overflows"]), float(overflows))


    def test_incast_with_loss(self):
        quoted = re.findall(r"^\| (\d+)G \| ([\d.]+) \| (\d+) \| (\d+) to (\d+) \| (\d+) \| (\d+) to (\d+) \| (.*?) \|$",
                            self.text, re.M)
        found = [(f"{float(row['link.bits_per_s']) / 1e9:.0f}", row["loss"],
                  *(f"{float(row['throughput_MB_per_s' + column]):.0f}"
                    for column in ("", "_ci95_low", "_ci95_high", "_median", "_min", "_max")), row["bottleneck"])
                 for row in self.rows_of("incast")]
        self.assertEqual(len(quoted), 6)
        self.assertEqual(quoted, found)

    def test_counters_of_the_incast_without_loss(self):
        words = next(words for words in commands(self.text) if words[:2] == ["run", "incast"])
        quoted = re.findall(r"^\| `([a-z_.]+)`.*? \| (\d+) \| (\d+) \|$", self.text, re.M)
        self.assertEqual(len(quoted), 4)
        for column, rate in enumerate(("2G", "10G"), 1):
            words[words.index("--set") + 1] = f"link.bits_per_s={rate}"
            counters = run([word for word in words if word != "--json"])["details"]["nics"][0]
            self.assertEqual([(row[0], int(row[column])) for row in quoted],
                             [(row[0], counters.get(row[0], 0)) for row in quoted])


    def test_switches_that_drop_and_mark(self):
        quoted = re.findall(r"^\| (\d+) \| (CUBIC|DCTCP) \| ([\d.]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", self.text, re.M)
        rows = self.rows_of("switches")
        self.assertEqual(quoted, [
            (row["switch.drop_bytes"], {"1": "CUBIC", "2": "DCTCP"}[row["protocol.congestion"]],
             f"{float(row['throughput_MB_per_s']):.1f}",
             *(f"{float(row[name]):.0f}" for name in ("switch_drops", "switch_marks", "message_p50_us", "message_p99_us")))
            for row in rows])
        self.assertEqual({row["bottleneck"] for row in rows}, {"host 0 dma write"})


class Scale(unittest.TestCase):
    def test_events_and_packets(self):
        text = text_of("simulation.md")
        words = re.search(r"qpip-sim (run all-to-all nics=1024[^\n]*) \\\n\s+(.*)\n", text)
        quoted = re.search(r"simulated (\d+) events and (\d+) packets", text).groups()
        got = subprocess.run([SIM, *" ".join(words.groups()).split()], capture_output=True, text=True, check=True)
        events, packets = re.search(r"simulated (\d+) events and (\d+) packets", got.stderr).groups()
        self.assertEqual(packets, quoted[1])
        # ns-3 3.43 counts one event of its own more than 3.37, in every run.
        self.assertIn(int(events) - int(quoted[0]), (0, 1))


class Paper(unittest.TestCase):
    def test_largest_error(self):
        page = text_of("reproducing-the-paper.md")
        error = re.search(r"the largest error is [+-]([\d.]+%) \(", page).group(1)
        self.assertIn(f"within {error}, from a profile of the prototype and a delta", text_of("commands.md"))


if __name__ == "__main__":
    SIM = sys.argv.pop(1)
    unittest.main()
