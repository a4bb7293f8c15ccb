#!/usr/bin/env python3
"""Fails when the committed report differs from what the cases say now."""

import difflib
import subprocess
import sys
from pathlib import Path


def main():
    committed, *program = sys.argv[1:]
    report = subprocess.run([*program, "--report"], capture_output=True, text=True, check=True).stdout
    there = Path(committed).read_text(encoding="utf-8")
    if report == there:
        return 0
    sys.stdout.writelines(difflib.unified_diff(there.splitlines(True), report.splitlines(True),
                                               committed, "now"))
    print(f"out of date: {' '.join(program)} --report > {committed}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
