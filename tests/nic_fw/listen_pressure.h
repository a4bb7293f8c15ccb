// A listener under pressure, and who comes to it.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "listen_support.h"

namespace qpip::fw::test {

using abi::EventKind;
using abi::NicCounter;

/// `b` listens; `a` is a NIC that connects. Others are there by the segments that are made for
/// them.
struct Pressure {
  static NicConfig Config() {
    NicConfig config = FirmwareBench::DefaultConfig();
    config.max_qps = 1024;
    config.event_log2 = 12;
    return config;
  }
  static QpSpec Small() {
    return {.send_log2_depth = 2, .recv_log2_depth = 2, .overflow_bytes = 8192};
  }
  FirmwareBench a{1, Config()}, b{2, Config()};
  Cable cable{a, b, {}};
  std::unique_ptr<TestCq> cq_a = a.CreateCq(), cq_b = b.CreateCq();
  std::vector<std::unique_ptr<TestQp>> clients, servers;
  uint32_t listener = 0;
  uint32_t syns_of_a = 0;
  uint32_t resets = 0;  ///< that `b` has sent, to anybody
  uint32_t next_stranger = 0;
  HostMemory sink{b.hardware, 4096};
  const uint32_t sink_key = b.Register(sink);

  Pressure() {
    cable.filter = [this](Frame& frame, bool from_a) {
      const tcp::Header header = HeaderOf(frame);
      syns_of_a += from_a && header.flags == tcp::kSyn;
      resets += !from_a && header.Has(tcp::kRst);
      return from_a || frame[39] == 1;
    };
  }
  void Listen(uint32_t offered, uint16_t backlog = 4) {
    listener = b.Listen(7, backlog).result[0];
    for (uint32_t i = 0; i < offered; ++i) Offer();
  }
  TestQp& Offer() {
    servers.push_back(b.CreateQp(*cq_b, Small()));
    EXPECT_EQ(b.Offer(listener, *servers.back()).status, 0);
    return *servers.back();
  }
  TestQp& Connect(uint16_t port = 0) {
    clients.push_back(a.CreateQp(*cq_a, Small()));
    EXPECT_EQ(a.Connect(*clients.back(), 2, 7, port).status, 0);
    return *clients.back();
  }
  /// SYNs from addresses that nobody has.
  void Strangers(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      Arrive(b, MakeSegment(Spoofed(next_stranger), MakeSyn(next_stranger)));
      ++next_stranger;
    }
    b.hardware.outgoing.clear();
  }
  TestQp& ServerOf(uint32_t handle) {
    for (auto& qp : servers) {
      if (qp->handle == handle) return *qp;
    }
    ADD_FAILURE() << handle;
    return *servers[0];
  }
  size_t EstablishedAt(FirmwareBench& nic) { return EventsOf(nic, EventKind::kEstablished).size(); }
  /// The client sends "hello", which arrives at `server`.
  void ExpectDataFlows(TestQp& client, TestQp& server) {
    std::memset(sink.data(), 0, 5);
    b.PostRecv(server, {SgeOf(sink, sink_key, 0, 4096)});
    a.PostInline(client, "hello");
    cable.Run();
    EXPECT_EQ(std::memcmp(sink.data(), "hello", 5), 0);
  }
};

struct ListenPressure : Pressure, ::testing::Test {};

}  // namespace qpip::fw::test
