#!/usr/bin/env python3
"""tools/setup on systems that have all packages, lack some, or have another package manager.

Usage: setup_test.py SOURCE_DIR

dpkg-query, apt-cache and apt-get are scripts of this test, so nothing is installed.
"""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SETUP = Path(sys.argv.pop(1)).resolve() / "tools/setup"
TOOLS = ("bash", "cat", "sed", "awk", "sort", "comm", "grep", "tr", "cut", "paste", "head", "sleep", "env", "dirname")

# A package is installed when its name is in `installed`, and apt knows it when it is in no `unknown`.
DPKG_QUERY = """#!/bin/bash
for name in "$@"; do
  [[ $name == -* ]] || ! grep -qx -- "$name" "$HERE/installed" || echo "installed installed $name"
done
"""
APT_CACHE = """#!/bin/bash
[[ $1 == policy ]] || { echo "Depends: clang-14 (>= 14~)"; exit; }
shift
for name in "$@"; do
  echo "$name:"
  if grep -qx -- "$name" "$HERE/unknown"; then echo "  Candidate: (none)"; else echo "  Candidate: 1.0"; fi
done
"""
APT_GET = """#!/bin/bash
verb=""
for word in "$@"; do
  case $word in
    update) echo update >>"$HERE/log" ;;
    install) verb=install ;;
    -*) ;;
    *) [[ -z $verb ]] || { grep -qx -- "$word" "$HERE/unknown" && exit 100; echo "$word" >>"$HERE/installed"; } ;;
  esac
done
"""


class System:
    """A folder that is all of PATH. Scripts of the test see it as $HERE."""

    def __init__(self, test, apt=True, unknown=(), commands=()):
        folder = tempfile.TemporaryDirectory()
        test.addCleanup(folder.cleanup)
        self.here = Path(folder.name)
        (self.here / "installed").write_text("")
        (self.here / "unknown").write_text("".join(name + "\n" for name in unknown))
        for tool in TOOLS:
            (self.here / tool).symlink_to(subprocess.check_output(["which", tool], text=True).strip())
        self.script("id", "#!/bin/bash\necho 0\n")
        if apt:
            self.script("dpkg-query", DPKG_QUERY)
            self.script("apt-cache", APT_CACHE)
            self.script("apt-get", APT_GET)
        for command in commands:
            self.script(command, "#!/bin/bash\n")

    def script(self, name, text):
        (self.here / name).write_text(text)
        (self.here / name).chmod(0o755)

    def run(self, *arguments):
        return subprocess.run([self.here / "bash", SETUP, *arguments], capture_output=True, text=True,
                              env={"PATH": str(self.here), "HERE": str(self.here)})

    def installed(self):
        return (self.here / "installed").read_text().split()


class Setup(unittest.TestCase):
    def test_given_apt_that_has_everything_when_run_twice_then_all_is_installed_once_in_silence(self):
        system = System(self)
        first = system.run()
        self.assertEqual((first.returncode, first.stderr), (0, ""))
        names = system.installed()
        self.assertEqual(len(names), len(set(names)))
        self.assertTrue({"cmake", "libns3-dev", "libclang-rt-14-dev", "doxygen"} <= set(names), names)
        second = system.run()
        self.assertEqual((second.returncode, second.stdout + second.stderr), (0, ""))
        self.assertEqual(system.installed(), names)
        self.assertEqual(system.run("--check").returncode, 0)

    def test_given_apt_without_ns3_when_run_then_the_rest_is_installed_and_a_line_says_what_is_left_out(self):
        system = System(self, unknown=["libns3-dev", "ns3"])
        done = system.run()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("libnbd-bin", system.installed())
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn("libns3-dev ns3: the simulated NIC left out", done.stderr)

    def test_given_apt_without_a_compiler_when_run_then_it_fails_and_names_it(self):
        system = System(self, unknown=["build-essential"])
        done = system.run()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("build-essential", done.stderr)

    def test_given_no_apt_when_run_then_it_says_what_is_needed_and_goes_on_if_there_is_a_compiler(self):
        done = System(self, apt=False, commands=["c++", "cmake", "ninja", "pkg-config"]).run()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("libibverbs-dev", done.stderr)
        done = System(self, apt=False, commands=["cmake"]).run()
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is no c++", done.stderr)

    def test_given_missing_packages_when_checked_then_they_are_listed_and_nothing_is_installed(self):
        system = System(self)
        done = system.run("--check")
        self.assertEqual(done.returncode, 1)
        self.assertIn("cmake", done.stdout.split())
        self.assertEqual(system.installed(), [])


if __name__ == "__main__":
    unittest.main()
