// A network block device: a file written and read through client, QP and server (Figure 7).
//
//   client: program, file system, block layer | requests, data | server: a file in its page cache
//
// The client works through the file from its beginning. Writing, it fills the request queue and
// flushes at the end; reading, it starts with a cold cache and reads ahead. What file system, block
// layer and server cost is the profile's (storage.*, e.g. of the delta linux24-storage); a request
// or reply and its data are one message, in the protocol's own format.
#include <algorithm>
#include <span>
#include <vector>

#include "protocols/nbd/transmission.h"
#include "sim/ns3/model/phantom.h"
#include "sim/ns3/scenario/scenarios.h"
#include "sim/ns3/scenario/window.h"

namespace qpip::sim {
namespace {

constexpr uint16_t kNbdPort = 10809;
constexpr uint32_t kPageBytes = 4096;

/// The profile's storage.* parameters, resolved.
struct Storage {
  explicit Storage(const Profile& profile);

  double copy_ps_per_byte;
  double write_page_ps;
  double read_page_ps;
  uint64_t request_ps;
  uint32_t request_bytes;
  uint32_t write_requests;
  uint32_t read_ahead_requests;
  double disk_ps_per_byte;  ///< 0: the file is cached

  uint64_t CopyPs(uint32_t bytes) const { return static_cast<uint64_t>(copy_ps_per_byte * bytes); }
  /// Of the client's processor for a request of so many bytes.
  uint64_t FileSystemPs(bool write, uint32_t bytes) const {
    const double pages = static_cast<double>(bytes) / kPageBytes;
    return CopyPs(bytes) + static_cast<uint64_t>((write ? write_page_ps : read_page_ps) * pages);
  }
};

Storage::Storage(const Profile& profile) {
  const auto get = [&profile](const char* name) {
    if (profile.Has(name)) return profile.Get(name);
    throw ProfileError("nbd needs \"" + std::string(name) + "\", which profile " + profile.name() +
                       " lacks; add the delta linux24-storage: --profile " + profile.name() +
                       "+linux24-storage");
  };
  const double cycle_ps = 1e12 / profile.Get("host.hz");
  copy_ps_per_byte = get("storage.copy_cycles_per_byte") * cycle_ps;
  write_page_ps = get("storage.write_page_cycles") * cycle_ps;
  read_page_ps = get("storage.read_page_cycles") * cycle_ps;
  request_ps = static_cast<uint64_t>(get("storage.request_cycles") * cycle_ps);
  request_bytes = static_cast<uint32_t>(get("storage.request_bytes"));
  write_requests = static_cast<uint32_t>(get("storage.write_requests"));
  read_ahead_requests = static_cast<uint32_t>(get("storage.read_ahead_requests"));
  const double rate = profile.GetOr("storage.disk_bytes_per_s", 0);
  disk_ps_per_byte = rate == 0 ? 0 : 1e12 / rate;
}

/// One end of the connection: numbered slots, each with a receive, a header to send and data.
class Port {
 public:
  Port(Host& host, uint32_t slots, uint32_t data_bytes) : slots_(slots), data_bytes_(data_bytes) {
    uint32_t entries = 16;
    while (entries < 2 * slots) entries *= 2;
    cq_ = host.nic->CreateCq(2 * entries);
    QpOptions options;
    options.send_cq = options.recv_cq = cq_.get();
    options.send_depth = options.recv_depth = entries;
    options.signal_all = true;
    options.receive_reservation = static_cast<uint32_t>(std::min<uint64_t>(
        uint64_t{2} * slots * data_bytes, host.device->model().socket_buffer_bytes));
    headers_ = host.pd->Allocate(2 * slots * nbd::kRequestBytes);
    data_ = host.pd->Register(AllocatePhantom(data_bytes), data_bytes, IBV_ACCESS_LOCAL_WRITE);
    qp_ = host.nic->CreateQp(*host.pd, options);
    for (uint32_t slot = 0; slot < slots; ++slot) PostReceive(slot);
  }

  QueuePair& qp() { return *qp_; }
  uint32_t slots() const { return slots_; }

  void PostReceive(uint32_t slot) {
    ibv_sge pieces[] = {headers_->Sge(slot * nbd::kRequestBytes, nbd::kRequestBytes),
                        data_->Sge(0, data_bytes_)};
    ibv_recv_wr wr = {};
    wr.wr_id = slot;
    wr.sg_list = pieces;
    wr.num_sge = 2;
    RequirePosted(qp_->PostRecv(&wr));
  }
  std::span<const uint8_t> received(uint32_t slot) const { return {At(slot), nbd::kRequestBytes}; }

  template <size_t kBytes>
  std::span<uint8_t, kBytes> outgoing(uint32_t slot) {
    return std::span<uint8_t, kBytes>(At(slots_ + slot), kBytes);
  }
  /// Sends the outgoing header of a slot and so much data.
  void Send(uint32_t slot, uint32_t header_bytes, uint32_t data_bytes) {
    ibv_sge pieces[] = {headers_->Sge((slots_ + slot) * nbd::kRequestBytes, header_bytes),
                        data_->Sge(0, data_bytes)};
    ibv_send_wr wr = {};
    wr.wr_id = slot;
    wr.sg_list = pieces;
    wr.num_sge = data_bytes == 0 ? 1 : 2;
    wr.opcode = IBV_WR_SEND;
    RequirePosted(qp_->PostSend(&wr));
  }

  /// Waits for completions and calls `on_received(slot)` for each message.
  template <typename OnReceived>
  void Wait(OnReceived on_received) {
    WorkCompletion room[16];
    const size_t found = cq_->Wait(room);
    for (size_t i = 0; i < found; ++i) {
      if (room[i].status != IBV_WC_SUCCESS) {
        throw Error(EIO, std::string("nbd: ") + ToString(room[i].status));
      }
      if (room[i].opcode == IBV_WC_RECV) on_received(static_cast<uint32_t>(room[i].wr_id));
    }
  }

 private:
  uint8_t* At(uint32_t slot) const {
    return static_cast<uint8_t*>(headers_->data()) + slot * nbd::kRequestBytes;
  }

  const uint32_t slots_;
  const uint32_t data_bytes_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<MemoryRegion> headers_;  ///< received ones, then those to send
  std::unique_ptr<MemoryRegion> data_;
  std::unique_ptr<QueuePair> qp_;
};

/// The server's program: one request after the other, as nbd-server does.
class Server {
 public:
  Server(Host& host, const Storage& storage, uint32_t slots, uint64_t file_bytes)
      : host_(host), storage_(storage), port_(host, slots, storage.request_bytes) {
    limits_.size_bytes = file_bytes;
    limits_.transmission_flags = nbd::kHasFlags | nbd::kSendFlush;
  }
  QueuePair& qp() { return port_.qp(); }

  void Run() {
    while (!disconnected_) {
      port_.Wait([this](uint32_t slot) { Handle(slot); });
    }
  }

 private:
  void Handle(uint32_t slot) {
    nbd::Request request;
    if (nbd::ParseRequest(port_.received(slot), &request) != nbd::TransmissionError::kNone) {
      throw Error(EPROTO, "nbd: no request");
    }
    disconnected_ = request.command == nbd::kCommandDisconnect;
    if (disconnected_) return;
    nbd::SimpleReply reply;
    reply.cookie = request.cookie;
    reply.error = nbd::CheckRequest(request, limits_);
    const uint32_t data = reply.error == nbd::kErrorNone ? request.length : 0;
    SpendHostTime(host_.device->host(), storage_.request_ps + storage_.CopyPs(data));
    const auto disk_ns = static_cast<uint64_t>(storage_.disk_ps_per_byte * data / 1000);
    if (disk_ns != 0) Context::Current().SleepNs(disk_ns);
    port_.PostReceive(slot);
    nbd::EmitSimpleReply(reply, port_.outgoing<nbd::kSimpleReplyBytes>(slot));
    port_.Send(slot, nbd::kSimpleReplyBytes, request.command == nbd::kCommandRead ? data : 0);
  }

  Host& host_;
  const Storage& storage_;
  Port port_;
  nbd::ExportLimits limits_;
  bool disconnected_ = false;
};

/// The client's program, file system and block device driver.
class Client {
 public:
  Client(Host& host, const Storage& storage, uint32_t slots)
      : host_(host), storage_(storage), port_(host, slots, storage.request_bytes) {
    for (uint32_t slot = 0; slot < slots; ++slot) free_.push_back(slot);
  }
  QueuePair& qp() { return port_.qp(); }

  /// Bytes written: all, unless the run was stopped.
  uint64_t WriteFile(uint64_t bytes) {
    uint64_t offset = 0;
    while (offset < bytes && !StopRequested()) {
      const uint32_t length = LengthAt(offset, bytes);
      SpendOnFile(true, length);
      while (Outstanding() >= storage_.write_requests) TakeReplies();
      Issue(nbd::kCommandWrite, offset, length);
      offset += length;
    }
    while (Outstanding() != 0) TakeReplies();
    Issue(nbd::kCommandFlush, 0, 0);
    while (Outstanding() != 0) TakeReplies();
    return offset;
  }

  /// Bytes read: all, unless the run was stopped.
  uint64_t ReadFile(uint64_t bytes) {
    uint64_t asked = 0;
    const uint32_t first = answered_;
    uint32_t used = 0;
    uint64_t offset = 0;
    while (offset < bytes && !StopRequested()) {
      const uint32_t length = LengthAt(offset, bytes);
      AskUpTo(used + 1, first, bytes, &asked);
      while (answered_ - first <= used) TakeReplies();
      ++used;
      AskUpTo(used + storage_.read_ahead_requests, first, bytes, &asked);
      SpendOnFile(false, length);
      offset += length;
    }
    while (Outstanding() != 0) TakeReplies();
    return offset;
  }

  void Disconnect() { Issue(nbd::kCommandDisconnect, 0, 0); }

 private:
  uint32_t Outstanding() const { return static_cast<uint32_t>(port_.slots() - free_.size()); }
  uint32_t LengthAt(uint64_t offset, uint64_t bytes) const {
    return static_cast<uint32_t>(std::min<uint64_t>(storage_.request_bytes, bytes - offset));
  }
  void SpendOnFile(bool write, uint32_t length) {
    SpendHostTime(host_.device->host(), storage_.request_ps + storage_.FileSystemPs(write, length));
  }

  /// Has the file's first `requests` requests of this pass under way or answered.
  void AskUpTo(uint32_t requests, uint32_t first, uint64_t bytes, uint64_t* asked) {
    while (*asked < bytes && answered_ - first + Outstanding() < requests) {
      const uint32_t length = LengthAt(*asked, bytes);
      Issue(nbd::kCommandRead, *asked, length);
      *asked += length;
    }
  }

  void Issue(nbd::Command command, uint64_t offset, uint32_t length) {
    const uint32_t slot = free_.back();
    free_.pop_back();
    const nbd::Request request = {0, static_cast<uint16_t>(command), slot, offset, length};
    nbd::EmitRequest(request, port_.outgoing<nbd::kRequestBytes>(slot));
    port_.Send(slot, nbd::kRequestBytes, nbd::RequestPayloadBytes(request));
  }

  void TakeReplies() {
    port_.Wait([this](uint32_t slot) {
      nbd::SimpleReply reply;
      if (nbd::ParseSimpleReply(port_.received(slot), &reply) != nbd::TransmissionError::kNone ||
          reply.error != nbd::kErrorNone) {
        throw Error(EIO, "nbd: a request failed");
      }
      free_.push_back(static_cast<uint32_t>(reply.cookie));
      ++answered_;
      port_.PostReceive(slot);
    });
  }

  Host& host_;
  const Storage& storage_;
  Port port_;
  std::vector<uint32_t> free_;  ///< slots without a request under way
  uint32_t answered_ = 0;
};

/// Runs one pass over the file, which says how many bytes it did, and adds what it took, prefixed
/// by "read" or "write".
template <typename Pass>
void Measure(World& world, const std::string& name, ScenarioResult* result, Pass pass) {
  RequireNotStopped();
  const Host& client = world.host(1);
  MeasuredWindow window(world);
  window.Name(0, "server");
  window.Name(1, "client");
  const uint64_t file_before_ps = client.processor().application_ps;
  window.Begin();
  const uint64_t bytes = pass();
  window.End();
  const double us = window.us();
  const double megabytes = static_cast<double>(bytes) / 1e6;
  const uint64_t work_ps = window.HostWorkPs(1);
  const uint64_t file_ps = client.processor().application_ps - file_before_ps;
  result->Add(name + "_throughput_MB_per_s", megabytes / us * 1e6);
  result->Add(name + "_MB_per_cpu_s", megabytes / (static_cast<double>(work_ps) / 1e12));
  result->Add(name + "_filesystem_utilisation", static_cast<double>(file_ps) / us / 1e6);
  window.AddMetrics(result, name + "_");
}

ScenarioResult RunNbd(const Profile& profile, const ScenarioArguments& arguments) {
  const uint64_t bytes = arguments.Count("bytes");
  const Storage storage(profile);
  World world(profile, CommonOptions(arguments));
  const uint32_t slots = std::max(storage.write_requests, storage.read_ahead_requests + 1) + 1;
  Server server(world.host(0), storage, slots, bytes);
  Client client(world.host(1), storage, slots);
  auto listener = world.host(0).nic->Listen(kNbdPort);
  listener->Offer(server.qp());
  client.qp().Connect({world.host(0).address(), kNbdPort});
  listener->Accept();
  ScenarioResult result;
  world.Start("server", [&] { server.Run(); });
  world.Start("client", [&] {
    Measure(world, "write", &result, [&] { return client.WriteFile(bytes); });
    if (!StopRequested()) {
      Measure(world, "read", &result, [&] { return client.ReadFile(bytes); });
    }
    client.Disconnect();
  });
  world.Run();
  return result;
}

}  // namespace

Scenario NbdScenario() {
  std::vector<MetricSpec> metrics;
  for (const std::string name : {"write", "read"}) {
    Append(&metrics,
           {{name + "_throughput_MB_per_s", "of the file, in 10^6 bytes a second"},
            {name + "_MB_per_cpu_s", "10^6 bytes a second of the client's processor"},
            {name + "_filesystem_utilisation", "file system's share of the client's time"}});
    Append(&metrics, WindowMetrics({"client", "server"}, name + "_"));
  }
  return {"nbd", "a network block device, written and read in sequence (paper Figure 7)",
          WithCommonParameters(
              {Bytes("bytes", 409000000, kPageBytes, uint64_t{1} << 40, "bytes of the file")}),
          std::move(metrics), RunNbd};
}

}  // namespace qpip::sim
