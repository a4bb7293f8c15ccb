#!/usr/bin/env python3
"""tools/include_graph on small trees: what is a cycle, what is none, and how it is reported."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "include_graph"


def run(files, *arguments):
    """Writes `files` (path -> text) to a folder of their own and runs the tool on it."""
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return subprocess.run([sys.executable, TOOL, "--root", root, *arguments],
                              capture_output=True, text=True)


class IncludeGraph(unittest.TestCase):
    def test_given_a_tree_when_checked_then_it_is_printed_from_the_bottom_up(self):
        got = run({"a/low.h": "", "a/high.h": '#include "a/low.h"\n', "a/high.cc": '#include "a/high.h"\n'}, "a")
        self.assertEqual((got.returncode, got.stderr), (0, ""))
        self.assertEqual(got.stdout, "a/low\na/high -> a/low\n")

    def test_given_a_source_that_closes_a_cycle_of_stems_when_checked_then_each_line_of_it_is_named(self):
        got = run({"a/one.h": "", "a/one.cc": '\n#include "a/two.h"\n', "a/two.h": '#include "three.h"\n',
                   "a/three.h": "", "a/three.cc": '  #  include "a/one.h"\n'}, "a")
        self.assertEqual(got.returncode, 1)
        for line in ["a/one.cc:2 includes a/two.h", "a/two.h:1 includes a/three.h", "a/three.cc:1 includes a/one.h"]:
            self.assertIn(line, got.stderr)

    def test_given_two_folders_in_a_cycle_without_one_of_files_when_checked_then_only_folders_fail(self):
        files = {"x/a/low.h": "", "x/b/mid.h": '#include "x/a/low.h"\n', "x/a/high.h": '#include "x/b/mid.h"\n'}
        self.assertEqual(run(files, "x").returncode, 0)
        got = run(files, "--by", "folder", "x")
        self.assertEqual(got.returncode, 1)
        self.assertIn("cycle: x/a -> x/b -> x/a", got.stderr)
        self.assertEqual(run(files, "--by", "folder", "--into", "0", "x").returncode, 0)

    def test_given_layers_and_an_include_folder_when_checked_then_the_edge_is_found(self):
        got = run({"lib/include/pub/pub.h": "", "lib/src/pub.cc": '#include "low/low.h"\n',
                   "low/low.h": '#include "pub/pub.h"\n'}, "--by", "folder", "--into", "0", "lib", "low")
        self.assertEqual(got.returncode, 1)
        self.assertIn("low/low.h:1 includes lib/include/pub/pub.h", got.stderr)

    def test_given_a_longer_cycle_beside_a_short_one_when_checked_then_the_short_one_and_the_knot_are_shown(self):
        got = run({"a/p.h": '#include "a/q.h"\n', "a/q.h": '#include "a/r.h"\n#include "a/p.h"\n',
                   "a/r.h": '#include "a/p.h"\n'}, "a")
        self.assertIn("cycle: a/p -> a/q -> a/p", got.stderr)
        self.assertIn("the knot has 3 nodes: a/p, a/q, a/r", got.stderr)

    def test_given_an_include_that_leads_nowhere_when_checked_then_it_is_no_tree(self):
        got = run({"a/one.h": '#include "a/gone.h"\n'}, "a")
        self.assertEqual((got.returncode, got.stderr), (1, "a/one.h:1: there is no a/gone.h\n"))

    def test_given_a_wrong_folder_when_checked_then_it_is_bad_usage(self):
        for arguments in [["missing"], [], ["a", "--by", "word"], ["a", "--into", "1"], ["empty"]]:
            got = run({"a/one.h": "", "empty/readme": ""}, *arguments)
            self.assertEqual(got.returncode, 2, arguments)


if __name__ == "__main__":
    unittest.main()
