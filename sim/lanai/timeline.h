// A recording of what the NIC did when, in the Trace Event format that Perfetto
// (https://ui.perfetto.dev) and chrome://tracing open.
//
// One track per FSM, DMA engine and direction of the link; state changes are marks, work requests
// arrows of their own. Memory is bounded: the recording is a ring that keeps the latest records.
#pragma once

#include <cstdint>
#include <fstream>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "nic_fw/platform.h"

namespace qpip::lanai {

enum class Track : uint8_t {
  kDoorbellFsm = 1,
  kManagementFsm = 2,
  kTransmitFsm = 3,
  kReceiveFsm = 4,
  kDmaToNic = 5,   ///< host memory to NIC: WQEs, commands, payload on its way out
  kDmaToHost = 6,  ///< NIC to host memory: completions, events, placed payload
  kLinkTransmit = 7,
  kLinkReceive = 8,
  kConnections = 9,
};

/// Operations of engines and link, named in the recording.
enum class EngineOperation : uint8_t {
  kRead = 0,
  kWrite = 1,
  kCopy = 2,
  kFetch = 3,
  kPlace = 4,
  kSend = 5,
  kReceive = 6,
};

/// Written by whoever holds the core. All times are ReadCycles().
class Timeline {
 public:
  /// Opens the file, so that one that cannot be written is known before the work is done. Keeps the
  /// latest `capacity` records (32 bytes each); at least 1. Throws std::system_error naming the
  /// path.
  explicit Timeline(const std::string& path, uint32_t capacity = 1u << 17);

  void AddStage(fw::Stage stage, fw::Variant variant, uint64_t begin, uint64_t end);
  void AddOperation(Track track, EngineOperation operation, uint32_t bytes, uint64_t begin,
                    uint64_t end);
  void AddTrace(const fw::TraceRecord& record, uint64_t at);

  /// Writes the JSON file, once. `title` names the process track. Throws std::system_error naming
  /// the path when it cannot be written.
  void Write(const std::string& title, double nanoseconds_per_cycle);

  uint64_t recorded() const { return recorded_; }

 private:
  enum class Kind : uint8_t { kStage, kOperation, kTrace };
  struct Record {
    uint64_t begin = 0;
    uint32_t duration = 0;
    Kind kind = Kind::kStage;
    Track track = Track::kDoorbellFsm;
    uint8_t name = 0;  ///< Stage, EngineOperation or TraceKind
    uint8_t variant = 0;
    uint32_t values[3] = {};
  };
  static nlohmann::json ToEvent(const Record& record, bool last_step, uint64_t origin,
                                double us_per_cycle);
  void Add(const Record& record) { ring_[recorded_++ & mask_] = record; }

  const std::string path_;
  std::ofstream file_;
  uint64_t recorded_ = 0;
  uint64_t mask_ = 0;
  std::vector<Record> ring_;
};

}  // namespace qpip::lanai
