"""Programs of Debian's, as they are, on qpip-run: programs_test.py QPIP_RUN CASE...

Cases are the classes below. Exit status 77: what there is to run has passed, but some program is not installed."""
import hashlib
import os
import subprocess
import sys

from pairs import SERVER, Programs, main, program

LOSS = "loss=0.01&reorder=0.01&seed=7"
# Where verbs/librdmacm/rsockets.cc looks.
RSOCKETS = [f"/usr/{place}/librdmacm.so.1" for place in ("lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib64", "lib")]
OPERATIONS = ("write", "read", "send", "atomic")


class Devices(Programs):
    def test_devices_are_listed_and_described(self):
        self.assertIn("qpip0", self.finish(self.start(["ibv_devices"], self.nic())))
        text = self.finish(self.start(["ibv_devinfo", "-v"], self.nic("fd00::7")))
        for words in ("hca_id:\tqpip0", "InfiniBand (0)", "PORT_ACTIVE (4)", "Ethernet", "fd00::7, RoCE v2"):
            self.assertIn(words, text)
        text = self.finish(self.start(["ibv_devinfo"], self.nic("fd00::7"), "iwarp"))
        self.assertIn("iWARP (1)", text)

    def test_a_uri_that_is_none_is_told(self):
        text = self.finish(self.start(["ibv_devinfo"], "shm:lab?speed=1"), None)
        self.assertIn("speed", text)


class Rping(Programs):
    def rping(self, *options, address=SERVER, **more):
        arguments = ["-a", address, "-V", *options]
        self.pair(["rping", "-s", *arguments], ["rping", "-c", *arguments], **more)

    def test_both_personalities_and_families(self):
        for personality in ("roce", "iwarp"):
            for address in (SERVER, "fd00::5"):
                self.rping("-C", "20", "-S", "5000", address=address, personality=personality)

    def test_with_a_queue_pair_of_its_own(self):
        for personality in ("roce", "iwarp"):
            self.rping("-q", "-C", "20", personality=personality)

    def test_many_clients_of_a_persistent_server(self):
        arguments = ["-a", SERVER, "-C", "5"]
        server = self.start(["rping", "-s", "-P", *arguments], self.nic())
        for _ in range(4):
            client = self.start(["rping", "-c", *arguments], self.nic())
            while "refused" in self.finish(client, None) or client.returncode != 0:
                self.assertIsNone(server.poll(), self.text(server))
                client = self.start(["rping", "-c", *arguments], self.nic())

    def test_loss_and_reordering(self):
        self.rping("-C", "50", "-S", "20000", parameters=LOSS)

    def test_a_killed_peer(self):
        arguments = ["-a", SERVER, "-C", "100000000"]
        for killed in ("client", "server"):
            self.kill_one(["rping", "-s", *arguments], ["rping", "-c", *arguments], killed, 300)


class ConnectionManager(Programs):
    def test_ucmatose(self):
        for personality in ("roce", "iwarp"):
            for address in (SERVER, "fd00::5"):
                options = ["-c", "4", "-C", "20"]
                self.pair(["ucmatose", "-b", address, *options], ["ucmatose", "-s", address, *options],
                          personality=personality)

    def test_ucmatose_that_migrates_its_identifiers(self):
        options = ["-c", "2", "-C", "10", "-m"]
        self.pair(["ucmatose", "-b", SERVER, *options], ["ucmatose", "-s", SERVER, *options])

    def test_synchronous_identifiers(self):
        for personality in ("roce", "iwarp"):
            self.pair(["rdma_server", "-s", SERVER], ["rdma_client", "-s", SERVER], personality=personality)

    def test_connections_in_numbers(self):
        # All at once: each takes another queue pair while it is on its way.
        self.pair(["cmtime", "-b", SERVER, "-c", "200"], ["cmtime", "-s", SERVER, "-c", "200"],
                  parameters="max_rdma_qps=512", server_status="runs")

    def test_loss_and_reordering(self):
        options = ["-c", "4", "-C", "20", "-S", "8192"]
        self.pair(["ucmatose", "-b", SERVER, *options], ["ucmatose", "-s", SERVER, *options], parameters=LOSS)


class Pingpong(Programs):
    def test_polling_and_events(self):
        for options in ([], ["-e"], ["-N"]):
            self.exchange("ibv_rc_pingpong", "-g", "0", "-c", *options)

    def test_shared_receive_queues(self):
        # Each side counts its messages over all its queue pairs, and ends when there are enough. So the server may have
        # one more under way when the client, which has checked all of its own, is gone.
        for options in ([], ["-e"]):
            self.exchange("ibv_srq_pingpong", "-g", "0", "-c", *options, server_status=None)

    def test_unreliable_connections(self):
        self.exchange("ibv_uc_pingpong", "-g", "0", "-c")

    def test_large_messages(self):
        self.exchange("ibv_rc_pingpong", "-g", "0", "-c", "-s", "1000000", "-n", "100")

    def test_loss_and_reordering(self):
        self.exchange("ibv_rc_pingpong", "-g", "0", "-c", "-n", "200", parameters=LOSS)

    def test_a_killed_peer(self):
        command = ["ibv_rc_pingpong", "-g", "0", "-n", "100000000", "-p", str(self.port())]
        for killed in ("client", "server"):
            self.kill_one(command, [*command, "localhost"], killed, 300)


class Datagrams(Programs):
    def test_pingpong(self):
        for options in ([], ["-e"]):
            self.exchange("ibv_ud_pingpong", "-g", "0", "-c", *options)

    def test_udaddy(self):
        for address in (SERVER, "fd00::5"):
            options = ["-c", "4", "-C", "20"]
            self.pair(["udaddy", "-b", address, *options], ["udaddy", "-s", address, *options])

    def test_perftest(self):
        for kind in ("lat", "bw"):
            self.exchange(f"ib_send_{kind}", "-F", "-c", "UD", "-n", "100")


class FioPrograms(Programs):
    def fio(self, verb, **more):
        both = ["--thread", "--ioengine=rdma", f"--port={self.port()}", "--bs=64k", "--size=16m", "--iodepth=8"]
        self.pair(["fio", "--name=server", "--rw=read", *both],
                  ["fio", "--name=client", "--rw=write", *both, f"--verb={verb}", f"--hostname={SERVER}"],
                  address=f"::ffff:{SERVER}", done="WRITE: bw=", **more)

    def both_personalities(self, *verbs):
        for verb in verbs:
            for personality in ("roce", "iwarp"):
                with self.subTest(verb=verb, personality=personality):
                    self.fio(verb, personality=personality)


class Fio(FioPrograms):
    def test_verbs(self):
        self.both_personalities("write", "read")

    def test_loss_and_reordering(self):
        self.fio("write", parameters=LOSS)


class FioSend(FioPrograms):
    """Its server counts on receiving what waits when the client has ended."""

    def test_verbs(self):
        self.both_personalities("send")


OPTIONS = ([], ["-R"], ["-e"], ["-a"], ["-q", "4"], ["-b"])


def refusal(operation, kind, options):
    """What perftest itself says of a combination that it does not have; None: it has it."""
    word = " ".join(options)
    if kind == "lat" and word == "-q 4":
        return "Multiple QPs only available on bw tests"
    if kind == "lat" and word == "-b":
        return "Bidirectional is only available in BW test"
    if operation == "write" and word == "-e":
        return "Events feature not available on WRITE verb"
    if operation == "atomic" and word == "-a":
        return "Message size cannot be changed for Atomic tests"
    return None


class PerftestPrograms(Programs):
    def measure(self, operation, kind, options, count, **more):
        """`count`: iterations of each size."""
        over_cm = "-R" in options  # given once: perftest refuses it twice from version 25 on
        run = self.over_cm if over_cm else self.exchange
        if over_cm:
            options = [option for option in options if option != "-R"]
        with self.subTest(operation=operation, kind=kind, options=options, **more):
            run(f"ib_{operation}_{kind}", "-F", "-n", str(count), *options, **more)


class Perftest(PerftestPrograms):
    def test_latency(self):
        for operation in OPERATIONS:
            self.measure(operation, "lat", [], 50)

    def test_bandwidth(self):
        for operation in OPERATIONS:
            self.measure(operation, "bw", [], 50)

    def test_each_option_once(self):
        for operation, options in zip(("send", "read", "write", "atomic", "send"), OPTIONS[1:], strict=True):
            self.measure(operation, "bw", options, 5)


class PerftestAll(PerftestPrograms):
    """Each operation, each of its two programs, each option."""

    def matrix(self, options, **more):
        for kind in ("bw", "lat"):
            for operation in OPERATIONS:
                if refusal(operation, kind, options) is None:
                    count = 20 if options == ["-a"] else {"bw": 200, "lat": 50}[kind]
                    self.measure(operation, kind, options, count, **more)

    def test_default(self):
        self.matrix([])

    def test_connection_manager(self):
        self.matrix(["-R"])

    def test_events(self):
        self.matrix(["-e"])

    def test_all_sizes(self):
        self.matrix(["-a"])

    def test_several_queue_pairs(self):
        self.matrix(["-q", "4"])

    def test_both_ways(self):
        self.matrix(["-b"])

    def test_what_perftest_has_not_is_its_own_word(self):
        for kind in ("bw", "lat"):
            for operation in OPERATIONS:
                for options in OPTIONS:
                    said = refusal(operation, kind, options)
                    if said is not None:
                        process = self.start([f"ib_{operation}_{kind}", "-F", "-n", "5", *options], self.nic())
                        self.assertIn(said, self.finish(process, 1))

    def test_connection_manager_of_iwarp(self):
        for operation in OPERATIONS:
            self.measure(operation, "bw", ["-R"], 200, personality="iwarp")

    def test_loss_and_reordering(self):
        for options in OPTIONS:
            if options != ["-a"]:
                self.matrix(options, parameters=LOSS)

    def test_all_sizes_with_loss(self):
        for operation in ("write", "read", "send"):
            self.measure(operation, "bw", ["-a"], 5, parameters=LOSS)

    def test_a_killed_peer(self):
        for operation in OPERATIONS:
            for killed in ("client", "server"):
                with self.subTest(operation=operation, killed=killed):
                    command = [f"ib_{operation}_bw", "-F", "-n", "4000000", "-p", str(self.port())]
                    self.kill_one(command, [*command, "localhost"], killed, 150)


class Qperf(Programs):
    """By the connection manager: without it qperf knows LIDs only."""
    TESTS = ("rc_bi_bw", "rc_bw", "rc_lat", "rc_rdma_read_bw", "rc_rdma_read_lat", "rc_rdma_write_bw", "rc_rdma_write_lat",
             "rc_rdma_write_poll_lat", "rc_compare_swap_mr", "rc_fetch_add_mr", "ver_rc_compare_swap", "ver_rc_fetch_add")

    def command(self, *tests):
        return ["qperf", SERVER, "-lp", str(self.port()), "-cm", "1", "-t", "1", *tests]

    def qperf(self, *tests, parameters=""):
        text = self.pair(["qperf", "-lp", str(self.port())], self.command(*tests, "quit"), parameters,
                         address=f"::ffff:{SERVER}", done="quit:")
        for test in tests:
            self.assertRegex(text, rf"(?m)^{test}:\n    \w+ += +[0-9.]+ ")

    def test_all_of_connected_queue_pairs(self):
        self.qperf(*self.TESTS)

    def test_loss_and_reordering(self):
        self.qperf("rc_bw", "rc_lat", "rc_rdma_read_bw", "rc_rdma_write_lat", "rc_fetch_add_mr", parameters=LOSS)

    def test_a_killed_server(self):
        self.kill_one(["qperf", "-lp", str(self.port())], [*self.command()[:-1], "100", "rc_bw"], "server", 200,
                      address=f"::ffff:{SERVER}")


class ChurnPrograms(Programs):
    """Makes and destroys again and again, and looks what is left. Both sides are one process."""

    def churn(self, what, count, parameters="", personality="roce"):
        process = self.start(["qpip-test-verbs-churn", what, SERVER, str(count)], self.nic(f"::ffff:{SERVER}", parameters),
                             personality)
        print(f"\n{self.finish(process).strip()}")


class Churn(ChurnPrograms):
    # The tables of a NIC have their size when TIME-WAIT has used all of them; so it is short.
    def test_connections(self):
        for personality in ("roce", "iwarp"):
            self.churn("connections", 200, "time_wait_ms=1", personality)

    def test_queue_pairs(self):
        self.churn("pairs", 100, "time_wait_ms=1")

    def test_registrations(self):
        self.churn("regions", 20000)

    def test_loss_and_reordering(self):
        self.churn("connections", 50, f"time_wait_ms=1&{LOSS}")


class ChurnLong(ChurnPrograms):
    def test_ten_thousand_connections(self):
        self.churn("connections", 10000)

    def test_a_thousand_queue_pairs(self):
        # Of which each has another one while its connection is on its way.
        self.churn("pairs", 1000, "max_qps=4096&max_rdma_qps=4096&time_wait_ms=1000")

    def test_a_million_registrations(self):
        self.churn("regions", 1000000)


UCX_TRANSPORTS = ("rc_v", "ud_v")  # rc_verbs with datagrams to connect by, and those alone


def ucx_environment(transport):
    return {"UCX_TLS": f"{transport},self", "UCX_NET_DEVICES": "qpip0:1"}


class Ucx(Programs):
    TESTS = ("tag_lat", "tag_bw", "ucp_am_lat", "ucp_put_lat", "ucp_put_bw", "ucp_get", "ucp_add", "ucp_fadd", "ucp_swap", "ucp_cswap")

    def perftest(self, transport, test, count, **more):
        command = ["ucx_perftest", "-p", str(self.port())]
        with self.subTest(transport=transport, test=test, **more):
            self.pair(command, [*command, SERVER, "-t", test, "-n", str(count)], done="Final:",
                      more_environment=ucx_environment(transport), **more)

    def test_devices_are_seen(self):
        text = self.finish(self.start(["ucx_info", "-d"], self.nic()))
        for transport in ("rc_verbs", "ud_verbs"):
            self.assertIn(f"Transport: {transport}", text)

    def test_all(self):
        for transport in UCX_TRANSPORTS:
            for test in self.TESTS:
                self.perftest(transport, test, 200)

    def test_large_messages(self):
        for transport in UCX_TRANSPORTS:
            command = ["ucx_perftest", "-p", str(self.port())]
            self.pair(command, [*command, SERVER, "-t", "tag_bw", "-n", "20", "-s", "1000000"], done="Final:",
                      more_environment=ucx_environment(transport))

    def test_loss_and_reordering(self):
        for transport in UCX_TRANSPORTS:
            for test in ("tag_bw", "ucp_put_lat", "ucp_get", "ucp_fadd"):
                self.perftest(transport, test, 100, parameters=LOSS)

    def test_a_killed_peer(self):
        for killed in ("client", "server"):
            command = ["ucx_perftest", "-p", str(self.port())]
            self.kill_one(command, [*command, SERVER, "-t", "tag_lat", "-n", "100000000"], killed, 300,
                          more_environment=ucx_environment("rc_v"))


class MpiPrograms(Programs):
    """Open MPI over UCX: collectives, messages and memory of other ranks', each checked."""

    def ranks(self, transport, *words, parameters=""):
        command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2", "--mca", "pml", "ucx", "--mca", "osc", "ucx",
                   "--mca", "btl", "self", program("qpip-test-mpi-collectives"), *words]
        self.new_fabric()
        return self.start(command, self.nic(None, parameters), more_environment=ucx_environment(transport))

    def collectives(self, transport, **more):
        self.assertIn("all as sent", self.finish(self.ranks(transport, **more)))


class Mpi(MpiPrograms):
    def test_what_is_sent_arrives(self):
        self.collectives("rc_v")


class MpiFaults(MpiPrograms):
    def test_over_datagrams(self):
        self.collectives("ud_v")

    def test_loss_and_reordering(self):
        for transport in UCX_TRANSPORTS:
            self.collectives(transport, parameters=LOSS)

    def test_a_killed_rank(self):
        process = self.ranks("rc_v", "die")
        self.assertNotIn("all as sent", self.finish(process, None))
        self.assertNotEqual(process.returncode, 0)


class Libfabric(Programs):
    """Takes a network interface's addresses for its own: both are in a network namespace that has one."""
    HOSTS = ("10.77.0.1", "10.77.0.2")

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("network namespaces need root")
        program("ip")
        self.space = f"qpip-fabric-{os.getpid()}"
        subprocess.run(["ip", "netns", "add", self.space], check=True)
        self.addCleanup(subprocess.run, ["ip", "netns", "del", self.space], check=True)
        self.addCleanup(self.stop)  # first
        for words in ("link set lo up", "link add fabric0 type veth peer name fabric1", "link set fabric0 up", "link set fabric1 up",
                      *(f"addr add {host}/24 dev fabric0" for host in self.HOSTS)):
            subprocess.run([*self.command_prefix(), "ip", *words.split()], check=True)

    def command_prefix(self):
        return ["nsenter", f"--net=/run/netns/{self.space}"]

    def pingpong(self, provider, endpoint, *options, **more):
        command = ["fi_pingpong", "-p", provider, "-e", endpoint, "-c", *options]
        with self.subTest(provider=provider, endpoint=endpoint, **more):
            self.pair(command, [*command, self.HOSTS[0]], address=f"::ffff:{self.HOSTS[0]}", client_address=f"::ffff:{self.HOSTS[1]}",
                      **more)

    def test_messages_and_datagrams(self):
        # "-c": what arrives is compared.
        for provider, endpoint in (("verbs", "msg"), ("verbs;ofi_rxm", "rdm"), ("verbs", "dgram"), ("verbs;ofi_rxd", "rdm")):
            self.pingpong(provider, endpoint, "-I", "20")

    def test_loss_and_reordering(self):
        for provider, endpoint in (("verbs", "msg"), ("verbs;ofi_rxm", "rdm")):
            self.pingpong(provider, endpoint, "-I", "10", parameters=LOSS)

    def test_a_killed_peer(self):
        command = ["fi_pingpong", "-p", "verbs", "-e", "msg", "-S", "64", "-I", "100000000"]
        for killed in ("client", "server"):
            # Past its start: a server that nobody connects to waits for ever.
            self.kill_one(command, [*command, self.HOSTS[0]], killed, 1000, address=f"::ffff:{self.HOSTS[0]}",
                          client_address=f"::ffff:{self.HOSTS[1]}")


class Sockets(Programs):
    def setUp(self):
        super().setUp()
        found = [os.path.realpath(place) for place in RSOCKETS if os.path.exists(place)]
        if not any(name.endswith(".44.0") for name in found):
            self.skipTest(f"rsockets are those of librdmacm1 44.0; there is {found}")

    def rstream(self, *options, **more):
        options = ["-T", "v", "-C", "20", *options]
        self.pair(["rstream", "-b", SERVER, *options], ["rstream", "-s", SERVER, *options], **more)

    def test_rstream_verifies(self):
        for options in (["-S", "4096"], ["-S", "100000"], ["-S", "4096", "-T", "n"]):
            self.rstream(*options)

    def test_riostream_verifies(self):
        options = ["-T", "v", "-C", "20", "-S", "4096"]
        self.pair(["riostream", "-b", SERVER, *options], ["riostream", "-s", SERVER, *options])

    def test_loss_and_reordering(self):
        self.rstream("-S", "4096", parameters=LOSS)

    HOST, OTHER = "10.77.0.1", "10.77.0.2"
    prefix = ()

    def command_prefix(self):
        return [*self.prefix]

    def preloaded(self, server, client, **more):
        library = next((place for place in (name.replace("librdmacm.so.1", "rsocket/librspreload.so") for name in RSOCKETS)
                        if os.path.exists(place)), None)
        if library is None:
            self.skipTest("there is no librspreload.so")
        # Without any network of the kernel's, to which librspreload turns where it finds no other.
        self.prefix = ("unshare", "-rn")
        if subprocess.run([*self.prefix, "true"], check=False).returncode != 0:
            self.skipTest("network namespaces are not to be had")
        return self.pair(server, client, address=f"::ffff:{self.HOST}", client_address=f"::ffff:{self.OTHER}",
                         more_environment={"LD_PRELOAD": library}, **more)

    def test_nc_under_librspreload(self):
        program("nc")
        for parameters in ("", LOSS):
            sent, got = self.file("sent", 300_000), self.file("got")
            self.preloaded(["sh", "-c", f"exec nc -l -N {self.HOST} 7777 > {got}"],
                           ["sh", "-c", f"exec nc -v -N {self.HOST} 7777 < {sent}"], parameters=parameters, done="succeeded")
            self.same(sent, got)

    def test_curl_and_pythons_server_under_librspreload(self):
        page, got = self.file("page", 1_000_000), self.file("got")
        self.preloaded(["python3", "-m", "http.server", "--bind", self.HOST, "8000"],
                       ["curl", "-sS", "-o", got, f"http://{self.HOST}:8000/page"], server_status="runs")
        self.same(page, got)

    def test_pythons_sockets_under_librspreload(self):
        server = ("import socket, sys\ns = socket.create_server((sys.argv[1], 7777))\nc, _ = s.accept()\n"
                  "while data := c.recv(65536):\n c.sendall(data)\n")
        client = ("import os, socket, sys\ns = socket.create_connection((sys.argv[1], 7777))\n"
                  "for size in (1, 1000, 200000):\n data = os.urandom(size)\n s.sendall(data)\n got = b''\n"
                  " while len(got) < size:\n  got += s.recv(65536)\n assert got == data\nprint('echoed')\n")
        for parameters in ("", LOSS):
            self.preloaded(["python3", "-c", server, self.HOST], ["python3", "-c", client, self.HOST], parameters=parameters,
                           done="echoed")

    def test_copies_of_files_are_the_same(self):
        source = os.path.join(self.directory, "source")
        with open(source, "wb") as file:
            file.write(os.urandom(3000000))
        target = os.path.join(self.directory, "target")
        self.pair(["rcopy"], ["rcopy", source, f"{SERVER}:{target}"], address=f"::ffff:{SERVER}",
                  server_status="runs")
        with open(source, "rb") as one, open(target, "rb") as other:
            self.assertEqual(hashlib.sha256(one.read()).digest(), hashlib.sha256(other.read()).digest())


if __name__ == "__main__":
    sys.exit(main(sys.modules[__name__]))
