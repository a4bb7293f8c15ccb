// Another NBD server as a leaf.
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "storage/core/device.h"

namespace qpip::nbd {
class Client;
struct ClientOptions;
}  // namespace qpip::nbd

namespace qpip::storage {

/// Each executor has a client of its own, made when it submits for the first time, so that nothing
/// is handed from thread to thread: `shared_flush` is what the server says of its flush. A lost
/// server is tried again as the client's options have it; when that has failed, requests end with
/// an error, and later ones try anew. Needs executors that run sources (ENOTSUP).
///
/// NBD's standard lets a server be without flush, FUA, zeroes or block status: qpip/nbd.h says what
/// takes their place; all of a device without status is data.
class NbdDevice : public Device {
 public:
  /// Makes a client that has not waited (`start_only`), or throws qpip::Error. Called on any
  /// executor; for the first one, which tells the geometry, it waits.
  using MakeClient = std::function<std::unique_ptr<nbd::Client>(bool start_only)>;

  /// Throws what `make` throws.
  explicit NbdDevice(MakeClient make);
  ~NbdDevice() override;

  Geometry geometry() const override { return geometry_; }
  void Submit(Request& request) override;

 private:
  class Upstream;
  Upstream* UpstreamOf(Executor& executor);

  MakeClient make_;
  Geometry geometry_;
  bool block_status_ = false;
  std::mutex mutex_;
  std::unique_ptr<nbd::Client> first_;  ///< for the first executor; some servers end without one
};

}  // namespace qpip::storage
