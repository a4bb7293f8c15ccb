// A thread of a mount's: takes the kernel's requests, and answers them when the server has.
#pragma once

#define FUSE_USE_VERSION 35
#include <fuse3/fuse_lowlevel.h>

#include <cstddef>
#include <list>
#include <memory>
#include <vector>

#include "apps/common/stop.h"
#include "apps/nbd_fuse/alignment.h"
#include "apps/nbd_fuse/mount.h"
#include "qpip/nbd.h"

namespace qpip::nbd {

class FuseWorker {
 public:
  /// Longest write that the kernel is told to ask for, bytes.
  static constexpr size_t kMostWritten = size_t{256} << 10;

  /// References must outlive it.
  FuseWorker(fuse_session& session, std::unique_ptr<Client> client);
  ~FuseWorker();
  FuseWorker(const FuseWorker&) = delete;
  FuseWorker& operator=(const FuseWorker&) = delete;

  /// Until the session has ended, which `stop` and `over` bring about, and all that was taken is
  /// answered. On the worker's thread.
  void Run(const apps::StopToken& stop, const apps::StopToken& over);
  /// The worker of this thread, for FUSE's callbacks.
  static FuseWorker& Current();

  Client& client() { return *client_; }
  const MountCounts& counts() const { return counts_; }

  // Requests of the kernel's; each is answered later, or at once with an error.
  void Read(fuse_req_t request, size_t bytes, off_t offset);
  void Write(fuse_req_t request, const char* data, size_t bytes, off_t offset);
  void Flush(fuse_req_t request);
  void Zero(fuse_req_t request, off_t offset, off_t bytes, bool allocated);
  /// The first offset from `offset` on that lies in a hole (SEEK_HOLE), or in none.
  void Seek(fuse_req_t request, off_t offset, bool hole);

 private:
  struct Operation;

  /// Takes what the kernel has for us. Returns whether there was anything.
  bool TakeRequests();
  /// One request, into the buffer. Returns false when there is none.
  bool TakeRequest();
  /// Memory for one request of the kernel's, of kRequestBytes.
  void* TakeMemory();
  Operation& Take(fuse_req_t request, Io::Op op, uint64_t offset, uint64_t bytes);
  void Submit(Operation& operation);
  void OnDone(Operation& operation);
  void OnSeek(Operation& operation);
  void Put(Operation& operation);
  void Answer(Operation& operation);

  fuse_session& session_;
  std::unique_ptr<Client> client_;
  AnyAlignment any_;
  MountCounts counts_;
  fuse_buf buffer_ = {};      ///< of the request that is taken
  bool buffer_kept_ = false;  ///< a write has kept its memory
  std::vector<void*> spare_;  ///< such memory that is free; the client's, which sends from there
  std::list<std::vector<std::byte>> ordinary_;  ///< where the NIC has no room for more
  std::vector<std::unique_ptr<Operation>> operations_;
  std::vector<Operation*> free_;
};

}  // namespace qpip::nbd
