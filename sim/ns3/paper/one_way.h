// One connection of two hosts on which messages go one way only: every segment is pure data or a
// pure acknowledgement.
#pragma once

#include <cstdint>
#include <memory>

#include "sim/ns3/world/world.h"

namespace qpip::sim::paper {

inline constexpr uint64_t kQuietNs = 1000000;  ///< longer than anything under way

/// Connects when made. The hosts must outlive it.
class OneWay {
 public:
  /// Messages of `bytes`, at most kReceiveBytes.
  OneWay(Host& receiver, Host& sender, uint32_t bytes);

  /// Sends so many at once and sleeps until all of them are received and acknowledged; at most 32.
  void Burst(uint32_t messages);

  // One step each, for programs of their own.
  void PostSend();
  void PostReceive();
  CompletionQueue& send_cq() { return *send_cq_; }
  CompletionQueue& receive_cq() { return *receive_cq_; }

  /// Roomy: a window that short messages never fill needs no update.
  static constexpr uint32_t kReceiveBytes = 16384;

 private:
  const uint32_t bytes_;
  std::unique_ptr<CompletionQueue> receive_cq_;
  std::unique_ptr<CompletionQueue> send_cq_;
  std::unique_ptr<MemoryRegion> to_;
  std::unique_ptr<MemoryRegion> from_;
  std::unique_ptr<QueuePair> sink_;
  std::unique_ptr<QueuePair> source_;
  std::unique_ptr<Listener> listener_;
};

/// Throws unless the completion is a success.
void CheckCompletion(const WorkCompletion& completion);

}  // namespace qpip::sim::paper
