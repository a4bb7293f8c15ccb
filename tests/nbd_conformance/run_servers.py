#!/usr/bin/env python3
"""The conformance suite against qpip-nbd-server and the servers of others that are installed.

Usage: run_servers.py BIN_DIR [--report | --check DOCUMENT | --check-vconn DOCUMENT]
--check: qpip-nbd-server alone, which must meet every case that applies; the document must say what it does.
--check-vconn: the same behind qpip-nbd-client, with NBD over VCONN between the two.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import nbd_conformance
import report
import suite

BYTES = 80 << 20  # more than the 64 MiB that a request may have
PATIENCE_S = 20
OURS = "qpip-nbd-server"


def unix(path, export):
    return f"nbd+unix:///{export}?socket={path}"


# Each returns commands, the sockets they listen on, and the URIs of an export to write and of one that refuses.
def qpip(bin_dir, folder):
    path = f"{folder}/qpip"
    command = [f"{bin_dir}/qpip-nbd-server", "--listen", path, "--read-only-export", "cd", f"disk={folder}/disks/disk",
               f"cd={folder}/disks/cd"]
    return [command], [path], unix(path, "disk"), unix(path, "cd")


def qpip_over_vconn(bin_dir, folder):
    path, fabric = f"{folder}/qpip", f"shm:conformance-{os.getpid()}"
    _, _, uri, read_only_uri = qpip(bin_dir, folder)
    server = [f"{bin_dir}/qpip-nbd-server", "--vconn", "--nic", f"{fabric}?address=fd00::1", "--read-only-export", "cd",
              f"disk={folder}/disks/disk", f"cd={folder}/disks/cd"]
    client = [f"{bin_dir}/qpip-nbd-client", "--vconn", "--nic", f"{fabric}?address=fd00::2", "--socket", path,
              "--wait-for-server", "10", "fd00::1"]
    return [server, client], [path], uri, read_only_uri


def nbdkit(_bin_dir, folder):
    sockets = [f"{folder}/nbdkit", f"{folder}/nbdkit-r"]
    commands = [["nbdkit", "-f", "-U", sockets[0], "file", f"dir={folder}/disks"],
                ["nbdkit", "-f", "-r", "-U", sockets[1], "file", f"dir={folder}/disks"]]
    return commands, sockets, unix(sockets[0], "disk"), unix(sockets[1], "cd")


def qemu_nbd(_bin_dir, folder):
    sockets = [f"{folder}/qemu", f"{folder}/qemu-r"]
    common = ["qemu-nbd", "-t", "-e", "0", "-f", "raw", "--discard=unmap"]
    commands = [common + ["-x", "disk", "-k", sockets[0], f"{folder}/disks/disk"],
                common + ["-r", "-x", "cd", "-k", sockets[1], f"{folder}/disks/cd"]]
    return commands, sockets, unix(sockets[0], "disk"), unix(sockets[1], "cd")


SERVERS = {OURS: qpip, "nbdkit": nbdkit, "qemu-nbd": qemu_nbd}


def version(name, command):
    if name == OURS:
        return name
    text = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", text.stdout + text.stderr)
    return f"{name} {found.group(0)}" if found else name


def listens(path):
    """A path may be there before anybody listens at it."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


class Running:
    """The processes of a server."""

    def __init__(self, commands, sockets):
        self.commands, self.sockets, self.processes = commands, sockets, []
        self.start()

    def start(self):
        for path in filter(os.path.exists, self.sockets):
            os.unlink(path)
        self.processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                          for command in self.commands]
        deadline = time.monotonic() + PATIENCE_S
        while not all(map(listens, self.sockets)) and time.monotonic() < deadline:
            time.sleep(0.01)

    def revive(self, hung_up):
        """Starts what has ended again. Behind a connection that was hung up on a process may be about to end."""
        if hung_up:
            for process in self.processes:
                try:
                    process.wait(timeout=1 / len(self.processes))
                except subprocess.TimeoutExpired:
                    pass
        if all(process.poll() is None for process in self.processes):
            return False
        self.stop()
        self.start()
        return True

    def stop(self):
        for process in self.processes:
            process.terminate()
            process.wait()


def run(name, make, bin_dir):
    """(name with version, results), or None when it is not installed."""
    with tempfile.TemporaryDirectory(prefix="qpip-nbd-conformance.") as folder:
        os.mkdir(f"{folder}/disks")
        for disk in ("disk", "cd"):
            with open(f"{folder}/disks/{disk}", "wb") as file:
                file.truncate(BYTES)
        commands, sockets, uri, read_only_uri = make(bin_dir, folder)
        if shutil.which(commands[0][0] if name == OURS else name) is None:
            return None
        running = Running(commands, sockets)
        try:
            _, results = nbd_conformance.run(uri, read_only_uri, revive=running.revive)
            return version(name, name), results
        finally:
            running.stop()


def check(bin_dir, document, make):
    _, results = run(OURS, make, bin_dir)
    bad = {name: result for name, result in results.items() if result.startswith("fails")}
    for name, result in bad.items():
        print(f"{name}: {result}")
    with open(document, encoding="utf-8") as file:
        rows = [line.rstrip(" |\n").split(" | ") for line in file if line.startswith("| ")]
    written = {row[0][2:]: row[4] for row in rows if len(row) > 4 and row[2] in suite.LEVELS}
    now = {case.name: report.cell(results[case.name]) for case in suite.CASES}
    stale = {name for name in now if written.get(name) != now[name]} | (set(written) - set(now))
    for name in sorted(stale):
        print(f"out of date in {document}: {name}: {written.get(name)}, now {now.get(name)}")
    return 1 if bad or stale else 0


def main():
    bin_dir = sys.argv[1]
    if len(sys.argv) > 3:
        return check(bin_dir, sys.argv[3], {"--check": qpip, "--check-vconn": qpip_over_vconn}[sys.argv[2]])
    servers = dict(filter(None, (run(name, make, bin_dir) for name, make in SERVERS.items())))
    if sys.argv[2:] == ["--report"]:
        sys.stdout.write(report.make(suite.CASES, servers))
    else:
        print("\n".join(report.summary(suite.CASES, servers) + report.reasons(suite.CASES, servers)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
