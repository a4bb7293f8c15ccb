#!/usr/bin/env python3
"""Holds an NBD server against the protocol's document, case by case.

The server's export is WRITTEN TO, from its beginning to its end. It should have 16 MiB or more.
"""

import argparse
import fnmatch
import json
import sys

import suite
import handshake_cases  # noqa: F401 (registers its cases)
import request_cases  # noqa: F401
import reply_cases  # noqa: F401


def run(uri, read_only=None, only="*", **how):
    cases = [case for case in suite.CASES if fnmatch.fnmatch(case.name, only)]
    return cases, suite.run(suite.Server(uri, read_only), cases, **how)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uri", help="nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH; is written to")
    parser.add_argument("--read-only", metavar="URI", help="an export that refuses writes")
    parser.add_argument("--only", metavar="PATTERN", default="*", help="cases whose names match")
    parser.add_argument("--json", action="store_true", help="results by case, for programs")
    arguments = parser.parse_args()
    cases, results = run(arguments.uri, arguments.read_only, arguments.only)
    if arguments.json:
        json.dump(results, sys.stdout, indent=1)
        print()
    else:
        for case in cases:
            print(f"{results[case.name]:8} {case.level:6} {case.name}: {case.text}")
    musts = [case for case in cases if case.level == "MUST" and results[case.name].startswith("fails")]
    return 1 if musts else 0


if __name__ == "__main__":
    sys.exit(main())
