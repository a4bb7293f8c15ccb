// Commands of any range for an export that takes whole blocks alone.
//
//     read           of all blocks that it touches, and a copy of what was asked for
//     write, zero    edges: read the block, change it, write it back; between them as it is
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "qpip/nbd.h"

namespace qpip::nbd {

/// A change of part of a block goes alone: while it is under way no other change is. So whoever
/// changes two parts of one block at a time loses neither, as long as all of it goes through one
/// of these. One thread.
class AnyAlignment {
 public:
  /// `submit`: takes a command of whole blocks, as Client::Submit does. `minimum`: a block, bytes,
  /// a power of two; of 1 everything goes through as it is.
  AnyAlignment(uint32_t minimum, std::function<void(Io&)> submit);
  ~AnyAlignment();
  AnyAlignment(const AnyAlignment&) = delete;
  AnyAlignment& operator=(const AnyAlignment&) = delete;

  /// As Client::Submit, for data of one run.
  void Submit(Io& io);

 private:
  struct Part;

  bool IsWhole(const Io& io) const { return (io.offset | io.length) % minimum_ == 0; }
  uint64_t Down(uint64_t offset) const { return offset - offset % minimum_; }
  uint64_t Up(uint64_t offset) const { return Down(offset + minimum_ - 1); }
  void StartChanges();
  Part& Take(Io& whole);
  void Send(Part& part, Io::Op op, uint64_t offset, uint64_t length, std::byte* memory);
  void StartRead(Part& part);
  void StartStatus(Part& part);
  void Step(Part& part);
  void OnDone(Part& part);
  void OnStatus(Part& part);
  void End(Part& part, int error);

  uint32_t minimum_;
  std::function<void(Io&)> submit_;
  std::vector<std::unique_ptr<Part>> parts_;
  std::vector<Part*> free_;
  std::deque<Io*> waiting_;  ///< changes
  size_t changes_ = 0;       ///< under way
  bool alone_ = false;       ///< the one that is under way has edges
};

}  // namespace qpip::nbd
