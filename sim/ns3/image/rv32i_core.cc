#include "sim/ns3/image/rv32i_core.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

namespace qpip::sim {
namespace {

/// Where a called function returns to: no memory is there, and no instruction can be.
constexpr uint32_t kReturn = 0xfffffffc;
constexpr uint32_t kStackPointer = 2;
constexpr uint32_t kFirstArgument = 10;
constexpr size_t kMaxArguments = 8;

uint32_t RegisterD(uint32_t word) { return word >> 7 & 31; }
uint32_t Register1(uint32_t word) { return word >> 15 & 31; }
uint32_t Register2(uint32_t word) { return word >> 20 & 31; }
uint32_t Function(uint32_t word) { return word >> 12 & 7; }

/// Bits 31 to 20 with their sign.
uint32_t ImmediateI(uint32_t word) {
  return static_cast<uint32_t>(static_cast<int32_t>(word) >> 20);
}
uint32_t ImmediateS(uint32_t word) { return (ImmediateI(word) & ~31u) | RegisterD(word); }
uint32_t ImmediateB(uint32_t word) {
  return (ImmediateI(word) & 0xfffff7e0u) | (word & 0x80) << 4 | (word >> 7 & 0x1e);
}
uint32_t ImmediateJ(uint32_t word) {
  const auto sign = static_cast<uint32_t>(static_cast<int32_t>(word & 0x80000000u) >> 11);
  return sign | (word & 0xff000) | (word >> 9 & 0x800) | (word >> 20 & 0x7fe);
}

}  // namespace

double Rv32iCounts::Cycles(const Rv32iCycles& cost) const {
  return cost.each * static_cast<double>(instructions) + cost.load * static_cast<double>(loads) +
         cost.store * static_cast<double>(stores) +
         cost.narrow_store * static_cast<double>(narrow_stores) +
         cost.taken_branch * static_cast<double>(taken);
}

Rv32iCore::Rv32iCore(uint32_t bytes, Environment* environment)
    : environment_(environment), memory_((uint64_t{bytes} + 7) / 8) {}

void Rv32iCore::Fail(const char* what, uint32_t value) const {
  char text[120];
  std::snprintf(text, sizeof(text), "the firmware's image: %s %#x at pc %#x", what, value, pc_);
  throw Rv32iError(text);
}

const uint8_t* Rv32iCore::At(uint32_t address, uint32_t length) const {
  if (uint64_t{address} + length > size()) Fail("no memory at", address);
  return reinterpret_cast<const uint8_t*>(memory_.data()) + address;
}

uint8_t* Rv32iCore::At(uint32_t address, uint32_t length) {
  return const_cast<uint8_t*>(std::as_const(*this).At(address, length));
}

uint64_t Rv32iCore::Call(uint32_t address, std::span<const uint32_t> arguments, uint32_t stack_top,
                         uint64_t limit) {
  if (arguments.size() > kMaxArguments) Fail("too many arguments for", address);
  std::copy(arguments.begin(), arguments.end(), x_.begin() + kFirstArgument);
  x_[1] = kReturn;
  x_[kStackPointer] = stack_top;
  pc_ = address;
  const uint64_t end = counts_.instructions + limit;
  while (pc_ != kReturn) {
    if (counts_.instructions >= end) Fail("does not return from", address);
    Step();
  }
  return x_[kFirstArgument] | uint64_t{x_[kFirstArgument + 1]} << 32;
}

void Rv32iCore::Jump(uint32_t target) {
  next_pc_ = target;
  ++counts_.taken;
}

void Rv32iCore::Step() {
  if (pc_ % 4 != 0) Fail("misaligned instruction", pc_);
  uint32_t word;
  std::memcpy(&word, At(pc_, 4), sizeof(word));
  ++counts_.instructions;
  next_pc_ = pc_ + 4;
  const uint32_t left = x_[Register1(word)];
  uint32_t* const to = &x_[RegisterD(word)];
  switch (word & 0x7f) {
    case 0x37:  // LUI
      *to = word & 0xfffff000;
      break;
    case 0x17:  // AUIPC
      *to = pc_ + (word & 0xfffff000);
      break;
    case 0x6f:  // JAL
      *to = pc_ + 4;
      Jump(pc_ + ImmediateJ(word));
      break;
    case 0x67:  // JALR
      *to = pc_ + 4;
      Jump((left + ImmediateI(word)) & ~1u);
      break;
    case 0x63:
      if (Branch(word)) Jump(pc_ + ImmediateB(word));
      break;
    case 0x03:
      *to = Load(word);
      break;
    case 0x23:
      Store(word);
      break;
    case 0x13:
      *to = Arithmetic(word, ImmediateI(word), Function(word) == 5 && (word >> 30 & 1) != 0);
      break;
    case 0x33:
      if ((word >> 25 & ~0x20u) != 0) Fail("not in RV32I:", word);
      *to = Arithmetic(word, x_[Register2(word)], (word >> 30 & 1) != 0);
      break;
    case 0x0f:  // FENCE: one hart in order
      break;
    case 0x73:
      if (word != 0x73) Fail("ebreak or CSR access", word);
      environment_->Call(*this);
      break;
    default:
      Fail("illegal instruction", word);
  }
  x_[0] = 0;
  pc_ = next_pc_;
}

uint32_t Rv32iCore::Load(uint32_t word) {
  const uint32_t kind = Function(word);
  if (kind == 3 || kind > 5) Fail("illegal load", word);
  const uint32_t bytes = 1u << (kind & 3);
  const uint32_t address = x_[Register1(word)] + ImmediateI(word);
  if (address % bytes != 0) Fail("misaligned load from", address);
  uint32_t value = 0;
  std::memcpy(&value, At(address, bytes), bytes);
  ++counts_.loads;
  if (kind == 0) return static_cast<uint32_t>(static_cast<int32_t>(value << 24) >> 24);
  if (kind == 1) return static_cast<uint32_t>(static_cast<int32_t>(value << 16) >> 16);
  return value;
}

void Rv32iCore::Store(uint32_t word) {
  const uint32_t kind = Function(word);
  if (kind > 2) Fail("illegal store", word);
  const uint32_t bytes = 1u << kind;
  const uint32_t address = x_[Register1(word)] + ImmediateS(word);
  if (address % bytes != 0) Fail("misaligned store to", address);
  std::memcpy(At(address, bytes), &x_[Register2(word)], bytes);
  ++(bytes == 4 ? counts_.stores : counts_.narrow_stores);
}

bool Rv32iCore::Branch(uint32_t word) const {
  const uint32_t left = x_[Register1(word)];
  const uint32_t right = x_[Register2(word)];
  switch (Function(word)) {
    case 0:
      return left == right;
    case 1:
      return left != right;
    case 4:
      return static_cast<int32_t>(left) < static_cast<int32_t>(right);
    case 5:
      return static_cast<int32_t>(left) >= static_cast<int32_t>(right);
    case 6:
      return left < right;
    case 7:
      return left >= right;
    default:
      Fail("illegal branch", word);
  }
}

uint32_t Rv32iCore::Arithmetic(uint32_t word, uint32_t right, bool alternate) const {
  const uint32_t left = x_[Register1(word)];
  switch (Function(word)) {
    case 0:
      return alternate ? left - right : left + right;
    case 1:
      return left << (right & 31);
    case 2:
      return static_cast<int32_t>(left) < static_cast<int32_t>(right) ? 1 : 0;
    case 3:
      return left < right ? 1 : 0;
    case 4:
      return left ^ right;
    case 5:
      return alternate ? static_cast<uint32_t>(static_cast<int32_t>(left) >> (right & 31))
                       : left >> (right & 31);
    case 6:
      return left | right;
    default:
      return left & right;
  }
}

}  // namespace qpip::sim
