#!/usr/bin/env python3
"""Holds docs/rdma.md: its table of clauses names tests that exist, each row has a test or a reason, and the sums are right.

Usage: iwarp_clauses_test.py DOCUMENT TEST_PROGRAM...: programs of GoogleTest, and names of ctest's that have a dot.
"""

import re
import subprocess
import sys
from pathlib import Path


def tests_of(program):
    """Suite.Case of all tests, without the parameters' parts of their names."""
    listed = subprocess.run([program, "--gtest_list_tests"], capture_output=True, text=True, check=True).stdout
    names, suite = set(), None
    for line in listed.splitlines():
        name = line.split("#")[0].strip()
        if not line.startswith(" "):
            suite = name.rstrip(".").split("/")[-1]
        else:
            names.add(f"{suite}.{name.split('/')[0]}")
    return names


def rows_of(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()
            if line.startswith("|") and not re.fullmatch(r"[|\-\s:]+", line)][1:]


def main():
    document, *programs = sys.argv[1:]
    text = Path(document).read_text(encoding="utf-8").split("\n## Clause by clause\n")[1]
    summary, *parts = re.split(r"^### ", text, flags=re.M)
    sums = {row[0]: row[2:] for row in rows_of(summary)}
    tests = set().union(*({program} if re.fullmatch(r"[a-z0-9]+\.[a-z_]+", program) else tests_of(program)
                          for program in programs))
    wrong = []
    for part in parts:
        name = part.split(":")[0]
        counts = {"met": 0, "**deviates**": 0, "to come": 0}
        for section, requirement, result, shown in rows_of(part):
            kind = next((kind for kind in counts if result.startswith(kind)), None)
            if kind is None:
                wrong.append(f"{name} {section}: no such result: {result}")
                continue
            counts[kind] += 1
            named = re.findall(r"`([^`]+)`", shown)
            wrong += [f"{name} {section}: there is no test {test}" for test in named if test not in tests]
            if kind != "to come" and not named:
                wrong.append(f"{name} {section}: no test shows: {requirement}")
            if kind != "met" and len(result) < len(kind) + 4:
                wrong.append(f"{name} {section}: no reason")
        if sums.pop(name, None) != [str(count) for count in counts.values()]:
            wrong.append(f"{name}: the sums are {list(counts.values())}")
    wrong += [f"{name}: no table" for name in sums]
    print("\n".join(wrong) if wrong else f"{len(parts)} documents hold")
    return 1 if wrong or not parts else 0


if __name__ == "__main__":
    sys.exit(main())
