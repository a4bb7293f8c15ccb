"""Nobody who is silent, or whose machine has died, holds a server for ever. Usage: silence_test.py BIN_DIR"""

import os
import shutil
import signal
import time
import unittest

import commands
from commands import Tool

# Nobody answers; or, as the machine is there, its kernel says meanwhile that the port is closed.
GONE = "(the peer does not answer any more|the peer is gone)"
# Dead after a second of silence and one probe, a second later; or when a second's data is not acknowledged.
PROBES = "keepalive_interval_s=1&keepalive_probes=1&user_timeout_ms=1000"


# The same, however long data is not acknowledged.
PROBES_ALONE = "keepalive_interval_s=1&keepalive_probes=1&user_timeout_ms=3600000"


class SilenceTest(commands.CommandsTest):
    def setUp(self):
        super().setUp()
        # Over udp: nothing tells that a peer's process is dead, as when its machine is.
        self.there = f"udp:127.0.0.1:{self.port}"
        self.here = f"udp:127.0.0.1:0?peer=127.0.0.1:{self.port}"

    def connect(self, nic, *arguments):
        self.socket = self.path("s")
        return self.serve("qpip-nbd-client", "--nic", nic, "--socket", self.socket, "--keep-serving",
                          *arguments)

    @staticmethod
    def text(path):
        with open(path) as file:
            return file.read()

    def tool(self):
        tool = Tool(self.socket)
        self.addCleanup(tool.close)
        return tool

    def test_given_64_clients_that_choose_nothing_then_the_server_serves_the_next_one(self):
        server = self.serve("qpip-nbd-server", "--nic", self.fabric, "--handshake-limit", "1",
                            self.disk())
        self.connect(self.fabric, "fd00::1")
        silent = [self.tool() for _ in range(64)]
        self.assertTrue(all(tool.greeting() for tool in silent))
        self.assertTrue(self.tool().choose().works())
        self.assertRegex(server.error(), "connection ended: .*no export chosen within 1 s")
        self.assertEqual(server.end(), 0)

    def test_given_a_client_that_stops_in_an_option_then_the_server_hangs_up(self):
        server = self.serve("qpip-nbd-server", "--nic", self.fabric, "--handshake-limit", "0.5",
                            self.disk())
        self.connect(self.fabric, "fd00::1")
        tool = self.tool()
        self.assertTrue(tool.greeting())
        tool.socket.sendall(b"\0\0\0\3IHAV")
        self.assertTrue(tool.hung_up())
        self.assertRegex(server.error(), "connection ended: .*no export chosen within 1 s")
        self.assertEqual(server.end(), 0)

    def test_given_a_client_that_has_chosen_then_it_may_be_silent(self):
        server = self.serve("qpip-nbd-server", "--nic", self.fabric, "--handshake-limit", "0.2",
                            self.disk())
        self.connect(self.fabric, "fd00::1")
        chosen, silent = self.tool().choose(), self.tool()
        self.assertTrue(silent.greeting() and silent.hung_up())  # by now the limit is over
        self.assertTrue(chosen.works())
        self.assertEqual(server.end(), 0)

    def test_given_a_dead_machine_then_the_nbd_server_lets_go_of_it(self):
        server = self.serve("qpip-nbd-server", "--nic", f"{self.there}?{PROBES}", "--keepalive", "1",
                            self.disk())
        client = self.connect(self.here, "fd00::1")
        self.tool().choose()
        client.end(signal.SIGKILL)
        self.assertRegex(server.error(), f"connection ended: .*{GONE}")
        self.assertEqual(server.end(), 0)

    def test_given_a_dead_machine_then_the_relay_to_it_lets_go_of_its_tool(self):
        for options in ((), ("--vconn",)):
            server = self.serve("qpip-nbd-server", "--nic", self.there, *options, self.disk())
            relay = self.connect(f"{self.here}&{PROBES_ALONE}", "--keepalive", "1", *options, "fd00::1")
            tool = self.tool().choose()
            self.assertTrue(tool.works())
            server.process.send_signal(signal.SIGSTOP)
            self.assertTrue(tool.hung_up())
            server.end(signal.SIGKILL)
            self.assertEqual(relay.end(), 0)

    def test_given_a_dead_machine_then_the_echo_server_with_once_ends(self):
        server = self.serve("qpip-ping", "-s", "--once", "--nic", f"{self.there}?{PROBES}", "--keepalive",
                            "1")
        client = self.connect(self.here, "[fd00::1]:7")
        tool = self.tool()
        tool.socket.sendall(b"hello")
        self.assertEqual(tool.socket.recv(5), b"hello")
        client.end(signal.SIGKILL)
        self.assertEqual(server.wait(), 0)

    def test_given_a_client_that_says_nothing_then_the_echo_server_hangs_up(self):
        server = self.serve("qpip-ping", "-s", "--nic", self.fabric, "--idle", "0.5")
        self.connect(self.fabric, "[fd00::1]:7")
        self.assertTrue(self.tool().hung_up())
        self.assertEqual(server.end(), 0)

    @unittest.skipIf(shutil.which("nbdkit") is None, "no nbdkit")
    def test_given_a_dead_machine_then_the_nbd_client_lets_go_of_it(self):
        # A read that is acknowledged, and never answered: then the client has nothing to send.
        log = self.path("log")
        nbdkit = commands.Process(["nbdkit", "-f", "-U", self.path("k"), "--filter=log", "--filter=delay",
                                   "--filter=noextents", "memory", "1M", "rdelay=3600", f"logfile={log}"])
        self.processes.append(nbdkit)
        while not os.path.exists(self.path("k")):
            self.assertTrue(nbdkit.runs())
            time.sleep(0.01)
        server = self.serve("qpip-nbd-server", "--nic", self.there, f"nbd+unix:///?socket={self.path('k')}")
        copying = self.start("qpip-nbd-copy", "--nic", f"{self.here}&{PROBES_ALONE}", "--keepalive", "1", "--reconnect", "0",
                             "nbd+qp://[fd00::1]/nbd", self.path("copy"))
        while "Read " not in self.text(log):
            self.assertTrue(copying.runs())
            time.sleep(0.01)
        server.process.send_signal(signal.SIGSTOP)
        self.assertEqual(copying.wait(), 1)

    def test_given_a_dead_machine_then_the_perf_server_lets_go_of_it(self):
        # A writer, to which the server has nothing to say; asked after ten seconds of silence.
        server = self.serve("qpip-perf", "-s", "--once", "--nic", f"{self.there}?{PROBES_ALONE}")
        client = self.start("qpip-perf", "--nic", self.here, "--bandwidth", "-n", "100000000", "write", "fd00::1")
        self.assertIn("write", server.ready())
        self.until_busy(server)
        client.end(signal.SIGKILL)
        self.assertRegex(server.error(), f"^qpip-perf: .*{GONE}")
        self.assertEqual(server.wait(), 1)

    def start_transfer(self, receiver_nic, *arguments):
        receiver = self.serve("qpip-ttcp", "-r", "--nic", receiver_nic, *arguments)
        transmitter = self.start("qpip-ttcp", "-t", "--nic", self.here, "-n", "1G", *arguments, "fd00::1")
        self.until_busy(receiver)
        return receiver, transmitter

    def test_given_a_dead_transmitter_then_the_receiver_says_so_and_what_it_has(self):
        receiver, transmitter = self.start_transfer(f"{self.there}?{PROBES}", "--keepalive", "1")
        transmitter.end(signal.SIGKILL)
        self.assertRegex(receiver.error(), f"^qpip-ttcp: .*{GONE}")
        self.assertEqual(receiver.wait(), 1)
        self.assertRegex(receiver.ready(), "^ttcp-r: [1-9][0-9]* bytes in ")

    def test_given_a_stopped_transmitter_then_the_receiver_gives_up(self):
        receiver, transmitter = self.start_transfer(self.there, "--timeout", "1")
        transmitter.process.send_signal(signal.SIGSTOP)
        self.assertRegex(receiver.error(), "^qpip-ttcp: transfer stands still after [1-9]")
        self.assertEqual(receiver.wait(), 1)

    def test_given_a_stopped_receiver_then_the_transmitter_gives_up(self):
        receiver, transmitter = self.start_transfer(self.there, "--timeout", "1")
        receiver.process.send_signal(signal.SIGSTOP)
        self.assertRegex(transmitter.error(), "^qpip-ttcp: transfer stands still after [1-9]")
        self.assertEqual(transmitter.wait(), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
