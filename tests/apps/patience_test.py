"""Clients wait for a server that is about to start, and servers say when there are too many of them.
Usage: patience_test.py BIN_DIR"""

import signal
import time
import unittest

import commands
from commands import Tool


class WaitForServerTest(commands.CommandsTest):
    def client_first(self, client_arguments, server_arguments, client_status=0):
        """Starts the client, and only when it has tried its server."""
        client = self.start(*client_arguments, "--wait-for-server", str(commands.PATIENCE_S), "fd00::1")
        self.until_on_fabric(1)
        server = self.serve(*server_arguments)
        self.assertEqual(client.wait(), client_status, client.rest(client.err))
        return client, server

    def until_on_fabric(self, ports):
        """Until so many ports have joined the fabric."""
        folder = f"/dev/shm/qpip.{commands.os.getuid()}.{self.fabric[4:]}"
        deadline = time.monotonic() + commands.PATIENCE_S
        while time.monotonic() < deadline:
            try:
                if len([name for name in commands.os.listdir(folder) if name.startswith("port.")]) >= ports:
                    return
            except FileNotFoundError:
                pass
            time.sleep(0.001)
        self.fail("nobody joined the fabric")

    def test_given_a_ping_that_comes_before_its_server_then_it_waits_for_it(self):
        for how in ((), ("--poll",), ("-l", "1000")):
            client, server = self.client_first(("qpip-ping", "--nic", self.fabric, "-n", "10", *how),
                                               ("qpip-ping", "-s", "--nic", self.fabric))
            self.assertIn("10 sent, 10 received", client.ready())
            self.assertEqual(server.end(), 0)

    def test_given_datagrams_that_come_before_their_server_then_none_counts_as_lost(self):
        client, server = self.client_first(
            ("qpip-ping", "-u", "--nic", self.fabric, "-n", "10", "--timeout", "0.05"),
            ("qpip-ping", "-s", "--nic", self.fabric))
        self.assertIn("10 sent, 10 received", client.ready())
        self.assertEqual(server.end(), 0)

    def test_given_a_transmitter_that_comes_before_its_receiver_then_it_waits_for_it(self):
        for how in ((), ("--stream",)):
            client, server = self.client_first(
                ("qpip-ttcp", "-t", "--nic", self.fabric, "--verify", "-n", "100", *how),
                ("qpip-ttcp", "-r", "--nic", self.fabric, "--verify", *how))
            self.assertEqual(server.wait(), 0)
            self.assertRegex(server.ready(), "^ttcp-r: 819200 bytes")

    def test_given_a_server_whose_nic_is_there_before_its_port_then_the_client_waits_for_it(self):
        other = self.serve("qpip-nbd-server", "--nic", self.fabric, self.disk())
        client = self.start("qpip-ping", "--nic", self.fabric, "-n", "10", "--wait-for-server",
                            str(commands.PATIENCE_S), "fd00::1")
        self.until_on_fabric(2)
        self.assertEqual(other.end(), 0)
        server = self.serve("qpip-ping", "-s", "--nic", self.fabric)
        self.assertEqual(client.wait(), 0)
        self.assertEqual(server.end(), 0)

    def test_given_no_patience_when_there_is_no_server_then_the_failure_comes_at_once(self):
        for command in (("qpip-ping",), ("qpip-ttcp", "-t")):
            status, out, err = self.run_command(*command, "--nic", self.fabric, "--wait-for-server", "0", "fd00::1")
            self.assertEqual((status, out, len(err)), (1, [], 1))

    def test_given_a_client_that_waits_for_a_server_when_interrupted_then_it_ends(self):
        for command in (("qpip-ping",), ("qpip-ping", "-u"), ("qpip-ttcp", "-t")):
            client = self.start(*command, "--nic", self.fabric, "--wait-for-server", "3600", "fd00::1")
            self.until_on_fabric(1)
            self.assertEqual(client.end(signal.SIGINT), 1)
            self.assertRegex(client.error(), "^qpip-[a-z]+: interrupted: ")


class ManyClientsTest(commands.CommandsTest):
    def test_given_as_many_clients_as_the_echo_server_takes_then_it_says_so_and_the_next_waits(self):
        there = f"udp:127.0.0.1:{self.port}"
        server = self.serve("qpip-ping", "-s", "-l", "64", "--nic", there)
        self.serve("qpip-nbd-client", "--nic", f"udp:127.0.0.1:0?peer=127.0.0.1:{self.port}", "--socket",
                   self.path("s"), "--keep-serving", "[fd00::1]:7")
        tools = []
        self.addCleanup(lambda: [tool.close() for tool in tools])
        for number in range(255):
            tools.append(Tool(self.path("s")))
            self.assertTrue(self.echoes(tools[-1]), number)
        self.assertRegex(server.error(), "^qpip-ping: 255 clients are connected, which is the most: others wait")
        tools.append(Tool(self.path("s")))
        tools[-1].socket.sendall(b"later")
        tools[0].close()
        self.assertEqual(tools[-1].socket.recv(5), b"later")
        self.assertEqual(server.end(), 0)

    def echoes(self, tool):
        tool.socket.sendall(b"hello")
        return tool.socket.recv(5) == b"hello"


if __name__ == "__main__":
    unittest.main(verbosity=2)
