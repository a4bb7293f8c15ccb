#!/usr/bin/env python3
"""tools/tidy finds in sources that it looks at together what it finds in each alone.

Usage: tidy_test.py SOURCE_DIR
"""

import importlib.machinery
import importlib.util
import json
import os
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1)).resolve()
LOADER = importlib.machinery.SourceFileLoader("tidy", str(ROOT / "tools/tidy"))
tidy = importlib.util.module_from_spec(importlib.util.spec_from_loader("tidy", LOADER))
LOADER.exec_module(tidy)

CLEAN = "namespace {\nint Twice(int x) { return 2 * x; }\n}\nint Clean(int x) { return Twice(x); }\n"
FINDINGS = {
    "a parameter that is copied": "#include <string>\nint Size(std::string text) { return int(text.size()); }\n",
    "an unused declaration": "#include <algorithm>\nusing std::sort;\n",
    "an unused constant": "constexpr int kNothing = 3;\n",
    "an unused function": "static int Nothing() { return 3; }\n",
    "a missing include": "std::string Text() { return {}; }\n",
}


class TidyTest(unittest.TestCase):
    def look(self, *texts):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        folder = Path(directory.name) / "apps"  # a name that .clang-tidy's filter knows
        folder.mkdir()
        commands, group = [], []
        for number, text in enumerate(texts):
            source = folder / f"source{number}.cc"
            source.write_text(text)
            group.append(os.path.realpath(source))
            commands.append({"file": str(source), "directory": str(folder),
                             "command": f"/usr/bin/c++ -std=c++20 -Wall -Wextra -Werror -o x.o -c {source}"})
        (folder / "compile_commands.json").write_text(json.dumps(commands))
        self.tidy = tidy.Tidy(folder)
        return self.tidy.look(group)

    def test_given_sources_without_findings_when_looked_at_together_then_once_and_none(self):
        self.assertEqual([(len(group), good) for group, good, _ in self.look(CLEAN, "int Other() { return 1; }\n")],
                         [(2, True)])

    def test_given_each_finding_when_looked_at_beside_a_clean_source_then_it_is_found(self):
        for name, text in FINDINGS.items():
            parts = self.look("#include <string>\n" + CLEAN, text)
            self.assertFalse(all(good for _, good, _ in parts), name)

    def test_given_names_that_collide_when_looked_at_then_they_are_parted_and_clean(self):
        parts = self.look(CLEAN, CLEAN.replace("Clean", "Other"))
        self.assertEqual([(len(group), good) for group, good, _ in parts], [(1, True), (1, True)], parts)

    def test_given_a_source_that_was_looked_at_when_a_header_of_the_project_changes_then_so_does_its_digest(self):
        with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
            header = Path(folder) / "number.h"
            header.write_text("inline int Number() { return 1; }\n")
            self.look(f'#include "{header}"\n' + CLEAN)
            (files,) = self.tidy.included.values()
            before = tidy.digest(files)
            header.write_text("inline int Number() { return 2; }\n")
            self.assertIn(str(header), files)
            self.assertNotEqual(before, tidy.digest(files))


if __name__ == "__main__":
    unittest.main()
