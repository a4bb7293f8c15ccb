#include "sim/ns3/world/world.h"

#include <ns3/double.h>
#include <ns3/error-model.h>
#include <ns3/object-factory.h>
#include <ns3/rng-seed-manager.h>
#include <ns3/string.h>

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <utility>

#include "sim/ns3/helper/fat_tree.h"
#include "sim/ns3/model/radix_scheduler.h"

namespace qpip::sim {
namespace {

/// fd00::1 for the first.
ns3::Ipv6Address HostAddress(uint32_t index) {
  char text[40];
  std::snprintf(text, sizeof(text), "fd00::%x:%x", (index + 1) >> 16, (index + 1) & 0xffff);
  return ns3::Ipv6Address(text);
}

ns3::Ptr<ns3::ErrorModel> PacketLoss(double rate) {
  auto model = ns3::CreateObject<ns3::RateErrorModel>();
  model->SetUnit(ns3::RateErrorModel::ERROR_UNIT_PACKET);
  model->SetRate(rate);
  return model;
}

/// What a NIC has lost or holds back.
void AddTroubles(size_t index, QpipNetDevice& device, std::vector<std::string>* out) {
  const std::string nic = "NIC " + std::to_string(index);
  if (const size_t queued = device.link()->queued(); queued != 0) {
    out->push_back(std::to_string(queued) + " frames of " + nic + " wait for room at the next hop");
  }
  if (const uint64_t lost = device.link()->lost; lost != 0) {
    out->push_back(std::to_string(lost) + " frames of " + nic + " were lost");
  }
  for (uint32_t reason = 1; reason < abi::kDropReasonCount; ++reason) {
    const uint64_t drops = device.core().drops(static_cast<abi::DropReason>(reason));
    if (drops == 0) continue;
    out->push_back(nic + " dropped " + std::to_string(drops) + " (" + abi::DropReasonName(reason) +
                   ")");
  }
}

WorldWatcher* world_watcher = nullptr;

}  // namespace

WorldWatcher* SetWorldWatcher(WorldWatcher* watcher) {
  return std::exchange(world_watcher, watcher);
}

Topology ParseTopology(const std::string& name) {
  if (name == "cable") return Topology::kCable;
  if (name == "pairs") return Topology::kPairs;
  if (name == "switch") return Topology::kSwitch;
  if (name == "fat-tree") return Topology::kFatTree;
  throw std::invalid_argument("topology \"" + name +
                              "\" is none of cable, pairs, switch, fat-tree");
}

namespace {

/// ns-3 ends the process over seeds of its generator (MRG32k3a) that are not below both of the
/// generator's moduli.
uint32_t GeneratorSeed(uint64_t seed) {
  constexpr uint32_t kFirstModulus = 4294967087u;
  constexpr uint32_t kSecondModulus = 4294944443u;
  const auto out = static_cast<uint32_t>(seed % kFirstModulus + 1);
  return out < kSecondModulus ? out : out - (kSecondModulus - 1);
}

}  // namespace

World::World(const Profile& profile, const WorldOptions& options)
    : watcher_(world_watcher), model_(std::make_shared<const NicModel>(profile)) {
  // What the caller owes of a World that has ended is not this one's.
  Context::Current().debt_ps = 0;
  ns3::RngSeedManager::SetSeed(GeneratorSeed(options.seed));
  ns3::RngSeedManager::SetRun(options.seed);
  // So fine that what arrives over different cables never ties (link.h). Once in a process.
  if (ns3::Time::GetResolution() != ns3::Time::PS) ns3::Time::SetResolution(ns3::Time::PS);
  ns3::ObjectFactory scheduler;
  scheduler.SetTypeId(RadixScheduler::GetTypeId());
  ns3::Simulator::SetScheduler(scheduler);
  fabric_ = ns3::CreateObject<QpipFabric>();
  for (uint32_t i = 0; i < options.nics; ++i) {
    Host host;
    host.node = ns3::CreateObject<ns3::Node>();
    host.device = ns3::CreateObject<QpipNetDevice>();
    host.device->SetModel(model_, profile.name());
    host.device->SetIpv6(HostAddress(i));
    host.device->max_queue_pairs = options.queue_pairs;
    host.device->max_rdma_queue_pairs = options.rdma_queue_pairs;
    host.device->max_completion_queues = options.completion_queues;
    host.device->max_regions = options.regions;
    host.device->send_depth_log2 = options.send_depth_log2;
    host.device->wqe_cache_bytes = options.wqe_cache_bytes;
    host.device->SetPollAheadNs(options.poll_ahead_ns);
    if (options.loss > 0) host.device->SetSendErrorModel(PacketLoss(options.loss));
    if (options.corruption > 0) host.device->SetCorruptionModel(PacketLoss(options.corruption));
    host.device->AssignStreams(int64_t{3} * i);
    host.node->AddDevice(host.device);
    hosts_.push_back(std::move(host));
  }
  Build(options);
  watch_ = std::make_unique<Watch>([this] { return Work(); }, [this] { return WhatWaits(); });
  if (watcher_ != nullptr) watcher_->OnBuilt(*this);
  for (Host& host : hosts_) {
    host.nic = host.device->OpenNic();
    host.pd = host.nic->AllocatePd();
  }
}

World::~World() {
  watch_ = nullptr;
  programs_.clear();
  Context::DestroyAll();
  if (watcher_ != nullptr) watcher_->OnEnd(*this);
  hosts_.clear();
  fabric_ = nullptr;
  ns3::Simulator::Destroy();
}

void World::Build(const WorldOptions& options) {
  std::vector<ns3::Ptr<QpipNetDevice>> nics;
  for (const Host& host : hosts_) nics.push_back(host.device);
  switch (options.topology) {
    case Topology::kCable:
      if (nics.size() != 2) throw std::invalid_argument("a cable joins two NICs, no more or fewer");
      fabric_->Connect(nics[0], nics[1]);
      break;
    case Topology::kPairs:
      if (nics.size() % 2 != 0) throw std::invalid_argument("pairs need an even number of NICs");
      for (size_t i = 0; i < nics.size(); i += 2) fabric_->Connect(nics[i], nics[i + 1]);
      break;
    case Topology::kSwitch:
      if (nics.size() > 256) {
        throw std::invalid_argument("a switch has at most 256 ports; give topology=fat-tree");
      }
      fabric_->AddSwitch(static_cast<uint32_t>(nics.size()), *model_);
      for (uint32_t i = 0; i < nics.size(); ++i) fabric_->Connect(nics[i], 0, i);
      break;
    case Topology::kFatTree:
      BuildFatTree(*fabric_, nics, *model_);
      break;
  }
}

void World::Start(std::string name, std::function<void()> program) {
  ++running_;
  auto context = Context::Spawn(name, [this, program = std::move(program)] {
    try {
      program();
    } catch (const std::exception&) {
      if (!error_) error_ = std::current_exception();
    }
    --running_;
    if (waiting_ != nullptr) waiting_->Resume();
  });
  programs_.push_back({std::move(name), std::move(context)});
}

/// Grows with whatever brings a program forward. Retransmissions and probes do not.
uint64_t World::Work() const {
  uint64_t work = 0;
  for (const Host& host : hosts_) {
    const HostTotals& programs = host.processor();
    work += programs.posts + programs.completions + programs.application_ps +
            host.device->totals().dma_write_ps;
  }
  for (const Program& program : programs_) {
    if (program.context->done()) ++work;
    if (program.context->sleeps) work += sim::NowNs();  // a while, which ends
  }
  return work;
}

std::string World::WhatWaits() const {
  constexpr size_t kMostNamed = 4;
  std::vector<std::string> words;
  for (const Program& program : programs_) {
    if (program.context->done()) continue;
    const std::string* what = program.context->waits_for;
    words.push_back("\"" + program.name + "\" waits for " +
                    (what != nullptr ? *what : "another program"));
  }
  if (programs_.empty() && Context::Current().waits_for != nullptr) {
    words.push_back("the start waits for " + *Context::Current().waits_for);
  }
  if (words.size() > kMostNamed) {
    const size_t more = words.size() - kMostNamed;
    words.resize(kMostNamed);
    words.push_back("so do " + std::to_string(more) + " more");
  }
  for (size_t i = 0; i < hosts_.size() && words.size() < 3 * kMostNamed; ++i) {
    AddTroubles(i, *hosts_[i].device, &words);
  }
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : "; ") + word;
  return text;
}

void World::Run() {
  waiting_ = &Context::Current();
  // One that has failed may leave others waiting for it for ever.
  while (running_ != 0 && !error_) waiting_->Suspend();
  waiting_ = nullptr;
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

}  // namespace qpip::sim
