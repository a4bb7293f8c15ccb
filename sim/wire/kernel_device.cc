#include "sim/wire/kernel_device.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <thread>

namespace qpip::wire {
namespace {

std::string Ip6Text(const abi::Ip6Address& address) {
  char text[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(AF_INET6, address.bytes, text, sizeof text);
  return text;
}

/// A unique local prefix: fd, and 40 random bits (RFC 4193 3.2.2).
std::string RandomPrefixText() {
  abi::Ip6Address prefix = {};
  prefix.bytes[0] = 0xfd;
  if (::getrandom(&prefix.bytes[1], 5, 0) != 5) return "fd and 40 random bits";
  return Ip6Text(prefix) + "/64";
}

std::string PrefixText(const HostPrefix& host) {
  return Ip6Text(host.address) + "/" + std::to_string(host.length);
}

[[noreturn]] void Fail(const KernelWireOptions& options, const std::string& what, int error,
                       const std::string& advice) {
  throw std::runtime_error(std::string(options.ethernet ? "tap" : "tun") + " wire: " + what + ": " +
                           std::strerror(error) + (advice.empty() ? "" : "; " + advice));
}

std::string MakeItBeforehand(const KernelWireOptions& options) {
  return "run as root, or let root make the device once: ip tuntap add dev " + options.interface +
         " mode " + (options.ethernet ? "tap" : "tun") + " user YOU vnet_hdr";
}

ifreq RequestFor(const std::string& name) {
  ifreq request = {};
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);
  return request;
}

// --- The device

Descriptor OpenCloneDevice(const KernelWireOptions& options) {
  constexpr char kPath[] = "/dev/net/tun";
  Descriptor fd(::open(kPath, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (fd.valid()) return fd;
  const int error = errno;
  const bool denied = error == EACCES || error == EPERM;
  Fail(options, std::string("cannot open ") + kPath, error,
       denied ? MakeItBeforehand(options) + " (and chmod 0666 /dev/net/tun)"
              : "load the module (modprobe tun), or give the container the device (--device " +
                    std::string(kPath) + " --cap-add NET_ADMIN)");
}

void Attach(const KernelWireOptions& options, int fd) {
  ifreq request = RequestFor(options.interface);
  request.ifr_flags =
      static_cast<short>((options.ethernet ? IFF_TAP : IFF_TUN) | IFF_NO_PI | IFF_VNET_HDR);
  if (::ioctl(fd, TUNSETIFF, &request) == 0) return;
  const int error = errno;
  const std::string what = "cannot attach to " + options.interface;
  switch (error) {
    case EPERM:
    case EACCES:
      Fail(options, what, error, MakeItBeforehand(options));
    case EBUSY:
      Fail(options, what, error, "another process has the device open: end it, or name another");
    case EINVAL:
      Fail(options, what, error,
           std::string("an interface of that name exists and is no ") +
               (options.ethernet ? "tap" : "tun") + " device with one queue: name another");
    default:
      Fail(options, what, error, "");
  }
}

void SetOffload(const KernelWireOptions& options, int fd) {
  // A device that stays may keep what its last user had set.
  int header_bytes = sizeof(VirtioNetHeader);
  int little_endian = std::endian::native == std::endian::little ? 1 : 0;
  const unsigned long offload = options.offload ? TUN_F_CSUM | TUN_F_TSO6 | TUN_F_TSO_ECN : 0ul;
  if (::ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) != 0 ||
      ::ioctl(fd, TUNSETVNETLE, &little_endian) != 0 || ::ioctl(fd, TUNSETOFFLOAD, offload) != 0) {
    Fail(options, "cannot set the offloads of " + options.interface, errno, "try offload=0");
  }
}

// --- The kernel's side

class ControlSocket {
 public:
  explicit ControlSocket(const KernelWireOptions& options)
      : options_(options), fd_(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    if (!fd_.valid()) Fail(options, "cannot make an IPv6 socket", errno, "is IPv6 switched off?");
  }
  uint32_t Mtu() const {
    ifreq request = RequestFor(options_.interface);
    if (::ioctl(fd_.get(), SIOCGIFMTU, &request) != 0) {
      Fail(options_, "cannot ask for the MTU of " + options_.interface, errno, "");
    }
    return static_cast<uint32_t>(request.ifr_mtu);
  }
  bool IsUp() const {
    ifreq request = RequestFor(options_.interface);
    return ::ioctl(fd_.get(), SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) != 0;
  }
  void SetMtu(uint32_t mtu, const HostPrefix& host) const {
    ifreq request = RequestFor(options_.interface);
    request.ifr_mtu = static_cast<int>(mtu);
    Set(SIOCSIFMTU, &request, "set the MTU of ", host);
  }
  void SetUp(const HostPrefix& host) const {
    ifreq request = RequestFor(options_.interface);
    ::ioctl(fd_.get(), SIOCGIFFLAGS, &request);
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    Set(SIOCSIFFLAGS, &request, "bring up ", host);
  }

 private:
  void Set(unsigned long what, ifreq* request, const char* name, const HostPrefix& host) const {
    if (::ioctl(fd_.get(), what, request) == 0) return;
    const int error = errno;
    Fail(options_, std::string("cannot ") + name + options_.interface, error,
         "run as root, or let root do it once: ip link set " + options_.interface +
             (options_.mtu != 0 ? " mtu " + std::to_string(options_.mtu) : "") +
             " up; ip addr add " + PrefixText(host) + " dev " + options_.interface + " nodad");
  }

  const KernelWireOptions& options_;
  const Descriptor fd_;
};

bool HasAddress(const KernelWireOptions& options, const HostPrefix& host) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return false;
  bool found = false;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET6 ||
        options.interface != entry->ifa_name) {
      continue;
    }
    sockaddr_in6 address;
    std::memcpy(&address, entry->ifa_addr, sizeof address);
    found |= std::memcmp(&address.sin6_addr, host.address.bytes, 16) == 0;
  }
  ::freeifaddrs(list);
  return found;
}

/// What the kernel does with packets to an address.
struct Route {
  uint8_t type = RTN_UNSPEC;
  uint8_t prefix_length = 0;  ///< of the table's entry
  uint32_t interface = 0;     ///< index; 0: none
};

/// The route of an answer of so many bytes.
Route ParseRoute(const nlmsghdr* answer, size_t bytes) {
  Route route;
  if (answer->nlmsg_type != RTM_NEWROUTE || !NLMSG_OK(answer, bytes)) return route;
  const auto* message = static_cast<const rtmsg*>(NLMSG_DATA(answer));
  route.type = message->rtm_type;
  route.prefix_length = message->rtm_dst_len;
  const auto* at = reinterpret_cast<const uint8_t*>(message) + NLMSG_ALIGN(sizeof *message);
  size_t rest = RTM_PAYLOAD(answer);
  for (;;) {
    rtattr one;
    if (rest < sizeof one) break;
    std::memcpy(&one, at, sizeof one);
    if (one.rta_len < sizeof one || one.rta_len > rest) break;
    if (one.rta_type == RTA_OIF && one.rta_len >= RTA_LENGTH(sizeof route.interface)) {
      std::memcpy(&route.interface, at + RTA_LENGTH(0), sizeof route.interface);
    }
    const size_t step = RTA_ALIGN(one.rta_len);
    if (step >= rest) break;
    at += step;
    rest -= step;
  }
  return route;
}

/// One request to rtnetlink. Returns 0 or an errno; a route's answer goes to `*route`.
template <typename Request>
int AskRtnetlink(Request& request, Route* route) {
  request.header.nlmsg_len = sizeof request;
  const Descriptor fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  struct {
    nlmsghdr header;
    nlmsgerr error;
    uint8_t rest[2048];
  } answer = {};
  ssize_t got = 0;
  if (!fd.valid() || ::send(fd.get(), &request, sizeof request, 0) < 0 ||
      (got = ::recv(fd.get(), &answer, sizeof answer, 0)) < 0) {
    return errno;
  }
  if (answer.header.nlmsg_type == NLMSG_ERROR) return -answer.error.error;
  if (route != nullptr) *route = ParseRoute(&answer.header, static_cast<size_t>(got));
  return 0;
}

// RTM_NEWADDR: the only way to say that no duplicates are to be looked for, so that the address can
// be used at once.
void AddAddress(const KernelWireOptions& options, const HostPrefix& host) {
  struct {
    nlmsghdr header;
    ifaddrmsg message;
    rtattr local_head;
    uint8_t local[16];
    rtattr flags_head;
    uint32_t flags;
  } request = {};
  request.header.nlmsg_type = RTM_NEWADDR;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
  request.message.ifa_family = AF_INET6;
  request.message.ifa_prefixlen = host.length;
  request.message.ifa_index = ::if_nametoindex(options.interface.c_str());
  request.local_head = {RTA_LENGTH(16), IFA_LOCAL};
  std::memcpy(request.local, host.address.bytes, 16);
  request.flags_head = {RTA_LENGTH(4), IFA_FLAGS};
  request.flags = IFA_F_NODAD;
  const int error = AskRtnetlink(request, nullptr);
  if (error == 0 || error == EEXIST) return;
  Fail(options, "cannot give " + options.interface + " the address " + PrefixText(host), error,
       error == EACCES  ? "IPv6 is switched off there: sysctl net.ipv6.conf.all.disable_ipv6=0"
       : error == EPERM ? "run as root, or let root do it once: ip addr add " + PrefixText(host) +
                              " dev " + options.interface + " nodad"
                        : "");
}

Route RouteTo(const abi::Ip6Address& address) {
  struct {
    nlmsghdr header;
    rtmsg message;
    rtattr destination_head;
    uint8_t destination[16];
  } request = {};
  request.header.nlmsg_type = RTM_GETROUTE;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.message.rtm_family = AF_INET6;
  request.message.rtm_dst_len = 128;
  request.message.rtm_flags = RTM_F_FIB_MATCH;
  request.destination_head = {RTA_LENGTH(16), RTA_DST};
  std::memcpy(request.destination, address.bytes, 16);
  Route route;
  if (AskRtnetlink(request, &route) != 0) return {};
  return route;
}

bool IsLocal(const abi::Ip6Address& address) { return RouteTo(address).type == RTN_LOCAL; }

// Before the kernel's side has its prefix: does the host reach those addresses elsewhere already? A
// default route is for everything, and yields.
std::string OverlapWarning(const KernelWireOptions& options, const HostPrefix& host) {
  const uint32_t own = ::if_nametoindex(options.interface.c_str());
  for (const abi::Ip6Address& address : {options.address, host.address}) {
    const Route route = RouteTo(address);
    const bool taken = route.type == RTN_UNICAST || route.type == RTN_LOCAL;
    if (!taken || route.prefix_length == 0 || route.interface == 0 || route.interface == own) {
      continue;
    }
    char name[IF_NAMESIZE] = "?";
    ::if_indextoname(route.interface, name);
    return std::string(options.ethernet ? "tap" : "tun") + " wire: the host has a route to " +
           Ip6Text(address) + " already, by " + name + " (ip -6 route get " + Ip6Text(address) +
           "): one of the two may become unreachable: take addresses of " + "another prefix, as " +
           RandomPrefixText();
  }
  return "";
}

// The kernel adds the route to its own address after it has acknowledged the request for the
// address; what arrives in between it drops.
void AwaitAddress(const HostPrefix& host) {
  constexpr int kPatienceMs = 2000;
  for (int i = 0; i < kPatienceMs && !IsLocal(host.address); ++i) ::usleep(1000);
}

KernelDevice OpenHere(const KernelWireOptions& options) {
  KernelDevice device;
  device.descriptor = OpenCloneDevice(options);
  Attach(options, device.descriptor.get());
  SetOffload(options, device.descriptor.get());
  const ControlSocket control(options);
  if (options.host.has_value()) {
    const HostPrefix& host = *options.host;
    if (options.mtu != 0 && control.Mtu() != options.mtu) control.SetMtu(options.mtu, host);
    if (!control.IsUp()) control.SetUp(host);
    device.warning = OverlapWarning(options, host);
    if (!HasAddress(options, host)) AddAddress(options, host);
    AwaitAddress(host);
  }
  device.mtu = control.Mtu();
  return device;
}

// --- Network namespaces

void Enter(const KernelWireOptions& options) {
  const bool path = options.netns.find('/') != std::string::npos;
  const std::string where = path ? options.netns : "/run/netns/" + options.netns;
  const Descriptor fd(::open(where.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    Fail(options, "no network namespace " + where, errno,
         path
             ? "give its name (ip netns list) or an existing path, as /proc/PID/ns/net"
             : "make it (ip netns add " + options.netns + "), or give a path, as /proc/PID/ns/net");
  }
  if (::setns(fd.get(), CLONE_NEWNET) != 0) {
    Fail(options, "cannot enter the network namespace " + where, errno, "run as root");
  }
}

}  // namespace

KernelDevice OpenKernelDevice(const KernelWireOptions& options) {
  if (options.netns.empty()) return OpenHere(options);
  // A namespace is a thread's; the device's descriptor works from everywhere.
  KernelDevice device;
  std::exception_ptr failure;
  try {
    std::thread([&] {
      try {
        Enter(options);
        device = OpenHere(options);
      } catch (...) {
        failure = std::current_exception();
      }
    }).join();
  } catch (const std::system_error& error) {
    Fail(options, "no thread to enter a network namespace with", error.code().value(),
         "end other processes, or raise the limit of threads (ulimit -u)");
  }
  if (failure) std::rethrow_exception(failure);
  return device;
}

}  // namespace qpip::wire
