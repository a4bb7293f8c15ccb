// The devices that a process sees: one for each NIC that QPIP_NIC names.
#pragma once

#include <infiniband/verbs.h>
#include <netinet/in.h>

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qpip::verbs {

class Session;

/// What a device says it is.
enum class Personality {
  kRoce,   ///< transport IB over Ethernet: programs may exchange queue pair numbers themselves
  kIwarp,  ///< transport iWARP: connections by librdmacm only
};

/// Environment: which NICs (URIs, separated by spaces; decision 0059).
inline constexpr const char* kNicVariable = "QPIP_NIC";
/// Environment: "roce" (default) or "iwarp".
inline constexpr const char* kPersonalityVariable = "QPIP_PERSONALITY";
/// What QPIP_NIC is when it is not set.
inline constexpr const char* kDefaultNic = "shm:verbs";

/// A device. `base` is first, so that the ibv_device that programs have leads here. Lives as long
/// as the process.
struct Device {
  ibv_device base = {};
  /// Stock provider libraries look here for their own table (struct verbs_device of rdma-core 44).
  const void* provider_ops = nullptr;
  const void* slack[15] = {};

  std::string uri;
  Personality personality = Personality::kRoce;
  int index = 0;

  std::mutex mutex;  ///< guards what follows
  std::weak_ptr<Session> session;
  int opened_by = 0;  ///< process
};

/// All of them, made from the environment at the first call. Empty when the environment cannot be
/// understood: a line on standard error says why. Thread-safe.
std::span<Device* const> Devices();

/// The device's NIC, opened if it is not. `wanted`: the address to open it with where the URI has
/// none or "auto"; otherwise one is chosen out of 127.64/10. Throws Error.
std::shared_ptr<Session> OpenSession(Device& device, const in6_addr* wanted = nullptr);

/// Whether the URI leaves the address to whoever opens the NIC.
bool HasAutomaticAddress(std::string_view uri);
/// `uri` with this address.
std::string WithAddress(std::string_view uri, const in6_addr& address);
/// The `attempt`th choice of the process `pid`: ::ffff:127.64.0.0 and up. Distinct for 4 million
/// processes, and for each attempt.
in6_addr AutomaticAddress(int pid, int attempt);
/// What ibv_get_device_guid answers: of the URI's address, or the process where that is automatic.
uint64_t GuidOf(const Device& device);

/// The ibv_device behind `device`.
inline Device& Of(ibv_device* device) { return *reinterpret_cast<Device*>(device); }

}  // namespace qpip::verbs
