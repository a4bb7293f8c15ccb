#!/usr/bin/env python3
"""tools/junit_counts.py counts what ran, and nothing that did not end well passes.

Usage: junit_counts_test.py SOURCE_DIR
"""

import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(sys.argv.pop(1)).resolve() / "tools"))
import junit_counts  # noqa: E402

OF_CTEST = {
    "ended well": 'status="run"/>',
    "failed": 'status="fail"><failure message=""/><system-out>first\nlast</system-out></testcase>',
    "not run": 'status="notrun"><skipped/></testcase>',
}
OF_GOOGLETEST = {
    "passed": 'status="run" result="completed"/>',
    "failed": 'status="run" result="completed"><failure message="x">1 is not 2</failure></testcase>',
    "skipped": 'status="run" result="skipped"><skipped/></testcase>',
    "disabled": 'status="notrun" result="suppressed"/>',
}


def of(entry, ended, cases=None, ask=junit_counts.counts):
    """What is counted when ctest says that `entry` has `ended` so, and GoogleTest reports `cases`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        report.write_text(f'<testsuite><testcase name="{entry}" {OF_CTEST[ended]}</testsuite>')
        if cases is not None:
            text = "".join(f'<testcase name="c{i}" {OF_GOOGLETEST[case]}' for i, case in enumerate(cases))
            (Path(folder) / f"{entry}.xml").write_text(f"<testsuites><testsuite>{text}</testsuite></testsuites>")
        return ask(report, folder)


def told(*args):
    """What is said of the failures in the same."""
    return of(*args, ask=lambda report, folder: list(junit_counts.failures(report, folder)))


class JunitCounts(unittest.TestCase):
    def test_given_a_script_when_counted_then_it_is_one(self):
        self.assertEqual(of("apps.cli", "ended well"), (1, 0))
        self.assertEqual(of("apps.cli", "failed"), (0, 1))
        self.assertEqual(of("apps.cli", "not run"), (0, 1))

    def test_given_a_report_of_cases_when_counted_then_each_counts(self):
        self.assertEqual(of("wire.cases", "ended well", ["passed", "passed"]), (2, 0))
        self.assertEqual(of("wire.cases.12", "ended well", ["passed", "passed"]), (2, 0))
        self.assertEqual(of("wire.cases.costly", "failed", ["passed", "failed"]), (1, 1))

    def test_given_a_case_that_did_not_run_when_counted_then_it_failed(self):
        self.assertEqual(of("wire.cases", "ended well", ["passed", "skipped"]), (1, 1))
        self.assertEqual(of("wire.cases", "ended well", ["passed", "disabled"]), (1, 1))

    def test_given_cases_that_passed_when_the_executable_ends_badly_then_that_is_a_failure(self):
        self.assertEqual(of("wire.cases", "failed", ["passed", "passed"]), (2, 1))

    def test_given_an_executable_that_stopped_halfway_when_counted_then_it_failed(self):
        self.assertEqual(of("wire.cases", "ended well"), (0, 1))
        self.assertEqual(of("wire.cases.2", "failed"), (0, 1))

    def test_given_a_filter_that_nothing_matches_when_counted_then_it_failed(self):
        self.assertEqual(of("wire.cases.costly", "ended well", []), (0, 1))

    def test_given_a_script_that_failed_when_told_of_then_by_the_end_of_its_output(self):
        self.assertEqual(told("apps.cli", "failed"),
                         ["apps.cli failed, and said at its end", "    first", "    last"])
        self.assertEqual(told("apps.cli", "ended well"), [])

    def test_given_a_case_that_failed_when_told_of_then_by_its_reason_alone(self):
        self.assertEqual(told("wire.cases", "failed", ["passed", "failed"]),
                         ["wire.cases: .c1 failed", "    1 is not 2"])

    def test_given_an_executable_that_ended_badly_when_told_of_then_by_the_end_of_its_output(self):
        for cases in (None, [], ["passed"]):
            self.assertEqual(told("wire.cases", "failed", cases),
                             ["wire.cases failed, and said at its end", "    first", "    last"])


if __name__ == "__main__":
    unittest.main()
