// Bulk transfer: the paper's ttcp run, 10 MB in 16 KiB chunks (Figure 4).
#include <vector>

#include "sim/ns3/scenario/scenarios.h"
#include "sim/ns3/scenario/window.h"

namespace qpip::sim {
namespace {

ScenarioResult RunTtcp(const Profile& profile, const ScenarioArguments& arguments) {
  const auto bytes = static_cast<uint32_t>(arguments.Count("message"));
  const uint64_t total = arguments.Count("bytes");
  const auto depth = static_cast<uint32_t>(arguments.Count("depth"));
  const bool poll = arguments.Text("completion") == "poll";
  const uint64_t messages = (total + bytes - 1) / bytes;
  World world(profile, CommonOptions(arguments));
  Host& server = world.host(0);
  Host& client = world.host(1);
  auto server_cq = server.nic->CreateCq(512);
  auto client_cq = client.nic->CreateCq(512);
  QpOptions options;
  options.send_depth = options.recv_depth = depth;
  options.receive_reservation = static_cast<uint32_t>(std::min<uint64_t>(
      std::max<uint64_t>(uint64_t{2} * bytes * depth, 65536), world.model().socket_buffer_bytes));
  options.send_cq = options.recv_cq = server_cq.get();
  auto sink = server.nic->CreateQp(*server.pd, options);
  options.send_cq = options.recv_cq = client_cq.get();
  auto source = client.nic->CreateQp(*client.pd, options);
  auto sink_memory = server.pd->Allocate(bytes);
  auto source_memory = client.pd->Allocate(bytes);
  for (uint32_t i = 0; i < depth; ++i) RequirePosted(sink->PostRecv(i, sink_memory->Sge(0, bytes)));
  auto listener = server.nic->Listen(kTtcpPort);
  listener->Offer(*sink);
  source->Connect({server.address(), kTtcpPort});
  listener->Accept();

  uint64_t received = 0;
  MeasuredWindow window(world);
  window.Name(1, "sender");
  window.Name(0, "receiver");
  window.Begin(NowNs());
  const auto take = [poll](CompletionQueue& cq, std::vector<WorkCompletion>& room) {
    const size_t found = poll ? cq.Poll(room) : cq.Wait(room);
    for (size_t i = 0; i < found; ++i) {
      if (room[i].status != IBV_WC_SUCCESS) {
        throw Error(EIO, std::string("ttcp: ") + ToString(room[i].status));
      }
    }
    return found;
  };
  world.Start("receiver", [&] {
    std::vector<WorkCompletion> room(16);
    while (received < messages && !StopRequested()) {
      const size_t found = take(*server_cq, room);
      for (size_t i = 0; i < found; ++i)
        RequirePosted(sink->PostRecv(0, sink_memory->Sge(0, bytes)));
      received += found;
    }
    window.End(NowNs());
  });
  world.Start("sender", [&] {
    std::vector<WorkCompletion> room(16);
    uint64_t posted = 0;
    uint64_t done = 0;
    while (done < messages && !StopRequested()) {
      for (; posted < messages && posted - done < depth; ++posted) {
        RequirePosted(source->PostSend(posted, source_memory->Sge(0, bytes)));
      }
      done += take(*client_cq, room);
    }
  });
  world.Run();
  if (received == 0) RequireNotStopped();

  ScenarioResult result;
  result.Add("throughput_MB_per_s", static_cast<double>(received * bytes) / window.us());
  result.Add("bytes", static_cast<double>(received * bytes));
  result.Add("us_per_message", window.us() / static_cast<double>(received));
  window.AddMetrics(&result);
  return result;
}

}  // namespace

Scenario TtcpScenario() {
  std::vector<MetricSpec> metrics = {
      {"throughput_MB_per_s", "payload received, in 10^6 bytes a second"},
      {"bytes", "payload received"},
      {"us_per_message", "duration over messages"}};
  Append(&metrics, WindowMetrics({"sender", "receiver"}));
  return {
      "ttcp", "bulk transfer between two hosts (paper Figure 4)",
      WithCommonParameters(
          {Bytes("bytes", 10000000, 1, uint64_t{1} << 40, "bytes in all, rounded up to messages"),
           Bytes("message", 16384, 1, 1u << 24, "bytes a message"),
           Whole("depth", 16, 1, 128, "messages outstanding and receives posted"),
           OneOf("completion", "poll", {"poll", "wait"})}),
      std::move(metrics), RunTtcp};
}

}  // namespace qpip::sim
