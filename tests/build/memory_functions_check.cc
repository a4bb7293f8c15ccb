// Runs on the instruction-set simulator (rv32i_simulator_test.py): the image's memory functions
// and the arithmetic libgcc brings, each answer reported as a named number.
#include <cstddef>
#include <cstdint>
#include <cstring>

extern "C" {
void report(const char* name, uint32_t value);
[[noreturn]] void finish(uint32_t status);
[[noreturn]] void check_main();
}
asm(".globl report\nreport:\n li a7, 64\n ecall\n ret\n"
    ".globl finish\nfinish:\n li a7, 65\n ecall\n ret\n"
    ".pushsection .text.start,\"ax\"\n.globl _start\n_start:\n la sp, stack_top\n j check_main\n"
    ".popsection");

namespace {

struct Buffer {
  alignas(4) uint8_t bytes[64];
};

void Fill(Buffer& buffer) {
  for (uint32_t i = 0; i < sizeof(buffer.bytes); ++i) buffer.bytes[i] = static_cast<uint8_t>(i * 7);
}

uint32_t Digest(const Buffer& buffer) {  // FNV-1a
  uint32_t hash = 2166136261u;
  for (const uint8_t byte : buffer.bytes) hash = (hash ^ byte) * 16777619u;
  return hash;
}

void CheckMemory() {
  Buffer buffer;
  Fill(buffer);
  report("filled", Digest(buffer));
  memcpy(buffer.bytes + 32, buffer.bytes, 23);
  report("memcpy_aligned", Digest(buffer));
  memcpy(buffer.bytes + 41, buffer.bytes + 2, 13);
  report("memcpy_unaligned", Digest(buffer));
  memmove(buffer.bytes + 5, buffer.bytes, 40);
  report("memmove_up", Digest(buffer));
  memmove(buffer.bytes, buffer.bytes + 3, 50);
  report("memmove_down", Digest(buffer));
  memset(buffer.bytes + 4, 0xa5, 27);
  report("memset_aligned", Digest(buffer));
  memset(buffer.bytes + 35, 0x5a, 5);
  report("memset_unaligned", Digest(buffer));
  Buffer other = buffer;
  report("memcmp_equal", static_cast<uint32_t>(memcmp(buffer.bytes, other.bytes, 64)));
  other.bytes[63] = 0xff;
  report("memcmp_less", static_cast<uint32_t>(memcmp(buffer.bytes, other.bytes, 64)));
  report("memcmp_greater", static_cast<uint32_t>(memcmp(other.bytes, buffer.bytes, 64)));
}

void CheckArithmetic(volatile int32_t* operands) {
  const int32_t a = operands[0];
  const int32_t b = operands[1];
  report("product", static_cast<uint32_t>(a * b));
  report("quotient", static_cast<uint32_t>(a / b));
  report("remainder", static_cast<uint32_t>(a % b));
  report("shift_arithmetic", static_cast<uint32_t>(a >> 5));
  report("shift_logical", static_cast<uint32_t>(a) >> 5);
  report("less", a < b ? 1u : 0u);
  report("less_unsigned", static_cast<uint32_t>(a) < static_cast<uint32_t>(b) ? 1u : 0u);
  const uint64_t wide = static_cast<uint64_t>(static_cast<uint32_t>(a)) * static_cast<uint32_t>(b);
  report("wide_high", static_cast<uint32_t>(wide >> 32));
  report("wide_quotient", static_cast<uint32_t>(wide / 1000003u));
  const auto narrow = static_cast<int16_t>(operands[2]);
  report("sign_extended", static_cast<uint32_t>(static_cast<int32_t>(narrow)));
}

}  // namespace

extern "C" [[noreturn]] void check_main() {
  CheckMemory();
  volatile int32_t operands[3] = {-123456789, 4321, 0x1fffe};
  CheckArithmetic(operands);
  finish(7);
}
