#include "sim/ns3/paper/message_life.h"

#include <algorithm>
#include <memory>

#include "sim/ns3/paper/one_way.h"
#include "sim/ns3/world/world.h"

namespace qpip::sim::paper {
namespace {

constexpr uint32_t kWarmUp = 16;
constexpr uint32_t kReceiver = 0;
constexpr uint32_t kSender = 1;

/// Polls until there is a completion; returns when it was found.
uint64_t PollOne(CompletionQueue& cq) {
  WorkCompletion completion;
  while (cq.Poll({&completion, 1}) == 0) {
  }
  CheckCompletion(completion);
  return HostNowNs() * 1000;
}

/// The end of a host's last completion write by `at_ps`.
uint64_t LastCompletionPs(const Recording& recording, uint32_t host, uint64_t at_ps) {
  uint64_t end = 0;
  for (const Activity& activity : recording.activities) {
    if (activity.host != host || activity.resource != Resource::kDmaWrite) continue;
    if (activity.Label() == "completion" && activity.end_ps <= at_ps) {
      end = std::max(end, activity.end_ps);
    }
  }
  return end;
}

/// The walk on the NICs, with the host's own time at both ends.
std::vector<PathStep> Path(const MessageLife& life, uint32_t host, uint64_t end_ps) {
  const uint64_t rung_ps = life.posted_ps + life.post_ps;
  const uint64_t written_ps = LastCompletionPs(life.recording, host, end_ps);
  std::vector<PathStep> path = CriticalPath(life.recording, host, written_ps, rung_ps, false);
  path.insert(path.begin(), {life.posted_ps, rung_ps, kSender, "host", "PostSend"});
  path.push_back({written_ps, end_ps, host, "host", "Poll"});
  return path;
}

}  // namespace

MessageLife RunMessageLife(const Profile& given, uint32_t bytes) {
  Profile profile = given;
  profile.Set("protocol.ack_every", 1, "a lone message is acknowledged at once");
  World world(profile, {});
  OneWay stream(world.host(kReceiver), world.host(kSender), bytes);
  MessageLife life;
  life.post_ps = world.model().post_send_ps;
  life.poll_ps = world.model().poll_ps;
  std::unique_ptr<Recorder> recorder;
  world.Start("warm-up", [&] {
    for (uint32_t i = 0; i < kWarmUp; ++i) stream.Burst(1);
    Context::Current().SleepNs(kQuietNs);
    recorder = std::make_unique<Recorder>(world);
  });
  world.Run();
  world.Start("receiver", [&] { life.received_ps = PollOne(stream.receive_cq()); });
  world.Start("sender", [&] {
    life.posted_ps = HostNowNs() * 1000;
    stream.PostSend();
    life.completed_ps = PollOne(stream.send_cq());
  });
  world.Run();
  life.recording = recorder->Take();
  recorder.reset();
  life.to_receiver = Path(life, kReceiver, life.received_ps);
  life.to_sender = Path(life, kSender, life.completed_ps);
  return life;
}

}  // namespace qpip::sim::paper
