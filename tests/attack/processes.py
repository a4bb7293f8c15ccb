#!/usr/bin/env python3
"""What a process of the same machine can do to a NIC's: runs the tests that do it, and prints a line of
JSON for each kind: what, what holds, cases passed and failed, seconds.

    processes.py [--all] BIN_DIR     --all: ten thousand forks, and 38 GB between processes that are stopped
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

# (what is done, what holds, program, its cases, environment of the long run)
KINDS = (
    ("a peer is killed: sending, receiving, half connected, as the last of many",
     "work that was outstanding fails with the reason within half a second, whoever comes next is served, "
     "nothing is left in shared memory",
     "qpip_process_tests", "Processes.*", {}),
    ("a peer is killed, while others attach and detach",
     "its last frames are delivered, then each learns of it once",
     "qpip_wire_tests", "ProcessTest.*Kill*:ProcessTest.*OfTheDead*", {}),
    ("a peer is stopped with messages unread",
     "time-outs, abort, destruction and close take their own time, not the peer's; what was lent is taken back",
     "qpip_process_tests", "StoppedPeer.*", {}),
    ("both ends are stopped now and then under bulk data", "every byte is right",
     "qpip_process_tests", "RandomStops.*", {"QPIP_TEST_BYTES": "38000000000"}),
    ("a peer scribbles over rings, indices, control file, or cuts its file off before it is mapped",
     "it is down for whoever sees that; no reader leaves its bounds",
     "qpip_wire_tests", "ProcessTest.*Scribbles*:ProcessTest.*Corrupt*:ProcessTest.*Damaged*:ProcessTest.*Truncated*:"
     "ProcessTest.*Foreign*", {}),
    ("a process with a NIC forks; children return, exit, _exit, exec, crash, become daemons",
     "the owner never notices",
     "qpip_fork_tests", "*", {"QPIP_FORKS": "10000"}),
    ("no descriptors, no address space, no locked memory, when a peer first sends",
     "both are told, others go on, and later it works; the system is asked rarely meanwhile",
     "qpip_wire_tests", "RefusalTest.*:LockedMemory.*:Backoff.*", {}),
    ("/dev/shm is full, or files may not be so long",
     "an error that says so; the system is asked rarely; later it works",
     "qpip_wire_tests", "SmallSharedMemory.*:FileSizeLimit.*", {}),
    ("another user plants directories, links and leases where fabrics are",
     "none of them is opened, and no start waits for them",
     "qpip_wire_tests", "PrivateDirectory.*:PrivateFile.*:PlantedTest.*:ProcessTest.*OthersMayEnter*", {}),
    ("what a crash leaves, and a fabric's directory removed under its ports",
     "remains go with the next opening; each port says so once and goes on",
     "qpip_wire_tests", "RemainsTest.*", {}),
    ("64 NICs connect each to each at once, ten times; 200 are up at once", "none is reset",
     "qpip_each_to_each_tests", "*", {}),
)


def run(binaries, program, cases, environment):
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        begin = time.monotonic()
        try:
            subprocess.run([os.path.join(binaries, program), f"--gtest_filter={cases}",
                            f"--gtest_output=json:{report.name}"],
                           env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
                           check=False, timeout=3600)
        except subprocess.TimeoutExpired:
            return 0, 1, time.monotonic() - begin
        seconds = time.monotonic() - begin
        try:
            outcome = json.load(report)
        except ValueError:
            return 0, 1, seconds  # it has not come to its end
    skipped = sum(case.get("result") == "SKIPPED" for suite in outcome["testsuites"] for case in suite["testsuite"])
    failed = outcome["failures"] + outcome["errors"] + skipped
    return outcome["tests"] - failed, failed, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("binaries", metavar="BIN_DIR")
    arguments = parser.parse_args()
    wrong = 0
    for what, holds, program, cases, long_run in KINDS:
        passed, failed, seconds = run(arguments.binaries, program, cases, long_run if arguments.all else {})
        wrong += failed + (passed == 0)
        print(json.dumps({"what": what, "holds": holds, "program": program, "cases": cases, "passed": passed,
                          "failed": failed, "seconds": round(seconds, 1)}), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
