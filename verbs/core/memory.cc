#include "verbs/core/memory.h"

#include <cerrno>
#include <string>

namespace qpip::verbs {

namespace {

// What a registration may ask for here. Optional flags (the upper range) are hints.
constexpr int kKnownAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                             IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC |
                             IBV_ACCESS_ZERO_BASED | IBV_ACCESS_HUGETLB | IBV_ACCESS_OPTIONAL_RANGE;
constexpr int kRights = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
                        IBV_ACCESS_REMOTE_ATOMIC | IBV_ACCESS_ZERO_BASED;

std::unique_ptr<MemoryRegion> Register(Pd& pd, void* address, size_t length, uint64_t iova,
                                       int access) {
  if ((access & ~kKnownAccess) != 0) {
    throw Error(EOPNOTSUPP, "register memory: memory windows and paging on demand are not there");
  }
  RegionOptions options;
  if (iova != reinterpret_cast<uintptr_t>(address)) options.iova = iova;
  return pd.real->Register(address, length, access & kRights, options);
}

void Describe(Mr* mr, Pd& pd, void* address, size_t length, uint64_t iova, int access) {
  mr->base.context = pd.base.context;
  mr->base.pd = &pd.base;
  mr->base.addr = address;
  mr->base.length = length;
  mr->base.lkey = mr->real->lkey();
  mr->base.rkey = mr->real->rkey();
  mr->iova = iova;
  mr->access = access;
}

}  // namespace

Pd* AllocatePd(Context& context) {
  auto pd = std::make_unique<Pd>();
  pd->real = context.session->nic().AllocatePd();
  pd->base.context = context.base();
  return pd.release();
}

Ah* CreateAh(Pd& pd, const ibv_ah_attr& attributes) {
  if (attributes.port_num != 1) throw Error(EINVAL, "create address handle: no such port");
  auto ah = std::make_unique<Ah>();
  ah->real.emplace(attributes);
  ah->base.context = pd.base.context;
  ah->base.pd = &pd.base;
  ah->attributes = attributes;
  ++pd.users;
  return ah.release();
}

void DestroyAh(Ah* ah) {
  --Of(ah->base.pd).users;
  delete ah;
}

int AttributesFrom(const ibv_wc& wc, const ibv_grh& grh, ibv_ah_attr* attributes) {
  if ((wc.wc_flags & IBV_WC_GRH) == 0) return EINVAL;
  *attributes = {};
  attributes->is_global = 1;
  attributes->port_num = 1;
  attributes->grh.dgid = grh.sgid;
  attributes->grh.hop_limit = grh.hop_limit;
  return 0;
}

Mr* RegisterMr(Pd& pd, void* address, size_t length, uint64_t iova, int access) {
  auto mr = std::make_unique<Mr>();
  mr->real = Register(pd, address, length, iova, access);
  Describe(mr.get(), pd, address, length, iova, access);
  ++pd.users;
  return mr.release();
}

void DeregisterMr(Mr* mr) {
  --Of(mr->base.pd).users;
  delete mr;
}

int ReregisterMr(Mr& mr, int flags, Pd* pd, void* address, size_t length, int access) {
  const bool moves = (flags & IBV_REREG_MR_CHANGE_TRANSLATION) != 0;
  // As rdma-core: what is given and not asked for is a mistake.
  if ((flags & ~IBV_REREG_MR_FLAGS_SUPPORTED) != 0 ||
      (moves && (address == nullptr || length == 0)) ||
      ((flags & IBV_REREG_MR_CHANGE_PD) != 0 && pd == nullptr) ||
      ((flags & IBV_REREG_MR_CHANGE_ACCESS) == 0 && access != 0)) {
    errno = EINVAL;
    return IBV_REREG_MR_ERR_INPUT;
  }
  Pd& new_pd = (flags & IBV_REREG_MR_CHANGE_PD) != 0 ? *pd : Of(mr.base.pd);
  void* const new_address = moves ? address : mr.base.addr;
  const size_t new_length = moves ? length : mr.base.length;
  const uint64_t iova = moves ? reinterpret_cast<uintptr_t>(address) : mr.iova;
  const int new_access = (flags & IBV_REREG_MR_CHANGE_ACCESS) != 0 ? access : mr.access;
  try {
    // The new one first: where it fails the old one is as it was.
    mr.real = Register(new_pd, new_address, new_length, iova, new_access);
  } catch (const Error& error) {
    errno = error.code();
    return IBV_REREG_MR_ERR_CMD;
  }
  --Of(mr.base.pd).users;
  ++new_pd.users;
  Describe(&mr, new_pd, new_address, new_length, iova, new_access);
  return 0;
}

}  // namespace qpip::verbs
