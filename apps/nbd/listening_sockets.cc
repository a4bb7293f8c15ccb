#include "apps/nbd/listening_sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "apps/common/command_line.h"
#include "apps/common/json_output.h"

namespace qpip::nbd {

using apps::Failure;
using apps::UsageError;

namespace {

constexpr int kBacklog = 1024;
constexpr int kFirstActivated = 3;

std::string UnixUri(const std::string& path) {
  return "nbd+unix:///?socket=" + apps::PercentEncoded(std::filesystem::absolute(path).string());
}

std::string AddressText(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(address);
    inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof text);
    return "[" + std::string(text) + "]:" + std::to_string(ntohs(six.sin6_port));
  }
  if (address.ss_family == AF_INET) {
    const auto& four = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &four.sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(ntohs(four.sin_port));
  }
  return "a local program";
}

ClientAddress AddressOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET6) {
    return reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  }
  if (address.ss_family == AF_INET) {
    return MappedAddress(reinterpret_cast<const sockaddr_in&>(address).sin_addr);
  }
  return std::nullopt;
}

AcceptedSocket AcceptFrom(int listening, const std::string& name) {
  sockaddr_storage address = {};
  socklen_t length = sizeof address;
  FileDescriptor socket(
      accept4(listening, reinterpret_cast<sockaddr*>(&address), &length, SOCK_CLOEXEC));
  if (socket) return {std::move(socket), AddressText(address), AddressOf(address)};
  switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      throw Lack("no room for another client: " + name + ": " + std::strerror(errno) +
                 ": it waits until one leaves");
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
      return {};
    default:
      throw Failure("cannot accept: " + name + ": " + std::strerror(errno));
  }
}

class UnixListener : public ListeningSocket {
 public:
  explicit UnixListener(const std::string& path) : path_(path), socket_(path) {}
  int fd() const override { return socket_.fd(); }
  AcceptedSocket Accept() override { return {socket_.Accept(), "a local program", std::nullopt}; }
  std::string uri() const override { return UnixUri(path_); }
  std::string path() const override { return path_; }

 private:
  std::string path_;
  LocalSocket socket_;
};

/// One that is open already.
class OpenListener : public ListeningSocket {
 public:
  OpenListener(FileDescriptor socket, std::string uri)
      : socket_(std::move(socket)), uri_(std::move(uri)) {}
  int fd() const override { return socket_.get(); }
  AcceptedSocket Accept() override { return AcceptFrom(fd(), uri_); }
  std::string uri() const override { return uri_; }

 private:
  FileDescriptor socket_;
  std::string uri_;
};

std::string UriOf(int fd) {
  sockaddr_storage address = {};
  socklen_t length = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  if (address.ss_family != AF_UNIX) return "nbd://" + AddressText(address);
  return UnixUri(reinterpret_cast<const sockaddr_un&>(address).sun_path);
}

struct HostPort {
  std::string host;
  std::string port;
};

HostPort SplitAddress(const std::string& where, uint16_t default_port) {
  const UsageError bad("bad address to listen at: '" + where +
                       "': give ADDRESS, [ADDRESS]:PORT, ADDRESS:PORT or unix:PATH");
  HostPort parts = {where, std::to_string(default_port)};
  if (where.starts_with('[')) {
    const size_t end = where.find(']');
    if (end == std::string::npos) throw bad;
    parts.host = where.substr(1, end - 1);
    if (end + 1 == where.size()) return parts;
    if (where[end + 1] != ':') throw bad;
    parts.port = where.substr(end + 2);
  } else if (where.find(':') != std::string::npos && where.find(':') == where.rfind(':')) {
    parts.host = where.substr(0, where.find(':'));
    parts.port = where.substr(where.find(':') + 1);
  }
  if (parts.port != "0") apps::ParsePort(parts.port, "port to listen at");
  return parts;
}

FileDescriptor ListenTcp(const std::string& where, uint16_t default_port) {
  const HostPort parts = SplitAddress(where, default_port);
  addrinfo hints = {};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int result = getaddrinfo(parts.host.c_str(), parts.port.c_str(), &hints, &found);
  if (result != 0) {
    throw UsageError("bad address to listen at: '" + where + "': " + gai_strerror(result));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  FileDescriptor fd(socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (fd) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!fd || bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      listen(fd.get(), kBacklog) != 0) {
    throw Failure("cannot listen: " + where + ": " + std::strerror(errno));
  }
  return fd;
}

}  // namespace

std::unique_ptr<ListeningSocket> Listen(const std::string& where, uint16_t default_port) {
  if (where.starts_with("unix:")) return std::make_unique<UnixListener>(where.substr(5));
  if (where.find('/') != std::string::npos) return std::make_unique<UnixListener>(where);
  FileDescriptor fd = ListenTcp(where, default_port);
  std::string uri = UriOf(fd.get());
  return std::make_unique<OpenListener>(std::move(fd), std::move(uri));
}

std::vector<std::unique_ptr<ListeningSocket>> ActivatedSockets() {
  std::vector<std::unique_ptr<ListeningSocket>> sockets;
  const char* const pid = std::getenv("LISTEN_PID");
  const char* const count = std::getenv("LISTEN_FDS");
  if (pid == nullptr || count == nullptr || std::to_string(getpid()) != pid) return sockets;
  const int end = kFirstActivated + std::atoi(count);
  for (int fd = kFirstActivated; fd < end; ++fd) {
    int listening = 0;
    socklen_t length = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) != 0 || listening == 0) {
      throw Failure("no listening socket: descriptor " + std::to_string(fd) +
                    " of LISTEN_FDS: give stream sockets");
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    std::string uri = UriOf(fd);
    sockets.push_back(std::make_unique<OpenListener>(FileDescriptor(fd), std::move(uri)));
  }
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) unsetenv(name);
  return sockets;
}

}  // namespace qpip::nbd
