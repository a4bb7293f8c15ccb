#!/usr/bin/env python3
"""qpip-sim given what users get wrong, full disks, names that are not UTF-8, signals, and company in its directory.

Usage: sim_faults_test.py BIN_DIR [unittest's arguments]
"""

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

BIN = None
PATIENCE_S = 120
LONG = ["ttcp", "bytes=1000000000000"]  # hours


def command(*arguments):
    return [os.path.join(BIN, "qpip-sim"), *map(os.fsencode, arguments)]


def small_files_only():
    """No file may grow beyond 100 bytes: to a process that ignores the signal, as good as a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


def few_files_only():
    """Fewer files at a time than a large simulation has NICs."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def cpu_ticks(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def children(process):
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


class SimFaults(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.work = Path(directory.name)

    def run_sim(self, *arguments, **options):
        return subprocess.run(command(*arguments), capture_output=True, timeout=PATIENCE_S, **options)

    def refuse(self, *arguments, says, status=2, **options):
        got = self.run_sim(*arguments, **options)
        text = got.stderr.decode()
        self.assertEqual(got.returncode, status, (arguments, text))
        self.assertEqual(text.count("\n"), 1, (arguments, text))
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, text, arguments)
        self.assertEqual(got.stdout, b"", arguments)

    def start(self, *arguments):
        process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        def end():
            process.kill()
            process.communicate()

        self.addCleanup(end)
        return process

    def wait_until(self, process, condition):
        while not condition():
            self.assertIsNone(process.poll(), "it has ended")
            os.sched_yield()

    # --- Columns

    def rows(self, *arguments):
        got = self.run_sim("sweep", *arguments, "--out", self.work)
        self.assertEqual(got.returncode, 0, got.stderr)
        rows = list(csv.reader((self.work / "sweep.csv").read_text().splitlines()))
        self.assertEqual({len(row) for row in rows}, {len(rows[0])}, rows)
        return [dict(zip(rows[0], row)) for row in rows[1:]]

    def test_given_a_metric_of_the_second_point_only_when_swept_then_the_first_has_an_empty_field(self):
        phantom, verify = self.rows("incast", "nics=3", "messages=4", "--vary", "payload=phantom,verify")
        self.assertEqual(phantom["bytes_verified"], "")
        self.assertEqual(verify["bytes_verified"], verify["bytes"])

    def test_given_a_metric_of_the_first_point_only_when_swept_then_the_second_has_an_empty_field(self):
        verify, phantom = self.rows("incast", "nics=3", "messages=4", "--vary", "payload=verify,phantom")
        self.assertEqual(phantom["bytes_verified"], "")
        self.assertEqual(verify["frames"], phantom["frames"])

    def test_given_transports_with_metrics_of_their_own_when_swept_then_columns_are_true(self):
        tcp, udp = self.rows("ping", "count=5", "--vary", "transport=tcp,udp")
        self.assertEqual((tcp["sent"], udp["sent"], udp["lost"]), ("", "5.0", "0.0"))

    def test_given_a_metric_that_only_some_points_have_when_plotted_then_it_is(self):
        got = self.run_sim("sweep", "incast", "nics=3", "messages=4", "--vary", "payload=phantom,verify", "--out",
                           self.work, "--plot", "bytes_verified")
        self.assertEqual(got.returncode, 0, got.stderr)
        self.assertTrue((self.work / "bytes_verified.png").stat().st_size)

    # --- Words and numbers

    def test_given_words_that_are_no_choice_when_run_then_they_are_refused_with_the_choices(self):
        for word, says in [("transport=UDP", "tcp, udp"), ("completion=Poll", "poll, wait"), ("topology=Switch", "cable")]:
            self.refuse("run", "ping", word, says=says)
        self.refuse("run", "ttcp", "completion=WAIT", says="poll, wait")
        self.refuse("run", "incast", "payload=Verify", says="phantom, verify, sample")
        self.refuse("run", "stages", "topology=ring", says="cable")
        self.refuse("show", "--kind", "Fitted", says="fitted")

    def test_given_a_bad_value_in_a_sweep_when_started_then_nothing_has_run(self):
        for axis in ["transport=tcp,UDP", "count=5,0", "bytes=1,99999999", "count=1:4:3", "core.hz=nan,1e8",
                     "sram.receive_bytes=1500,100000"]:
            self.refuse("sweep", "ping", "--vary", axis, "--out", self.work / "none", says="accepted" if "sram" not in
                        axis else ["1500", "never fit"])
        self.assertFalse((self.work / "none").exists())

    def test_given_odd_numbers_when_run_then_they_are_refused(self):
        for value in ["0", "-1", "1e99", "nan", "inf", "", "1.5", "0x10", "1 ", "10000001"]:
            self.refuse("run", "ping", f"count={value}", says="accepted")
        for setting in ["core.hz=0", "core.hz=-1", "core.hz=1e99", "core.hz=nan", "core.hz=inf", "doorbell.entries=4.5",
                        "core.on_host=0.5", "link.mtu=1500.5"]:
            self.refuse("run", "ping", "--set", setting, says="accepted")

    def test_given_anything_twice_when_run_then_it_is_refused(self):
        self.refuse("run", "ping", "count=3", "count=4", says="given twice")
        self.refuse("run", "ping", "--set", "core.hz=1e8", "--set", "core.hz=2e8", says="given twice")
        self.refuse("occupancy", "ping", "bytes=1", "bytes=2", says="given twice")
        self.refuse("show", "--set", "link.mtu=1500", "--set", "link.mtu=9000", says="given twice")
        out = ["--out", self.work / "none"]
        for words in [["--vary", "count=1,2", "--vary", "count=3"], ["count=3", "--vary", "count=1,2"],
                      ["--set", "link.mtu=1500", "--vary", "link.mtu=1500,9000"],
                      ["--profile", "host-gm-9000", "--vary", "profile=lanai9-hardware-checksum"]]:
            self.refuse("sweep", "ping", *words, *out, says="given twice")
        self.refuse("sweep", "ping", "--vary", "count=1,2,1", *out, says="twice")
        self.assertFalse((self.work / "none").exists())

    # --- What would never end

    def test_given_datagrams_that_are_lost_when_run_then_they_are_counted(self):
        for completion in ["poll", "wait"]:
            got = self.run_sim("run", "ping", "transport=udp", "loss=0.01", "count=1000", f"completion={completion}", "--json")
            metrics = json.loads(got.stdout)["metrics"]
            self.assertEqual(metrics["sent"], 1000)
            self.assertGreater(metrics["lost"], 3)

    def test_given_a_time_out_below_the_round_trip_when_run_then_it_says_what_to_do(self):
        self.refuse("run", "ping", "transport=udp", "timeout_us=1", "completion=wait", status=1, says="timeout_us")

    def test_given_a_buffer_smaller_than_a_packet_when_run_then_both_numbers_are_named(self):
        self.refuse("run", "ttcp", "--set", "sram.receive_bytes=1500", says=["1500", "link.mtu"])
        self.refuse("run", "ping", "--set", "switch.buffer_bytes=2000", "--set", "link.mtu=9000", says=["2000", "9000"])
        self.refuse("paper", "--set", "sram.receive_bytes=1500", says=["1500", "link.mtu"])

    # --- Files

    def test_given_places_that_cannot_be_written_when_started_then_no_run_is_lost(self):
        (self.work / "file").write_text("")
        inside = self.work / "file" / "inside"
        for words in [["occupancy", *LONG, "--timeline", inside], ["occupancy", *LONG, "--out", inside],
                      ["occupancy", *LONG, "--out", self.work / "file"], ["occupancy", *LONG, "--timeline", self.work],
                      ["sweep", *LONG, "--vary", "depth=1,2", "--out", inside], ["paper", "--out", inside],
                      ["paper", "--report", inside], ["paper", "--markdown", inside],
                      ["run", *LONG, "--pcap", inside]]:
            self.refuse(*words, status=1, says="cannot")

    def test_given_a_disk_that_fills_up_when_results_are_written_then_it_is_an_error(self):
        small = {"preexec_fn": small_files_only}
        self.refuse("sweep", "ping", "count=3", "--vary", "bytes=1,2", "--out", self.work / "sweep", status=1,
                    says="cannot write", **small)
        self.refuse("run", "ping", "count=3", "--pcap", self.work / "full", status=1,
                    says=["cannot write", "full-0.pcap: the file is incomplete"], **small)
        got = self.run_sim("occupancy", "ping", "count=3", "--timeline", self.work / "t.json", **small)
        self.assertEqual(got.returncode, 1)
        self.assertIn(b"cannot write the timeline", got.stderr)
        with open("/dev/full", "w") as full:
            got = subprocess.run(command("run", "ping", "count=3", "--json"), stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(got.returncode, 1)
        self.assertIn(b"standard output", got.stderr)

    def test_given_more_nics_than_files_may_be_open_when_recorded_then_it_says_so(self):
        self.refuse("run", "incast", "nics=65", "--pcap", self.work / "x", status=1,
                    says=["cannot open 65 files", "fewer NICs"], preexec_fn=few_files_only)

    def test_given_names_that_are_not_utf_8_when_printed_as_json_then_it_is_json(self):
        name = os.fsencode(self.work) + b"/\xff\xfe.toml"
        with open(name, "w") as out:
            out.write('base = "lanai9-hardware-checksum"\nsummary = "x"\n')
        name = os.fsdecode(name)
        for words in [["run", "ping", "count=3"], ["occupancy", "ping", "count=3"], ["show"],
                      ["sweep", "ping", "count=3", "--vary", "bytes=1,2", "--out", self.work / "one"]]:
            got = self.run_sim(*words, "--profile", name, "--json")
            self.assertEqual(got.returncode, 0, (words, got.stderr))
            json.loads(got.stdout.decode("utf-8"))
        got = self.run_sim("sweep", "ping", "count=3", "--vary", f"profile={name},lanai9-firmware-checksum", "--out",
                           self.work / "two", "--json")
        self.assertEqual(got.returncode, 0, got.stderr)
        json.loads(got.stdout.decode("utf-8"))

    # --- Signals and company

    def test_given_a_long_run_when_interrupted_then_it_reports_what_it_has(self):
        for number in [signal.SIGINT, signal.SIGTERM]:
            process = self.start("run", *LONG, "--json")
            self.wait_until(process, lambda: cpu_ticks(process) > 50)
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE_S)
            self.assertEqual(process.returncode, 0, err)
            self.assertIn(b"interrupted", err)
            result = json.loads(out)
            self.assertTrue(result["interrupted"])
            self.assertGreater(result["metrics"]["throughput_MB_per_s"], 1)

    def test_given_a_sweep_when_terminated_then_its_points_are_kept_and_no_child_is_left(self):
        words = ["sweep", "ttcp", "--vary", "bytes=20000,30000,1000000000000", "--jobs", "1", "--out", self.work]
        process = self.start(*words)
        self.wait_until(process, lambda: len(list(self.work.glob("points/*.json"))) == 2 and children(process))
        child = children(process)[0]
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE_S)
        self.assertEqual(process.returncode, 1)
        self.assertIn(b"interrupted: the results of 2 of 3 points are kept", err)
        self.assertFalse(Path("/proc", child).exists())

    def test_given_the_paper_when_interrupted_then_no_child_is_left(self):
        process = self.start("paper", "--jobs", "2")
        self.wait_until(process, lambda: len(children(process)) == 2)
        left = children(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
        self.assertEqual((process.returncode, out), (1, b""))
        self.assertIn(b"interrupted", err)
        self.assertEqual([child for child in left if Path("/proc", child).exists()], [])

    def test_given_a_sweep_when_killed_then_its_children_go_with_it(self):
        process = self.start("sweep", *LONG, "--vary", "depth=1,2", "--jobs", "2", "--out", self.work)
        self.wait_until(process, lambda: len(children(process)) == 2)
        process.kill()
        process.communicate(timeout=PATIENCE_S)  # the children hold its output: it ends when they do

    def test_given_two_sweeps_in_one_directory_when_started_then_the_second_says_so(self):
        words = ["sweep", *LONG, "--vary", "depth=1,2", "--jobs", "1", "--out", self.work]
        process = self.start(*words)
        self.wait_until(process, lambda: children(process))
        self.refuse(*words, status=1, says="another sweep is running")


if __name__ == "__main__":
    BIN = sys.argv.pop(1)
    unittest.main()
