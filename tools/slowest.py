#!/usr/bin/env python3
"""Prints the ten sources that took longest to compile and the ten tests that took longest to run.

Of the build trees BUILD/*/.ninja_log, of ctest's JUnit reports REPORTS/*.xml and of GoogleTest's in
BUILD/*/cases, what is not older than SINCE. Seconds on the wall: what compiles beside others takes longer.
"""

import argparse
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

sys.dont_write_bytecode = True
import junit_counts  # noqa: E402

COUNT = 10


def compiled(build, since):
    """(seconds, "TREE: object") of what ninja has made since."""
    for log in build.glob("*/.ninja_log"):
        for line in log.read_text().splitlines():
            fields = line.split("\t")
            if len(fields) < 5 or not fields[3].endswith((".o", ".gch")):
                continue
            start, end, modified = int(fields[0]), int(fields[1]), int(fields[2]) / 1e9
            if modified >= since:
                yield (end - start) / 1000, f"{log.parent.name}: {fields[3]}"


def tested(build, reports, since):
    """(seconds, "TREE: case") of the reports written since, with those that GoogleTest left in build trees."""
    for report in reports.glob("*-ctest.xml"):
        if report.stat().st_mtime < since:
            continue
        tree = report.name.removesuffix("-ctest.xml")
        for entry, cases in junit_counts.entries(report, build / tree / "cases"):
            if cases is None:
                yield float(entry.get("time", 0)), f"{tree}: {entry.get('name')}"
            for case in cases or ():
                yield float(case.get("time", 0)), f"{tree}: {case.get('classname')}.{case.get('name')}"


def print_slowest(title, entries):
    entries = sorted(set(entries), reverse=True)[:COUNT]
    if entries:
        print(title)
    for seconds, name in entries:
        print(f"  {seconds:7.1f} s  {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--reports", type=Path, default=Path("out/test"))
    parser.add_argument("--since", type=float, default=0, help="seconds since 1970")
    arguments = parser.parse_args()
    print_slowest("slowest sources:", compiled(arguments.build, arguments.since))
    print_slowest("slowest tests:", tested(arguments.build, arguments.reports, arguments.since))


if __name__ == "__main__":
    sys.exit(main())
