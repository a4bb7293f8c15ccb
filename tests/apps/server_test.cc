// The NBD server's threads: which of them there are, and what they leave behind.
#include "apps/nbd/server.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <memory>
#include <thread>
#include <vector>

#include "apps/common/stop.h"
#include "apps/nbd/run_command.h"
#include "qpip/nbd.h"
#include "qpip/qpip.h"
#include "storage/leaves/memory_device.h"

namespace qpip::nbd::testing {
namespace {

std::vector<std::unique_ptr<ListeningSocket>> ListenAt(const PrivateSocketPath& path) {
  std::vector<std::unique_ptr<ListeningSocket>> sockets;
  sockets.push_back(Listen(path.path(), 0));
  return sockets;
}

/// A disk that adds a source to the executor of who asks it, and notes which threads it was used
/// and destroyed on.
class SourceDevice : public storage::Device {
 public:
  storage::Geometry geometry() const override { return {.bytes = 1 << 20, .trim = true}; }
  void Submit(storage::Request& request) override {
    used_on = std::this_thread::get_id();
    if (request.executor->FindSource(this) == nullptr) {
      EXPECT_TRUE(request.executor->AddSource(this, std::make_unique<Note>(*this)));
    }
    storage::Complete(request, 0);
  }

  std::thread::id used_on;
  std::thread::id destroyed_on;

 private:
  class Note : public storage::Source {
   public:
    explicit Note(SourceDevice& owner) : owner_(owner), event_(eventfd(0, EFD_CLOEXEC)) {}
    ~Note() override { owner_.destroyed_on = std::this_thread::get_id(); }
    bool Run() override { return false; }
    bool Arm() override { return true; }
    int fd() const override { return event_.get(); }

   private:
    SourceDevice& owner_;
    FileDescriptor event_;
  };
};

TEST(ServerTest, GivenAClientThatLeavesThenWhatWasMadeForItEndsOnItsOwnThread) {
  const auto disk = std::make_shared<SourceDevice>();
  ExportTable exports;
  exports.Add({.name = "disk", .device = disk});
  const PrivateSocketPath path;
  apps::StopToken stop;
  {
    Server server(nullptr, ListenAt(path), exports, ServerOptions{}, stop);
    const std::jthread runs([&] { server.Run(); });
    EXPECT_EQ(Client(path.path()).Trim(0, 512), 0);
    stop.Request();
  }
  EXPECT_NE(disk->used_on, std::thread::id());
  EXPECT_EQ(disk->destroyed_on, disk->used_on);
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
