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

addrinfo HintsOf(const rdma_addrinfo* hints) {
  addrinfo ip = {};
  ip.ai_socktype = SOCK_STREAM;
  if (hints == nullptr) return ip;
  if ((hints->ai_flags & RAI_PASSIVE) != 0) ip.ai_flags |= AI_PASSIVE;
  if ((hints->ai_flags & RAI_NUMERICHOST) != 0) ip.ai_flags |= AI_NUMERICHOST;
  if ((hints->ai_flags & RAI_FAMILY) != 0) ip.ai_family = hints->ai_family;
  return ip;
}

bool Fill(rdma_addrinfo* info, const addrinfo& ip, const rdma_addrinfo* hints) {
  info->ai_flags = hints != nullptr ? hints->ai_flags : 0;
  info->ai_family = ip.ai_family;
  const bool has_type = hints != nullptr && hints->ai_qp_type != 0;
  const bool has_space = hints != nullptr && hints->ai_port_space != 0;
  info->ai_qp_type = has_type ? hints->ai_qp_type : IBV_QPT_RC;
  info->ai_port_space = has_space ? hints->ai_port_space : RDMA_PS_TCP;
  if ((info->ai_flags & RAI_PASSIVE) != 0) {
    info->ai_src_len = ip.ai_addrlen;
    info->ai_src_addr = CopyOf(ip.ai_addr, ip.ai_addrlen);
    return info->ai_src_addr != nullptr;
  }
  info->ai_dst_len = ip.ai_addrlen;
  info->ai_dst_addr = CopyOf(ip.ai_addr, ip.ai_addrlen);
  if (hints != nullptr && hints->ai_src_len != 0) {
    info->ai_src_len = hints->ai_src_len;
    info->ai_src_addr = CopyOf(hints->ai_src_addr, hints->ai_src_len);
  }
  return info->ai_dst_addr != nullptr;
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
  const bool has_source = hints != nullptr && hints->ai_src_addr != nullptr;
  if (node == nullptr && service == nullptr && !has_source) {
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
