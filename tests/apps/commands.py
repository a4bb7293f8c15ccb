"""The commands as processes, for tests of what they do when something is lacking or silent.

Every test case has a directory and a fabric of its own, ends only the processes that it started, and
waits for lines of output and for ends of processes, never for time to pass.
"""

import json
import os
import queue
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

BIN = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/bin")
PATIENCE_S = 60  # of a wait that is expected to end at once; for machines that are busy
UNPRIVILEGED = 64321  # a user that has no process: the limit on processes binds it, and not root


class Process:
    """A command that runs, and its output line by line."""

    def __init__(self, arguments, user=None, preexec=None):
        self.as_user = []
        if user is not None and os.geteuid() == 0:
            self.as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        self.process = subprocess.Popen(self.as_user + arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, preexec_fn=preexec)
        self.pid = self.process.pid
        self.out = self._lines_of(self.process.stdout)
        self.err = self._lines_of(self.process.stderr)

    @staticmethod
    def _lines_of(stream):
        lines = queue.Queue()

        def read():
            for line in stream:
                lines.put(line)
            lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        return lines

    @staticmethod
    def line(lines):
        """The next line, in bytes without its end; None behind the last."""
        line = lines.get(timeout=PATIENCE_S)
        return None if line is None else line.rstrip(b"\n")

    @staticmethod
    def rest(lines):
        return list(iter(lambda: Process.line(lines), None))

    def ready(self):
        line = self.line(self.out)
        if line is None:
            raise AssertionError(f"not ready: {self.rest(self.err)}")
        return line.decode()

    def error(self):
        """The next line on stderr."""
        line = self.line(self.err)
        if line is None:
            raise AssertionError(f"no line on stderr; status {self.wait()}")
        return line.decode()

    def runs(self):
        return self.process.poll() is None

    def wait(self):
        return self.process.wait(timeout=PATIENCE_S)

    def end(self, number=signal.SIGTERM):
        """Sends a signal. Returns the status."""
        self.process.send_signal(number)
        return self.wait()

    def limit(self, what, soft):
        resource.prlimit(self.pid, what, (soft, resource.prlimit(self.pid, what)[1]))

    def allow_threads(self, more):
        # As its own user: a root that is confined may not reach another's process.
        soft = resource.getrlimit(resource.RLIMIT_NPROC)[1] if more else 1
        soft = "unlimited" if soft == resource.RLIM_INFINITY else soft
        subprocess.run(self.as_user + ["prlimit", f"--pid={self.pid}", f"--nproc={soft}:"], check=True)

    def allow_no_more_descriptors(self):
        used = [int(fd) for fd in os.listdir(f"/proc/{self.pid}/fd")]
        self.limit(resource.RLIMIT_NOFILE, next(n for n in range(len(used) + 1) if n not in used))

    def allow_no_more_memory(self):
        with open(f"/proc/{self.pid}/statm") as statm:
            pages = int(statm.read().split()[0])
        self.limit(resource.RLIMIT_AS, pages * resource.getpagesize() + (1 << 20))


def sanitized():
    """Sanitizers need more address space than a limit leaves them."""
    with open(os.path.join(BIN, "qpip-ping"), "rb") as binary:
        return b"__asan_init" in binary.read() or b"__tsan_init" in binary.read()


class CommandsTest(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.mkdtemp(prefix="qpip-apps.")
        os.chmod(self.work, 0o755)
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        self.fabric = f"shm:apps-{os.getpid()}-{self._testMethodName[-20:]}"
        folder = f"/dev/shm/qpip.{os.getuid()}.{self.fabric[4:]}"
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.processes = []
        self.addCleanup(self.end_all)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def end_all(self):
        for process in self.processes:
            if process.runs():
                process.process.kill()
            process.process.wait()
            process.process.stdout.close()
            process.process.stderr.close()

    def path(self, name):
        return os.path.join(self.work, name)

    def start(self, command, *arguments, **how):
        """Runs a command in the background."""
        binary = os.path.join(BIN, command)
        if how.get("user") is not None:
            copy = self.path(command)  # the build may lie where only its owner may look
            if not os.path.exists(copy):
                shutil.copy(binary, copy)
            binary = copy
        process = Process([binary, *arguments], **how)
        self.processes.append(process)
        return process

    def serve(self, command, *arguments, **how):
        """The same, of one that says when it is ready."""
        process = self.start(command, *arguments, **how)
        process.ready()
        process.ticks_at_start = self.ticks(process)
        return process

    def run_command(self, command, *arguments):
        """Runs a command to its end. Returns status, stdout and lines of stderr."""
        process = self.start(command, *arguments)
        out, err = process.rest(process.out), process.rest(process.err)
        return process.wait(), [line.decode() for line in out], [line.decode() for line in err]

    def disk(self, name="disk", mebibytes=1):
        path = self.path(name)
        with open(path, "wb") as file:
            file.truncate(mebibytes << 20)
        os.chmod(path, 0o666)
        return path

    @staticmethod
    def ticks(process):
        """Processor time that a process has used, in clock ticks."""
        with open(f"/proc/{process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def until_busy(self, server):
        """Until a process of serve() has worked for somebody for a while: its processor time since it
        was ready tells."""
        while self.ticks(server) - server.ticks_at_start < 20:
            self.assertTrue(server.runs(), "ended before its time")
            time.sleep(0.01)


class Tool:
    """A local NBD tool on a client's Unix socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(path)

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                break
            data += piece
        return data

    def greeting(self):
        """Whether the server greets; False when it hangs up instead."""
        try:
            return len(self._exactly(18)) == 18
        except ConnectionResetError:
            return False

    def hung_up(self):
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def choose(self):
        """Chooses the default export."""
        assert self.greeting()
        self.socket.sendall(struct.pack(">IQII", 3, 0x49484156454F5054, 7, 6) + bytes(6))
        assert len(self._exactly(20 + 12 + 20)) == 52
        return self

    def request(self, command, offset, length, data=b""):
        """Returns the reply's error number, and the data of a read."""
        self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, command, 1, offset, length) + data)
        _, error, _ = struct.unpack(">IIQ", self._exactly(16))
        return error, self._exactly(length) if command == 0 and error == 0 else b""

    def flood(self):
        """Asks for reads without a pause, in threads of its own; returns the one that ends when nothing more
        can be asked for."""

        def ask():
            many = struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, 0, 4096) * 64
            try:
                while True:
                    self.socket.sendall(many)
            except OSError:
                pass

        def take():
            try:
                while self.socket.recv(1 << 20):
                    pass
            except OSError:
                pass
            self.socket.close()

        threads = [threading.Thread(target=work, daemon=True) for work in (ask, take)]
        for thread in threads:
            thread.start()
        return threads[1]

    def works(self):
        return self.request(0, 0, 512) == (0, bytes(512))

    def close(self):
        self.socket.close()


def last_json(lines):
    return json.loads(lines[-1])
