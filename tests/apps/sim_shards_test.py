#!/usr/bin/env python3
"""qpip-sim sweep --shard and merge: the same files as one run, whatever the number of shards, and whoever starts them.

Usage: sim_shards_test.py BIN_DIR [unittest's arguments]
The class WithParallel skips its test where GNU parallel is not installed.
"""

import filecmp
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

BIN = None
PATIENCE_S = 240
SWEEP = ["ttcp", "bytes=100000", "--vary", "link.mtu=1500:9100:20", "--vary", "protocol.ack_every=1,2,4"]
POINTS = 60


def sim(*arguments):
    return [os.path.join(BIN, "qpip-sim"), *map(str, arguments)]


class Shards(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.work = Path(directory.name)

    def run_sim(self, *arguments, status=0, lines=1):
        got = subprocess.run(sim(*arguments), capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual(got.returncode, status, (arguments, got.stderr))
        if status and lines:
            self.assertEqual(got.stderr.count("\n"), lines, got.stderr)
        return got

    def sweep_whole(self, *options):
        whole = self.work / "whole"
        self.run_sim("sweep", *SWEEP, "--out", whole, *options)
        return whole

    def sweep_shards(self, count):
        shards = [self.work / f"of-{count}-{index}" for index in range(1, count + 1)]
        for index, shard in enumerate(shards, 1):
            self.run_sim("sweep", *SWEEP, "--shard", f"{index}/{count}", "--out", shard)
        return shards

    def assert_same_files(self, one, other):
        names = {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
        self.assertEqual(names, {path.relative_to(other) for path in other.rglob("*") if path.is_file()})
        _, different, unreadable = filecmp.cmpfiles(one, other, sorted(names), shallow=False)
        self.assertEqual((different, unreadable), ([], []))

    def assert_merges_to(self, whole, shards, *options):
        merged = self.work / "merged"
        self.run_sim("merge", *shards, "--out", merged, *options)
        self.assert_same_files(whole, merged)


class WithoutAnybody(Shards):
    def test_given_any_number_of_shards_when_merged_then_the_files_are_those_of_one_run(self):
        plot = ["--plot", "throughput_MB_per_s"]
        whole = self.sweep_whole(*plot)
        self.assertEqual(len(list(whole.glob("points/*.json"))), POINTS)
        for count in [1, 4, 7]:
            shards = self.sweep_shards(count)
            self.assertEqual(sum(len(list(shard.glob("points/*.json"))) for shard in shards), POINTS)
            shutil.rmtree(self.work / "merged", ignore_errors=True)
            self.assert_merges_to(whole, reversed(shards), *plot)

    def test_given_more_shards_than_points_when_merged_then_empty_ones_do_no_harm(self):
        words = ["sweep", "ping", "count=3", "--vary", "bytes=1,2"]
        self.run_sim(*words, "--out", self.work / "whole")
        shards = [self.work / str(index) for index in range(1, 4)]
        for index, shard in enumerate(shards, 1):
            self.run_sim(*words, "--shard", f"{index}/3", "--out", shard)
        self.assert_merges_to(self.work / "whole", shards)

    def test_given_a_killed_shard_when_merged_then_its_points_are_named_until_it_has_been_started_again(self):
        whole = self.sweep_whole()
        shards = self.sweep_shards(4)
        shutil.rmtree(shards[2])
        # The third begins with points of a moment; the process dies at a moment of its own choosing.
        words = sim("sweep", *SWEEP, "--shard", "3/4", "--jobs", "1", "--out", shards[2])
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not list(shards[2].glob("points/*.json")) and process.poll() is None:
            os.sched_yield()
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=PATIENCE_S)
        kept = len(list(shards[2].glob("points/*.json")))
        for path in sorted(shards[2].glob("points/*.json"))[1:]:
            path.unlink()  # if it was quicker than the signal
        missing = self.run_sim("merge", *shards, "--out", self.work / "merged", status=1).stderr
        self.assertGreater(kept, 0)
        self.assertIn(f"{POINTS // 4 - 1} of {POINTS} points are missing: 6 (link.mtu=2300, protocol.ack_every=1), 10",
                      missing)
        self.assertIn(f"goes on in {shards[2]}\n", missing)
        self.assertFalse((self.work / "merged").exists())
        self.run_sim("sweep", *SWEEP, "--shard", "3/4", "--out", shards[2])
        self.assert_merges_to(whole, shards)

    def test_given_a_shard_that_is_not_named_when_merged_then_its_points_are(self):
        shards = self.sweep_shards(4)
        said = self.run_sim("merge", *shards[:3], "--out", self.work / "merged", status=1).stderr
        self.assertIn("15 of 60 points are missing: 3 (link.mtu=1900, protocol.ack_every=1), 7", said)
        self.assertIn("and 5 more: name the directories of their shards too", said)

    def test_given_an_interrupted_whole_and_shards_when_merged_then_each_gives_what_it_has(self):
        whole = self.sweep_whole()
        half = self.work / "half"
        shutil.copytree(whole, half)
        for point in range(1, POINTS, 2):
            (half / "points" / f"{point:06}.json").unlink()
        self.run_sim("sweep", *SWEEP, "--shard", "2/2", "--out", self.work / "odd")
        self.assert_merges_to(whole, [half, self.work / "odd"])

    def test_given_a_point_that_fails_when_merged_then_it_has_failed_there_as_in_one_run(self):
        words = ["sweep", "incast", "messages=1", "message=64", "--vary", "nics=3,300"]
        whole, first, second, merged = (self.work / name for name in ["whole", "1", "2", "merged"])
        for more in [["--out", whole], ["--shard", "2/2", "--out", second]]:
            self.assertIn("points failed", self.run_sim(*words, *more, status=1, lines=None).stderr)
        self.run_sim(*words, "--shard", "1/2", "--out", first)
        self.assertIn("1 of 2 points failed", self.run_sim("merge", first, second, "--out", merged, status=1,
                                                           lines=None).stderr)
        self.assertTrue((merged / "points" / "000001.failed").exists())
        self.assert_same_files(whole, merged)

    def test_given_repeats_when_merged_then_the_files_are_those_of_one_run(self):
        words = ["sweep", "ttcp", "bytes=100000", "loss=0.01", "--repeat", "3", "--vary", "link.mtu=1500,3000,9000"]
        self.run_sim(*words, "--out", self.work / "whole")
        shards = [self.work / str(index) for index in [1, 2]]
        for index, shard in enumerate(shards, 1):
            self.run_sim(*words, "--shard", f"{index}/2", "--out", shard)
        self.assert_merges_to(self.work / "whole", shards)

    def test_given_what_does_not_belong_together_when_merged_then_it_is_refused(self):
        first, second = self.sweep_shards(2)
        out = ["--out", self.work / "merged"]
        other = self.work / "other"
        self.run_sim("sweep", "ping", "count=3", "--vary", "bytes=1,2", "--out", other)
        self.assertIn("different sweeps", self.run_sim("merge", first, other, *out, status=2).stderr)
        self.assertIn("holds another sweep", self.run_sim("merge", first, second, "--out", other, status=2).stderr)
        self.assertIn("holds another sweep", self.run_sim("merge", first, second, "--out", first, status=2).stderr)
        self.assertIn("no sweep in", self.run_sim("merge", self.work, *out, status=2).stderr)
        copy = self.work / "copy"
        shutil.copytree(first, copy)
        point = copy / "points" / "000002.json"
        result = json.loads(point.read_text())
        result["metrics"]["throughput_MB_per_s"] += 1
        point.write_text(json.dumps(result))
        self.assertIn("different results of point 2", self.run_sim("merge", first, copy, second, *out, status=1).stderr)
        point.write_text("[]")
        self.assertIn("000002.json is damaged", self.run_sim("merge", copy, second, *out, status=1).stderr)
        for plan in ["{}", "x", '{"scenario": 1}', '{"scenario":"a","profile":"b","set":[],"arguments":{},"repeat":1,"profiles":{},'
                     '"axes":[{"name":"x","values":[]}]}']:
            (copy / "plan.json").write_text(plan)
            self.assertIn("plan.json is damaged", self.run_sim("merge", copy, *out, status=1).stderr)

    def test_given_a_directory_of_another_shard_when_swept_then_it_is_refused(self):
        first = self.sweep_shards(2)[0]
        for shard in [["--shard", "2/2"], ["--shard", "1/3"], []]:
            self.assertIn("another shard", self.run_sim("sweep", *SWEEP, *shard, "--out", first, status=2).stderr)

    def write_profile(self, hz):
        path = self.work / "mine.toml"
        path.write_text(f'base = "lanai9-hardware-checksum"\nsummary = "Of a test."\n[core]\n'
                        f'hz = {{value = {hz}, kind = "assumed", source = "of a test"}}\n')
        return path

    def test_given_a_profile_that_has_changed_when_swept_again_or_merged_then_it_is_refused(self):
        words = ["sweep", "ping", "count=3", "--vary", "bytes=1,2", "--profile", self.write_profile(100e6)]
        first, second = self.work / "1", self.work / "2"
        self.run_sim(*words, "--shard", "1/2", "--out", first)
        self.write_profile(200e6)
        self.assertIn("profiles have other numbers",
                      self.run_sim(*words, "--shard", "1/2", "--out", first, status=2).stderr)
        self.run_sim(*words, "--shard", "2/2", "--out", second)
        self.assertIn("profiles had different numbers",
                      self.run_sim("merge", first, second, "--out", self.work / "merged", status=2).stderr)
        self.write_profile(100e6)
        self.run_sim(*words, "--shard", "1/2", "--out", first)

    def test_given_results_of_another_version_when_swept_again_then_that_is_said_and_written(self):
        words = ["sweep", "ping", "count=3", "--vary", "bytes=1,2", "--out", self.work / "old"]
        self.run_sim(*words)
        for point in (self.work / "old" / "points").glob("*.json"):
            result = json.loads(point.read_text())
            result["commit"] = "0123456"
            point.write_text(json.dumps(result))
        self.assertIn("results are of QPIP 0123456, and this is", self.run_sim(*words).stderr)
        self.assertEqual(json.loads((self.work / "old" / "sweep.json").read_text())["commit"], "0123456")

    def test_given_words_that_are_no_shard_when_swept_then_they_are_refused(self):
        for word in ["0/4", "5/4", "1/0", "1", "/", "1/", "/4", "a/4", "1/4x", "-1/4", "1/99999999", "+1/4", " 1/4"]:
            said = self.run_sim("sweep", *SWEEP, f"--shard={word}", "--out", self.work / "none", status=2).stderr
            self.assertIn("--shard", said)
        self.assertIn("merge --plot", self.run_sim("sweep", *SWEEP, "--shard", "1/2", "--plot", "throughput_MB_per_s", "--out",
                                                   self.work / "none", status=2).stderr)
        self.assertFalse((self.work / "none").exists())


@unittest.skipUnless(shutil.which("parallel"), "GNU parallel is not installed")
class WithParallel(Shards):
    def test_given_gnu_parallel_when_it_starts_the_shards_then_they_merge_to_one_run(self):
        whole = self.sweep_whole()
        # As docs/simulation.md has it, with local jobs in the place of --sshlogin.
        subprocess.run(["parallel", "--will-cite", "--jobs", "2", shlex.join(sim("sweep", *SWEEP)) +
                        f" --jobs 1 --shard {{}}/7 --out {self.work}/shard-{{}}", ":::", *map(str, range(1, 8))],
                       check=True, capture_output=True, timeout=PATIENCE_S, env={**os.environ, "HOME": str(self.work / "home")})
        self.assert_merges_to(whole, sorted(self.work.glob("shard-*")))


if __name__ == "__main__":
    BIN = sys.argv.pop(1)
    unittest.main()
