"""Programs of Debian's, as they are, on qpip-run: what the tests of programs_test.py are made with.

Each case is a server and a client, two processes on a fabric of their own in shared memory."""
import os
import selectors
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from programs import DEADLINE, Processes, main, program  # noqa: E402, F401

SERVER = "127.0.0.5"
# What clients say of a server that is not there yet. They are started again then.
REFUSED = ("REJECTED", "UNREACHABLE", "CONNECT_ERROR", "refused", "Couldn't connect", "No route", "error 8",
           "event: 7", "event: 8", "Unable to Connect", "Unable to init the socket", "failed to connect",
           "wait for RDMA_CM_EVENT_ESTABLISHED", "rpoll: Operation now in progress", "Network is unreachable")


class Programs(Processes):
    kind = "verbs"

    def nic(self, address=None, parameters=""):
        query = "&".join(part for part in ([f"address={address}"] if address else []) + [parameters] if part)
        return f"{self.fabric}?{query}" if query else self.fabric

    def command_prefix(self):
        """What qpip-run is started by."""
        return []

    def start(self, arguments, nic, personality="roce", more_environment=None):
        prefix = [*self.command_prefix(), self.run_command, "--nic", nic, "--personality", personality, "--"]
        return self.run_program(prefix, arguments, more_environment=more_environment)

    def connect(self, server, client, nic, personality="roce", address=None, client_address=None, more_environment=None,
                alive=None, done=""):
        """Starts both, the client again for as long as it finds no server. `alive`: tells whether a client that
        still runs has got further. `done`: what a client says that has succeeded. Returns both."""
        first = self.start(server, self.nic(address, nic), personality, more_environment)
        end = time.monotonic() + DEADLINE
        while True:
            second = self.start(client, self.nic(client_address, nic), personality, more_environment)
            if alive is not None:
                alive(second)
            else:
                self.finish(second, None)
            over = second.poll() is None or (second.poll() == 0 and done in self.text(second))
            if over or first.poll() is not None or time.monotonic() > end:
                return first, second
            text = self.text(second)
            if text.strip() and not any(word in text for word in REFUSED):  # Debian 13's cmtime says nothing at all
                return first, second

    def pair(self, server, client, parameters="", personality="roce", server_status=0, done="", **more):
        """Runs both to their ends. Returns the client's output. `server_status`: None: anything; "runs": it goes
        on serving, and is ended, unless it has ended well by itself. `done`: see connect."""
        self.new_fabric()
        first, second = self.connect(server, client, parameters, personality, done=done, **more)
        text = self.text(second)
        self.assertEqual(second.returncode, 0, f"{client}:\n{text}\n{server}:\n{self.text(first)}")
        self.assertIn(done, text)
        if server_status == "runs":
            self.assertIn(first.poll(), (None, 0), f"{server}:\n{self.text(first)}")
        else:
            self.finish(first, server_status)
        self.stop()
        return text

    def exchange(self, name, *options, **more):
        """A program that exchanges numbers of queue pairs over a TCP socket of the kernel's."""
        command = [name, "-p", str(self.port()), *options]
        return self.pair(command, [*command, "localhost"], **more)

    def over_cm(self, name, *options, **more):
        """The same program with librdmacm instead."""
        command = [name, "-R", "-p", str(self.port()), *options]
        return self.pair(command, [*command, SERVER], address=f"::ffff:{SERVER}", **more)

    @staticmethod
    def port():
        """Another process of these tests has another."""
        return 20000 + os.getpid() % 10000

    def kill_one(self, server, client, killed, progress, parameters="", **more):
        """Kills the "server" or the "client" when the client has used `progress` milliseconds of processor time. The
        other one must end by itself, however. Returns its output."""
        self.new_fabric()

        def under_way(process):
            self.await_progress(process, progress)

        first, second = self.connect(server, client, parameters, alive=under_way, **more)
        self.assertIsNone(second.poll(), f"{client} ended by itself:\n{self.text(second)}")
        victim, survivor = (first, second) if killed == "server" else (second, first)
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()
        text = self.finish(survivor, None)
        self.stop()
        return text

    @staticmethod
    def await_progress(process, milliseconds):
        """Until it has used so much processor time, or has ended."""
        ended = os.pidfd_open(process.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(ended, selectors.EVENT_READ)
                while not selector.select(0.005):
                    with open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
                        fields = file.read().rsplit(")", 1)[1].split()
                    ticks = int(fields[11]) + int(fields[12])
                    if ticks * 1000 / os.sysconf("SC_CLK_TCK") >= milliseconds:
                        return
        finally:
            os.close(ended)
