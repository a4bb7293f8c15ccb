// An RV32I hart that counts instructions and cycles: what the firmware's image runs on where its
// cost is to be predicted instead of assumed.
//
// RISC-V Unprivileged ISA 20191213, chapter 2: the base integer instructions, little endian,
// misaligned accesses refused, no privileged state. Environment calls go to a handler.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

namespace qpip::sim {

/// The image did what a bare core cannot; says what, and at which address.
class Rv32iError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What an instruction takes: one cycle an instruction, and more for these.
struct Rv32iCycles {
  double each = 1;          ///< any instruction
  double load = 0;          ///< more, for a load
  double store = 0;         ///< more, for a store of a word
  double narrow_store = 0;  ///< more, for a store of a byte or half-word
  double taken_branch = 0;  ///< more, for whatever does not go on behind itself
};

/// Instructions by what the model tells apart.
struct Rv32iCounts {
  uint64_t instructions = 0;
  uint64_t loads = 0;
  uint64_t stores = 0;  ///< of words
  uint64_t narrow_stores = 0;
  uint64_t taken = 0;

  double Cycles(const Rv32iCycles& cost) const;
};

/// One hart and its memory, which begins at address 0. Not thread-safe.
class Rv32iCore {
 public:
  /// Carries out an environment call: number in x17 (a7), arguments from x10 (a0) on.
  class Environment {
   public:
    virtual ~Environment() = default;
    virtual void Call(Rv32iCore& core) = 0;
  };

  /// `bytes` of memory, rounded up to words. `environment` must outlive the core.
  Rv32iCore(uint32_t bytes, Environment* environment);

  /// Calls the function at `address` with up to eight argument words, on the stack that ends at
  /// `stack_top`; returns when it does, with a0 and a1. At most `limit` instructions. Throws
  /// Rv32iError.
  uint64_t Call(uint32_t address, std::span<const uint32_t> arguments, uint32_t stack_top,
                uint64_t limit);

  uint32_t x(uint32_t index) const { return x_[index]; }
  void set_x(uint32_t index, uint32_t value) { x_[index] = value; }
  const Rv32iCounts& counts() const { return counts_; }
  /// Bytes of memory. Stable: the memory never moves.
  uint32_t size() const { return static_cast<uint32_t>(memory_.size() * sizeof(uint64_t)); }
  /// `length` bytes at `address`. Throws Rv32iError when they are not all there.
  uint8_t* At(uint32_t address, uint32_t length);
  const uint8_t* At(uint32_t address, uint32_t length) const;

 private:
  void Step();
  uint32_t Load(uint32_t word);
  void Store(uint32_t word);
  bool Branch(uint32_t word) const;
  uint32_t Arithmetic(uint32_t word, uint32_t right, bool alternate) const;
  void Jump(uint32_t target);
  [[noreturn]] void Fail(const char* what, uint32_t value) const;

  Environment* const environment_;
  std::vector<uint64_t> memory_;
  std::array<uint32_t, 32> x_ = {};
  uint32_t pc_ = 0;
  uint32_t next_pc_ = 0;
  Rv32iCounts counts_;
};

}  // namespace qpip::sim
