// What the resources of simulated NICs did and when: recorded once, then read by all who ask
// (stage tables, occupancy over time, critical path, timeline files).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nic_fw/platform.h"
#include "sim/ns3/model/observer.h"

namespace qpip::sim {

class World;

/// What can be busy in a NIC.
enum class Resource : uint8_t { kCore, kDmaRead, kDmaWrite, kLinkTransmit, kLinkReceive, kCount };
inline constexpr uint32_t kResourceCount = static_cast<uint32_t>(Resource::kCount);
/// "core", "DMA read", "DMA write", "link transmit", "link receive"
const char* ResourceName(Resource resource);

/// As people read it.
inline double PsToUs(uint64_t ps) { return static_cast<double>(ps) / 1e6; }

/// One resource busy with one thing during [start_ps, end_ps).
struct Activity {
  uint64_t start_ps = 0;
  uint64_t end_ps = 0;
  const char* name = nullptr;  ///< of an engine's work; nullptr for the core. Never freed.
  uint32_t amount = 0;         ///< the core: the charge's units; engines: bytes
  uint16_t host = 0;
  Resource resource = Resource::kCore;
  fw::Stage stage = fw::Stage::kCount;        ///< of the core
  fw::Variant variant = fw::Variant::kCount;  ///< of the core

  uint64_t DurationPs() const { return end_ps - start_ps; }
  /// "tx get wr (data)" or "fetch"
  std::string Label() const;
};

/// A trace record of the firmware.
struct TraceMark {
  uint64_t at_ps = 0;
  uint16_t host = 0;
  fw::TraceRecord record;
};

/// A frame handed to the link.
struct FrameMark {
  uint64_t at_ps = 0;
  uint16_t host = 0;
  bool sent = true;  ///< else received
  bool has_payload = false;
  uint32_t bytes = 0;
};

/// All that was recorded, in the order in which it became known: the activities of one resource
/// are in the order of their times, those of different resources are not.
struct Recording {
  std::vector<Activity> activities;
  std::vector<TraceMark> traces;
  std::vector<FrameMark> frames;
  uint32_t hosts = 0;
  bool truncated = false;  ///< the limit was reached: what came later is missing

  /// The end of the last activity.
  uint64_t EndPs() const;
};

/// Records what every NIC of a World does. Detaches itself when destroyed.
class Recorder {
 public:
  /// Activities of all NICs that are kept, about 40 bytes each.
  static constexpr size_t kDefaultLimit = 4000000;

  explicit Recorder(World& world, size_t limit = kDefaultLimit);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  const Recording& recording() const { return recording_; }
  /// Empties the recorder and returns what it held.
  Recording Take();

 private:
  class Tap;
  const size_t limit_;
  Recording recording_;
  std::vector<std::unique_ptr<Tap>> taps_;  ///< one a host
};

/// Records every World of this process that is built while it lives, for those who run a scenario
/// by name and never see its World. One at a time.
class ScopedRecording {
 public:
  explicit ScopedRecording(size_t limit = Recorder::kDefaultLimit);
  ~ScopedRecording();
  ScopedRecording(const ScopedRecording&) = delete;
  ScopedRecording& operator=(const ScopedRecording&) = delete;

  /// Of the World that ended last.
  const Recording& recording() const { return recording_; }

 private:
  class Watcher;
  Recording recording_;
  std::unique_ptr<Watcher> watcher_;
};

}  // namespace qpip::sim
