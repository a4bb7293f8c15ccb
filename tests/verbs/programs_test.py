"""Programs of Debian's, as they are, on qpip-run: programs_test.py QPIP_RUN CASE...

Cases are the classes below. Exit status 77: what there is to run has passed, but some program is not installed."""
import hashlib
import os
import sys
import unittest

from pairs import SERVER, Programs, main

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
            self.kill_one(["rping", "-s", *arguments], ["rping", "-c", *arguments], killed, 20)


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
            self.kill_one(command, [*command, "localhost"], killed, 50)


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


class Perftest(Programs):
    def test_latency(self):
        for operation in OPERATIONS:
            self.exchange(f"ib_{operation}_lat", "-F", "-n", "50")

    def test_bandwidth(self):
        for operation in OPERATIONS:
            self.exchange(f"ib_{operation}_bw", "-F", "-n", "50")


class PerftestAll(Programs):
    def each(self, kind, more=(), skip=(), run=None, count=None, **rest):
        count = count or {"bw": 200, "lat": 50}[kind]
        for operation in OPERATIONS:
            if operation in skip:
                continue
            with self.subTest(operation=operation, kind=kind):
                (run or self.exchange)(f"ib_{operation}_{kind}", "-F", "-n", str(count), *more, **rest)

    def test_all_sizes(self):
        for kind in ("bw", "lat"):
            self.each(kind, ["-a"], skip=("atomic",), count=20)

    def test_events(self):
        for kind in ("bw", "lat"):
            self.each(kind, ["-e"], skip=("write",))  # which has no events, and says so

    def test_connection_manager(self):
        for kind in ("bw", "lat"):
            self.each(kind, run=self.over_cm)

    def test_connection_manager_of_iwarp(self):
        self.each("bw", run=self.over_cm, personality="iwarp")

    def test_several_queue_pairs(self):
        self.each("bw", ["-q", "4"])

    def test_both_ways(self):
        self.each("bw", ["-b"])

    def test_loss_and_reordering(self):
        for kind in ("bw", "lat"):
            self.each(kind, ["-s", "8192"], skip=("atomic",), parameters=LOSS)
            self.each(kind, skip=("write", "read", "send"), parameters=LOSS)

    def test_a_killed_peer(self):
        for operation in OPERATIONS:
            for killed in ("client", "server"):
                with self.subTest(operation=operation, killed=killed):
                    command = [f"ib_{operation}_bw", "-F", "-n", "4000000", "-p", str(self.port())]
                    self.kill_one(command, [*command, "localhost"], killed, 150)


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
