"""Programs of Debian's, as they are, on qpip-run --sockets: programs_test.py QPIP_RUN CASE...

Cases are the classes below. Exit status 77: what there is to run has passed, but some program is not installed."""
import os
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from programs import DEADLINE, Processes, main, program  # noqa: E402

SERVER = "fd00::1"
SERVER4 = "10.77.0.1"
LOSS = "loss=0.01&seed=7"  # each way


class Programs(Processes):
    kind = "sockets"

    def start(self, nic, *arguments, stdin=subprocess.DEVNULL):
        """`nic` None: with the kernel's sockets."""
        prefix = [] if nic is None else [self.run_command, "--sockets", "--nic", nic, "--"]
        return self.run_program(prefix, arguments, stdin=stdin)

    def nic(self, address, parameters=""):
        return f"{self.fabric}?address={address}" + (f"&{parameters}" if parameters else "")

    def until_served(self, server, client, has=""):
        """Starts `client()` again for as long as the server is not there yet. Returns its output, which `has` that text."""
        end = time.monotonic() + DEADLINE
        while True:
            process = client()
            text = self.finish(process, None)
            if process.returncode == 0 and has in text:
                return text
            self.assertIsNone(server.poll(), f"{server.args}:\n{self.text(server)}\n{text}")
            self.assertLess(time.monotonic(), end, f"{process.args}:\n{text}")


class Copies(Programs):
    def copy(self, size, parameters=""):
        sent, got = self.file("sent", size), self.file("got")
        server = self.start(self.nic(SERVER, parameters), "socat", "-u", f"TCP6-LISTEN:7,bind=[{SERVER}]", f"CREATE:{got}")
        self.until_served(server, lambda: self.start(self.nic("fd00::2", parameters), "socat", "-u", f"OPEN:{sent}",
                                                     f"TCP6:[{SERVER}]:7"))
        self.finish(server)
        self.same(sent, got)

    def test_socat_copies_a_file(self):
        self.copy(20_000_000)

    def test_with_loss(self):
        self.copy(2_000_000, "loss=0.01&reorder=0.01&seed=7")

    def test_nc_sends_and_half_closes(self):
        question = self.file("question", 100_000)
        server = self.start(self.nic(SERVER), "nc", "-6", "-l", "-N", SERVER, "7")

        def client():
            with open(question, "rb") as stdin:
                return self.start(self.nic("fd00::2"), "nc", "-6", "-N", SERVER, "7", stdin=stdin)
        self.until_served(server, client)
        self.finish(server)
        server.output.flush()
        self.same(question, server.output.name)

    def test_ipv4(self):
        sent, got = self.file("sent", 1_000_000), self.file("got")
        server = self.start(self.nic(f"::ffff:{SERVER4}"), "socat", "-u", "TCP4-LISTEN:7", f"CREATE:{got}")
        self.until_served(server, lambda: self.start(self.nic("::ffff:10.77.0.2"), "socat", "-u", f"OPEN:{sent}",
                                                     f"TCP4:{SERVER4}:7"))
        self.finish(server)
        self.same(sent, got)


class Http(Programs):
    def test_curl_and_pythons_server(self):
        page, got = self.file("page", 5_000_000), self.file("got")
        server = self.start(self.nic(SERVER), "python3", "-m", "http.server", "--bind", SERVER, "80")
        self.until_served(server, lambda: self.start(self.nic("fd00::2"), "curl", "-sS", "-o", got, f"http://[{SERVER}]/page"))
        self.same(page, got)

    def nginx(self, parameters="", more=""):
        """A server of one process; starts none where there is no nginx."""
        program("nginx")
        configuration = self.file("nginx.conf")
        with open(configuration, "w", encoding="utf-8") as out:
            out.write(f"daemon off; master_process off; pid {self.file('pid')}; error_log stderr; user root;\n"
                      f"events {{}}\nhttp {{ access_log off; sendfile on; server {{ listen [{SERVER}]:80;\n"
                      f"root {self.directory}; {more} }} }}\n")
        return self.start(self.nic(SERVER, parameters), "nginx", "-c", configuration, "-e", "stderr")

    def test_curl_and_nginx_as_one_process(self):
        page, got = self.file("page", 5_000_000), self.file("got")
        server = self.nginx()
        client = ("curl", "-sS", "-o", got, f"http://[{SERVER}]/page", "-o", self.file("again"), f"http://[{SERVER}]/page")
        self.until_served(server, lambda: self.start(self.nic("fd00::2"), *client))
        self.same(page, got)
        self.same(page, self.file("again"))

    def test_wrk_and_nginx(self):
        program("wrk")
        self.file("page", 3000)
        for parameters in ("", LOSS):
            server = self.nginx(parameters)
            self.until_served(server, lambda: self.start(self.nic("fd00::2"), "curl", "-sS", "-o", self.file("got"),
                                                         f"http://[{SERVER}]/page"))
            text = self.finish(self.start(self.nic("fd00::2", parameters), "wrk", "-t", "2", "-c", "20", "-d", "1s",
                                          f"http://[{SERVER}]/page"))
            self.assertRegex(text, r"\b[1-9]\d* requests in", text)
            self.assertNotIn("Socket errors", text)
            self.assertNotIn("Non-2xx", text)
            self.stop()

    def test_tls(self):
        key, certificate = self.file("key.pem"), self.file("cert.pem")
        subprocess.run([program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=server", "-addext",
                        f"subjectAltName=IP:{SERVER}", "-keyout", key, "-out", certificate], check=True, capture_output=True)
        page, got = self.file("page", 2_000_000), self.file("got")
        for parameters in ("", LOSS):
            server = self.nginx(parameters, f"listen [{SERVER}]:443 ssl; ssl_certificate {certificate}; ssl_certificate_key {key};")
            self.until_served(server, lambda: self.start(self.nic("fd00::2", parameters), "curl", "-sS", "-o", got, "--cacert",
                                                         certificate, f"https://[{SERVER}]/page"))
            self.same(page, got)
            os.unlink(got)
            self.stop()


class Redis(Programs):
    def redis(self, parameters=""):
        """A server, and the NIC of a client that has been served."""
        server = self.start(self.nic(SERVER, parameters), "redis-server", "--bind", SERVER, "--save", "", "--protected-mode", "no")
        client = self.nic("fd00::2", parameters)
        self.until_served(server, lambda: self.start(client, "redis-cli", "-h", SERVER, "set", "key", "value"))
        return server, client

    def holds_its_value(self, client):
        self.assertIn("value", self.finish(self.start(client, "redis-cli", "-h", SERVER, "get", "key")))

    def test_redis_benchmark(self):
        for parameters in ("", LOSS):
            _, client = self.redis(parameters)
            for options in (("-c", "20"), ("-c", "50", "-P", "16"), ("-c", "3", "-d", "100000", "-n", "300")):
                text = self.finish(self.start(client, "redis-benchmark", "-h", SERVER, "-q", "-n", "3000", "-t", "set,get", *options))
                self.assertEqual(text.count("requests per second"), 2, text)
            self.holds_its_value(client)
            self.stop()

    def load(self, client):
        """A load without an end, which has begun."""
        load = self.start(client, "redis-benchmark", "-h", SERVER, "-c", "8", "-l", "-t", "set")
        end = time.monotonic() + DEADLINE
        while "rps" not in self.text(load) and "second" not in self.text(load):
            self.assertIsNone(load.poll(), self.text(load))
            self.assertLess(time.monotonic(), end, self.text(load))
        return load

    def test_a_client_is_killed(self):
        _, client = self.redis()
        load = self.load(client)
        os.killpg(load.pid, signal.SIGKILL)
        load.wait()
        self.holds_its_value(self.nic("fd00::3"))
        # Its connections are gone from the server's list.
        end = time.monotonic() + DEADLINE
        while (clients := self.finish(self.start(client, "redis-cli", "-h", SERVER, "client", "list"))).count(" addr=") > 1:
            self.assertLess(time.monotonic(), end, clients)

    def test_either_end_stands_still_for_a_while(self):
        server, client = self.redis()
        load = self.load(client)
        for process in (server, load):
            os.killpg(process.pid, signal.SIGSTOP)
            other = self.start(self.nic("fd00::3"), "redis-cli", "-h", SERVER, "ping")
            if process is load:
                self.assertIn("PONG", self.finish(other))
            os.killpg(process.pid, signal.SIGCONT)
            if process is server:
                self.assertIn("PONG", self.finish(other))
            self.assertIsNone(load.poll(), self.text(load))
        self.holds_its_value(self.nic("fd00::3"))


class Memcached(Programs):
    def test_values_are_kept(self):
        script = ("import socket, sys, random\nrandom.seed(1)\nvalues = [random.randbytes(random.choice((1, 100, 5000, 900000))) "
                  "for _ in range(40)]\nsockets = [socket.create_connection((sys.argv[1], 11211)) for _ in range(4)]\n"
                  "files = [s.makefile('rb') for s in sockets]\n"
                  "for i, value in enumerate(values):\n s = sockets[i % 4]\n s.sendall(b'set k%d 0 0 %d\\r\\n' % (i, len(value)))\n"
                  " s.sendall(value + b'\\r\\n')\n assert files[i % 4].readline() == b'STORED\\r\\n'\n"
                  "for i, value in enumerate(values):\n s, f = sockets[(i + 1) % 4], files[(i + 1) % 4]\n"
                  " s.sendall(b'get k%d\\r\\n' % i)\n assert f.readline() == b'VALUE k%d 0 %d\\r\\n' % (i, len(value))\n"
                  " assert f.read(len(value)) == value and f.readline() == b'\\r\\n' and f.readline() == b'END\\r\\n'\nprint('all')\n")
        for parameters in ("", LOSS):
            server = self.start(self.nic(SERVER, parameters), "memcached", "-u", "root", "-l", SERVER, "-p", "11211", "-U", "0")
            text = self.until_served(server, lambda: self.start(self.nic("fd00::2", parameters), "python3", "-c", script, SERVER))
            self.assertIn("all", text)
            self.stop()


class Nbd(Programs):
    def test_nbdcopy_both_ways(self):
        for parameters in ("", LOSS):
            image, got = self.file("image", 8 << 20), self.file("got")
            server = self.start(self.nic(SERVER, parameters), "nbdkit", "-f", "-i", SERVER, "-p", "10809", "memory", "8M")
            uri, client = f"nbd://[{SERVER}]:10809", self.nic("fd00::2", parameters)
            self.until_served(server, lambda: self.start(client, "nbdcopy", image, uri))
            self.finish(self.start(client, "nbdcopy", uri, got))
            self.same(image, got)
            self.stop()


class Sockperf(Programs):
    def test_ping_pong_and_under_load(self):
        for parameters in ("", LOSS):
            server = self.start(self.nic(f"::ffff:{SERVER4}", parameters), "sockperf", "sr", "--tcp", "-i", SERVER4, "-p", "7")
            client = self.nic("::ffff:10.77.0.2", parameters)
            for options in (("ping-pong", "--data-integrity"), ("under-load", "--mps", "2000")):
                text = self.until_served(server, lambda: self.start(client, "sockperf", *options, "--tcp", "-i", SERVER4, "-p", "7",
                                                                    "-t", "1"), has="percentile 50")
                self.assertRegex(text, "dropped messages = 0; # duplicated messages = 0; # out-of-order messages = 0")
            self.stop()


class Iperf(Programs):
    def test_both_directions_and_several_streams(self):
        for options in ((), ("-R",), ("-P", "4")):
            server = self.start(self.nic(SERVER), "iperf3", "-s", "-1", "-B", SERVER)
            self.until_served(server, lambda: self.start(self.nic("fd00::2"), "iperf3", "-c", SERVER, "-n", "50M", *options))
            self.finish(server)


class Kernel(Programs):
    """The other end is a kernel's socket, over a TUN device of a network namespace."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
            raise unittest.SkipTest("needs root and /dev/net/tun")
        program("ip")
        self.space = f"qpip-sockets-{os.getpid()}"
        subprocess.run(["ip", "netns", "add", self.space], check=True)
        self.addCleanup(subprocess.run, ["ip", "netns", "del", self.space], check=True)
        self.tun = f"tun:qps{os.getpid() % 100000}?address=fd5c:3ff7:4a1e::1&host=fd5c:3ff7:4a1e::2/64&netns={self.space}"

    def kernel(self, *arguments, stdin=subprocess.DEVNULL):
        program(arguments[0])
        return self.start(None, "nsenter", f"--net=/run/netns/{self.space}", *arguments, stdin=stdin)

    def test_a_kernels_client(self):
        page, got = self.file("page", 5_000_000), self.file("got")
        server = self.start(self.tun, "python3", "-m", "http.server", "--bind", "fd5c:3ff7:4a1e::1", "80")
        self.until_served(server, lambda: self.kernel("curl", "-sS", "-o", got, "--max-time", "20", "http://[fd5c:3ff7:4a1e::1]/page"))
        self.same(page, got)

    def test_a_kernels_server(self):
        sent, got = self.file("sent", 5_000_000), self.file("got")
        server = self.kernel("socat", "-u", "TCP6-LISTEN:7", f"CREATE:{got}")
        self.until_served(server, lambda: self.start(self.tun, "socat", "-u", f"OPEN:{sent}", "TCP6:[fd5c:3ff7:4a1e::2]:7"))
        self.finish(server)
        self.same(sent, got)


class Ends(Programs):
    def test_a_killed_server_is_noticed(self):
        server = self.start(self.nic(SERVER), "nc", "-6", "-l", "-k", SERVER, "7")
        script = ("import socket, sys\ns = socket.create_connection((sys.argv[1], 7))\nprint('connected', flush=True)\n"
                  "try:\n print(s.recv(1))\nexcept ConnectionResetError:\n print('reset')\n")

        def client():
            return self.start(self.nic("fd00::2"), "python3", "-c", script, SERVER)
        end = time.monotonic() + DEADLINE
        while True:
            process = client()
            while process.poll() is None and "connected" not in self.text(process):
                pass
            if "connected" in self.text(process):
                break
            self.assertLess(time.monotonic(), end, self.text(process))
        os.killpg(server.pid, signal.SIGKILL)
        self.assertIn("reset", self.finish(process))

    def test_a_child_is_told(self):
        script = ("import os, socket\ns = socket.create_server(('fd00::1', 7), family=socket.AF_INET6)\nif os.fork() == 0:\n"
                  " try:\n  s.accept()\n except PermissionError:\n  os._exit(3)\nprint(os.waitstatus_to_exitcode(os.wait()[1]))\n")
        text = self.finish(self.start(self.nic(SERVER), "python3", "-c", script))
        self.assertIn("a queue pair belongs to the process", text)
        self.assertTrue(text.endswith("3\n"), text)

    def test_a_uri_without_address_is_told(self):
        self.assertIn("address", self.finish(self.start(self.fabric, "true"), 2))


if __name__ == "__main__":
    sys.exit(main(sys.modules[__name__]))
