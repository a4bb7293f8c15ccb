// Protection domains, memory regions and address handles.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <memory>
#include <optional>

#include "qpip/qpip.h"
#include "verbs/core/context.h"

namespace qpip::verbs {

/// What programs have is `base`, first in each.
struct Pd {
  ibv_pd base = {};
  const void* slack[8] = {};
  std::unique_ptr<ProtectionDomain> real;
  std::atomic<uint32_t> users{0};  ///< regions, queue pairs and address handles
};

struct Mr {
  ibv_mr base = {};
  const void* slack[8] = {};
  std::unique_ptr<MemoryRegion> real;
  uint64_t iova = 0;
  int access = 0;
};

struct Ah {
  ibv_ah base = {};
  const void* slack[8] = {};
  ibv_ah_attr attributes = {};
  std::optional<AddressHandle> real;
};

inline Pd& Of(ibv_pd* pd) { return *reinterpret_cast<Pd*>(pd); }
/// Throws Error: only what has a GID is an address here.
Ah* CreateAh(Pd& pd, const ibv_ah_attr& attributes);
void DestroyAh(Ah* ah);
/// Of whoever has sent the message behind `grh`. 0, or an errno value.
int AttributesFrom(const ibv_wc& wc, const ibv_grh& grh, ibv_ah_attr* attributes);

inline Mr& Of(ibv_mr* mr) { return *reinterpret_cast<Mr*>(mr); }

// Throw Error.
Pd* AllocatePd(Context& context);
Mr* RegisterMr(Pd& pd, void* address, size_t length, uint64_t iova, int access);
void DeregisterMr(Mr* mr);
/// As ibv_rereg_mr: 0, or an ibv_rereg_mr_err_code with errno.
int ReregisterMr(Mr& mr, int flags, Pd* pd, void* address, size_t length, int access);

}  // namespace qpip::verbs
