// Connections over queue pairs, as the client makes them.
#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "channel.h"
#include "qpip/qpip.h"
#include "qpip/stream.h"

namespace qpip::nbd::internal {
namespace {

constexpr uint16_t kPort = 10809;

/// Given a NIC that listens, and a client's on the same fabric.
class QpChannelTest : public ::testing::Test {
 protected:
  QpChannelTest() {
    static std::atomic<int> fabrics = 0;
    const std::string fabric = "mem:qp-channel-test-" + std::to_string(fabrics++);
    server_nic_ = Nic::Open(fabric + "?address=fd00::1");
    server_pd_ = server_nic_->AllocatePd();
    server_cq_ = server_nic_->CreateCq();
    listener_ = server_nic_->Listen(kPort, 4);
    client_nic_ = Nic::Open(fabric + "?address=fd00::2");
    client_pd_ = client_nic_->AllocatePd();
    wire_ = MakeQpWire(*client_nic_, *client_pd_, Endpoint::Parse("[fd00::1]:10809"),
                       std::chrono::seconds(0));
  }

  /// A connection, and the server's end of it.
  struct Pair {
    std::unique_ptr<QueuePair> server;
    std::unique_ptr<StreamWriter> writer;
    std::unique_ptr<Channel> client;

    void Say(std::string_view text) const {
      EXPECT_EQ(writer->Write(std::as_bytes(std::span(text))), text.size());
    }
    std::string Heard() const {
      std::array<char, 64> text;
      const iovec run = {text.data(), text.size()};
      return std::string(text.data(), client->Receive({&run, 1}));
    }
  };
  Pair Connect() {
    Pair made;
    made.server = server_nic_->CreateQp(*server_pd_, {.framing = Framing::kStream,
                                                      .send_cq = server_cq_.get(),
                                                      .recv_cq = server_cq_.get(),
                                                      .send_depth = 8,
                                                      .recv_depth = 8});
    made.writer = std::make_unique<StreamWriter>(*server_pd_, *made.server);
    listener_->Offer(*made.server);
    made.client = wire_->Connect();
    EXPECT_EQ(listener_->Accept(), made.server.get());
    while (!made.client->Connected()) (void)wire_->Wait(wire_->connecting_step());
    return made;
  }
  /// Until something has come that nobody has looked at.
  void AwaitCompletion() {
    while (wire_->Arm()) {
      pollfd descriptor = {wire_->fd(), POLLIN, 0};
      poll(&descriptor, 1, -1);
    }
  }

  std::shared_ptr<Nic> server_nic_;
  std::unique_ptr<ProtectionDomain> server_pd_;
  std::unique_ptr<CompletionQueue> server_cq_;
  std::unique_ptr<Listener> listener_;
  std::shared_ptr<Nic> client_nic_;
  std::unique_ptr<ProtectionDomain> client_pd_;
  std::unique_ptr<Wire> wire_;
};

TEST_F(QpChannelTest, WhatADestroyedConnectionHasLeftIsNotForTheNext) {
  Pair first = Connect();
  first.Say("of the first");
  AwaitCompletion();
  first.client.reset();
  const Pair second = Connect();  // whose queue pair may have the first one's number
  (void)wire_->Poll();
  EXPECT_EQ(second.Heard(), "");
  second.Say("of the second");
  std::string heard;
  while (heard.empty()) {
    (void)wire_->Wait(std::nullopt);
    heard = second.Heard();
  }
  EXPECT_EQ(heard, "of the second");
}

TEST_F(QpChannelTest, WhatIsAnothersWhenAConnectionIsDestroyedIsThereForTheNextPoll) {
  Pair first = Connect();
  const Pair other = Connect();
  other.Say("of the other");
  AwaitCompletion();
  first.client.reset();
  EXPECT_FALSE(wire_->Arm()) << "there is something to do";
  EXPECT_TRUE(wire_->Poll());
  EXPECT_EQ(other.Heard(), "of the other");
}

}  // namespace
}  // namespace qpip::nbd::internal
