"""The cross compiler for a bare RV32I core, and the headers that it is given."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "riscv64-unknown-elf-"


def host_compiler(option):
    return subprocess.run(["g++", option], capture_output=True, text=True, check=True).stdout.strip()


def include_flags():
    """The project, then the host libstdc++'s freestanding headers over picolibc's C headers."""
    version, machine = host_compiler("-dumpversion"), host_compiler("-print-multiarch")
    system = [ROOT / "nic_fw/image/shim", f"/usr/include/c++/{version}",
              f"/usr/include/{machine}/c++/{version}",
              "/usr/lib/picolibc/riscv64-unknown-elf/include"]
    return [f"-I{ROOT}"] + [flag for path in system for flag in ("-isystem", str(path))]
