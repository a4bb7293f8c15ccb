// Another NBD server as a leaf.
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "qpip/nbd.h"
#include "storage/core/device.h"

namespace qpip::storage {

/// Each executor has a client of its own, made when it submits for the first time, so that nothing
/// is handed from thread to thread: `shared_flush` is what the server says of its flush. A lost
/// server is tried again as the client's options have it; when that has failed, requests end with
/// an error, and later ones try anew. An export that has become another one, by its size or by
/// what it cannot do any more, is not gone on with: requests end with ESTALE until it is what it
/// was. Needs executors that run sources (ENOTSUP).
///
/// Of a volatile server (ClientOptions), each executor's first flush behind a loss fails, whichever
/// executor's changes went with it where the server's flush covers all.
///
/// NBD's standard lets a server be without flush, FUA, zeroes or block status: qpip/nbd.h says what
/// takes their place; all of a device without status is data.
class NbdDevice : public Device {
 public:
  /// Makes a client of the server, with these options. Called on any executor. Throws qpip::Error.
  using Connect = std::function<std::unique_ptr<nbd::Client>(const nbd::ClientOptions& options)>;

  /// Connects, which waits: the first client tells the geometry. Throws what `connect` throws.
  NbdDevice(const nbd::ClientOptions& options, Connect connect);
  ~NbdDevice() override;

  Geometry geometry() const override { return geometry_; }
  void Submit(Request& request) override;

 private:
  class Upstream;
  Upstream* UpstreamOf(Executor& executor);

  /// Of later clients, which do not wait and find what the first has found.
  nbd::ClientOptions options_;
  Connect connect_;
  Geometry geometry_;
  std::mutex mutex_;
  std::unique_ptr<nbd::Client> first_;  ///< for the first executor; some servers end without one
};

}  // namespace qpip::storage
