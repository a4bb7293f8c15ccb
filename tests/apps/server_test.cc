// The NBD server's threads: which of them there are, and what they leave behind.
#include "apps/nbd/server.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "apps/common/stop.h"
#include "apps/nbd/run_command.h"
#include "qpip/qpip.h"
#include "storage/leaves/memory_device.h"

namespace qpip::nbd::testing {
namespace {

std::vector<std::unique_ptr<ListeningSocket>> ListenAt(const PrivateSocketPath& path) {
  std::vector<std::unique_ptr<ListeningSocket>> sockets;
  sockets.push_back(Listen(path.path(), 0));
  return sockets;
}

TEST(ServerTest, GivenANicWithoutRoomForTheFirstClientThenTheServerEndsThoughItHasSocketsToo) {
  const auto nic = Nic::Open("mem:server-test?address=fd00::1&max_qps=1");
  const auto pd = nic->AllocatePd();
  const auto cq = nic->CreateCq();
  const auto only = nic->CreateQp(*pd, {.send_cq = cq.get(), .recv_cq = cq.get()});
  ExportTable exports;
  exports.Add({.name = "disk", .device = std::make_shared<storage::MemoryDevice>(1 << 20)});
  const PrivateSocketPath path;
  const apps::StopToken stop;
  Server server(nic.get(), ListenAt(path), exports, ServerOptions{}, stop);
  EXPECT_THROW(server.Run(), Error);
}

}  // namespace
}  // namespace qpip::nbd::testing
