#include "lan.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/udp/header.h"

namespace qpip::attack {
namespace {

constexpr uint16_t kEtherIpv6 = 0x86dd;

void AppendChecksum(const ipv6::Address& source, const ipv6::Address& destination, uint8_t protocol,
                    size_t at, std::vector<uint8_t>* bytes) {
  const uint16_t sum = ChecksumAdd(
      *bytes, PseudoHeaderSum(source, destination, static_cast<uint32_t>(bytes->size()), protocol));
  StoreBe16(bytes->data() + at, udp::FinishChecksum(sum));
}

}  // namespace

void Fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

ipv6::Address ParseIpv6(const std::string& text) {
  ipv6::Address address;
  if (inet_pton(AF_INET6, text.c_str(), address.bytes) != 1) {
    throw std::invalid_argument("no IPv6 address: " + text);
  }
  return address;
}

icmpv6::LinkAddress ParseLink(const std::string& text) {
  std::array<unsigned, 6> byte = {};
  if (std::sscanf(text.c_str(), "%x:%x:%x:%x:%x:%x", &byte[0], &byte[1], &byte[2], &byte[3],
                  &byte[4], &byte[5]) != 6) {
    throw std::invalid_argument("no MAC address: " + text);
  }
  icmpv6::LinkAddress link;
  std::transform(byte.begin(), byte.end(), link.begin(),
                 [](unsigned value) { return static_cast<uint8_t>(value); });
  return link;
}

Traffic TrafficOf(const std::string& interface) {
  // Not from /sys, which shows the namespace that it was mounted in.
  std::ifstream file("/proc/self/net/dev");
  std::string line;
  while (std::getline(file, line)) {
    std::replace(line.begin(), line.end(), ':', ' ');
    std::istringstream fields(line);
    std::string name;
    std::array<uint64_t, 9> numbers = {};
    fields >> name;
    if (name != interface) continue;
    for (uint64_t& number : numbers) fields >> number;
    return {.sent = numbers[8], .received = numbers[0]};
  }
  return {};
}

Lan::Lan(const Target& target, const icmpv6::LinkAddress& source)
    : target_(target), source_(source), fd_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)) {
  if (fd_ < 0) Fail("packet socket");
  link_.sll_family = AF_PACKET;
  link_.sll_ifindex = static_cast<int>(if_nametoindex(target.interface.c_str()));
  if (link_.sll_ifindex == 0) {
    close(fd_);
    Fail(target.interface);
  }
  frame_.reserve(kMaxFrame);
}

Lan::~Lan() { close(fd_); }

void Lan::SendFrame(Bytes frame) {
  // A full queue of the device's costs the packet, as a full queue of a switch's would.
  if (sendto(fd_, frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&link_),
             sizeof(link_)) >= 0) {
    ++packets_;
  }
}

void Lan::SendPacket(ipv6::Header ip, Bytes behind) {
  ip.payload_length = static_cast<uint16_t>(behind.size());
  frame_.resize(kEthernetBytes + ipv6::kHeaderBytes);
  const icmpv6::LinkAddress destination =
      ip.destination.IsMulticast() ? icmpv6::MulticastLink(ip.destination) : target_.link;
  std::copy(destination.begin(), destination.end(), frame_.begin());
  std::copy(source_.begin(), source_.end(), frame_.begin() + 6);
  StoreBe16(frame_.data() + 12, kEtherIpv6);
  ipv6::Emit(ip, std::span<uint8_t, ipv6::kHeaderBytes>(frame_.data() + kEthernetBytes,
                                                        ipv6::kHeaderBytes));
  frame_.insert(frame_.end(), behind.begin(), behind.end());
  SendFrame(frame_);
}

void Lan::SendTcp(const ipv6::Address& source, const tcp::Header& header, Bytes text) {
  SendPacket({.next_header = ipv6::kTcp, .source = source, .destination = target_.address},
             TcpSegment(source, target_.address, header, text));
}

void Lan::SendUdp(const ipv6::Address& source, uint16_t from, uint16_t to, Bytes text) {
  std::vector<uint8_t> bytes(udp::kHeaderBytes);
  udp::Emit({.source_port = from,
             .destination_port = to,
             .length = static_cast<uint16_t>(udp::kHeaderBytes + text.size())},
            std::span<uint8_t, udp::kHeaderBytes>(bytes.data(), udp::kHeaderBytes));
  bytes.insert(bytes.end(), text.begin(), text.end());
  AppendChecksum(source, target_.address, ipv6::kUdp, udp::offset::kChecksum, &bytes);
  SendPacket({.next_header = ipv6::kUdp, .source = source, .destination = target_.address}, bytes);
}

void Lan::SendIcmp(const ipv6::Address& source, std::vector<uint8_t> message, uint8_t hop_limit,
                   const ipv6::Address* destination) {
  const ipv6::Address& to = destination == nullptr ? target_.address : *destination;
  AppendChecksum(source, to, ipv6::kIcmpv6, icmpv6::offset::kChecksum, &message);
  SendPacket(
      {.next_header = ipv6::kIcmpv6, .hop_limit = hop_limit, .source = source, .destination = to},
      message);
}

Ear::Ear(const Lan& lan, Hears what, const icmpv6::LinkAddress& address)
    : fd_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)), frame_(65536) {
  if (fd_ < 0) Fail("packet socket");
  const uint32_t high = LoadBe32(address.data());
  const uint16_t low = LoadBe16(address.data() + 4);
  // The clients' traffic is not to cost the attacker's time: it stays in the kernel.
  const uint32_t at = what == Hears::kMine ? 0 : 6;
  std::vector<sock_filter> filter;
  if (what == Hears::kMine) {
    filter.push_back(BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0));
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x3333, 4, 0));
  }
  filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at));
  filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 0, 3));
  filter.push_back(BPF_STMT(BPF_LD | BPF_H | BPF_ABS, at + 4));
  filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, low, 0, 1));
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, 65535));
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, 0));
  const sock_fprog program = {static_cast<unsigned short>(filter.size()), filter.data()};
  sockaddr_ll link = {};
  link.sll_family = AF_PACKET;
  link.sll_protocol = htons(ETH_P_ALL);
  link.sll_ifindex = lan.interface_index();
  if (setsockopt(fd_, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) != 0 ||
      bind(fd_, reinterpret_cast<const sockaddr*>(&link), sizeof(link)) != 0) {
    close(fd_);
    Fail("listening on " + lan.target().interface);
  }
}

Ear::~Ear() { close(fd_); }

Bytes Ear::Next(int milliseconds) {
  pollfd readable = {fd_, POLLIN, 0};
  if (poll(&readable, 1, milliseconds) <= 0) return {};
  const ssize_t got = recv(fd_, frame_.data(), frame_.size(), MSG_DONTWAIT);
  return got <= 0 ? Bytes() : Bytes(frame_.data(), static_cast<size_t>(got));
}

std::vector<uint8_t> TcpSegment(const ipv6::Address& source, const ipv6::Address& destination,
                                const tcp::Header& header, Bytes text) {
  std::vector<uint8_t> bytes(tcp::EmitSize(header));
  tcp::Emit(header, bytes);
  bytes.insert(bytes.end(), text.begin(), text.end());
  AppendChecksum(source, destination, ipv6::kTcp, tcp::offset::kChecksum, &bytes);
  return bytes;
}

std::vector<uint8_t> IcmpMessage(const icmpv6::Header& header, Bytes behind) {
  std::vector<uint8_t> bytes(icmpv6::kHeaderBytes);
  icmpv6::Emit(header, std::span<uint8_t, icmpv6::kHeaderBytes>(bytes.data(), bytes.size()));
  bytes.insert(bytes.end(), behind.begin(), behind.end());
  return bytes;
}

std::vector<uint8_t> RandomBytes(Random& random, size_t count) {
  std::vector<uint8_t> bytes(count);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

ipv6::Address Stranger(Random& random) {
  ipv6::Address address{{0xfd, 0x66}};
  StoreBe32(address.bytes + 8, static_cast<uint32_t>(random()));
  return address;
}

ipv6::Address AbsentNeighbour(const Target& target, uint32_t number) {
  ipv6::Address address = target.address;
  StoreBe32(address.bytes + 8, number >> 16);
  StoreBe32(address.bytes + 12, 0xdead0000u | (number & 0xffffu));
  return address;
}

}  // namespace qpip::attack
