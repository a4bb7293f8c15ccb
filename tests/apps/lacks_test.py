"""What cannot be had for one connection is that one's loss: it waits or is refused, a line says so, and
the others go on. Usage: lacks_test.py BIN_DIR"""

import resource
import signal
import subprocess
import unittest

import commands
from commands import Tool, UNPRIVILEGED


class NbdTest(commands.CommandsTest):
    def serve_disk(self, parameters="", **how):
        """A server over udp:, whose user's threads are its own alone."""
        self.server = self.serve("qpip-nbd-server", "--nic", f"udp:127.0.0.1:{self.port}{parameters}",
                                 self.disk(), **how)
        return self.server

    def connect(self, *arguments, **how):
        self.socket = self.path("s")
        nic = f"udp:127.0.0.1:0?peer=127.0.0.1:{self.port}"
        self.client = self.serve("qpip-nbd-client", "--nic", nic, "--socket", self.socket, *arguments,
                                 "fd00::1", **how)
        return self.client

    def tool(self):
        tool = Tool(self.socket)
        self.addCleanup(tool.close)
        return tool

    def test_given_no_more_threads_when_a_client_comes_then_the_server_refuses_it_and_serves_on(self):
        server = self.serve_disk(user=UNPRIVILEGED)
        self.connect("--keep-serving")
        first = self.tool().choose()
        server.allow_threads(more=False)
        self.assertFalse(self.tool().greeting())
        self.assertRegex(server.error(), "^qpip-nbd-server: client refused: .*no thread for it")
        self.assertTrue(first.works())
        server.allow_threads(more=True)
        self.assertTrue(self.tool().choose().works())
        self.assertEqual(server.end(), 0)

    def test_given_two_queue_pairs_when_a_third_client_comes_then_it_waits_until_one_leaves(self):
        server = self.serve_disk("?max_qps=2")
        self.connect("--keep-serving")
        first, second = self.tool().choose(), self.tool().choose()
        self.assertRegex(server.error(), "^qpip-nbd-server: no room for another client: ")
        third = self.tool()
        self.assertTrue(first.works() and second.works())
        first.close()
        self.assertTrue(third.choose().works())
        self.assertEqual(server.end(), 0)

    @unittest.skipIf(commands.sanitized(), "a sanitizer needs the address space")
    def test_given_no_more_memory_when_a_client_comes_then_the_server_serves_on(self):
        server = self.serve_disk()
        self.connect("--keep-serving")
        first = self.tool().choose()
        server.allow_no_more_memory()
        self.assertFalse(self.tool().greeting())  # the queue pair was there, a thread's stack is not
        self.assertRegex(server.error(), "^qpip-nbd-server: client refused: .*no thread for it")
        self.assertTrue(first.works())
        server.limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)
        self.assertTrue(self.tool().choose().works())
        self.assertEqual(server.end(), 0)

    def test_given_no_more_descriptors_when_a_client_comes_then_it_waits_until_one_leaves(self):
        server = self.serve_disk()
        self.connect("--keep-serving")
        first = self.tool().choose()
        second = self.tool().choose()
        server.allow_no_more_descriptors()
        # Which of the two has to wait depends on whether the next one on offer was made before, and on
        # the order in which they come.
        third, fourth = self.tool(), self.tool()
        self.assertRegex(server.error(), "^qpip-nbd-server: no room for another client: ")
        self.assertTrue(first.works() and second.works())
        first.close()
        second.close()
        self.assertTrue(third.choose().works() and fourth.choose().works())
        self.assertEqual(server.end(), 0)

    def test_given_no_more_descriptors_when_a_tool_comes_then_it_waits_and_the_others_go_on(self):
        self.serve_disk()
        client = self.connect()
        first = self.tool().choose()
        client.allow_no_more_descriptors()
        second = self.tool()
        self.assertRegex(client.error(), "^qpip-nbd-client: no room for another connection: .*s: ")
        self.assertTrue(first.works())
        first.close()
        self.assertTrue(second.choose().works())
        self.assertEqual(client.end(), 0)

    def test_given_no_more_threads_when_a_tool_comes_then_it_is_hung_up_on_and_the_others_go_on(self):
        self.serve_disk()
        client = self.connect_unprivileged()
        first = self.tool().choose()
        client.allow_threads(more=False)
        self.assertTrue(self.tool().hung_up())
        self.assertRegex(client.error(), "^qpip-nbd-client: no room for another connection: ")
        self.assertTrue(first.works())
        client.allow_threads(more=True)  # a sanitizer's search for leaks is one
        self.assertEqual(client.end(), 0)

    def connect_unprivileged(self):
        folder = self.path("open")
        subprocess.run(["mkdir", "-m", "777", folder], check=True)
        self.socket = folder + "/s"
        nic = f"udp:127.0.0.1:0?peer=127.0.0.1:{self.port}"
        return self.serve("qpip-nbd-client", "--nic", nic, "--socket", self.socket, "fd00::1",
                          user=UNPRIVILEGED)

    def test_given_two_queue_pairs_when_a_third_tool_comes_then_it_is_hung_up_on(self):
        self.serve_disk()
        self.socket = self.path("s")
        nic = f"udp:127.0.0.1:0?peer=127.0.0.1:{self.port}&max_qps=2"
        client = self.serve("qpip-nbd-client", "--nic", nic, "--socket", self.socket, "fd00::1")
        first, second = self.tool().choose(), self.tool().choose()
        self.assertTrue(self.tool().hung_up())
        self.assertRegex(client.error(), "^qpip-nbd-client: no room for another connection: ")
        self.assertTrue(first.works() and second.works())
        self.assertEqual(client.end(), 0)

    def test_given_a_limit_on_file_sizes_when_a_write_exceeds_it_then_that_request_fails(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))

        disk = self.disk(mebibytes=4)
        self.server = self.serve("qpip-nbd-server", "--nic", f"udp:127.0.0.1:{self.port}", disk,
                                 preexec=limit)
        self.connect()
        tool = self.tool().choose()
        self.assertEqual(tool.request(1, 3 << 20, 512, b"x" * 512)[0], 28)  # NBD_ENOSPC
        self.assertEqual(tool.request(1, 0, 512, bytes(512))[0], 0)
        self.assertTrue(tool.works())
        self.assertEqual(self.server.end(), 0)

    def test_given_a_file_that_shrinks_when_it_is_read_then_that_request_fails(self):
        self.serve_disk()
        self.connect()
        tool = self.tool().choose()
        with open(self.path("disk"), "r+b") as file:
            file.truncate(65536)
        self.assertEqual(tool.request(0, 1 << 19, 512)[0], 5)  # NBD_EIO
        self.assertTrue(tool.works())
        self.assertEqual(self.server.end(), 0)


class OtherCommandsTest(commands.CommandsTest):
    def test_given_three_queue_pairs_when_clients_come_one_by_one_then_the_echo_server_serves_all(self):
        nic = f"{self.fabric}?max_qps=3"
        server = self.serve("qpip-ping", "-s", "--nic", nic)
        holders = []
        for _ in range(2):
            holders.append(self.start("qpip-ping", "--nic", self.fabric, "-n", "100000000", "fd00::1"))
        self.assertRegex(server.error(), "^qpip-ping: no room for more clients: ")
        third = self.start("qpip-ping", "--nic", self.fabric, "-n", "10", "fd00::1")
        holders[0].process.kill()
        self.assertEqual(third.wait(), 0)
        self.assertEqual(server.end(), 0)

    def test_given_a_limit_on_file_sizes_when_a_result_is_written_then_status_and_a_line_say_so(self):
        self.serve("qpip-ping", "-s", "--nic", self.fabric)
        binary = commands.BIN + "/qpip-ping"
        with open(self.path("result"), "wb") as result:
            ended = subprocess.run(
                [binary, "--help"], stdout=result, stderr=subprocess.PIPE,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)))
        self.assertEqual(ended.returncode, 1)
        self.assertEqual(ended.stderr.count(b"\n"), 1)
        self.assertIn(b"not written", ended.stderr)

    def test_given_no_thread_at_all_when_a_command_starts_then_one_line_says_what_is_lacking(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))

        process = self.start("qpip-ping", "-s", "--nic", f"udp:127.0.0.1:{self.port}", user=UNPRIVILEGED,
                             preexec=limit)
        self.assertRegex(process.error(), "^qpip-ping: .*thread.*(limit|ulimit)")
        self.assertEqual(process.wait(), 1)


class SharedMemoryTest(commands.CommandsTest):
    def test_given_a_server_without_descriptors_when_a_client_comes_then_both_say_so_and_later_it_is_served(self):
        server = self.serve("qpip-ping", "-s", "--nic", self.fabric)
        client = self.serve("qpip-nbd-client", "--nic", self.fabric, "--socket", self.path("s"), "--keep-serving",
                            "[fd00::1]:7")
        before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        server.allow_no_more_descriptors()
        for _ in range(2):  # the same NIC, which will be served
            tool = Tool(self.path("s"))
            self.assertTrue(tool.hung_up())
            self.assertRegex(client.error(), "connect to .*Too many open files")
            tool.close()
        self.assertRegex(server.error(), "no view of the memory of .*Too many open files")
        server.limit(resource.RLIMIT_NOFILE, before[0])
        tool = Tool(self.path("s"))
        tool.socket.sendall(b"hello")
        self.assertEqual(tool.socket.recv(5), b"hello")
        tool.close()
        self.assertEqual(server.end(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
