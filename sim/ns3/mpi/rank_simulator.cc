#include "sim/ns3/mpi/rank_simulator.h"

#include <ns3/make-event.h>
#include <ns3/object-factory.h>
#include <ns3/pointer.h>

#include "sim/ns3/mpi/rank_exchange.h"

namespace qpip::sim {
namespace {

constexpr uint64_t kStepsPerNs = 1000;  // RemoteLinks sees to it

/// Lets two look at one queue of events: ns-3's simulator makes its own, and shows it to nobody.
class SharedScheduler : public ns3::Scheduler {
 public:
  static ns3::TypeId GetTypeId() {
    static const ns3::TypeId id =
        ns3::TypeId("ns3::QpipSharedScheduler")
            .SetParent<ns3::Scheduler>()
            .SetGroupName("Qpip")
            .AddConstructor<SharedScheduler>()
            .AddAttribute("Events", "The queue.", ns3::PointerValue(),
                          ns3::MakePointerAccessor(&SharedScheduler::events_),
                          ns3::MakePointerChecker<ns3::Scheduler>());
    return id;
  }
  void Insert(const Event& event) override { events_->Insert(event); }
  bool IsEmpty() const override { return events_->IsEmpty(); }
  Event PeekNext() const override { return events_->PeekNext(); }
  Event RemoveNext() override { return events_->RemoveNext(); }
  void Remove(const Event& event) override { events_->Remove(event); }

 private:
  ns3::Ptr<ns3::Scheduler> events_;
};

}  // namespace

NS_OBJECT_ENSURE_REGISTERED(RankSimulator);

ns3::TypeId RankSimulator::GetTypeId() {
  static const ns3::TypeId id = ns3::TypeId("ns3::QpipRankSimulator")
                                    .SetParent<ns3::DefaultSimulatorImpl>()
                                    .SetGroupName("Qpip")
                                    .AddConstructor<RankSimulator>();
  return id;
}

void RankSimulator::SetScheduler(ns3::ObjectFactory factory) {
  events_ = factory.Create<ns3::Scheduler>();
  ns3::ObjectFactory shared;
  shared.SetTypeId(SharedScheduler::GetTypeId());
  shared.Set("Events", ns3::PointerValue(events_));
  DefaultSimulatorImpl::SetScheduler(shared);
}

uint32_t RankSimulator::GetSystemId() const { return RankExchange::Get().rank(); }

void RankSimulator::Stop() {
  stopped_ = true;
  DefaultSimulatorImpl::Stop();
}

uint64_t RankSimulator::NextStep() const {
  return events_->IsEmpty() ? RankExchange::kNever : events_->PeekNext().key.m_ts;
}

void RankSimulator::Run() {
  RankExchange& ranks = RankExchange::Get();
  stopped_ = finished_ = false;
  if (ranks.ranks() == 1) {
    DefaultSimulatorImpl::Run();
    finished_ = DefaultSimulatorImpl::IsFinished();
    return;
  }
  while (true) {
    const RankExchange::State all = ranks.Swap(NextStep(), stopped_);
    finished_ = all.next == RankExchange::kNever;
    if (finished_ || all.stop != 0) return;
    const uint64_t forever = static_cast<uint64_t>(GetMaximumSimulationTime().GetTimeStep());
    // Whoever sends reckons from the nanosecond that it is in (NowNs), and so must the look-ahead.
    const uint64_t from = all.next - all.next % kStepsPerNs;
    RunWindow(all.look_ahead > forever - from ? forever : from + all.look_ahead - 1);
  }
}

/// Runs the events up to `last` and of that time.
void RankSimulator::RunWindow(uint64_t last) {
  if (NextStep() > last) return;
  const ns3::EventId at_end = Schedule(ns3::TimeStep(last) - Now(),
                                       ns3::MakeEvent([this] { DefaultSimulatorImpl::Stop(); }));
  DefaultSimulatorImpl::Run();
  if (stopped_) Remove(at_end);
}

}  // namespace qpip::sim
