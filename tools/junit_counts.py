#!/usr/bin/env python3
"""Prints "PASSED FAILED": the cases of a ctest run.

Usage: junit_counts.py REPORT CASES [FAILURES]

REPORT is ctest's JUnit report, CASES the folder with those of the GoogleTest executables that it ran,
whose entries end with ".cases", ".cases.NUMBER" or ".cases.costly". What did not run, was skipped or
disabled has failed. So has an entry that ended otherwise than its cases say: killed, too late, without
a report or a case in it, or with a sanitizer's complaint at its end. To the file FAILURES is added what
those that failed said of it.
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


def last_lines(text, count=25):
    return [f"    {line}" for line in (text or "").rstrip().splitlines()[-count:]]


def failures(report, folder):
    """Lines: every case that failed with its reasons; every entry that did, with the end of its output."""
    for entry, cases in entries(report, folder):
        name = entry.get("name")
        bad = [case for case in cases or () if not good(case)]
        for case in bad:
            yield f"{name}: {case.get('classname', '')}.{case.get('name')} failed"
            for child in case:
                yield from last_lines(child.text)
        if not good(entry) and not bad or is_googletest(entry) and not cases:
            yield f"{name} failed, and said at its end"
            yield from last_lines(entry.findtext("system-out"))


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
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    print(*counts(*sys.argv[1:3]))
    for told in sys.argv[3:]:
        with open(told, "a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in failures(*sys.argv[1:3]))
