"""What a round trip between hosts costs in system calls: one that sends and one that receives on each side, and
next to nothing besides. Usage: calls_test.py BIN_DIR"""

import json
import os
import shutil
import subprocess
import unittest

import commands

ROUND_TRIPS = 2000
# Set-up, the end, ticks of the NIC's own thread; a machine that is away for longer than a delayed
# acknowledgement waits costs a message or two more.
SLACK = ROUND_TRIPS // 10


class CallsTest(commands.CommandsTest):
    def setUp(self):
        super().setUp()
        self.nics = {"udp": (f"udp:127.0.0.1:{self.port}", f"udp:127.0.0.1:0?peer=127.0.0.1:{self.port}"),
                     "wg": (f"wg:{self.config(0)}", f"wg:{self.config(1)}")}

    # Of either side; the keys are this test's alone.
    KEYS = [("MPesUbq5+8em8Qq7Di/kHP4ayC2Ye21ouF9FHyKIIUA=", "xLbGwW8XCOmVMU8etoesSJGkMwKUgGl+F4zMMUXoo3o="),
            ("4E849rlhtQ323UCYFMSTbbhBrbEDOY/cwO7DthIA9VM=", "WFp2TkxMkRL8wQYG87h+PpmAhCBIVXxjXu1PsWvGnhw=")]

    def config(self, side):
        path = self.path(f"{side}.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"[Interface]\nPrivateKey = {self.KEYS[side][0]}\nAddress = fd00::{side + 1}/64\n"
                       f"ListenPort = {self.port if side == 0 else 0}\n[Peer]\nPublicKey = {self.KEYS[1 - side][1]}\n"
                       f"AllowedIPs = fd00::{2 - side}/128\n")
            if side == 1:
                file.write(f"Endpoint = 127.0.0.1:{self.port}\n")
        os.chmod(path, 0o600)
        return path

    def ping(self, wire, mode, *tracer):
        """The client's report of so many round trips, and the wire's counters."""
        server, client = self.nics[wire]
        self.serve("qpip-ping", "-s", mode, "--nic", server)
        command = [*tracer, f"{commands.BIN}/qpip-ping", mode, "--json", "--statistics", "-n", str(ROUND_TRIPS),
                   "--nic", client, "fd00::1"]
        run = subprocess.run(command, stdout=subprocess.PIPE, timeout=commands.PATIENCE_S, check=True)
        report = json.loads(run.stdout)
        self.assertEqual(report["lost"], 0)
        return report["nic"]["counters"], report["nic"]["port"]["wire"]

    def test_given_either_wire_when_echoes_are_waited_for_then_each_is_one_datagram_sent_and_one_received(self):
        for wire in self.nics:
            for mode in ("--poll", "--wait"):
                with self.subTest(wire=wire, mode=mode):
                    counters, port = self.ping(wire, mode)
                    found = port["receive_calls"] - port["empty_receive_calls"]
                    self.assertLessEqual(counters["tcp_pure_acks_sent"], SLACK)
                    for calls in (port["send_calls"], found, port["datagrams_sent" if wire == "wg" else "frames_sent"]):
                        self.assertGreaterEqual(calls, ROUND_TRIPS)
                        self.assertLessEqual(calls, ROUND_TRIPS + SLACK)
                    # The NIC's own thread sleeps by the clock besides.
                    self.assertLessEqual(port["sleeps"], ROUND_TRIPS * (1.5 if mode == "--wait" else 0.5))
                self.end_all()

    @unittest.skipUnless(shutil.which("strace"), "no strace: see tools/setup")
    def test_given_echoes_when_system_calls_are_counted_then_nothing_else_is_called_for_each(self):
        if commands.sanitized():
            self.skipTest("sanitizers call the system for themselves")
        for wire in self.nics:
            with self.subTest(wire=wire):
                summary = self.path("calls")
                self.ping(wire, "--poll", "strace", "-f", "-c", "-U", "calls,name", "-o", summary)
                with open(summary, encoding="ascii") as lines:
                    words = [line.split() for line in lines]
                calls = {row[1]: int(row[0]) for row in words if len(row) == 2 and row[0].isdigit()}
                self.assertLessEqual(calls.get("sendmmsg", 0) + calls["sendmsg"], ROUND_TRIPS + SLACK)
                self.assertGreaterEqual(calls["recvmmsg"], ROUND_TRIPS)
                # Ticks are the clock's: a slow machine has more of them, not for each message.
                for name in set(calls) - {"sendmmsg", "sendmsg", "recvmmsg", "futex", "total"}:
                    self.assertLessEqual(calls[name], ROUND_TRIPS // 2, name)
            self.end_all()


if __name__ == "__main__":
    unittest.main()
