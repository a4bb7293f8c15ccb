// qpip-nbd-load: reads or writes by the NBD client library for a while, as fio's nbd engine does by
// libnbd. One line of JSON with fio's names: bench/nbd_compare reads both.
#include <boost/program_options.hpp>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "qpip/nbd.h"
#include "qpip/qpip.h"

namespace {

namespace po = boost::program_options;
using Clock = std::chrono::steady_clock;
using qpip::nbd::Client;
using qpip::nbd::Io;

struct Load {
  std::string kind;  ///< fio's: read, write, randread, randwrite
  uint64_t block_bytes = 4096;
  uint32_t depth = 1;
  std::chrono::nanoseconds duration{0};
};

/// So many commands in flight, each of which is followed by another until the time is over.
class Run {
 public:
  Run(Client& client, const Load& load)
      : client_(client),
        load_(load),
        blocks_(client.facts().bytes / load.block_bytes),
        random_(load.kind.starts_with("rand")),
        slots_(load.depth) {
    const std::span<std::byte> memory = client.Allocate(load.depth * load.block_bytes);
    for (size_t i = 0; i < slots_.size(); ++i) {
      Slot& slot = slots_[i];
      slot.run = this;
      slot.data = {memory.data() + i * load.block_bytes, load.block_bytes};
      slot.io.op = load.kind.ends_with("read") ? Io::Op::kRead : Io::Op::kWrite;
      slot.io.length = load.block_bytes;
      slot.io.data = {&slot.data, 1};
      slot.io.context = &slot;
      slot.io.done = [](Io& over) {
        auto& ended = *static_cast<Slot*>(over.context);
        ended.run->OnDone(ended);
      };
    }
  }

  void Go() {
    begun_ = Clock::now();
    for (Slot& slot : slots_) Next(slot);
    while (client_.in_flight() > 0) (void)client_.Wait();
    if (failed_) throw std::runtime_error("a command failed: " + client_.failure());
    seconds_ = std::chrono::duration<double>(Clock::now() - begun_).count();
  }
  nlohmann::json Result() const {
    const double per_second = static_cast<double>(done_) / seconds_;
    return {{"iops", per_second},
            {"bw_bytes", per_second * static_cast<double>(load_.block_bytes)},
            {"total_ios", done_}};
  }

 private:
  struct Slot {
    Run* run = nullptr;
    Io io;
    iovec data = {};
  };

  void Next(Slot& slot) {
    const uint64_t block = (random_ ? numbers_() : next_++) % blocks_;
    slot.io.offset = block * load_.block_bytes;
    client_.Submit(slot.io);
  }
  void OnDone(Slot& slot) {
    failed_ = failed_ || slot.io.error != 0;
    ++done_;
    if (!failed_ && Clock::now() - begun_ < load_.duration) Next(slot);
  }

  Client& client_;
  const Load& load_;
  uint64_t blocks_;
  bool random_;
  std::vector<Slot> slots_;
  std::mt19937_64 numbers_{1};
  uint64_t next_ = 0;
  uint64_t done_ = 0;
  bool failed_ = false;
  Clock::time_point begun_{};
  double seconds_ = 1;
};

int Main(int argc, char** argv) {
  po::options_description options(
      "qpip-nbd-load [options] URI: reads or writes by the NBD client library\n\nOptions");
  options.add_options()("help,h", "say this")("json", "accepted: the result always is")(
      "nic", po::value<std::string>(), "the NIC's URI with an address, for nbd+qp:")(
      "rw", po::value<std::string>()->default_value("randread"),
      "read, write, randread or randwrite")("bs", po::value<uint64_t>()->default_value(4096),
                                            "bytes of a command")(
      "iodepth", po::value<uint32_t>()->default_value(1), "commands in flight, 1 to 4096")(
      "connections", po::value<unsigned>()->default_value(1), "connections to the server")(
      "runtime", po::value<double>()->default_value(2), "seconds")(
      "uri", po::value<std::string>(), "nbd://, nbd+unix:// or nbd+qp://");
  po::positional_options_description positional;
  positional.add("uri", 1);
  po::variables_map values;
  po::store(po::command_line_parser(argc, argv).options(options).positional(positional).run(),
            values);
  if (values.count("help") != 0) {
    std::cout << options;
    return 0;
  }
  if (values.count("uri") == 0) throw po::error("no URI");
  const qpip::nbd::Uri uri = qpip::nbd::Uri::Parse(values["uri"].as<std::string>());
  qpip::nbd::ClientOptions client_options;
  client_options.export_name = uri.export_name;
  client_options.connections = values["connections"].as<unsigned>();
  client_options.depth = values["iodepth"].as<uint32_t>();
  const Load load = {.kind = values["rw"].as<std::string>(),
                     .block_bytes = values["bs"].as<uint64_t>(),
                     .depth = values["iodepth"].as<uint32_t>(),
                     .duration = std::chrono::nanoseconds(
                         static_cast<int64_t>(values["runtime"].as<double>() * 1e9))};
  std::shared_ptr<qpip::Nic> nic;
  std::unique_ptr<qpip::ProtectionDomain> pd;
  std::unique_ptr<Client> client;
  if (uri.queue_pairs) {
    if (values.count("nic") == 0) throw po::error("no --nic");
    nic = qpip::Nic::Open(values["nic"].as<std::string>());
    pd = nic->AllocatePd();
    client = std::make_unique<Client>(*nic, *pd, qpip::Endpoint::Parse(uri.where), client_options);
  } else {
    client = std::make_unique<Client>(uri.where, client_options);
  }
  if (load.block_bytes == 0 || load.block_bytes > client->facts().bytes) {
    throw po::error("--bs: more than the export has, or nothing");
  }
  Run run(*client, load);
  run.Go();
  std::cout << run.Result() << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Main(argc, argv);
  } catch (const po::error& error) {
    std::cerr << "qpip-nbd-load: " << error.what() << std::endl;
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "qpip-nbd-load: " << error.what() << std::endl;
    return 1;
  }
}
