#include "sim/ns3/trace/recording.h"

#include <algorithm>
#include <array>
#include <utility>

#include "sim/ns3/model/stage_names.h"
#include "sim/ns3/world/world.h"

namespace qpip::sim {
namespace {

constexpr const char* kResourceNames[] = {"core", "DMA read", "DMA write", "link transmit",
                                          "link receive"};
static_assert(std::size(kResourceNames) == kResourceCount);

Resource ResourceOf(Engine engine) {
  switch (engine) {
    case Engine::kDmaRead:
      return Resource::kDmaRead;
    case Engine::kDmaWrite:
      return Resource::kDmaWrite;
    case Engine::kLinkTransmit:
      return Resource::kLinkTransmit;
    case Engine::kLinkReceive:
      break;
  }
  return Resource::kLinkReceive;
}

}  // namespace

const char* ResourceName(Resource resource) {
  return kResourceNames[static_cast<uint32_t>(resource)];
}

std::string Activity::Label() const {
  if (name != nullptr) return name;
  return std::string(StageTitle(stage)) + " (" + VariantKey(variant) + ")";
}

uint64_t Recording::EndPs() const {
  uint64_t end = 0;
  for (const Activity& activity : activities) end = std::max(end, activity.end_ps);
  return end;
}

/// Watches one NIC, and passes everything on to whoever watched it before.
class Recorder::Tap : public NicObserver {
 public:
  Tap(Recorder& recorder, ns3::Ptr<QpipNetDevice> device, uint16_t host)
      : recorder_(recorder), device_(device), next_(device->observer()), host_(host) {
    device_->SetObserver(this);
  }
  ~Tap() override { device_->SetObserver(next_); }

  void OnStage(fw::Stage stage, fw::Variant variant, uint32_t units, uint64_t start_ps,
               uint64_t duration_ps) override {
    if (next_ != nullptr) next_->OnStage(stage, variant, units, start_ps, duration_ps);
    Activity activity;
    activity.start_ps = start_ps;
    activity.end_ps = start_ps + duration_ps;
    activity.amount = units;
    activity.stage = stage;
    activity.variant = variant;
    Add(activity);
  }
  void OnEngine(Engine engine, const char* name, uint32_t bytes, uint64_t start_ps,
                uint64_t end_ps) override {
    if (next_ != nullptr) next_->OnEngine(engine, name, bytes, start_ps, end_ps);
    Activity activity;
    activity.start_ps = start_ps;
    activity.end_ps = end_ps;
    activity.name = name;
    activity.amount = bytes;
    activity.resource = ResourceOf(engine);
    Add(activity);
  }
  void OnTrace(const fw::TraceRecord& record, uint64_t at_ps) override {
    if (next_ != nullptr) next_->OnTrace(record, at_ps);
    if (!recorder_.recording_.truncated) {
      recorder_.recording_.traces.push_back({at_ps, host_, record});
    }
  }
  void OnFrameSent(const Frame& frame, uint64_t at_ns) override {
    if (next_ != nullptr) next_->OnFrameSent(frame, at_ns);
    AddFrame(frame, at_ns, true);
  }
  void OnFrameReceived(const Frame& frame, uint64_t at_ns) override {
    if (next_ != nullptr) next_->OnFrameReceived(frame, at_ns);
    AddFrame(frame, at_ns, false);
  }

 private:
  void Add(Activity& activity) {
    Recording& recording = recorder_.recording_;
    if (recording.activities.size() >= recorder_.limit_) {
      recording.truncated = true;
      return;
    }
    activity.host = host_;
    recording.activities.push_back(activity);
  }
  void AddFrame(const Frame& frame, uint64_t at_ns, bool sent) {
    if (recorder_.recording_.truncated) return;
    recorder_.recording_.frames.push_back(
        {at_ns * 1000, host_, sent, !frame.payload().empty(), frame.length()});
  }

  Recorder& recorder_;
  const ns3::Ptr<QpipNetDevice> device_;
  NicObserver* const next_;
  const uint16_t host_;
};

Recorder::Recorder(World& world, size_t limit) : limit_(limit) {
  recording_.hosts = static_cast<uint32_t>(world.hosts().size());
  for (uint32_t i = 0; i < recording_.hosts; ++i) {
    taps_.push_back(std::make_unique<Tap>(*this, world.host(i).device, static_cast<uint16_t>(i)));
  }
}

Recorder::~Recorder() = default;

Recording Recorder::Take() {
  Recording empty;
  empty.hosts = recording_.hosts;
  return std::exchange(recording_, std::move(empty));
}

class ScopedRecording::Watcher : public WorldWatcher {
 public:
  Watcher(Recording& out, size_t limit)
      : out_(out), limit_(limit), before_(SetWorldWatcher(this)) {}
  ~Watcher() override { SetWorldWatcher(before_); }
  void OnBuilt(World& world) override { recorder_ = std::make_unique<Recorder>(world, limit_); }
  void OnEnd(World&) override {
    if (recorder_) out_ = recorder_->Take();
    recorder_.reset();
  }

 private:
  Recording& out_;
  const size_t limit_;
  WorldWatcher* const before_;
  std::unique_ptr<Recorder> recorder_;
};

ScopedRecording::ScopedRecording(size_t limit)
    : watcher_(std::make_unique<Watcher>(recording_, limit)) {}
ScopedRecording::~ScopedRecording() = default;

}  // namespace qpip::sim
