// The cases of tests/e2e/on_backend_cases.cc in virtual time: simulated NICs, programs on fibres.
#include <ns3/error-model.h>
#include <ns3/node.h>
#include <ns3/rng-seed-manager.h>
#include <ns3/simulator.h>

#include <map>

#include "on_backend.h"
#include "on_vconn.h"
#include "sim/ns3/model/fibre.h"
#include "sim/ns3/model/qpip_net_device.h"

namespace qpip::test {
namespace {

struct SimOptions {
  const char* profile = "lanai9-hardware-checksum";
  double mtu = 16456;
  bool cable = false;
  double loss = 0;
  double corruption = 0;
  double doorbell_entries = 1024;
};

class Fibre : public Task {
 public:
  explicit Fibre(std::function<void()> program)
      : context_(sim::Context::Spawn("task", std::move(program))) {}
  void Join() override { context_->Join(); }

 private:
  std::shared_ptr<sim::Context> context_;
};

/// Two simulated NICs, fd00::1 and fd00::2.
class VirtualTime : public Testbed {
 public:
  explicit VirtualTime(const SimOptions& options) {
    ns3::RngSeedManager::SetSeed(3);
    sim::Profile profile = sim::Profile::Load(options.profile);
    profile.Set("link.mtu", options.mtu, "the test's");
    profile.Set("doorbell.entries", options.doorbell_entries, "the test's");
    model_ = std::make_shared<const sim::NicModel>(profile);
    for (const int last : {1, 2}) devices_[last] = MakeDevice(options, last);
    fabric_ = ns3::CreateObject<sim::QpipFabric>();
    if (options.cable) {
      fabric_->Connect(devices_[1], devices_[2]);
    } else {
      fabric_->AddSwitch(2, *model_);
      for (const int last : {1, 2}) fabric_->Connect(devices_[last], 0, last - 1);
    }
  }
  ~VirtualTime() override {
    devices_.clear();
    fabric_ = nullptr;
    ns3::Simulator::Destroy();
  }
  std::shared_ptr<Nic> Open(int last) override { return devices_.at(last)->OpenNic(); }
  std::unique_ptr<Task> Start(std::function<void()> program) override {
    return std::make_unique<Fibre>(std::move(program));
  }

 private:
  ns3::Ptr<sim::QpipNetDevice> MakeDevice(const SimOptions& options, int last) {
    auto device = ns3::CreateObject<sim::QpipNetDevice>();
    device->SetModel(model_, options.profile);
    device->SetIpv6(ns3::Ipv6Address(("fd00::" + std::to_string(last)).c_str()));
    device->max_queue_pairs = 128;
    device->send_depth_log2 = 10;
    if (options.loss > 0) device->SetSendErrorModel(Errors(options.loss, 2 * last));
    if (options.corruption > 0)
      device->SetCorruptionModel(Errors(options.corruption, 2 * last + 1));
    ns3::CreateObject<ns3::Node>()->AddDevice(device);
    return device;
  }
  static ns3::Ptr<ns3::ErrorModel> Errors(double rate, int64_t stream) {
    auto model = ns3::CreateObject<ns3::RateErrorModel>();
    model->SetUnit(ns3::RateErrorModel::ERROR_UNIT_PACKET);
    model->SetRate(rate);
    model->AssignStreams(stream);
    return model;
  }

  std::shared_ptr<const sim::NicModel> model_;
  std::map<int, ns3::Ptr<sim::QpipNetDevice>> devices_;
  ns3::Ptr<sim::QpipFabric> fabric_;
};

Backend Simulated(const char* name, const SimOptions& options) {
  return {name, [options] { return std::make_unique<VirtualTime>(options); }};
}

const std::array kSimulated = {
    Simulated("ns3_switch", {}),
    Simulated("ns3_cable", {.cable = true}),
    Simulated("ns3_mtu1500", {.mtu = 1500}),
    Simulated("ns3_short_fifo", {.doorbell_entries = 1}),
    Simulated("ns3_firmware_checksum", {.profile = "lanai9-firmware-checksum"}),
    Simulated("ns3_faults", {.mtu = 1500, .loss = 0.01, .corruption = 0.001})};

std::vector<VconnBackend> ForVconn() {
  std::vector<VconnBackend> backends;
  for (const Backend& backend : kSimulated) backends.push_back({backend.name, backend.make});
  return backends;
}

INSTANTIATE_TEST_SUITE_P(All, OnBackend, ::testing::ValuesIn(kSimulated),
                         [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(All, OnVconn, ::testing::ValuesIn(ForVconn()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace qpip::test
