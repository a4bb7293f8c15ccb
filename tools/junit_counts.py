#!/usr/bin/env python3
"""Prints "PASSED FAILED": the cases of a ctest run.

Usage: junit_counts.py REPORT CASES

REPORT is ctest's JUnit report, CASES the folder with those of the GoogleTest executables that it ran,
whose entries end with ".cases", ".cases.NUMBER" or ".cases.costly". What did not run, was skipped or
disabled has failed. So has an entry that ended otherwise than its cases say: killed, too late, without
a report or a case in it, or with a sanitizer's complaint at its end.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def good(case):
    return (case.get("status") == "run" and case.get("result", "completed") == "completed"
            and not any(child.tag in ("failure", "error", "skipped") for child in case))


def entries(report, folder):
    """(entry as ctest reports it, its cases as GoogleTest does, or None if it is none or left no report)"""
    for entry in ElementTree.parse(report).getroot().iter("testcase"):
        own = Path(folder) / f"{entry.get('name')}.xml"
        cases = None
        if is_googletest(entry) and own.exists():
            cases = list(ElementTree.parse(own).getroot().iter("testcase"))
        yield entry, cases


def is_googletest(entry):
    return re.search(r"\.cases(\.\d+|\.costly)?$", entry.get("name")) is not None


def counts(report, folder):
    passed = failed = 0
    for entry, cases in entries(report, folder):
        if cases is None:
            ended_well = good(entry) and not is_googletest(entry)
            passed += ended_well
            failed += not ended_well
            continue
        fine = sum(map(good, cases))
        passed += fine
        failed += len(cases) - fine
        if fine == len(cases) and not (good(entry) and cases):
            failed += 1
    return passed, failed


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(*counts(sys.argv[1], sys.argv[2]))
