// rdma_getaddrinfo.
#include <netdb.h>
#include <rdma/rdma_cma.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "verbs/librdmacm/result.h"

namespace {

// All memory of an rdma_addrinfo is malloc's.
sockaddr* CopyOf(const sockaddr* address, socklen_t length) {
  auto* copy = static_cast<sockaddr*>(std::calloc(1, length));
  if (copy != nullptr) std::memcpy(copy, address, length);
  return copy;
}

// What is not said of the two, the sort of queue pair and the port space, follows from the other:
// datagrams, or connections.
bool AreDatagrams(const rdma_addrinfo* hints) {
  if (hints == nullptr) return false;
  if (hints->ai_qp_type != 0) return hints->ai_qp_type == IBV_QPT_UD;
  return hints->ai_port_space == RDMA_PS_UDP;
}

// As rdma-core, the family counts whether or not there is RAI_FAMILY, which is about `node`.
addrinfo HintsOf(const rdma_addrinfo* hints) {
  addrinfo ip = {};
  ip.ai_socktype = AreDatagrams(hints) ? SOCK_DGRAM : SOCK_STREAM;
  if (hints == nullptr) return ip;
  if ((hints->ai_flags & RAI_PASSIVE) != 0) ip.ai_flags |= AI_PASSIVE;
  if ((hints->ai_flags & RAI_NUMERICHOST) != 0) ip.ai_flags |= AI_NUMERICHOST;
  if (hints->ai_family != AF_IB) ip.ai_family = hints->ai_family;
  return ip;
}

// False: there is no memory. So of the next one.
bool SetSource(rdma_addrinfo* info, const sockaddr* address, socklen_t length) {
  if (address == nullptr || length == 0) return true;
  info->ai_src_len = length;
  info->ai_src_addr = CopyOf(address, length);
  return info->ai_src_addr != nullptr;
}
bool SetDestination(rdma_addrinfo* info, const sockaddr* address, socklen_t length) {
  if (address == nullptr || length == 0) return true;
  info->ai_dst_len = length;
  info->ai_dst_addr = CopyOf(address, length);
  return info->ai_dst_addr != nullptr;
}

void SetKind(rdma_addrinfo* info, int family, const rdma_addrinfo* hints) {
  info->ai_flags = hints != nullptr ? hints->ai_flags : 0;
  info->ai_family = family;
  const bool has_type = hints != nullptr && hints->ai_qp_type != 0;
  const bool has_space = hints != nullptr && hints->ai_port_space != 0;
  const bool datagrams = AreDatagrams(hints);
  info->ai_qp_type = has_type ? hints->ai_qp_type : (datagrams ? IBV_QPT_UD : IBV_QPT_RC);
  info->ai_port_space = has_space ? hints->ai_port_space : (datagrams ? RDMA_PS_UDP : RDMA_PS_TCP);
}

bool Fill(rdma_addrinfo* info, const addrinfo& ip, const rdma_addrinfo* hints) {
  SetKind(info, ip.ai_family, hints);
  if ((info->ai_flags & RAI_PASSIVE) != 0) return SetSource(info, ip.ai_addr, ip.ai_addrlen);
  if (!SetDestination(info, ip.ai_addr, ip.ai_addrlen)) return false;
  return hints == nullptr || SetSource(info, hints->ai_src_addr, hints->ai_src_len);
}

// Neither node nor service: the hints' addresses are those that are meant.
int FromHints(const rdma_addrinfo& hints, rdma_addrinfo** out) {
  *out = static_cast<rdma_addrinfo*>(std::calloc(1, sizeof(rdma_addrinfo)));
  const sockaddr* known = hints.ai_dst_len != 0 ? hints.ai_dst_addr : hints.ai_src_addr;
  if (*out != nullptr) {
    SetKind(*out, known != nullptr ? known->sa_family : hints.ai_family, &hints);
    if (SetSource(*out, hints.ai_src_addr, hints.ai_src_len) &&
        SetDestination(*out, hints.ai_dst_addr, hints.ai_dst_len)) {
      return 0;
    }
  }
  rdma_freeaddrinfo(*out);
  *out = nullptr;
  errno = ENOMEM;
  return -1;
}

}  // namespace

extern "C" {

void rdma_freeaddrinfo(rdma_addrinfo* info) {
  while (info != nullptr) {
    rdma_addrinfo* next = info->ai_next;
    std::free(info->ai_src_addr);
    std::free(info->ai_dst_addr);
    std::free(info);
    info = next;
  }
}

int rdma_getaddrinfo(const char* node, const char* service, const rdma_addrinfo* hints,
                     rdma_addrinfo** out) {
  if (node == nullptr && service == nullptr) {
    if (hints != nullptr) return FromHints(*hints, out);
    errno = EINVAL;
    return -1;
  }
  const addrinfo ip_hints = HintsOf(hints);
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(node, service, &ip_hints, &found); error != 0) {
    errno = error == EAI_MEMORY ? ENOMEM : ENODATA;
    return error;
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> guard(found, freeaddrinfo);
  rdma_addrinfo** end = out;
  *out = nullptr;
  for (const addrinfo* ip = found; ip != nullptr; ip = ip->ai_next) {
    if (ip->ai_family != AF_INET && ip->ai_family != AF_INET6) continue;
    auto* info = static_cast<rdma_addrinfo*>(std::calloc(1, sizeof(rdma_addrinfo)));
    if (info == nullptr) break;
    *end = info;
    end = &info->ai_next;
    if (!Fill(info, *ip, hints)) {
      rdma_freeaddrinfo(*out);
      *out = nullptr;
      break;
    }
  }
  if (*out != nullptr) return 0;
  errno = ENOMEM;
  return -1;
}

}  // extern "C"
