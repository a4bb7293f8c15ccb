"""NBD's client library in its commands: copies between servers of several makes, a server that is a leaf of
another, servers that are killed under a log of writes, and a mount.
Usage: nbd_client_test.py BIN_DIR [KILLS]"""

import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

import commands

KILLS = int(sys.argv.pop(1)) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 12
MIB = 1 << 20


class Log:
    """The log of writes, told what to do and asked for lines."""

    def __init__(self, arguments):
        self.process = subprocess.Popen([os.path.join(commands.BIN, "qpip_nbd_write_log"), *arguments],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.decode().strip())
        self.lines.put(None)

    def tell(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def line(self):
        line = self.lines.get(timeout=commands.PATIENCE_S)
        if line is None:
            raise AssertionError(f"the log has ended: {self.process.stderr.read().decode()}")
        return line

    def end(self):
        self.process.stdin.close()
        status = self.process.wait(timeout=commands.PATIENCE_S)
        self.process.stdout.close()
        self.process.stderr.close()
        return status

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class NbdClientTest(commands.CommandsTest):
    def sparse(self, name, size=24 * MIB + 4096):
        """A file with holes, zeroes that are none, and odd places."""
        with open(self.path(name), "wb") as file:
            file.truncate(size)
            for offset, length in ((0, 70000), (5 * MIB + 1, 3 * MIB), (9 * MIB, 65536), (size - 999, 999)):
                file.seek(offset)
                file.write(random.randbytes(length))
            file.seek(12 * MIB)
            file.write(bytes(2 * MIB))
        return self.path(name)

    def content(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def copy(self, *arguments, status=0):
        copying = self.start("qpip-nbd-copy", *arguments)
        ended = copying.wait()
        if ended != status:
            self.fail(f"status {ended}: {copying.rest(copying.err)}")
        return copying

    def socket(self, name):
        return f"nbd+unix:///disk?socket={self.path(name)}"

    def serve_on(self, name, *what):
        """A server of ours on a Unix socket."""
        return self.serve("qpip-nbd-server", "--listen", self.path(name), *what)

    def peer(self, *arguments, socket):
        """Another's server, which has no line that says it is ready: its socket says so."""
        if shutil.which(arguments[0]) is None:
            self.skipTest(f"no {arguments[0]}")
        process = commands.Process(list(arguments))
        self.processes.append(process)
        # Its client waits for it (--wait-for-server).
        return f"nbd+unix:///?socket={self.path(socket)}"

    def round_trip(self, uri, *options):
        """To a server and back, against the file."""
        wait = ("--wait-for-server", str(commands.PATIENCE_S))
        self.sparse("source")
        self.copy(*options, *wait, self.path("source"), uri)
        self.copy(*options, *wait, uri, self.path("back"))
        back = self.content("back")
        source = self.content("source")
        self.assertEqual(len(back) >= len(source), True)
        self.assertEqual(back[:len(source)], source)

    # --- Copies

    def test_given_two_files_then_holes_stay_holes(self):
        self.sparse("source")
        self.copy(self.path("source"), self.path("copy"))
        self.assertEqual(self.content("copy"), self.content("source"))
        self.assertLessEqual(os.stat(self.path("copy")).st_blocks, os.stat(self.path("source")).st_blocks)

    def test_given_our_server_on_a_socket_then_the_bytes_make_the_round_trip(self):
        self.serve_on("s", "disk=memory:32M")
        for options in ((), ("--connections", "1", "--requests", "1"), ("--request-size", "2M")):
            self.round_trip(self.socket("s"), *options)

    def test_given_our_server_behind_queue_pairs_then_the_bytes_make_the_round_trip(self):
        self.serve("qpip-nbd-server", "--nic", self.fabric, "disk=memory:32M")
        self.round_trip("nbd+qp://[fd00::1]/disk", "--nic", self.fabric)

    def test_given_our_server_behind_frames_in_datagrams_then_the_bytes_make_the_round_trip(self):
        self.serve("qpip-nbd-server", "--nic",
                   f"udp:127.0.0.1:{self.port}?address=fd00::1", "disk=memory:32M")
        self.round_trip("nbd+qp://[fd00::1]/disk", "--nic",
                        f"udp:127.0.0.1:0?address=fd00::2&peer=127.0.0.1:{self.port}")

    def test_given_nbdkit_then_the_bytes_make_the_round_trip(self):
        uri = self.peer("nbdkit", "-f", "-U", self.path("k"), "memory", "32M", socket="k")
        self.round_trip(uri)

    def test_given_nbdkit_that_is_slow_and_has_little_then_the_bytes_make_the_round_trip(self):
        uri = self.peer("nbdkit", "-f", "-U", self.path("k"), "--filter=nozero", "--filter=noextents",
                        "--filter=delay", "memory", "32M", "rdelay=2ms", "wdelay=2ms", socket="k")
        self.round_trip(uri)

    def test_given_nbdkit_without_structured_replies_then_the_bytes_make_the_round_trip(self):
        uri = self.peer("nbdkit", "-f", "--no-sr", "-U", self.path("k"), "memory", "32M", socket="k")
        self.round_trip(uri)

    def test_given_nbdkit_that_fails_then_the_copy_says_so(self):
        uri = self.peer("nbdkit", "-f", "-U", self.path("k"), "--filter=error", "memory", "32M",
                        "error-pwrite=ENOSPC", "error-pwrite-rate=100%", socket="k")
        copying = self.copy("--wait-for-server", str(commands.PATIENCE_S), self.sparse("source"), uri, status=1)
        self.assertIn("write to the destination failed", copying.error())

    def test_given_qemu_nbd_then_the_bytes_make_the_round_trip(self):
        with open(self.path("disk"), "wb") as file:
            file.truncate(32 * MIB)
        uri = self.peer("qemu-nbd", "-t", "-e", "8", "-f", "raw", "-k", self.path("q"), self.path("disk"),
                        socket="q")
        self.round_trip(uri)

    def test_given_what_cannot_be_then_the_copy_says_what(self):
        self.serve_on("s", "--read-only-export", "disk", "disk=memory:32M", "small=memory:1M")
        source = self.sparse("source")
        for arguments, status, text in (
                ((source, source), 2, "one file"),
                ((source,), 2, "SOURCE and DESTINATION"),
                ((source, self.socket("s")), 1, "read-only"),
                ((source, self.socket("s").replace("disk", "small")), 1, "too small"),
                ((source, self.socket("s").replace("disk", "none")), 1, "err_unknown"),
                ((source, "nbd://"), 2, "bad NBD URI"),
                ((source, self.path("no/such/folder")), 1, "cannot make the file"),
                (("--request-size", "100000", source, self.path("x")), 2, "power of two")):
            copying = self.copy(*arguments, status=status)
            self.assertIn(text, copying.error())

    def blocks_of(self, name, minimum):
        """A server of a file, which takes whole blocks alone."""
        with open(self.path("blocks"), "wb") as file:
            file.truncate(16 * MIB)
        return self.peer("nbdkit", "-f", "-U", self.path(name), "--filter=blocksize-policy", "file",
                         self.path("blocks"), f"blocksize-minimum={minimum}", f"blocksize-preferred={minimum}",
                         "blocksize-error-policy=error", socket=name)

    def test_given_a_destination_of_whole_blocks_then_the_bytes_make_the_round_trip(self):
        for minimum in ("512", "64K"):
            name = f"k{minimum}"
            uri = self.blocks_of(name, minimum)
            self.sparse("source", 16 * MIB)
            # Extents that end where they like, as of a server that is no file.
            self.serve_on(f"s{name}", f"disk={self.path('source')}")
            self.copy("--wait-for-server", str(commands.PATIENCE_S), self.socket(f"s{name}"), uri)
            self.copy(uri, self.path("back"))
            self.assertEqual(self.content("back"), self.content("source"))

    def lose_the_destination(self, *options, status):
        """A copy to a server that dies in the middle of it, and comes back."""
        with open(self.path("disk"), "wb") as file:
            file.truncate(32 * MIB)

        def serve():
            return self.peer("nbdkit", "-f", "-U", self.path("k"), "--filter=delay", "file", self.path("disk"),
                             "wdelay=20ms", socket="k")

        uri = serve()
        server = self.processes[-1]
        source = self.sparse("source", 32 * MIB)
        with open(source, "r+b") as file:
            file.write(random.randbytes(32 * MIB))
        copying = self.start("qpip-nbd-copy", "--wait-for-server", str(commands.PATIENCE_S), "--requests", "4",
                             *options, source, uri)
        # More than is under way at a time: some of it has been answered.
        while os.stat(self.path("disk")).st_blocks * 512 <= 2 * MIB:
            self.assertTrue(copying.runs())
            time.sleep(0.01)
        server.end(signal.SIGKILL)
        os.unlink(self.path("k"))
        serve()
        self.assertEqual(copying.wait(), status)
        return copying

    def test_given_a_destination_that_is_lost_and_comes_back_then_the_copy_does_not_say_that_all_is_there(self):
        copying = self.lose_the_destination(status=1)
        self.assertIn("flush of the destination failed", copying.error())

    def test_given_a_destination_that_loses_nothing_and_comes_back_then_the_copy_is_whole(self):
        self.lose_the_destination("--stable", status=0)
        self.assertEqual(self.content("disk"), self.content("source"))

    # --- A server as a leaf

    def test_given_a_server_of_another_servers_export_then_it_serves_what_that_has(self):
        self.serve("qpip-nbd-server", "--nic", self.fabric, "disk=memory:32M")
        self.serve("qpip-nbd-server", "--listen", self.path("s"), "--nic", f"{self.fabric}?address=fd00::5",
                   "nbd+qp://[fd00::1]/disk")
        self.round_trip(self.socket("s"))

    def test_given_a_leaf_whose_server_is_killed_then_its_clients_do_not_notice(self):
        self.sparse("source", 32 * MIB)
        inner = self.serve_on("i", f"disk={self.path('source')}")
        self.serve_on("s", self.socket("i"))
        inner.end(signal.SIGKILL)
        copying = self.start("qpip-nbd-copy", self.socket("s"), self.path("back"))
        self.serve_on("i", f"disk={self.path('source')}")
        self.assertEqual(copying.wait(), 0)
        self.assertEqual(self.content("back"), self.content("source"))

    # --- Who sees an export

    def test_given_a_rule_for_an_export_then_other_addresses_do_not_see_it(self):
        uri = f"nbd://[::1]:{self.port}/ours"
        for prefix, status in (("fd00::/8", 1), ("::1", 0)):
            server = self.serve("qpip-nbd-server", "--listen", f"[::1]:{self.port}", "--listen", self.path("s"),
                                "--allow", f"ours={prefix}", "ours=memory:1M", "disk=memory:1M")
            self.copy(uri, "null:1M", status=status)
            self.copy(uri.replace("ours", "disk"), "null:1M")
            self.copy(self.socket("s").replace("disk", "ours"), "null:1M")
            self.assertEqual(server.end(), 0)

    # --- A mount

    def mount(self, uri, point, *options):
        if not os.path.exists(os.path.join(commands.BIN, "qpip-nbd-fuse")):
            self.skipTest("no qpip-nbd-fuse: no libfuse3-dev when it was built")
        if not os.access("/dev/fuse", os.W_OK) or (os.geteuid() != 0 and shutil.which("fusermount3") is None):
            self.skipTest("no /dev/fuse, or nobody who may mount")
        mounted = self.start("qpip-nbd-fuse", *options, uri, point)
        self.addCleanup(subprocess.run, ["fusermount3", "-u", "-z", "-q", point], check=False)
        self.assertIn("mounted", mounted.ready())
        return mounted

    def use(self, path, size):
        """Random reads and writes of a file against a model, with holes."""
        chance = random.Random(3)
        model = bytearray(size)
        fd = os.open(path, os.O_RDWR)
        try:
            self.assertEqual(os.fstat(fd).st_size, size)
            self.assertEqual(os.lseek(fd, 0, os.SEEK_HOLE), 0)
            for _ in range(400):
                offset = chance.randrange(size)
                length = min(chance.choice((1, 511, 4096, 70000, 300000)), size - offset)
                if chance.random() < 0.5:
                    data = chance.randbytes(length)
                    self.assertEqual(os.pwrite(fd, data, offset), length)
                    model[offset:offset + length] = data
                else:
                    self.assertEqual(os.pread(fd, length, offset), model[offset:offset + length])
            os.fsync(fd)
            subprocess.run(["fallocate", "--punch-hole", "--offset", "1M", "--length", "2M", path], check=True)
            model[MIB:3 * MIB] = bytes(2 * MIB)
            self.assertEqual(os.pread(fd, size, 0), model)
            self.assertEqual(os.lseek(fd, MIB, os.SEEK_HOLE), MIB)
            self.assertGreaterEqual(os.lseek(fd, MIB, os.SEEK_DATA), 3 * MIB)
            past_the_end = ["fallocate", "--zero-range", "--offset", str(size - 4096), "--length", "8192", path]
            self.assertNotEqual(subprocess.run(past_the_end, stderr=subprocess.DEVNULL, check=False).returncode, 0)
            self.assertEqual(os.fstat(fd).st_size, size)
            self.assertEqual(os.pread(fd, size, 0), model)
            with self.assertRaises(OSError):
                os.ftruncate(fd, size + 1)
            with self.assertRaises(OSError):
                os.pwrite(fd, b"xy", size - 1) == 2 or os.pwrite(fd, b"y", size)
        finally:
            os.close(fd)
        return model

    def test_given_a_mount_on_a_file_then_it_is_the_export(self):
        self.serve_on("s", "disk=memory:16M")
        with open(self.path("point"), "wb"):
            pass
        mounted = self.mount(self.socket("s"), self.path("point"))
        model = self.use(self.path("point"), 16 * MIB)
        self.assertEqual(mounted.end(), 0)
        self.assertIn("unmounted", mounted.ready())
        self.assertEqual(os.stat(self.path("point")).st_size, 0)
        self.copy(self.socket("s"), self.path("back"))
        self.assertEqual(self.content("back"), model)

    def test_given_a_mount_in_a_folder_over_queue_pairs_by_threads_then_the_export_is_a_file_in_it(self):
        self.serve("qpip-nbd-server", "--nic", self.fabric, "disk=memory:16M")
        os.mkdir(self.path("folder"))
        mounted = self.mount("nbd+qp://[fd00::1]/disk", self.path("folder"), "--nic", self.fabric, "--threads", "3",
                             "--direct")
        self.assertEqual(os.listdir(self.path("folder")), ["disk"])
        self.use(os.path.join(self.path("folder"), "disk"), 16 * MIB)
        subprocess.run(["umount", self.path("folder")], check=True)
        self.assertEqual(mounted.wait(), 0)

    def test_given_a_mount_of_what_may_not_be_written_then_it_is_read_only(self):
        self.serve_on("s", "--read-only", "disk=memory:16M")
        with open(self.path("point"), "wb"):
            pass
        self.mount(self.socket("s"), self.path("point"))
        self.assertEqual(self.content("point"), bytes(16 * MIB))
        with self.assertRaises(OSError):
            os.open(self.path("point"), os.O_RDWR)

    def test_given_a_mount_whose_server_is_killed_then_its_programs_do_not_notice(self):
        with open(self.path("disk"), "wb") as file:
            file.truncate(16 * MIB)
        with open(self.path("point"), "wb"):
            pass
        server = self.serve_on("s", f"disk={self.path('disk')}")
        self.mount(self.socket("s"), self.path("point"), "--direct", "--stable")
        for round_number in range(5):
            data = random.randbytes(4 * MIB)
            writer = threading.Thread(target=self.write_all, args=(self.path("point"), data))
            writer.start()
            server.end(signal.SIGKILL)
            server = self.serve_on("s", f"disk={self.path('disk')}")
            writer.join(commands.PATIENCE_S)
            self.assertFalse(writer.is_alive())
            self.assertEqual(self.content("point")[:len(data)], data, round_number)
            self.assertEqual(self.content("disk")[:len(data)], data)

    def test_given_a_mount_whose_server_is_killed_behind_a_write_then_the_next_sync_fails_once(self):
        with open(self.path("point"), "wb"):
            pass
        server = self.serve_on("s", f"disk={self.disk()}")
        self.mount(self.socket("s"), self.path("point"), "--direct")
        fd = os.open(self.path("point"), os.O_RDWR)
        try:
            os.pwrite(fd, bytes(4096), 0)
            server.end(signal.SIGKILL)
            self.serve_on("s", f"disk={self.path('disk')}")
            with self.assertRaises(OSError):
                os.fsync(fd)
            os.fsync(fd)
        finally:
            os.close(fd)

    def test_given_a_mount_of_what_takes_whole_blocks_alone_then_it_takes_all_bytes(self):
        for options in ((), ("--direct", "--threads", "3")):
            name = f"k{len(options)}"
            uri = self.blocks_of(name, "4K")
            with open(self.path("point"), "wb"):
                pass
            mounted = self.mount(uri, self.path("point"), "--wait-for-server", str(commands.PATIENCE_S), *options)
            model = self.use(self.path("point"), 16 * MIB)
            self.assertEqual(mounted.end(), 0)
            self.assertEqual(self.content("blocks"), model)

    def as_another(self, *arguments):
        """The status of a command of another user's."""
        return subprocess.run(["setpriv", f"--reuid={commands.UNPRIVILEGED}", f"--regid={commands.UNPRIVILEGED}",
                               "--clear-groups", *arguments], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode

    @unittest.skipIf(os.geteuid() != 0, "not root, who may become another user")
    def test_given_a_mount_then_others_may_do_what_its_options_say(self):
        self.serve_on("s", "disk=memory:1M")
        os.mkdir(self.path("folder"))
        disk = os.path.join(self.path("folder"), "disk")
        read = ("head", "-c", "1", disk)
        write = ("dd", "if=/dev/zero", f"of={disk}", "bs=512", "count=1", "conv=notrunc")
        for options, reads, writes in (((), False, False),
                                       (("--allow-other",), True, False),
                                       (("--allow-other", "--mode", "0666"), True, True),
                                       (("--allow-other", "--mode", "600"), False, False),
                                       (("--allow-other", "--mode", "666", "--read-only"), True, False)):
            mounted = self.mount(self.socket("s"), self.path("folder"), *options)
            self.assertEqual((self.as_another(*read) == 0, self.as_another(*write) == 0), (reads, writes), options)
            self.assertEqual(mounted.end(), 0)
        for mode in ("777", "8", "rw", ""):
            refused = self.start("qpip-nbd-fuse", "--mode", mode, self.socket("s"), self.path("folder"))
            self.assertEqual(refused.wait(), 2)

    @staticmethod
    def write_all(path, data):
        with open(path, "r+b", buffering=0) as file:
            for offset in range(0, len(data), 65536):
                file.write(data[offset:offset + 65536])
            os.fsync(file.fileno())

    # --- Servers that are killed

    def killed(self, start, uri, connections, *nic):
        """Kills what `start` starts, at random points of a log of writes."""
        chance = random.Random(1)
        with open(self.path("disk"), "wb") as file:
            file.truncate(8 * MIB)
        server = start()
        log = Log([uri, str(connections), "1", *nic])
        self.addCleanup(log.kill)
        for _ in range(KILLS):
            # Some steps are done when it dies, and some are not.
            log.tell(f"step {chance.randrange(1, 600)}")
            log.tell("step 300")
            log.line()
            server.end(signal.SIGKILL)
            self.processes.remove(server)
            server.process.stdout.close()
            server.process.stderr.close()
            server = start()
            log.line()
        log.tell("settle")
        self.assertEqual(log.line(), "settled")
        server.end(signal.SIGKILL)
        start()
        log.tell("verify")
        verdict = log.line()
        print(verdict, file=sys.stderr)
        self.assertRegex(verdict, "^verified 512 blocks")
        self.assertEqual(log.end(), 0)

    def test_given_a_server_on_a_socket_that_is_killed_then_what_was_answered_is_there(self):
        self.killed(lambda: self.serve_on("s", f"disk={self.path('disk')}"), self.socket("s"), 3)

    def test_given_a_server_behind_queue_pairs_that_is_killed_then_what_was_answered_is_there(self):
        self.killed(lambda: self.serve("qpip-nbd-server", "--nic", self.fabric, f"disk={self.path('disk')}"),
                    "nbd+qp://[fd00::1]/disk", 3, f"{self.fabric}?address=fd00::7")


if __name__ == "__main__":
    unittest.main()
