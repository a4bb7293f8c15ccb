// Identifiers of librdmacm: what a socket is to TCP, over RdmaConnector, RdmaListener and
// RdmaRequest.
#pragma once

#include <rdma/rdma_cma.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "qpip/rdma.h"
#include "verbs/core/context.h"
#include "verbs/core/queue_pair.h"

namespace qpip::verbs {

struct CmId;

/// An event, from when it happens until it is acknowledged. `base` is first.
struct CmEvent {
  rdma_cm_event base = {};
  std::shared_ptr<CmId> id;         ///< kept: acknowledging touches it
  std::shared_ptr<CmId> listen_id;  ///< likewise
  std::vector<std::byte> private_data;
};

/// A channel. `base` is first; its descriptor is a counting eventfd, one count an event.
struct CmChannel {
  rdma_event_channel base = {};
  std::mutex mutex;
  std::deque<std::unique_ptr<CmEvent>> waiting;
};

enum class CmState {
  kIdle,
  kBound,  ///< has a NIC, and maybe an address and a port
  kListening,
  kRequested,     ///< the peer waits for accept or reject
  kConnecting,    ///< the peer's answer is awaited
  kEstablishing,  ///< the queue pair has the connection, and has not been told
  kConnected,
  kPeerEnded,  ///< the peer has; what it has sent may still be received
  kEnding,     ///< this side has shut down
  kOver,
};

/// An identifier. `base` is first.
struct CmId {
  rdma_cm_id base = {};
  /// rdma-core 44's struct cma_id_private begins so behind it; its rsockets look at `sync`.
  struct Tail {
    void* cma_dev = nullptr;
    void* connect = nullptr;
    size_t connect_len = 0;
    int events_completed = 0;
    int connect_error = 0;
    int sync = 0;
    void* slack[32] = {};
  } tail;

  std::shared_ptr<CmId> self;  ///< until it is destroyed
  Context* context = nullptr;
  bool afonly = false;
  std::optional<ibv_qp_init_attr> endpoint_qp;  ///< of a listener made by rdma_create_ep
  ibv_pd* endpoint_pd = nullptr;

  // With the session's control lock, once there is a context.
  CmState state = CmState::kIdle;
  std::shared_ptr<Task> task;
  std::unique_ptr<RdmaListener> listener;
  std::unique_ptr<RdmaConnector> connector;
  std::unique_ptr<RdmaRequest> request;
  Qp* qp = nullptr;                     ///< that has the connection, of the identifier or not
  Qp* stand_in = nullptr;               ///< the same where the program has none
  std::vector<std::byte> private_data;  ///< this side's
  RdmaParameters parameters;
  uint16_t local_port = 0;   ///< to connect from; 0: any
  bool chosen_port = false;  ///< the program has bound to port 0
  Clock::time_point deadline = Clock::time_point::max();
  bool told_end = false;  ///< RDMA_CM_EVENT_DISCONNECTED has been raised

  bool sync() const { return tail.sync != 0; }
  bool datagrams() const { return base.ps == RDMA_PS_UDP; }
};

inline CmId& Of(rdma_cm_id* id) { return *reinterpret_cast<CmId*>(id); }
inline CmChannel& Of(rdma_event_channel* channel) { return *reinterpret_cast<CmChannel*>(channel); }

// All of these return 0, or an errno value, unless said otherwise; they throw Error as well.

CmChannel* CmCreateChannel();
/// Who still waits for an event of it may wait for ever, and nothing worse.
void CmDestroyChannel(CmChannel* channel);
/// -1 and errno. A cancellation point.
int CmGetEvent(CmChannel& channel, rdma_cm_event** event);
void CmAckEvent(rdma_cm_event* event);
/// Raises an event. `listen_id`: of a request.
void CmRaise(CmId& id, rdma_cm_event_type type, int status, const rdma_conn_param& parameters = {},
             std::span<const std::byte> private_data = {}, CmId* listen_id = nullptr);
/// The same of RDMA_PS_UDP.
void CmRaiseDatagram(CmId& id, rdma_cm_event_type type, const rdma_ud_param& parameters,
                     std::span<const std::byte> private_data, CmId* listen_id = nullptr);
/// Its events that nobody has got are taken out.
void CmForgetEvents(CmId& id);
/// Events that nobody has got come from `channel` from now on; nullptr: one of its own, and calls
/// wait.
void CmMigrate(CmId& id, CmChannel* channel);

CmId* CmCreateId(CmChannel* channel, void* context, rdma_port_space space);
void CmDestroyId(CmId& id);
/// Devices as librdmacm opens them: once in a process.
std::vector<Context*> CmContexts();
int CmBind(CmId& id, const sockaddr* address);
int CmResolve(CmId& id, const sockaddr* source, const sockaddr* destination);
int CmResolveRoute(CmId& id);

int CmListen(CmId& id, int backlog);
int CmConnect(CmId& id, const rdma_conn_param* parameters);
int CmAccept(CmId& id, const rdma_conn_param* parameters);
int CmReject(CmId& id, ConstBytes private_data);
int CmDisconnect(CmId& id);
int CmCreateQp(CmId& id, ibv_pd* pd, ibv_qp_init_attr* attributes);
void CmDestroyQp(CmId& id);
int CmCreateSrq(CmId& id, ibv_pd* pd, ibv_srq_init_attr* attributes);
/// Nothing happens while queue pairs use it.
void CmDestroySrq(CmId& id);
/// The identifier with all that it has.
void CmDestroyEndpoint(CmId& id);
/// A queue pair that nobody posts to, for a connection of an identifier whose program has none: a
/// connection manager asks for a number only. Takes the control lock, as does dropping it.
void CmMakeStandIn(CmId& id);
void CmDropStandIn(CmId& id);
/// What a queue pair of the program's own is to be modified with.
int CmInitQpAttributes(CmId& id, ibv_qp_attr* attributes, int* mask);

/// IPv4's a.b.c.d is ::ffff:a.b.c.d. nullopt: another family.
std::optional<Endpoint> EndpointOf(const sockaddr* address);
/// The reverse.
void SetAddress(sockaddr_storage* to, const Endpoint& endpoint);

}  // namespace qpip::verbs
