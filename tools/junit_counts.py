#!/usr/bin/env python3
"""Prints "PASSED FAILED" of a ctest JUnit report. What did not run, was skipped or disabled failed."""

import sys
import xml.etree.ElementTree as ElementTree


def counts(path):
    cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    passed = sum(case.get("status") == "run" and
                 not any(child.tag in ("failure", "error", "skipped") for child in case)
                 for case in cases)
    return passed, len(cases) - passed


if __name__ == "__main__":
    print(*counts(sys.argv[1]))
