"""SIGINT and SIGTERM end every wait at once, and the command reports what it has; whatever bytes are in
its names. Usage: signals_test.py BIN_DIR"""

import json
import signal
import socket
import time
import unittest

import commands
from commands import Tool

NOT_UTF8 = b"\xff\xfe'\"\\ disk"


class SignalsTest(commands.CommandsTest):
    def black_hole(self):
        """A wire to nowhere; `self.hole` receives what is sent into it."""
        self.hole = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.hole.close)
        self.hole.settimeout(commands.PATIENCE_S)
        self.hole.bind(("127.0.0.1", 0))
        return f"udp:127.0.0.1:0?peer=127.0.0.1:{self.hole.getsockname()[1]}"

    def check_interrupted(self, process, number=signal.SIGINT):
        self.hole.recv(65536)  # it has sent, and waits for what will not come
        self.assertEqual(process.end(number), 1)
        self.assertRegex(process.error(), "^qpip-[a-z]+: interrupted: ")
        self.assertEqual(process.rest(process.out), [])

    def test_given_a_ping_that_connects_when_interrupted_then_it_ends(self):
        self.check_interrupted(self.start("qpip-ping", "--nic", self.black_hole(), "fd00::1"))

    def test_given_a_ping_that_waits_for_a_datagram_when_interrupted_then_it_ends(self):
        for mode in ("--wait", "--poll"):
            self.check_interrupted(self.start("qpip-ping", "-u", mode, "--timeout", "3600", "--nic",
                                              self.black_hole(), "fd00::1"))

    def test_given_a_transmitter_that_connects_when_terminated_then_it_ends(self):
        self.check_interrupted(self.start("qpip-ttcp", "-t", "--nic", self.black_hole(), "fd00::1"),
                               signal.SIGTERM)

    def test_given_an_nbd_client_that_connects_when_terminated_then_it_ends(self):
        client = self.serve("qpip-nbd-client", "--nic", self.black_hole(), "--socket", self.path("s"),
                            "--wait-for-server", "3600", "fd00::1")
        tool = Tool(self.path("s"))
        self.addCleanup(tool.close)
        self.hole.recv(65536)
        self.assertEqual(client.end(), 0)
        self.assertRegex(client.ready(), "^relayed 1 connections, 0 bytes")
        self.assertTrue(tool.hung_up())

    def test_given_an_nbd_server_whose_client_is_stopped_in_a_write_when_terminated_then_it_ends(self):
        server = self.serve("qpip-nbd-server", "--nic", f"udp:127.0.0.1:{self.port}", self.disk())
        client = self.serve("qpip-nbd-client", "--nic", f"udp:127.0.0.1:0?peer=127.0.0.1:{self.port}",
                            "--socket", self.path("s"), "fd00::1")
        tool = Tool(self.path("s")).choose()
        self.addCleanup(tool.close)
        self.assertTrue(tool.works())
        client.process.send_signal(signal.SIGSTOP)
        self.assertEqual(server.end(), 0)
        self.assertRegex(server.ready(), "^served 1 connections, 1 requests, 512 bytes read")

    def test_given_a_busy_transfer_when_either_end_is_terminated_then_both_report(self):
        for victim in (0, 1):
            receiver = self.serve("qpip-ttcp", "-r", "--nic", self.fabric)
            transmitter = self.start("qpip-ttcp", "-t", "--nic", self.fabric, "-n", "1G", "fd00::1")
            self.until_busy(receiver)
            ends = (receiver, transmitter)
            self.assertEqual(ends[victim].end(), 1)
            self.assertRegex(ends[victim].error(), "^qpip-ttcp: interrupted after [1-9][0-9]* bytes")
            self.assertEqual(ends[1 - victim].wait(), 1)
            # A reset does not wait for room in a full ring when its NIC closes: then that is what is told.
            self.assertRegex(ends[1 - victim].error(), "(connection reset by the peer|the peer is gone) .*IBV_WC_")
            for end in ends:
                self.assertRegex(end.ready(), "^ttcp-[rt]: [1-9][0-9]* bytes in ")

    def time_to_end(self, clients):
        """Of an NBD server whose clients ask for more all the while, in seconds."""
        server = self.serve("qpip-nbd-server", "--nic", self.fabric, self.disk())
        self.serve("qpip-nbd-client", "--nic", self.fabric, "--socket", self.path("s"), "--keep-serving", "fd00::1")
        floods = [Tool(self.path("s")).choose().flood() for _ in range(clients)]
        self.until_busy(server)
        start = time.monotonic()
        self.assertEqual(server.end(), 0)
        took = time.monotonic() - start
        self.assertRegex(server.ready(), f"^served {clients} connections, [1-9][0-9]+ requests")
        for flood in floods:
            flood.join(commands.PATIENCE_S)  # its server has hung up
            self.assertFalse(flood.is_alive())
        self.end_all()
        self.processes.clear()
        return took

    def test_given_nbd_clients_that_never_pause_when_the_server_is_terminated_then_it_ends_within_a_second(self):
        for clients in (1, 8):
            # The quickest of some: a busy machine is slow now and then.
            self.assertTrue(any(self.time_to_end(clients) < 1 for _ in range(10)), clients)

    def test_given_a_busy_transfer_when_it_is_terminated_again_and_again_then_it_always_ends(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            for arguments in ((), ("--poll",), ("--stream", "-l", "1M"), ("-l", "64", "--verify")):
                receiver = self.serve("qpip-ttcp", "-r", "--nic", self.fabric, *arguments)
                transmitter = self.start("qpip-ttcp", "-t", "--nic", self.fabric, "-n", "1G", *arguments,
                                         "fd00::1")
                self.until_busy(receiver)
                self.assertEqual(transmitter.end(number), 1)
                self.assertRegex(transmitter.ready(), "^ttcp-t: [1-9][0-9]* bytes in ")
                self.assertEqual(receiver.wait(), 1)

    def test_given_a_busy_ping_when_its_server_is_killed_then_it_reports_and_says_why(self):
        server = self.serve("qpip-ping", "-s", "--nic", self.fabric)
        client = self.start("qpip-ping", "--nic", self.fabric, "-n", "100000000", "--json", "fd00::1")
        self.until_busy(server)
        server.end(signal.SIGKILL)
        self.assertEqual(client.wait(), 1)
        self.assertRegex(client.error(), "^qpip-ping: connection broken: .*the peer is gone")
        result = json.loads(client.ready())
        self.assertGreater(result["received"], 0)
        self.assertIn("the peer is gone", result["error"])

    def test_given_a_port_that_nobody_has_when_pinged_by_datagrams_then_it_says_so_at_once(self):
        self.serve("qpip-nbd-server", "--nic", self.fabric, self.disk())
        for mode in ("--wait", "--poll"):
            status, out, err = self.run_command("qpip-ping", "--nic", self.fabric, "-u", mode,
                                                "--timeout", "3600", "fd00::1")
            self.assertEqual((status, out, len(err)), (1, [], 1))
            self.assertIn("port unreachable", err[0])

    def test_given_a_ping_that_lost_its_server_when_interrupted_then_it_reports_what_came_back(self):
        server = self.serve("qpip-ping", "-s", "-u", "--nic", self.fabric)
        client = self.start("qpip-ping", "-u", "--nic", self.fabric, "-n", "100000000", "--timeout",
                            "3600", "--json", "fd00::1")
        self.until_busy(server)
        server.end(signal.SIGKILL)  # one that ends in order may still answer: port unreachable
        self.assertEqual(client.end(signal.SIGINT), 0)
        result = json.loads(client.ready())
        self.assertGreater(result["received"], 0)
        self.assertEqual(result["lost"], 0)


    def test_given_a_sweep_of_sizes_when_interrupted_then_it_does_not_say_that_all_were_measured(self):
        self.serve("qpip-perf", "-s", "--nic", self.fabric)
        self.serve("qpip-ping", "-s", "--nic", f"{self.fabric}?address=fd00::9")
        for command in (("qpip-perf", "read", "fd00::1"), ("qpip-perf", "--bandwidth", "write", "fd00::1"),
                        ("qpip-ping", "fd00::9")):
            sweep = self.start(command[0], "--nic", self.fabric, "--json", "--all-sizes", "-n", "20000", *command[1:])
            self.assertEqual(json.loads(sweep.ready()).get("length", 1), 1)
            self.assertEqual(sweep.end(signal.SIGINT), 1)
            self.assertRegex(sweep.error(), f"^{command[0]}: interrupted: ")

    def test_given_a_test_that_never_stands_still_when_interrupted_then_it_ends_at_once(self):
        self.serve("qpip-perf", "-s", "--nic", self.fabric)
        for arguments in (("read",), ("--bandwidth", "write")):
            client = self.start("qpip-perf", "--nic", self.fabric, "-n", "1000000000", *arguments, "fd00::1")
            client.ticks_at_start = 0
            self.until_busy(client)
            self.assertEqual(client.end(signal.SIGINT), 1)
            self.assertRegex(client.error(), "^qpip-perf: interrupted: ")


class BytesTest(commands.CommandsTest):
    def test_given_a_file_name_that_is_no_utf8_then_json_lines_are_whole(self):
        name = commands.os.fsencode(self.work) + b"/" + NOT_UTF8
        with open(name, "wb") as file:
            file.truncate(4096)
        server = self.serve_json("qpip-nbd-server", "--json", "--nic", self.fabric, name)
        self.assertEqual(server["exports"][0]["name"], "\ufffd\ufffd'\"\\ disk")
        client = self.serve_json("qpip-nbd-client", "--json", "--nic", self.fabric, "--socket",
                                 name + b".s", "fd00::1")
        self.assertTrue(client["ready"].endswith("/%FF%FE%27%22%5C%20disk.s"), client)
        self.assertIn("address", client)

    def serve_json(self, command, *arguments):
        process = self.start(command, *arguments)
        answer = json.loads(process.line(process.out).decode())
        self.addCleanup(lambda: self.assertEqual(process.end(), 0))
        return answer

    def test_given_a_recording_whose_name_is_no_utf8_then_the_statistics_are_whole(self):
        nic = commands.os.fsencode(f"{self.fabric}?checksum=1")
        self.serve("qpip-ping", "-s", "--nic", nic)
        status, out, err = self.run_command(
            "qpip-ping", "--json", "--statistics", "-n", "3", "--nic",
            nic + b"&pcap=" + commands.os.fsencode(self.work) + b"/\xff.pcap", "fd00::1")
        self.assertEqual((status, err), (0, []))
        self.assertIn("counters", commands.last_json(out)["nic"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
