#include "two_sim_nics.h"

#include "sim/ns3/model/fibre.h"

namespace qpip::sim::test {

void SimSide::Close() {
  cq.reset();
  pd.reset();
  nic.reset();
}

TwoSimNics::TwoSimNics(const std::string& profile) : TwoSimNics(Profile::Load(profile)) {}

TwoSimNics::TwoSimNics(const Profile& profile) {
  const auto model = std::make_shared<const NicModel>(profile);
  fabric = ns3::CreateObject<QpipFabric>();
  int last = 1;
  for (SimSide* side : {&server, &client}) {
    side->node = ns3::CreateObject<ns3::Node>();
    side->device = ns3::CreateObject<QpipNetDevice>();
    side->device->SetModel(model, profile.name());
    side->device->SetIpv6(ns3::Ipv6Address(("fd00::" + std::to_string(last++)).c_str()));
    side->node->AddDevice(side->device);
  }
  fabric->AddSwitch(8, server.device->model());
  fabric->Connect(server.device, 0, 0);
  fabric->Connect(client.device, 0, 1);
}

TwoSimNics::~TwoSimNics() {
  Context::DestroyAll();
  listener_.reset();
  for (SimSide* side : {&server, &client}) side->Close();
  fabric = nullptr;
  server = {};
  client = {};
  ns3::Simulator::Destroy();
}

void TwoSimNics::Open() {
  for (SimSide* side : {&server, &client}) {
    side->nic = side->device->OpenNic();
    side->pd = side->nic->AllocatePd();
    side->cq = side->nic->CreateCq(1024);
  }
}

void TwoSimNics::Connect(QueuePair& from, QueuePair& to) {
  if (!listener_) listener_ = server.nic->Listen(7000);
  listener_->Offer(to);
  from.Connect({server.nic->address(), 7000});
  listener_->Accept();
}

}  // namespace qpip::sim::test
