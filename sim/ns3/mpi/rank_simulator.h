// ns-3's simulator on each of several ranks, kept in step.
//
// Conservative windows: all ranks know the earliest event there is anywhere, and that nothing one
// rank does has an effect on another before the look-ahead is over. So each runs its events from
// the earliest on for as long as the look-ahead, without asking; then they swap what they have for
// each other (rank_exchange.h) and know the next window. Times in which nothing happens are
// skipped. On one rank this is ns-3's ordinary simulator.
//
// ns-3 has such a simulator of its own, with the same windows. It sends every packet alone, in 2000
// bytes at most, and needs an ns-3 built with MPI.
#pragma once

#include <ns3/default-simulator-impl.h>
#include <ns3/scheduler.h>

#include <cstdint>

namespace qpip::sim {

/// Chosen by DistributedRun. Run is for all ranks together. Stop on one rank lets Run
/// return on all, at the end of the window; events are not lost.
class RankSimulator : public ns3::DefaultSimulatorImpl {
 public:
  static ns3::TypeId GetTypeId();

  void Run() override;
  void Stop() override;
  using ns3::DefaultSimulatorImpl::Stop;
  bool IsFinished() const override { return finished_; }
  void SetScheduler(ns3::ObjectFactory factory) override;
  uint32_t GetSystemId() const override;

 private:
  uint64_t NextStep() const;
  void RunWindow(uint64_t last);

  ns3::Ptr<ns3::Scheduler> events_;  ///< the base class's
  bool stopped_ = false;
  bool finished_ = false;
};

}  // namespace qpip::sim
