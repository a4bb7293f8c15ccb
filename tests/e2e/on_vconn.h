// The fixture of VCONN's cases (vconn_cases.cc): a backend, and the framing that messages travel
// in.
#pragma once

#include <memory>
#include <string>

#include "on_backend.h"
#include "qpip/rdma.h"
#include "qpip/vconn.h"

namespace qpip::test {

struct VconnBackend {
  const char* name;
  std::function<std::unique_ptr<Testbed>()> make;
  Framing framing = Framing::kSegment;
};

inline void PrintTo(const VconnBackend& backend, std::ostream* out) { *out << backend.name; }

class OnVconn : public ::testing::TestWithParam<VconnBackend> {
 protected:
  static constexpr uint16_t kPort = 4790;

  VconnSessionOptions Options(uint16_t window = 8, uint32_t message_bytes = 4096) const;
  std::unique_ptr<VconnSession> On(Side& side, const VconnSessionOptions& options) {
    return std::make_unique<VconnSession>(*side.nic, *side.pd, options);
  }
  /// Starts to listen. The client may connect from here on.
  void Listen();
  /// Waits for a connection and gives it to `qp`.
  void Accept(QueuePair& qp);
  /// Connects a queue pair of the client's without a Vconn.
  void Connect(QueuePair& qp);
  /// Runs `program` with a session that has been accepted and opened, beside the test's own.
  std::unique_ptr<Task> Serve(const VconnSessionOptions& options,
                              std::function<void(VconnSession&)> program);
  std::unique_ptr<VconnSession> Connected(const VconnSessionOptions& options);
  /// How a server's Receive ends, with a window of 4, when it has taken and kept `taken` messages
  /// of a peer without a Vconn that sends `messages`.
  Error ErrorOfPeer(const std::vector<std::string>& messages, size_t taken);

  TwoNics nics{GetParam().make()};
  Side& server = nics.server;
  Side& client = nics.client;

 private:
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<RdmaListener> rdma_listener_;
};

}  // namespace qpip::test
