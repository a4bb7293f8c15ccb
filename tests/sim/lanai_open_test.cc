// OpenHostPort: from a URI to a NIC on a fabric of this process.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "host_lib/port/host_port.h"
#include "nic_fw/abi/command.h"
#include "sim/lanai/futex.h"

namespace qpip::lanai {
namespace {

using ::testing::HasSubstr;

/// The least a driver needs to talk to the management FSM.
class Driver : public abi::InterruptHandler {
 public:
  explicit Driver(const std::string& uri) : port_(abi::OpenHostPort(uri)) {
    port_->Start({reinterpret_cast<uint64_t>(commands_), reinterpret_cast<uint64_t>(events_), 2, 4},
                 this);
  }
  void OnCompletionInterrupt(uint32_t) override {}
  void OnEventInterrupt() override {
    std::atomic_ref<uint32_t>(event_word_).fetch_add(1);
    port_->platform().Wake(&event_word_);
  }

  // Posts command `index` (free-running, below 16) and waits for its event.
  abi::Event Execute(abi::CommandOpcode opcode) {
    abi::Command& command = commands_[index_ % 4];
    command = {};
    command.opcode = static_cast<uint8_t>(opcode);
    command.id = 100 + index_;
    const abi::Event& event = events_[index_];
    ++index_;
    port_->RingDoorbell(abi::Doorbell::Make(abi::DoorbellKind::kCommand, 0, index_));
    for (;;) {
      const uint32_t seen = LoadWord(&event_word_);
      if (LoadWord(&event.valid) == 1) return event;
      port_->DriveUntil(&event_word_, seen, UINT64_MAX);
    }
  }
  abi::HostPort& port() { return *port_; }

 private:
  alignas(64) abi::Command commands_[4] = {};
  abi::Event events_[16] = {};
  uint32_t event_word_ = 0;
  uint32_t index_ = 0;
  std::unique_ptr<abi::HostPort> port_;
};

TEST(OpenHostPort, GivenABadUriWhenOpenedThenItIsRefused) {
  EXPECT_THROW(abi::OpenHostPort("tun:a/b?address=fd00::1"), std::invalid_argument);
  EXPECT_THROW(abi::OpenHostPort("mem:lab"), std::invalid_argument);
}

TEST(OpenHostPort, GivenAMemoryFabricWhenOpenedThenTheFactsAreTheUris) {
  const auto port = abi::OpenHostPort("mem:facts?address=fd00::7&mtu=9000&max_qps=32");
  const abi::PortInfo& info = port->info();
  EXPECT_EQ(info.address.bytes[15], 7);
  EXPECT_EQ(info.mtu, 9000u);
  EXPECT_EQ(info.max_qps, 32u);
  EXPECT_GE(info.max_cqs, 64u);
  EXPECT_GT(info.sram_bytes, 0u);
  EXPECT_TRUE(info.wire_trusted);
  EXPECT_THAT(info.description, HasSubstr("mem:facts?address=fd00::7&mtu=9000"));
}

TEST(OpenHostPort, GivenTheMostQueuePairsThatAreAcceptedWhenOpenedThenTheFirmwareTakesThem) {
  for (const char* most : {"", "&reassembly=1024&scoreboard=1024", "&mtu=65575"}) {
    const auto port =
        abi::OpenHostPort(std::string("mem:most?address=fd00::7&max_qps=65536") + most);
    EXPECT_EQ(port->info().max_qps, 65536u) << most;
  }
}

TEST(OpenHostPort, GivenAnAddressInUseWhenOpenedThenItIsRefused) {
  const auto first = abi::OpenHostPort("mem:twice?address=fd00::1");
  EXPECT_THROW(abi::OpenHostPort("mem:twice?address=fd00::1"), std::runtime_error);
}

TEST(OpenHostPort, GivenFaultsWhenOpenedThenTheWireIsNotTrusted) {
  EXPECT_FALSE(abi::OpenHostPort("mem:faulty?address=fd00::1&loss=0.5")->info().wire_trusted);
  EXPECT_FALSE(abi::OpenHostPort("mem:summed?address=fd00::1&checksum=1")->info().wire_trusted);
}

TEST(OpenHostPort, GivenTheRealFirmwareWhenCommandsArePostedThenEachIsAnswered) {
  Driver driver("mem:commands?address=fd00::1&max_qps=16&occupancy=1");
  for (uint32_t i = 0; i < 10; ++i) {
    const abi::Event event = driver.Execute(abi::CommandOpcode::kNop);
    EXPECT_EQ(event.kind, static_cast<uint8_t>(abi::EventKind::kCommandDone));
    EXPECT_EQ(event.status, static_cast<uint8_t>(abi::CommandStatus::kOk));
    EXPECT_EQ(event.id, 100 + i);
  }
  const auto statistics = nlohmann::json::parse(driver.port().StatisticsJson());
  EXPECT_GT(statistics["core"]["handlers"], 0);
  EXPECT_FALSE(statistics["occupancy"].empty());
  EXPECT_TRUE(statistics["wire"].is_object());
  driver.port().Stop();
}

}  // namespace
}  // namespace qpip::lanai
