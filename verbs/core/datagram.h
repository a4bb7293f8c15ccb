// UD queue pairs: UDP datagrams, with what InfiniBand's headers say and UDP's do not in 16 bytes in
// front of the message.
#pragma once

#include <infiniband/verbs.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "qpip/qpip.h"
#include "verbs/core/memory.h"

namespace qpip::verbs {

struct Qp;

/// In front of every message. Numbers in network byte order.
struct DatagramHeader {
  uint32_t magic;
  uint32_t flags_and_source;  ///< kHasImmediate; the sender's number in the low 24 bits
  uint32_t queue_key;
  uint32_t immediate;
};
static_assert(sizeof(DatagramHeader) == 16);

/// What receives have in front of the message: a global route header (InfiniBand's specification
/// 8.3).
inline constexpr size_t kGrhBytes = 40;

/// What a UD queue pair has beyond others. Serialised by the caller (Qp::post_mutex).
class Datagrams {
 public:
  /// For queues of these depths. Throws Error.
  Datagrams(Pd& pd, uint32_t send_depth, uint32_t receive_depth);

  /// Whether Send takes all of the list, where there is room: 0, or an errno value.
  static int Check(const Qp& qp, const ibv_send_wr* wr);
  /// As QueuePair::PostSend and PostRecv, with a header in front.
  int Send(Qp& qp, ibv_send_wr* wr, ibv_send_wr** bad);
  int Receive(Qp& qp, ibv_recv_wr* wr, ibv_recv_wr** bad);
  /// A completion of the queue pair's. Returns false when the program is not to see it: what has
  /// come is nobody's, or has another key; its receive is posted again.
  bool Admit(Qp& qp, WorkCompletion* completion);
  /// Receives that are posted, which are not any more.
  std::vector<uint64_t> TakePosted();

 private:
  struct Posted {
    uint64_t wr_id = 0;
    const DatagramHeader* header = nullptr;
    std::vector<ibv_sge> list;  ///< the program's
  };
  int SendOne(Qp& qp, const ibv_send_wr& wr);
  int ReceiveOne(Qp& qp, Posted posted);
  ibv_sge Sge(const DatagramHeader* header) const;

  // One more than there can be outstanding: the next one is always free.
  std::vector<DatagramHeader> send_headers_;
  std::vector<DatagramHeader> receive_headers_;
  std::unique_ptr<MemoryRegion> send_region_;
  std::unique_ptr<MemoryRegion> receive_region_;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  std::deque<Posted> posted_;
};

}  // namespace qpip::verbs
