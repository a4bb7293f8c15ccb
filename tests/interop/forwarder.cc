// A path between two network namespaces that loses, delays, reorders and damages packets: two TUN
// devices, the frames of each sent on through the other behind our own fault decorator. The
// kernel's stack at each end sees an ordinary link. What is larger than a bound may vanish, as
// behind a router that does not say why (--black-hole).
//
//     NETNS_A, fd10::1 -- tun fwd-a |--> fault -->| tun fwd-b -- NETNS_B, fd10::2
//                                   |<-- fault <--|
#include <algorithm>
#include <csignal>
#include <ctime>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/program_options.hpp>

#include "sim/wire/wire.h"

namespace qpip::interop {
namespace {

namespace po = boost::program_options;

volatile std::sig_atomic_t stop_requested = 0;
void RequestStop(int) { stop_requested = 1; }

uint64_t Now() {
  timespec t = {};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000 + static_cast<uint64_t>(t.tv_nsec);
}

constexpr uint64_t kPatienceNs = 200000;  // of a sleep: the other device has no say in it
constexpr int kBatch = 64;

/// One end of the path.
struct End {
  std::unique_ptr<wire::Wire> wire;
  uint64_t housekeeping_at = 0;
  uint64_t swallowed = 0;  ///< packets towards it that were larger than the path
};

End Open(const std::string& interface, const std::string& netns, uint8_t host, uint32_t mtu,
         const wire::FaultOptions& faults) {
  wire::KernelWireOptions options;
  options.interface = interface;
  options.netns = netns;
  options.mtu = mtu;
  options.offload = false;
  wire::HostPrefix kernel;
  kernel.address.bytes[0] = 0xfd;
  kernel.address.bytes[1] = 0x10;
  kernel.address.bytes[15] = host;
  options.host = kernel;
  // Never used: whatever the kernel sends to the device is taken.
  options.address.bytes[0] = 0xfe;
  options.address.bytes[15] = 1;
  std::unique_ptr<wire::Wire> wire = wire::OpenKernelWire(options);
  if (faults.any()) wire = wire::DecorateFault(std::move(wire), faults);
  return {std::move(wire), 0, 0};
}

/// Takes what has come in at `from` to `to`. Answers whether there was anything.
bool Forward(End& from, End& to, uint32_t largest) {
  int taken = 0;
  wire::InFrame in;
  while (taken < kBatch && from.wire->Receive(&in)) {
    ++taken;
    wire::OutFrame out;
    // The first piece holds the headers; all of it is copied by the decorator or the kernel.
    std::vector<uint8_t> bytes;
    for (const iovec& piece : in.pieces) {
      const auto* start = static_cast<const uint8_t*>(piece.iov_base);
      bytes.insert(bytes.end(), start, start + piece.iov_len);
    }
    out.header = bytes;
    uint64_t lease = 0;
    if (bytes.size() > largest) {
      ++to.swallowed;
    } else {
      to.wire->Send(out, &lease);  // a full device drops, as a router does
    }
    from.wire->Release(in);
  }
  if (taken != 0) to.wire->Flush();
  return taken != 0;
}

void KeepHouse(End& end) {
  const uint64_t now = Now();
  if (now >= end.housekeeping_at) end.housekeeping_at = end.wire->Housekeeping(now);
}

void Run(End& a, End& b, uint32_t largest) {
  while (stop_requested == 0) {
    const bool there = Forward(a, b, largest);
    const bool back = Forward(b, a, largest);
    KeepHouse(a);
    KeepHouse(b);
    if (there || back) continue;
    a.wire->PrepareSleep();
    const uint64_t due = std::min(a.housekeeping_at, b.housekeeping_at);
    a.wire->Sleep(std::min(due, Now() + kPatienceNs));
  }
}

int Main(int argc, char** argv) {
  std::string netns_a;
  std::string netns_b;
  uint32_t mtu = 1500;
  uint32_t largest = ~0u;
  wire::FaultOptions faults;
  po::options_description options("Options");
  options.add_options()("help", "this text")                                           //
      ("a", po::value(&netns_a)->required(), "network namespace of the device fwd-a")  //
      ("b", po::value(&netns_b)->required(), "network namespace of the device fwd-b")  //
      ("mtu", po::value(&mtu), "of both devices")                                      //
      ("black-hole", po::value(&largest), "bytes; larger packets vanish, each way")    //
      ("loss", po::value(&faults.loss), "probability, each way")                       //
      ("duplicate", po::value(&faults.duplicate), "probability, each way")             //
      ("reorder", po::value(&faults.reorder), "probability, each way")                 //
      ("corrupt", po::value(&faults.corrupt), "probability, each way")                 //
      ("delay-us", po::value(&faults.delay_us), "added to every packet, each way")     //
      ("seed", po::value(&faults.seed), "of the faults");
  po::variables_map given;
  po::store(po::parse_command_line(argc, argv, options), given);
  if (given.count("help") != 0) {
    std::cout << options;
    return 0;
  }
  po::notify(given);
  End a = Open("fwd-a", netns_a, 1, mtu, faults);
  faults.seed += 1;
  End b = Open("fwd-b", netns_b, 2, mtu, faults);
  std::signal(SIGTERM, RequestStop);
  std::signal(SIGINT, RequestStop);
  std::cout << "forwarding" << std::endl;
  Run(a, b, largest);
  std::cout << "{\"swallowed\": " << a.swallowed + b.swallowed
            << ", \"to_a\": " << a.wire->StatisticsJson()
            << ", \"to_b\": " << b.wire->StatisticsJson() << "}" << std::endl;
  return 0;
}

}  // namespace
}  // namespace qpip::interop

int main(int argc, char** argv) {
  try {
    return qpip::interop::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "forwarder: " << error.what() << "\n";
    return 1;
  }
}
