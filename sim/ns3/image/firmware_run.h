// Where a simulated NIC's firmware runs: as a part of this program, its stages charged by the
// profile; or as the image for RV32I on an instruction-set simulator, charged by its instructions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "nic_fw/firmware.h"
#include "sim/ns3/image/rv32i_core.h"

namespace qpip::sim {

/// Hears what the core spends between two calls of the platform. Called within Step only.
class CycleSink {
 public:
  virtual ~CycleSink() = default;
  virtual void OnCycles(double cycles) = 0;
};

/// The firmware of one NIC, with its arena: the entry points of nic_fw/firmware.h.
class FirmwareRun {
 public:
  virtual ~FirmwareRun() = default;
  /// Formats the arena. False: the firmware refuses the configuration or has no room for it.
  virtual bool Init(const fw::NicConfig& config, const fw::Platform& platform, uint64_t now_ns) = 0;
  /// One handler. False: there is nothing to do.
  virtual bool Step(uint64_t now_ns) = 0;
  virtual bool Ready() = 0;
  virtual uint64_t NextDeadline() = 0;
  /// The NIC's counters; nullptr before Init.
  virtual const uint64_t* counters() const = 0;
  virtual uint32_t arena_bytes() const = 0;
};

/// The firmware as it is compiled into this program.
std::unique_ptr<FirmwareRun> RunNatively();

/// The image that tools/build-rv32i makes, read once; any number of NICs run it.
class FirmwareImage {
 public:
  /// Throws std::runtime_error for a file that cannot be read, is no such image, or is of another
  /// version of the firmware than this program.
  explicit FirmwareImage(const std::string& file);

  /// Where images are looked for when none is named: share/qpip beside this program's folder.
  static std::string DefaultFile();
  /// Makes `file` the one that Shared reads, before it is called for the first time.
  static void UseFile(std::string file);
  /// The image of this process, read when it is first asked for. Throws as the constructor.
  static std::shared_ptr<const FirmwareImage> Shared();

  /// The address of a function or symbol. Throws std::runtime_error.
  uint32_t symbol(const std::string& name) const;
  /// Bytes of memory that the image was linked for.
  uint32_t memory_bytes() const { return symbol("arena_end"); }
  /// Copies code and constants to a core's memory.
  void Load(Rv32iCore* core) const;

 private:
  struct Symbols;
  std::string file_;
  std::string bytes_;
  std::shared_ptr<const Symbols> symbols_;
};

/// The image on a core of its own; `sink` hears of its cycles and must outlive it. A run costs
/// about ten nanoseconds an instruction of real time. Errors of the image are thrown as Rv32iError
/// out of Step.
std::unique_ptr<FirmwareRun> RunImage(std::shared_ptr<const FirmwareImage> image,
                                      const Rv32iCycles& cycles, CycleSink* sink);

}  // namespace qpip::sim
