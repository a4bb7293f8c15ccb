// A program on plain libibverbs and librdmacm that makes and destroys again and again, and looks
// what is left: churn CASE ADDRESS COUNT, on libraries of whoever has them.
//
// Cases: connections (COUNT cycles of rdma_connect and rdma_disconnect, a message each), pairs
// (COUNT queue pairs at once, connected with as many others by ibv_modify_qp, a message each),
// regions (COUNT registrations). Of `connections` both sides are this process: the device's own
// address.
#include <arpa/inet.h>
#include <dirent.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "churn: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}
void Check(bool good, const char* what) {
  if (!good) Die(what);
}
void CheckResult(int result, const char* what) {
  if (result > 0) errno = result;
  Check(result == 0, what);
}

struct Held {
  size_t resident_kib = 0;
  size_t descriptors = 0;
};

Held Look() {
  Held held;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) held.resident_kib = std::stoul(line.substr(6));
  }
  DIR* directory = opendir("/proc/self/fd");
  Check(directory != nullptr, "/proc/self/fd");
  while (readdir(directory) != nullptr) ++held.descriptors;
  closedir(directory);
  return held;
}

constexpr size_t kSlackKib = 2048;

/// Calls `cycle` `count` times. What is held is looked at after `settled` of them, when all tables
/// have their size, and at the end: grown by more than kSlackKib, or by a descriptor, is a leak.
template <typename Cycle>
int Watch(const char* unit, int count, int settled, Cycle cycle) {
  using Clock = std::chrono::steady_clock;
  Held before;
  Clock::time_point begin;
  for (int i = 0; i < count; ++i) {
    if (i == settled) {
      before = Look();
      begin = Clock::now();
    }
    cycle(i);
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  const Held after = Look();
  std::printf("%d %s, %.1f us each; resident %zu KiB, then %zu KiB; descriptors %zu, then %zu\n",
              count, unit, seconds * 1e6 / (count - settled), before.resident_kib,
              after.resident_kib, before.descriptors, after.descriptors);
  if (after.descriptors > before.descriptors ||
      after.resident_kib > before.resident_kib + kSlackKib) {
    std::printf("leak\n");
    return 1;
  }
  return 0;
}

sockaddr_in AddressOf(const char* text) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(7471);
  Check(inet_pton(AF_INET, text, &address.sin_addr) == 1, "ADDRESS");
  return address;
}

ibv_wc Next(ibv_cq* cq) {
  ibv_wc wc = {};
  int count;
  while ((count = ibv_poll_cq(cq, 1, &wc)) == 0) {
  }
  Check(count == 1, "poll");
  if (wc.status != IBV_WC_SUCCESS) {
    std::fprintf(stderr, "churn: completion: %s\n", ibv_wc_status_str(wc.status));
    std::exit(1);
  }
  return wc;
}

constexpr uint32_t kMessage = 64;

struct Memory {
  explicit Memory(ibv_pd* pd, unsigned char fill) : bytes(kMessage, fill) {
    mr = ibv_reg_mr(pd, bytes.data(), bytes.size(), IBV_ACCESS_LOCAL_WRITE);
    Check(mr != nullptr, "ibv_reg_mr");
  }
  ~Memory() { ibv_dereg_mr(mr); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ibv_sge Sge() const {
    return {
        .addr = reinterpret_cast<uintptr_t>(bytes.data()), .length = kMessage, .lkey = mr->lkey};
  }
  std::vector<unsigned char> bytes;
  ibv_mr* mr;
};

void PostReceive(ibv_qp* qp, const Memory& memory) {
  ibv_sge sge = memory.Sge();
  ibv_recv_wr wr = {.wr_id = 1, .next = nullptr, .sg_list = &sge, .num_sge = 1};
  ibv_recv_wr* bad = nullptr;
  CheckResult(ibv_post_recv(qp, &wr, &bad), "ibv_post_recv");
}
void PostSend(ibv_qp* qp, const Memory& memory) {
  ibv_sge sge = memory.Sge();
  ibv_send_wr wr = {};
  wr.sg_list = &sge;
  wr.num_sge = 1;
  wr.opcode = IBV_WR_SEND;
  wr.send_flags = IBV_SEND_SIGNALED;
  ibv_send_wr* bad = nullptr;
  CheckResult(ibv_post_send(qp, &wr, &bad), "ibv_post_send");
}

ibv_qp_init_attr QpAttributes(ibv_cq* cq) {
  ibv_qp_init_attr attributes = {};
  attributes.send_cq = cq;
  attributes.recv_cq = cq;
  attributes.cap = {.max_send_wr = 4,
                    .max_recv_wr = 4,
                    .max_send_sge = 1,
                    .max_recv_sge = 1,
                    .max_inline_data = 0};
  attributes.qp_type = IBV_QPT_RC;
  return attributes;
}

/// Connect requests that came while another event was awaited: a peer that has its end may be back
/// before this side has.
using Requests = std::deque<rdma_cm_id*>;

void Await(rdma_event_channel* channel, rdma_cm_event_type wanted, Requests* requests = nullptr) {
  for (;;) {
    rdma_cm_event* event = nullptr;
    CheckResult(rdma_get_cm_event(channel, &event), "rdma_get_cm_event");
    const rdma_cm_event_type type = event->event;
    rdma_cm_id* const id = event->id;
    CheckResult(rdma_ack_cm_event(event), "rdma_ack_cm_event");
    const bool request = type == RDMA_CM_EVENT_CONNECT_REQUEST && requests != nullptr;
    if (request) requests->push_back(id);
    if (type == wanted) return;
    if (request) continue;
    // The end of the connection before this one.
    if (type == RDMA_CM_EVENT_TIMEWAIT_EXIT || type == RDMA_CM_EVENT_DISCONNECTED) continue;
    std::fprintf(stderr, "churn: %s instead of %s\n", rdma_event_str(type), rdma_event_str(wanted));
    std::exit(1);
  }
}

/// Accepts, receives a message and sends it back, until the peer ends; `count` times.
void Serve(rdma_event_channel* channel, int count) {
  Requests requests;
  for (int i = 0; i < count; ++i) {
    if (requests.empty()) Await(channel, RDMA_CM_EVENT_CONNECT_REQUEST, &requests);
    rdma_cm_id* const id = requests.front();
    requests.pop_front();
    ibv_cq* cq = ibv_create_cq(id->verbs, 8, nullptr, nullptr, 0);
    Check(cq != nullptr, "ibv_create_cq");
    ibv_qp_init_attr attributes = QpAttributes(cq);
    CheckResult(rdma_create_qp(id, id->pd, &attributes), "rdma_create_qp");
    {
      const Memory memory(id->pd, 0);
      PostReceive(id->qp, memory);
      rdma_conn_param parameters = {};
      CheckResult(rdma_accept(id, &parameters), "rdma_accept");
      Await(channel, RDMA_CM_EVENT_ESTABLISHED, &requests);
      Next(cq);
      PostSend(id->qp, memory);
      Next(cq);
      Await(channel, RDMA_CM_EVENT_DISCONNECTED, &requests);
      rdma_disconnect(id);
      rdma_destroy_qp(id);
    }
    CheckResult(ibv_destroy_cq(cq), "ibv_destroy_cq");
    CheckResult(rdma_destroy_id(id), "rdma_destroy_id");
  }
}

void ConnectOnce(rdma_event_channel* channel, sockaddr_in address, unsigned char fill) {
  rdma_cm_id* id = nullptr;
  CheckResult(rdma_create_id(channel, &id, nullptr, RDMA_PS_TCP), "rdma_create_id");
  auto* to = reinterpret_cast<sockaddr*>(&address);
  CheckResult(rdma_resolve_addr(id, nullptr, to, 2000), "rdma_resolve_addr");
  Await(channel, RDMA_CM_EVENT_ADDR_RESOLVED);
  CheckResult(rdma_resolve_route(id, 2000), "rdma_resolve_route");
  Await(channel, RDMA_CM_EVENT_ROUTE_RESOLVED);
  ibv_cq* cq = ibv_create_cq(id->verbs, 8, nullptr, nullptr, 0);
  Check(cq != nullptr, "ibv_create_cq");
  ibv_qp_init_attr attributes = QpAttributes(cq);
  CheckResult(rdma_create_qp(id, id->pd, &attributes), "rdma_create_qp");
  {
    const Memory sent(id->pd, fill);
    const Memory back(id->pd, static_cast<unsigned char>(fill + 1));
    PostReceive(id->qp, back);
    rdma_conn_param parameters = {};
    CheckResult(rdma_connect(id, &parameters), "rdma_connect");
    Await(channel, RDMA_CM_EVENT_ESTABLISHED);
    PostSend(id->qp, sent);
    Next(cq);
    Next(cq);
    Check(back.bytes == sent.bytes, "what came back is not what was sent");
    CheckResult(rdma_disconnect(id), "rdma_disconnect");
    Await(channel, RDMA_CM_EVENT_DISCONNECTED);
    rdma_destroy_qp(id);
  }
  CheckResult(ibv_destroy_cq(cq), "ibv_destroy_cq");
  CheckResult(rdma_destroy_id(id), "rdma_destroy_id");
}

int Connections(const char* address_text, int count) {
  sockaddr_in address = AddressOf(address_text);
  rdma_event_channel* serving = rdma_create_event_channel();
  rdma_event_channel* asking = rdma_create_event_channel();
  Check(serving != nullptr && asking != nullptr, "rdma_create_event_channel");
  rdma_cm_id* listener = nullptr;
  CheckResult(rdma_create_id(serving, &listener, nullptr, RDMA_PS_TCP), "rdma_create_id");
  CheckResult(rdma_bind_addr(listener, reinterpret_cast<sockaddr*>(&address)), "rdma_bind_addr");
  CheckResult(rdma_listen(listener, 8), "rdma_listen");
  std::thread server(Serve, serving, count);
  const int result = Watch("connections", count, count / 5, [&](int i) {
    ConnectOnce(asking, address, static_cast<unsigned char>(i));
  });
  server.join();
  rdma_destroy_id(listener);
  rdma_destroy_event_channel(serving);
  rdma_destroy_event_channel(asking);
  return result;
}

/// The first device, opened.
struct Opened {
  Opened() {
    ibv_device** list = ibv_get_device_list(nullptr);
    Check(list != nullptr && list[0] != nullptr, "no device");
    context = ibv_open_device(list[0]);
    Check(context != nullptr, "ibv_open_device");
    ibv_free_device_list(list);
    pd = ibv_alloc_pd(context);
    Check(pd != nullptr, "ibv_alloc_pd");
  }
  ~Opened() {
    ibv_dealloc_pd(pd);
    ibv_close_device(context);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
  ibv_context* context = nullptr;
  ibv_pd* pd = nullptr;
};

void ToReady(ibv_qp* qp, const ibv_gid& gid, uint32_t peer) {
  ibv_qp_attr attributes = {};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = 1;
  CheckResult(ibv_modify_qp(qp, &attributes,
                            IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS),
              "ibv_modify_qp to INIT");
  attributes.qp_state = IBV_QPS_RTR;
  attributes.path_mtu = IBV_MTU_1024;
  attributes.dest_qp_num = peer;
  attributes.max_dest_rd_atomic = 1;
  attributes.ah_attr.is_global = 1;
  attributes.ah_attr.port_num = 1;
  attributes.ah_attr.grh.dgid = gid;
  attributes.ah_attr.grh.hop_limit = 1;
  CheckResult(ibv_modify_qp(qp, &attributes,
                            IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER),
              "ibv_modify_qp to RTR");
  attributes.qp_state = IBV_QPS_RTS;
  attributes.timeout = 14;
  attributes.retry_cnt = 7;
  attributes.rnr_retry = 7;
  attributes.max_rd_atomic = 1;
  CheckResult(ibv_modify_qp(qp, &attributes,
                            IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC),
              "ibv_modify_qp to RTS");
}

/// `count` queue pairs at once, in twos that are each other's peer, twenty times.
int Pairs(int count) {
  const Opened opened;
  ibv_gid gid;
  CheckResult(ibv_query_gid(opened.context, 1, 0, &gid), "ibv_query_gid");
  const auto round = [&](int fill) {
    ibv_cq* cq = ibv_create_cq(opened.context, 4 * count, nullptr, nullptr, 0);
    Check(cq != nullptr, "ibv_create_cq");
    std::vector<ibv_qp*> qps;
    for (int i = 0; i < count; ++i) {
      ibv_qp_init_attr attributes = QpAttributes(cq);
      qps.push_back(ibv_create_qp(opened.pd, &attributes));
      Check(qps.back() != nullptr, "ibv_create_qp");
    }
    {
      const Memory sent(opened.pd, static_cast<unsigned char>(fill));
      const Memory got(opened.pd, static_cast<unsigned char>(fill + 1));
      for (int i = 0; i < count; ++i) ToReady(qps[i], gid, qps[i ^ 1]->qp_num);
      for (int i = 1; i < count; i += 2) PostReceive(qps[i], got);
      for (int i = 0; i < count; i += 2) PostSend(qps[i], sent);
      for (int i = 0; i < count; ++i) Next(cq);
      Check(got.bytes == sent.bytes, "what came is not what was sent");
      for (ibv_qp* qp : qps) CheckResult(ibv_destroy_qp(qp), "ibv_destroy_qp");
    }
    CheckResult(ibv_destroy_cq(cq), "ibv_destroy_cq");
  };
  return Watch("rounds of queue pairs", 20, 10, round);
}

int Regions(int count) {
  const Opened opened;
  std::vector<unsigned char> bytes(1 << 20);
  return Watch("registrations", count, count / 5, [&](int i) {
    const size_t offset = static_cast<size_t>(i) * 64 % (bytes.size() / 2);
    ibv_mr* mr = ibv_reg_mr(opened.pd, bytes.data() + offset, bytes.size() / 2,
                            IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
    Check(mr != nullptr, "ibv_reg_mr");
    CheckResult(ibv_dereg_mr(mr), "ibv_dereg_mr");
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "Usage: churn connections|pairs|regions ADDRESS COUNT\n");
    return 2;
  }
  const std::string what = argv[1];
  const int count = std::atoi(argv[3]);
  if (count < 10 || count % 2 != 0) {
    std::fprintf(stderr, "churn: COUNT %s: must be even, and 10 or more\n", argv[3]);
    return 2;
  }
  if (what == "connections") return Connections(argv[2], count);
  if (what == "pairs") return Pairs(count);
  if (what == "regions") return Regions(count);
  std::fprintf(stderr, "churn: %s: must be connections, pairs or regions\n", argv[1]);
  return 2;
}
