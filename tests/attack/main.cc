// Attacks on a server, and clients beside them that mean it. The same for queue pairs on `tap:`
// and, as the control, for the kernel's stack behind a pair of veth devices; attack_test.sh puts
// the pieces together:
//
//     list [quick]              the kinds of attack: name, attacker, and what is sent
//     serve-qpip URI OFFERED MOST   the servers with queue pairs
//     serve-kernel BACKLOG          the same with the kernel's sockets
//     run INTERFACE LINK TARGET CLIENTS-LINK KIND RATE SECONDS   clients before, during and after
//                               an attack of a kind, then the attack alone; prints a line of JSON
#include <netinet/in.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <exception>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "clients.h"
#include "kinds.h"
#include "lan.h"
#include "server.h"

namespace qpip::attack {
namespace {

using std::chrono::milliseconds;

constexpr icmpv6::LinkAddress kAttacker = {2, 0, 0, 0, 0x0b, 0xad};
constexpr milliseconds kWarm(300);
constexpr milliseconds kAhead(100);  // how long an attack goes on before it counts
constexpr milliseconds kSettle(1000);
constexpr milliseconds kAlone(500);

void Trial(const Target& target, const icmpv6::LinkAddress& clients_link, const Kind& kind,
           uint64_t rate, milliseconds length) {
  in6_addr address;
  std::memcpy(address.s6_addr, target.address.bytes, sizeof(address.s6_addr));
  Random random(std::random_device{}());
  Lan lan(target, kAttacker);
  Clients clients(address);
  const auto attack = [&](milliseconds time) {
    Pace pace(rate, time);
    Scene scene = {lan, target, pace, random, clients_link, [&] { return clients.live(); }};
    kind.run(scene);
  };
  std::this_thread::sleep_for(kWarm);
  clients.Enter(Phase::kBefore);
  std::this_thread::sleep_for(length);
  clients.Enter(Phase::kWarm);
  std::thread attacker([&] { attack(kAhead + length); });
  std::this_thread::sleep_for(kAhead);
  const uint64_t out = TrafficOf(target.interface).received;
  clients.Enter(Phase::kDuring);
  std::this_thread::sleep_for(length);
  clients.Enter(Phase::kSettling);
  const uint64_t out_during = TrafficOf(target.interface).received - out;
  attacker.join();
  const uint64_t packets = lan.packets();
  std::this_thread::sleep_for(kSettle);
  clients.Enter(Phase::kAfter);
  std::this_thread::sleep_for(length);
  auto served = clients.Stop();
  // What the target sends for what it is sent, with nobody else on the link.
  const Traffic before = TrafficOf(target.interface);
  attack(kAlone);
  std::this_thread::sleep_for(kAhead);
  const Traffic after = TrafficOf(target.interface);
  // Servers end connections that come forward no more: what they are left with is to be told then.
  if (kind.attacker == Attacker::kPeer) std::this_thread::sleep_for(kIdle + kSettle);
  std::cout << "{\"kind\": \"" << kind.name << "\", \"attacker\": \"" << ToString(kind.attacker)
            << "\", \"what\": \"";
  for (const char c : kind.what) std::cout << (c == '"' ? "\\\"" : std::string(1, c));
  std::cout << "\", \"rate\": " << rate
            << ", \"seconds\": " << std::chrono::duration<double>(length).count()
            << ", \"packets\": " << packets << ", \"out_for_in\": "
            << static_cast<double>(after.received - before.received) /
                   static_cast<double>(std::max<uint64_t>(after.sent - before.sent, 1))
            << ", \"out_per_second\": "
            << static_cast<double>(out_during) / std::chrono::duration<double>(length).count();
  for (const auto& [name, phase] : {std::pair("before", Phase::kBefore),
                                    {"during", Phase::kDuring},
                                    {"settling", Phase::kSettling},
                                    {"after", Phase::kAfter}}) {
    std::cout << ", \"" << name << "\": ";
    served[static_cast<size_t>(phase)].Print(std::cout);
  }
  std::cout << "}" << std::endl;
}

int Main(const std::vector<std::string>& arguments) {
  std::signal(SIGTERM, [](int) { RequestStop(); });
  std::signal(SIGINT, [](int) { RequestStop(); });
  const std::string command = arguments.empty() ? "" : arguments[0];
  if (command == "serve-qpip" && arguments.size() == 4) {
    ServeQpip(arguments[1], static_cast<uint32_t>(std::stoul(arguments[2])),
              static_cast<uint32_t>(std::stoul(arguments[3])));
  } else if (command == "serve-kernel" && arguments.size() == 2) {
    ServeKernel(std::stoi(arguments[1]));
  } else if (command == "run" && arguments.size() == 8) {
    Trial({arguments[1], ParseLink(arguments[2]), ParseIpv6(arguments[3])}, ParseLink(arguments[4]),
          FindKind(arguments[5]), std::stoul(arguments[6]),
          milliseconds(static_cast<int64_t>(1000 * std::stod(arguments[7]))));
  } else if (command == "list") {
    const bool quick = arguments.size() == 2 && arguments[1] == "quick";
    for (const Kind& kind : AllKinds()) {
      if (kind.quick || !quick) {
        std::cout << kind.name << "\t" << ToString(kind.attacker) << "\t" << kind.what << "\n";
      }
    }
  } else {
    std::cerr << "usage: list [quick] | serve-qpip URI OFFERED MOST | serve-kernel BACKLOG |\n"
                 "       run INTERFACE LINK TARGET CLIENTS-LINK KIND RATE SECONDS\n";
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace qpip::attack

int main(int argc, char** argv) {
  try {
    return qpip::attack::Main(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    std::cerr << "qpip-attack: " << error.what() << "\n";
    return 1;
  }
}
