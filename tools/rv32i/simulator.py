"""An instruction-set simulator for RV32I, just large enough to run the firmware image.

RISC-V Unprivileged ISA 20191213, chapter 2: the base integer instructions, little endian, one hart,
no privileged state. Environment calls go to a handler, as the image's ports do (nic_fw/image).
"""

import struct

MASK = 0xFFFFFFFF


class SimulationError(Exception):
    """The image did something a bare core cannot: says what, and at which address."""


class Exited(Exception):
    def __init__(self, status):
        super().__init__(status)
        self.status = status


def signed(value, bits=32):
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def load_elf(data, memory):
    """Copies the loadable segments of a 32-bit RISC-V ELF file to `memory`; returns the entry."""
    if data[:6] != b"\x7fELF\x01\x01" or struct.unpack_from("<H", data, 18)[0] != 243:
        raise SimulationError("not a 32-bit little-endian RISC-V ELF file")
    entry, program_headers = struct.unpack_from("<II", data, 24)
    entry_size, count = struct.unpack_from("<HH", data, 42)
    for index in range(count):
        kind, offset, _, physical, file_size, memory_size = struct.unpack_from(
            "<6I", data, program_headers + index * entry_size)
        if kind != 1:  # PT_LOAD
            continue
        if physical + memory_size > len(memory):
            raise SimulationError("a segment lies outside the memory")
        memory[physical:physical + file_size] = data[offset:offset + file_size]
    return entry


class Core:
    """One hart. `environment_call(core)` reads a7 and the arguments from `core.x`."""

    def __init__(self, memory, environment_call):
        self.memory = memory
        self.x = [0] * 32
        self.pc = 0
        self.instructions = 0
        self.environment_call = environment_call

    def check(self, address, size):
        if address % size or address + size > len(self.memory):
            raise SimulationError(
                f"bad {size}-byte access to {address:#x} at pc {self.pc:#x}")

    def load(self, address, size):
        self.check(address, size)
        return int.from_bytes(self.memory[address:address + size], "little")

    def store(self, address, size, value):
        self.check(address, size)
        self.memory[address:address + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")

    def string(self, address):
        return self.memory[address:self.memory.index(0, address)].decode("ascii")

    def run(self, limit):
        """Executes until the handler raises Exited; at most `limit` instructions."""
        while self.instructions < limit:
            self.step()
        raise SimulationError(f"still running after {limit} instructions, pc {self.pc:#x}")

    def step(self):
        word = self.load(self.pc, 4)
        self.instructions += 1
        handler = HANDLERS.get(word & 0x7F)
        if handler is None:
            raise SimulationError(f"illegal instruction {word:#010x} at {self.pc:#x}")
        next_pc = handler(self, word)
        self.x[0] = 0
        self.pc = self.pc + 4 if next_pc is None else next_pc


def register_d(word):
    return word >> 7 & 31


def register_1(word):
    return word >> 15 & 31


def register_2(word):
    return word >> 20 & 31


def funct3(word):
    return word >> 12 & 7


def immediate_i(word):
    return signed(word >> 20, 12)


def lui(core, word):
    core.x[register_d(word)] = word & 0xFFFFF000


def auipc(core, word):
    core.x[register_d(word)] = (core.pc + (word & 0xFFFFF000)) & MASK


def jal(core, word):
    offset = (word >> 31 << 20 | (word >> 12 & 0xFF) << 12 | (word >> 20 & 1) << 11
              | (word >> 21 & 0x3FF) << 1)
    core.x[register_d(word)] = core.pc + 4
    return (core.pc + signed(offset, 21)) & MASK


def jalr(core, word):
    target = (core.x[register_1(word)] + immediate_i(word)) & MASK & ~1
    core.x[register_d(word)] = core.pc + 4
    return target


def branch(core, word):
    left, right = core.x[register_1(word)], core.x[register_2(word)]
    kind = funct3(word)
    if kind in (0, 1):
        taken = left == right
    elif kind in (4, 5):
        taken = signed(left) < signed(right)
    elif kind in (6, 7):
        taken = left < right
    else:
        raise SimulationError(f"illegal branch {word:#010x} at {core.pc:#x}")
    if taken == bool(kind & 1):
        return None
    offset = (word >> 31 << 12 | (word >> 7 & 1) << 11 | (word >> 25 & 0x3F) << 5
              | (word >> 8 & 0xF) << 1)
    return (core.pc + signed(offset, 13)) & MASK


def load(core, word):
    address = (core.x[register_1(word)] + immediate_i(word)) & MASK
    kind = funct3(word)
    if kind not in (0, 1, 2, 4, 5):
        raise SimulationError(f"illegal load {word:#010x} at {core.pc:#x}")
    size = 1 << (kind & 3)
    value = core.load(address, size)
    core.x[register_d(word)] = (value if kind & 4 else signed(value, 8 * size)) & MASK


def store(core, word):
    offset = signed(word >> 25 << 5 | (word >> 7 & 31), 12)
    if funct3(word) > 2:
        raise SimulationError(f"illegal store {word:#010x} at {core.pc:#x}")
    core.store((core.x[register_1(word)] + offset) & MASK, 1 << funct3(word),
               core.x[register_2(word)])


def arithmetic(kind, alternate, left, right):
    if kind == 0:
        return left - right if alternate else left + right
    if kind == 1:
        return left << (right & 31)
    if kind == 2:
        return int(signed(left) < signed(right))
    if kind == 3:
        return int(left < right)
    if kind == 4:
        return left ^ right
    if kind == 5:
        return (signed(left) if alternate else left) >> (right & 31)
    return left | right if kind == 6 else left & right


def operate_immediate(core, word):
    kind = funct3(word)
    alternate = kind == 5 and bool(word >> 30 & 1)
    core.x[register_d(word)] = MASK & arithmetic(
        kind, alternate, core.x[register_1(word)], immediate_i(word) & MASK)


def operate(core, word):
    if word >> 25 not in (0, 0x20):
        raise SimulationError(f"not in RV32I: {word:#010x} at {core.pc:#x}")
    core.x[register_d(word)] = MASK & arithmetic(
        funct3(word), bool(word >> 30 & 1), core.x[register_1(word)], core.x[register_2(word)])


def fence(_core, _word):
    return None


def system(core, word):
    if word != 0x73:
        raise SimulationError(f"ebreak or CSR access {word:#010x} at {core.pc:#x}")
    core.environment_call(core)


HANDLERS = {
    0x37: lui, 0x17: auipc, 0x6F: jal, 0x67: jalr, 0x63: branch, 0x03: load, 0x23: store,
    0x13: operate_immediate, 0x33: operate, 0x0F: fence, 0x73: system,
}
