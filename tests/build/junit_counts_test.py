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
    "failed": 'status="fail"><failure message=""/></testcase>',
    "not run": 'status="notrun"><skipped/></testcase>',
}
OF_GOOGLETEST = {
    "passed": 'status="run" result="completed"/>',
    "failed": 'status="run" result="completed"><failure message="x"/></testcase>',
    "skipped": 'status="run" result="skipped"><skipped/></testcase>',
    "disabled": 'status="notrun" result="suppressed"/>',
}


def of(entry, ended, cases=None):
    """What is counted when ctest says that `entry` has `ended` so, and GoogleTest reports `cases`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        report.write_text(f'<testsuite><testcase name="{entry}" {OF_CTEST[ended]}</testsuite>')
        if cases is not None:
            text = "".join(f'<testcase name="c{i}" {OF_GOOGLETEST[case]}' for i, case in enumerate(cases))
            (Path(folder) / f"{entry}.xml").write_text(f"<testsuites><testsuite>{text}</testsuite></testsuites>")
        return junit_counts.counts(report, folder)


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


if __name__ == "__main__":
    unittest.main()
