"""Programs of Debian's, as they are, on qpip-run: processes that write to files, and what becomes of them.

tests/verbs and tests/preload have their own classes on top."""
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

DEADLINE = 100  # seconds; a program that hangs fails


def program(name):
    """Skips the case where the program is not installed."""
    if shutil.which(name) is None:
        raise unittest.SkipTest(f"there is no {name}")
    return name


class Processes(unittest.TestCase):
    run_command = None  # path of qpip-run
    kind = None  # begins the fabrics' names
    fabrics = 0

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.running = []
        self.addCleanup(self.stop)
        self.new_fabric()

    def new_fabric(self):
        """Pairs of one case know nothing of each other."""
        Processes.fabrics += 1
        self.fabric = f"shm:{self.kind}-{os.getpid()}-{Processes.fabrics}"

    def stop(self):
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with whom it has started
            process.wait()
        self.running.clear()

    def file(self, name, size=None):
        """A path; with `size` a file of so many bytes that nobody can guess."""
        path = os.path.join(self.directory, name)
        if size is not None:
            with open(path, "wb") as out:
                out.write(os.urandom(size))
        return path

    def run_program(self, prefix, arguments, stdin=subprocess.DEVNULL, more_environment=None):
        """Output goes to a file: who writes much waits for nobody."""
        output = open(self.file(f"output-{len(self.running)}-{time.monotonic_ns()}"), "w+", encoding="utf-8",
                      errors="replace")
        self.addCleanup(output.close)
        process = subprocess.Popen([*prefix, program(arguments[0]), *arguments[1:]], stdin=stdin, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True, cwd=self.directory,
                                   env={**os.environ, **(more_environment or {})})
        process.output = output
        self.running.append(process)
        return process

    def text(self, process):
        # By name: through the descriptor that the process has, too, reading would move where it writes.
        with open(process.output.name, encoding="utf-8", errors="replace") as output:
            return output.read()

    def finish(self, process, status=0):
        """The process's output. `status`: what it must end with; None: anything, but it must end."""
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.fail(f"{process.args} does not end:\n{self.text(process)}")
        text = self.text(process)
        if status is not None:
            self.assertEqual(process.returncode, status, f"{process.args}:\n{text}")
        return text

    def same(self, a, b):
        with open(a, "rb") as one, open(b, "rb") as two:
            self.assertTrue(one.read() == two.read(), f"{a} and {b} differ")


def main(namespace):
    """QPIP_RUN CASE...: classes of `namespace`. Exit status 77: what there is to run has passed, but some program is not installed."""
    Processes.run_command = os.path.abspath(sys.argv[1])
    suite = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromName(name, namespace) for name in sys.argv[2:])
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    if not result.wasSuccessful():
        return 1
    return 77 if result.skipped or result.testsRun == 0 else 0
