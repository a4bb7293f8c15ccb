// The RV32I core on which the firmware's image runs, instruction by instruction.
#include "sim/ns3/image/rv32i_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace qpip::sim {
namespace {

using testing::HasSubstr;

constexpr uint32_t kBytes = 4096;
constexpr uint32_t kReturn = 0x00008067;  // jalr x0, 0(x1)

// Encodings (RISC-V Unprivileged ISA 20191213, 2.2), registers by number.
uint32_t Immediate(uint32_t opcode, uint32_t function, uint32_t to, uint32_t from, int32_t value) {
  return opcode | to << 7 | function << 12 | from << 15 | static_cast<uint32_t>(value) << 20;
}
uint32_t Addi(uint32_t to, uint32_t from, int32_t value) {
  return Immediate(0x13, 0, to, from, value);
}
uint32_t Load(uint32_t function, uint32_t to, uint32_t from, int32_t offset) {
  return Immediate(0x03, function, to, from, offset);
}
uint32_t Store(uint32_t function, uint32_t what, uint32_t to, int32_t offset) {
  const auto bits = static_cast<uint32_t>(offset);
  return 0x23 | (bits & 31) << 7 | function << 12 | to << 15 | what << 20 | (bits >> 5) << 25;
}
uint32_t Branch(uint32_t function, uint32_t left, uint32_t right, int32_t offset) {
  const auto bits = static_cast<uint32_t>(offset);
  return 0x63 | (bits >> 11 & 1) << 7 | (bits >> 1 & 15) << 8 | function << 12 | left << 15 |
         right << 20 | (bits >> 5 & 63) << 25 | (bits >> 12 & 1) << 31;
}
uint32_t Register(uint32_t function, bool alternate, uint32_t to, uint32_t left, uint32_t right) {
  return 0x33 | to << 7 | function << 12 | left << 15 | right << 20 | (alternate ? 1u << 30 : 0);
}

class Rv32iCoreTest : public testing::Test, public Rv32iCore::Environment {
 protected:
  void Call(Rv32iCore& core) override { called_ = core.x(17); }

  void Program(std::vector<uint32_t> words) {
    words.push_back(kReturn);
    std::memcpy(core_.At(0, static_cast<uint32_t>(words.size() * 4)), words.data(),
                words.size() * 4);
  }
  uint32_t Run(std::vector<uint32_t> arguments) {
    return static_cast<uint32_t>(core_.Call(0, arguments, kBytes, 10000));
  }
  /// What `word` makes of the arguments in a0 and a1.
  uint32_t Result(uint32_t word, uint32_t left, uint32_t right) {
    Program({word});
    return Run({left, right});
  }

  uint32_t called_ = 0;
  Rv32iCore core_{kBytes, this};
};

TEST_F(Rv32iCoreTest, GivenALoopWhenItEndsThenInstructionsAndTakenBranchesAreCounted) {
  // a1 = 0; do { a1 += a0; a0 -= 1; } while (a0 != 0); a0 = a1
  Program({Addi(11, 0, 0), Register(0, false, 11, 11, 10), Addi(10, 10, -1), Branch(1, 10, 0, -8),
           Addi(10, 11, 0)});

  EXPECT_EQ(Run({10}), 55u);

  EXPECT_EQ(core_.counts().instructions, 1u + 10 * 3 + 1 + 1);
  EXPECT_EQ(core_.counts().taken, 9u + 1);  // and the return
  EXPECT_EQ(core_.counts().loads, 0u);
}

TEST_F(Rv32iCoreTest, GivenCostsWhenCyclesAreAskedForThenEachKindAddsItsOwn) {
  const Rv32iCounts counts = {100, 10, 7, 5, 3};

  EXPECT_DOUBLE_EQ(counts.Cycles({1, 0, 0, 0, 0}), 100);
  EXPECT_DOUBLE_EQ(counts.Cycles({1, 2, 0, 0, 0}), 120);
  EXPECT_DOUBLE_EQ(counts.Cycles({1, 0, 1, 3, 0}), 122);
  EXPECT_DOUBLE_EQ(counts.Cycles({0, 0, 0, 0, 2}), 6);
}

TEST_F(Rv32iCoreTest, GivenArithmeticWhenRunThenItIsTheIsas) {
  EXPECT_EQ(Result(Register(0, true, 10, 10, 11), 3, 5), 0xfffffffeu);            // sub
  EXPECT_EQ(Result(Register(2, false, 10, 10, 11), 0xffffffff, 0), 1u);           // slt
  EXPECT_EQ(Result(Register(3, false, 10, 10, 11), 0xffffffff, 0), 0u);           // sltu
  EXPECT_EQ(Result(Register(5, true, 10, 10, 11), 0x80000000, 36), 0xf8000000u);  // sra by 4
  EXPECT_EQ(Result(Register(5, false, 10, 10, 11), 0x80000000, 4), 0x08000000u);  // srl
  EXPECT_EQ(Result(Register(4, false, 10, 10, 11), 0xff00ff00, 0x0ff00ff0), 0xf0f0f0f0u);
  EXPECT_EQ(Result(0x12345537, 0, 0), 0x12345000u);  // lui a0
  EXPECT_EQ(Result(Addi(0, 0, 7), 9, 0), 9u);        // x0 stays zero
}

TEST_F(Rv32iCoreTest, GivenNarrowLoadsWhenTheSignBitIsSetThenItIsExtendedOrNot) {
  const uint32_t word = 0x8081;
  std::memcpy(core_.At(256, 4), &word, 4);

  EXPECT_EQ(Result(Load(0, 10, 0, 256), 0, 0), 0xffffff81u);  // lb
  EXPECT_EQ(Result(Load(4, 10, 0, 256), 0, 0), 0x81u);        // lbu
  EXPECT_EQ(Result(Load(1, 10, 0, 256), 0, 0), 0xffff8081u);  // lh
  EXPECT_EQ(Result(Load(5, 10, 0, 256), 0, 0), 0x8081u);      // lhu
  EXPECT_EQ(core_.counts().loads, 4u);
}

TEST_F(Rv32iCoreTest, GivenStoresWhenRunThenOnlyTheirBytesChangeAndTheyAreToldApart) {
  std::memset(core_.At(256, 4), 0, 4);
  Program({Store(0, 10, 0, 257), Store(2, 10, 0, 260)});

  Run({0xabcdef12});

  EXPECT_EQ(*core_.At(256, 1), 0);
  EXPECT_EQ(*core_.At(257, 1), 0x12);
  EXPECT_EQ(*core_.At(258, 1), 0);
  EXPECT_EQ(*core_.At(263, 1), 0xab);
  EXPECT_EQ(core_.counts().narrow_stores, 1u);
  EXPECT_EQ(core_.counts().stores, 1u);
}

TEST_F(Rv32iCoreTest, GivenAnEnvironmentCallWhenRunThenTheHandlerHearsItsNumber) {
  Program({Addi(17, 0, 64), 0x73});

  Run({});

  EXPECT_EQ(called_, 64u);
}

TEST_F(Rv32iCoreTest, GivenWhatABareCoreCannotDoWhenRunThenTheErrorSaysWhatAndWhere) {
  const auto error = [this](uint32_t word) -> std::string {
    try {
      Result(word, 0, 0);
    } catch (const Rv32iError& caught) {
      return caught.what();
    }
    return "";
  };
  EXPECT_THAT(error(Load(2, 10, 0, 258)), HasSubstr("misaligned load from 0x102 at pc 0"));
  EXPECT_THAT(error(Store(1, 10, 0, 257)), HasSubstr("misaligned store to 0x101"));
  EXPECT_THAT(error(Load(2, 10, 0, -4)), HasSubstr("no memory at 0xfffffffc"));
  EXPECT_THAT(error(0x02b50533), HasSubstr("not in RV32I: 0x2b50533"));  // mul a0, a0, a1
  EXPECT_THAT(error(0xffffffff), HasSubstr("illegal instruction"));
  EXPECT_THAT(error(0x00100073), HasSubstr("ebreak"));
  EXPECT_THAT(error(0x0000006f), HasSubstr("does not return"));  // j .
}

}  // namespace
}  // namespace qpip::sim
