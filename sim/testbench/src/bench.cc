// The bench itself: time and the wire.
#include <algorithm>
#include <stdexcept>
#include <utility>

#include "addresses.h"
#include "tcp.h"

namespace qpip::testbench {

Core::Core(const TestBenchOptions& options)
    : hardware_(MakeConfig(options), options.seed,
                static_cast<uint64_t>(options.clock_start.count())),
      nic_(qpip::Nic::Attach(MakeHostPort(hardware_, "testbench"))),
      pd_(nic_->AllocatePd()) {}

void Core::Settle() {
  bool any = true;
  while (any) {
    any = hardware_.Run();
    for (Pollable* pollable : pollables_) any |= pollable->Poll();
  }
}

TestBench::TestBench(const TestBenchOptions& options) : core_(std::make_shared<Core>(options)) {}
TestBench::~TestBench() = default;

in6_addr TestBench::address() const { return core_->nic().address(); }
uint32_t TestBench::mtu() const { return core_->nic().mtu(); }
qpip::Nic& TestBench::nic() { return core_->nic(); }

Time TestBench::Now() const { return core_->hardware().Now(); }

void TestBench::StepUntilIdle() { core_->Settle(); }

void TestBench::StepUntil(Time moment) {
  Hardware& hardware = core_->hardware();
  if (moment < Now()) {
    throw std::invalid_argument("test bench: StepUntil a moment in the past");
  }
  const uint64_t target = hardware.clock_start_ns() + static_cast<uint64_t>(moment.count());
  core_->Settle();
  for (uint64_t due = hardware.NextDeadlineNs(); due <= target; due = hardware.NextDeadlineNs()) {
    hardware.set_clock_ns(std::max(due, hardware.clock_ns()));
    core_->Settle();
  }
  hardware.set_clock_ns(target);
}

std::optional<Time> TestBench::NextDeadline() {
  core_->Settle();
  const Hardware& hardware = core_->hardware();
  const uint64_t due = hardware.NextDeadlineNs();
  if (due == UINT64_MAX) return std::nullopt;
  return Time(static_cast<int64_t>(due - hardware.clock_start_ns()));
}

bool TestBench::StepToNextDeadline() {
  const std::optional<Time> due = NextDeadline();
  if (due) StepUntil(std::max(*due, Now()));
  return due.has_value();
}

std::optional<Packet> TestBench::WaitForPacket(Time limit) {
  const Time end = Now() + limit;
  for (;;) {
    if (std::optional<Packet> packet = TakePacket()) return packet;
    const std::optional<Time> due = NextDeadline();
    if (!due || *due > end) {
      StepUntil(end);
      return std::nullopt;
    }
    StepUntil(std::max(*due, Now()));
  }
}

void TestBench::InjectPacket(std::span<const uint8_t> bytes) {
  core_->hardware().incoming.emplace_back(bytes.begin(), bytes.end());
}

std::optional<Packet> TestBench::TakePacket() {
  return TakePacketIf([](const Packet&) { return true; });
}

std::optional<Packet> TestBench::TakePacketIf(const std::function<bool(const Packet&)>& wanted) {
  core_->Settle();
  auto& outgoing = core_->hardware().outgoing;
  const auto found = std::find_if(outgoing.begin(), outgoing.end(), wanted);
  if (found == outgoing.end()) return std::nullopt;
  Packet packet = std::move(*found);
  outgoing.erase(found);
  return packet;
}

std::vector<Packet> TestBench::TakePackets() {
  core_->Settle();
  auto& outgoing = core_->hardware().outgoing;
  std::vector<Packet> packets(std::make_move_iterator(outgoing.begin()),
                              std::make_move_iterator(outgoing.end()));
  outgoing.clear();
  return packets;
}

std::unique_ptr<TcpListener> TestBench::Listen(uint16_t port, const ListenOptions& options) {
  core_->Settle();
  std::unique_ptr<TcpListener> listener(
      new TcpListener(std::make_unique<TcpListener::Impl>(core_, port, options)));
  listener->Offer(options.offered);
  return listener;
}

std::unique_ptr<TcpConnection> TestBench::Connect(const Endpoint& peer, uint16_t local_port,
                                                  const TcpOptions& options) {
  core_->Settle();
  auto impl = std::make_unique<TcpConnection::Impl>(core_, options);
  impl->qp().StartConnect(peer, local_port);
  core_->Settle();
  return std::unique_ptr<TcpConnection>(new TcpConnection(std::move(impl)));
}

std::map<std::string, uint64_t> TestBench::Counters() {
  core_->Settle();
  return core_->nic().Counters();
}

std::vector<Drop> TestBench::TakeDrops() {
  core_->Settle();
  return std::exchange(core_->hardware().drops, {});
}

}  // namespace qpip::testbench
