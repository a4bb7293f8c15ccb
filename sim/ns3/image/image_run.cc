// The image on a core of its own: its imports are environment calls, which are carried out by the
// platform of the NIC around it.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "nic_fw/image/imports.h"
#include "sim/ns3/image/firmware_run.h"

namespace qpip::sim {
namespace {

/// Far more than any handler takes; an image that loops is told apart.
constexpr uint64_t kMostInstructions = 100'000'000;
constexpr uint32_t kA0 = 10;
constexpr uint32_t kCallNumber = 17;
/// Headers of received frames lie in the packet buffers, each in a slot of its own.
constexpr uint32_t kHeaderSlotBytes = fw::kMaxHeaderBytes;
/// At their end: the configuration, while the firmware is given it.
constexpr uint32_t kScratchBytes = 1024;
static_assert(sizeof(fw::NicConfig) <= kScratchBytes);
/// The word below the stack; another one there says that the stack has grown over it.
constexpr uint32_t kStackGuard = 0x5afe57ac;

/// Of fw::Platform, whose members are all as wide as a pointer, or take its room.
constexpr uint32_t kTraceEntry = offsetof(fw::Platform, trace) / sizeof(void*);

/// fw::FrameIn and fw::FrameOut as the image's compiler lays them out: pointers of 32 bits.
struct ImageFrameIn {
  uint32_t header;
  uint32_t header_length;
  uint32_t length;
  uint32_t frame;
  uint32_t flags;
  uint32_t sum;
};
struct ImageFrameOut {
  uint32_t header;
  uint32_t header_length;
  uint32_t payload;
  uint32_t segment_size;
  uint8_t link_address[6];
  uint32_t owner;
};

/// Reads an import's arguments from the registers, as the calling convention has put them there
/// (RISC-V ELF psABI, ILP32): 64-bit numbers in two.
class Arguments {
 public:
  explicit Arguments(Rv32iCore& core) : core_(core) {}

  template <typename T>
  T Take() {
    const uint32_t low = core_.x(next_++);
    if constexpr (std::is_pointer_v<T>) {
      using Pointee = std::remove_pointer_t<T>;
      uint32_t bytes = 1;
      if constexpr (!std::is_void_v<Pointee>) bytes = sizeof(Pointee);
      return low == 0 ? nullptr : reinterpret_cast<T>(core_.At(low, bytes));
    } else if constexpr (sizeof(T) == sizeof(uint64_t)) {
      return low | static_cast<T>(core_.x(next_++)) << 32;
    } else {
      return static_cast<T>(low);
    }
  }

 private:
  Rv32iCore& core_;
  uint32_t next_ = kA0 + 1;  // behind the context
};

void Answer(Rv32iCore& core, uint64_t value) {
  core.set_x(kA0, static_cast<uint32_t>(value));
  core.set_x(kA0 + 1, static_cast<uint32_t>(value >> 32));
}

/// Calls `function` with the arguments that the registers hold, in order.
template <typename R, typename... Rest>
void CallWithRegisters(Rv32iCore& core, R (*function)(void*, Rest...), void* context) {
  Arguments arguments(core);
  const std::tuple<Rest...> values{arguments.Take<Rest>()...};  // braces: from left to right
  std::apply(
      [&](Rest... rest) {
        if constexpr (std::is_void_v<R>) {
          function(context, rest...);
        } else {
          Answer(core, function(context, rest...));
        }
      },
      values);
}

class ImageRun : public FirmwareRun, private Rv32iCore::Environment {
 public:
  ImageRun(std::shared_ptr<const FirmwareImage> image, const Rv32iCycles& cycles, CycleSink* sink)
      : image_(std::move(image)), cycles_(cycles), sink_(sink) {}

  bool Init(const fw::NicConfig& config, const fw::Platform& platform, uint64_t now_ns) override;
  bool Step(uint64_t now_ns) override;
  bool Ready() override { return Run(ready_, {arena_}) % kWord != 0; }
  uint64_t NextDeadline() override { return Run(next_deadline_, {arena_}); }
  const uint64_t* counters() const override { return counters_; }
  uint32_t arena_bytes() const override { return arena_bytes_; }

 private:
  static constexpr uint64_t kWord = uint64_t{1} << 32;

  void Call(Rv32iCore& core) override;
  template <typename Function>
  void Import(Rv32iCore& core, Function function) {
    CallWithRegisters(core, function, platform_->context);
  }
  // What has pointers in what it is given cannot be passed on as it is.
  using SendFunction = decltype(fw::Platform::frame_send);
  using PollFunction = decltype(fw::Platform::frame_poll);
  void Import(Rv32iCore& core, SendFunction send);
  void Import(Rv32iCore& core, PollFunction poll);
  uint64_t Run(uint32_t function, std::initializer_list<uint32_t> arguments);
  void Report();

  const std::shared_ptr<const FirmwareImage> image_;
  const Rv32iCycles cycles_;
  CycleSink* const sink_;
  const fw::Platform* platform_ = nullptr;
  std::unique_ptr<Rv32iCore> core_;
  uint32_t arena_ = 0;
  uint32_t arena_bytes_ = 0;
  uint32_t table_ = 0;  ///< the image's own fw::Platform
  uint32_t packet_buffers_ = 0;
  uint32_t header_slots_ = 0;
  uint32_t guard_ = 0;
  uint32_t stack_top_ = 0;
  uint32_t step_ = 0;
  uint32_t ready_ = 0;
  uint32_t next_deadline_ = 0;
  const uint64_t* counters_ = nullptr;
  double reported_ = 0;  ///< cycles that the sink has heard of
};

bool ImageRun::Init(const fw::NicConfig& config, const fw::Platform& platform, uint64_t now_ns) {
  fw::ArenaBytes bytes;
  if (fw::qpip_fw_arena(&config, &bytes) == 0) return false;
  platform_ = &platform;
  arena_ = image_->symbol("arena_start");
  arena_bytes_ = bytes.total;
  // A NIC with more queue pairs than the prototype's 2 MiB hold gets memory behind them.
  core_ = std::make_unique<Rv32iCore>(std::max(image_->memory_bytes(), arena_ + arena_bytes_),
                                      static_cast<Rv32iCore::Environment*>(this));
  image_->Load(core_.get());
  reported_ = 0;
  table_ = image_->symbol("qpip_image_platform");
  // The prototype traced nothing: what the firmware would spend on it is not spent.
  const uint32_t no_trace = 0;
  const uint32_t trace = table_ + kTraceEntry * static_cast<uint32_t>(sizeof(no_trace));
  std::memcpy(core_->At(trace, sizeof(no_trace)), &no_trace, sizeof(no_trace));
  stack_top_ = image_->symbol("stack_top");
  step_ = image_->symbol("qpip_fw_step");
  ready_ = image_->symbol("qpip_fw_ready");
  next_deadline_ = image_->symbol("qpip_fw_next_deadline");
  packet_buffers_ = image_->symbol("packet_buffers");
  header_slots_ = (arena_ - kScratchBytes - packet_buffers_) / kHeaderSlotBytes;
  guard_ = image_->symbol("image_end");
  std::memcpy(core_->At(guard_, sizeof(kStackGuard)), &kStackGuard, sizeof(kStackGuard));
  const uint32_t scratch = arena_ - kScratchBytes;
  std::memcpy(core_->At(scratch, sizeof(config)), &config, sizeof(config));
  if (Run(image_->symbol("qpip_fw_init"),
          {arena_, arena_bytes_, scratch, table_, static_cast<uint32_t>(now_ns),
           static_cast<uint32_t>(now_ns >> 32)}) %
          kWord ==
      0) {
    return false;
  }
  const auto counters = static_cast<uint32_t>(Run(image_->symbol("qpip_fw_counters"), {arena_}));
  counters_ = reinterpret_cast<const uint64_t*>(core_->At(counters, sizeof(uint64_t)));
  return true;
}

uint64_t ImageRun::Run(uint32_t function, std::initializer_list<uint32_t> arguments) {
  return core_->Call(function, {arguments.begin(), arguments.size()}, stack_top_,
                     kMostInstructions);
}

bool ImageRun::Step(uint64_t now_ns) {
  reported_ = core_->counts().Cycles(cycles_);
  const uint64_t done = Run(step_, {arena_, table_, static_cast<uint32_t>(now_ns),
                                    static_cast<uint32_t>(now_ns >> 32), 1});
  Report();
  uint32_t guard;
  std::memcpy(&guard, core_->At(guard_, sizeof(guard)), sizeof(guard));
  if (guard != kStackGuard) throw Rv32iError("the firmware's image: the stack is too small");
  return done % kWord != 0;
}

void ImageRun::Report() {
  const double cycles = core_->counts().Cycles(cycles_);
  sink_->OnCycles(cycles - reported_);
  reported_ = cycles;
}

void ImageRun::Call(Rv32iCore& core) {
  Report();
  switch (core.x(kCallNumber)) {
#define QPIP_FORWARD(name, number) \
  case number:                     \
    Import(core, platform_->name); \
    return;
    QPIP_IMAGE_IMPORTS(QPIP_FORWARD)
#undef QPIP_FORWARD
    default:
      break;
  }
  throw Rv32iError("the firmware's image: environment call " + std::to_string(core.x(kCallNumber)) +
                   ", which there is not");
}

void ImageRun::Import(Rv32iCore& core, SendFunction send) {
  Arguments arguments(core);
  const auto* const image = arguments.Take<const ImageFrameOut*>();
  auto* const lease = arguments.Take<uint64_t*>();
  fw::FrameOut frame;
  frame.header = core.At(image->header, image->header_length);
  frame.header_length = image->header_length;
  frame.payload = image->payload;
  frame.segment_size = image->segment_size;
  std::memcpy(frame.link_address, image->link_address, sizeof(frame.link_address));
  frame.owner = image->owner;
  Answer(core, send(platform_->context, &frame, lease));
}

void ImageRun::Import(Rv32iCore& core, PollFunction poll) {
  Arguments arguments(core);
  auto* const image = arguments.Take<ImageFrameIn*>();
  fw::FrameIn frame;
  const uint32_t found = poll(platform_->context, &frame);
  if (found != 0) {
    if (frame.frame >= header_slots_ || frame.header_length > kHeaderSlotBytes) {
      throw Rv32iError("the firmware's image: more frames are held than packet buffers have room");
    }
    const uint32_t slot = packet_buffers_ + frame.frame * kHeaderSlotBytes;
    if (frame.header_length != 0) {
      std::memcpy(core.At(slot, frame.header_length), frame.header, frame.header_length);
    }
    *image = {slot, frame.header_length, frame.length, frame.frame, frame.flags, frame.sum};
  }
  Answer(core, found);
}

}  // namespace

std::unique_ptr<FirmwareRun> RunImage(std::shared_ptr<const FirmwareImage> image,
                                      const Rv32iCycles& cycles, CycleSink* sink) {
  return std::make_unique<ImageRun>(std::move(image), cycles, sink);
}

}  // namespace qpip::sim
