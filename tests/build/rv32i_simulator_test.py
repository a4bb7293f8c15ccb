#!/usr/bin/env python3
"""The instruction-set simulator of tools/rv32i, and the image's memory functions, against Python."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from rv32i import simulator, toolchain  # noqa: E402

LINKER_SCRIPT = """
SECTIONS { .text 0 : { *(.text.start) *(.text .text.*) *(.rodata .rodata.*) } stack_top = 0x10000; }
"""


def fnv(data):
    value = 2166136261
    for byte in data:
        value = ((value ^ byte) * 16777619) & simulator.MASK
    return value


def run_check_program(optimisation):
    """Builds memory_functions_check.cc with `optimisation`, runs it: its report, its exit status."""
    with tempfile.TemporaryDirectory() as directory:
        script, image = Path(directory) / "check.ld", Path(directory) / "check.elf"
        script.write_text(LINKER_SCRIPT)
        subprocess.run(
            [toolchain.PREFIX + "g++", "-std=c++20", "-march=rv32i", "-mabi=ilp32", optimisation,
             "-ffreestanding", "-fno-exceptions", "-fno-rtti", "-fno-builtin", "-nostdlib",
             "-fno-asynchronous-unwind-tables", *toolchain.include_flags(), "-T", str(script),
             "-Wl,--no-warn-rwx-segments", str(ROOT / "tests/build/memory_functions_check.cc"),
             str(ROOT / "nic_fw/image/memory_functions.cc"), "-o", str(image), "-lgcc"], check=True)
        memory, report = bytearray(0x10000), {}

        def call(core):
            if core.x[17] == 65:
                raise simulator.Exited(core.x[10])
            report[core.string(core.x[10])] = core.x[11]

        core = simulator.Core(memory, call)
        core.pc = simulator.load_elf(image.read_bytes(), memory)
        try:
            core.run(1_000_000)
        except simulator.Exited as exited:
            return report, exited.status


def expected_report():
    expected = {}
    data = bytearray(i * 7 & 255 for i in range(64))
    expected["filled"] = fnv(data)
    data[32:55] = data[0:23]
    expected["memcpy_aligned"] = fnv(data)
    data[41:54] = data[2:15]
    expected["memcpy_unaligned"] = fnv(data)
    data[5:45] = bytes(data[0:40])
    expected["memmove_up"] = fnv(data)
    data[0:50] = bytes(data[3:53])
    expected["memmove_down"] = fnv(data)
    data[4:31] = b"\xa5" * 27
    expected["memset_aligned"] = fnv(data)
    data[35:40] = b"\x5a" * 5
    expected["memset_unaligned"] = fnv(data)
    expected.update(memcmp_equal=0, memcmp_less=simulator.MASK, memcmp_greater=1)
    a, b = -123456789, 4321
    unsigned = a & simulator.MASK
    quotient = -(-a // b)  # C++ truncates towards zero
    expected.update(
        product=a * b & simulator.MASK, quotient=quotient & simulator.MASK,
        remainder=(a - quotient * b) & simulator.MASK, shift_arithmetic=(a >> 5) & simulator.MASK,
        shift_logical=unsigned >> 5, less=1, less_unsigned=0, wide_high=unsigned * b >> 32,
        wide_quotient=(unsigned * b // 1000003) & simulator.MASK, sign_extended=-2 & simulator.MASK)
    return expected


class SimulatorTest(unittest.TestCase):
    def test_given_the_check_program_when_run_then_every_number_is_pythons(self):
        for optimisation in ("-O0", "-Os", "-O2"):
            with self.subTest(optimisation):
                report, status = run_check_program(optimisation)
                self.assertEqual(status, 7)
                self.assertEqual(report, expected_report())

    def run_words(self, *words, limit=100):
        memory = bytearray(4096)
        for index, word in enumerate(words):
            memory[4 * index:4 * index + 4] = word.to_bytes(4, "little")
        simulator.Core(memory, lambda core: None).run(limit)

    def test_given_a_multiplication_when_run_then_it_is_refused_as_not_rv32i(self):
        with self.assertRaisesRegex(simulator.SimulationError, "not in RV32I"):
            self.run_words(0x02B50533)  # mul a0, a0, a1

    def test_given_a_misaligned_load_when_run_then_the_address_is_named(self):
        with self.assertRaisesRegex(simulator.SimulationError, "access to 0x2 "):
            self.run_words(0x00202503)  # lw a0, 2(zero)

    def test_given_an_endless_loop_when_run_then_the_limit_ends_it(self):
        with self.assertRaisesRegex(simulator.SimulationError, "still running"):
            self.run_words(0x0000006F)  # j .


if __name__ == "__main__":
    unittest.main()
