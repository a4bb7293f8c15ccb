// Names of verbs' enumerations, in the words that programs print, and its arithmetic of rates.
#include <infiniband/verbs.h>

#include <array>
#include <cstddef>

namespace {

struct Name {
  int value;
  const char* text;
};

template <size_t kCount>
const char* Find(const std::array<Name, kCount>& names, int value, const char* otherwise) {
  for (const Name& name : names) {
    if (name.value == value) return name.text;
  }
  return otherwise;
}

constexpr std::array kNodeTypes = {
    Name{IBV_NODE_CA, "InfiniBand channel adapter"},
    Name{IBV_NODE_SWITCH, "InfiniBand switch"},
    Name{IBV_NODE_ROUTER, "InfiniBand router"},
    Name{IBV_NODE_RNIC, "iWARP NIC"},
    Name{IBV_NODE_USNIC, "usNIC"},
    Name{IBV_NODE_USNIC_UDP, "usNIC UDP"},
    Name{IBV_NODE_UNSPECIFIED, "unspecified"},
};

constexpr std::array kPortStates = {
    Name{IBV_PORT_NOP, "no state change (NOP)"},
    Name{IBV_PORT_DOWN, "down"},
    Name{IBV_PORT_INIT, "init"},
    Name{IBV_PORT_ARMED, "armed"},
    Name{IBV_PORT_ACTIVE, "active"},
    Name{IBV_PORT_ACTIVE_DEFER, "active defer"},
};

constexpr std::array kEvents = {
    Name{IBV_EVENT_CQ_ERR, "CQ error"},
    Name{IBV_EVENT_QP_FATAL, "local work queue catastrophic error"},
    Name{IBV_EVENT_QP_REQ_ERR, "invalid request local work queue error"},
    Name{IBV_EVENT_QP_ACCESS_ERR, "local access violation work queue error"},
    Name{IBV_EVENT_COMM_EST, "communication established"},
    Name{IBV_EVENT_SQ_DRAINED, "send queue drained"},
    Name{IBV_EVENT_PATH_MIG, "path migrated"},
    Name{IBV_EVENT_PATH_MIG_ERR, "path migration request error"},
    Name{IBV_EVENT_DEVICE_FATAL, "local catastrophic error"},
    Name{IBV_EVENT_PORT_ACTIVE, "port active"},
    Name{IBV_EVENT_PORT_ERR, "port error"},
    Name{IBV_EVENT_LID_CHANGE, "LID change"},
    Name{IBV_EVENT_PKEY_CHANGE, "P_Key change"},
    Name{IBV_EVENT_SM_CHANGE, "SM change"},
    Name{IBV_EVENT_SRQ_ERR, "SRQ catastrophic error"},
    Name{IBV_EVENT_SRQ_LIMIT_REACHED, "SRQ limit reached"},
    Name{IBV_EVENT_QP_LAST_WQE_REACHED, "last WQE reached"},
    Name{IBV_EVENT_CLIENT_REREGISTER, "client reregistration"},
    Name{IBV_EVENT_GID_CHANGE, "GID table change"},
    Name{IBV_EVENT_WQ_FATAL, "WQ fatal"},
};

constexpr std::array kStatuses = {
    Name{IBV_WC_SUCCESS, "success"},
    Name{IBV_WC_LOC_LEN_ERR, "local length error"},
    Name{IBV_WC_LOC_QP_OP_ERR, "local QP operation error"},
    Name{IBV_WC_LOC_EEC_OP_ERR, "local EE context operation error"},
    Name{IBV_WC_LOC_PROT_ERR, "local protection error"},
    Name{IBV_WC_WR_FLUSH_ERR, "Work Request Flushed Error"},
    Name{IBV_WC_MW_BIND_ERR, "memory management operation error"},
    Name{IBV_WC_BAD_RESP_ERR, "bad response error"},
    Name{IBV_WC_LOC_ACCESS_ERR, "local access error"},
    Name{IBV_WC_REM_INV_REQ_ERR, "remote invalid request error"},
    Name{IBV_WC_REM_ACCESS_ERR, "remote access error"},
    Name{IBV_WC_REM_OP_ERR, "remote operation error"},
    Name{IBV_WC_RETRY_EXC_ERR, "transport retry counter exceeded"},
    Name{IBV_WC_RNR_RETRY_EXC_ERR, "RNR retry counter exceeded"},
    Name{IBV_WC_LOC_RDD_VIOL_ERR, "local RDD violation error"},
    Name{IBV_WC_REM_INV_RD_REQ_ERR, "remote invalid RD request"},
    Name{IBV_WC_REM_ABORT_ERR, "aborted error"},
    Name{IBV_WC_INV_EECN_ERR, "invalid EE context number"},
    Name{IBV_WC_INV_EEC_STATE_ERR, "invalid EE context state"},
    Name{IBV_WC_FATAL_ERR, "fatal error"},
    Name{IBV_WC_RESP_TIMEOUT_ERR, "response timeout error"},
    Name{IBV_WC_GENERAL_ERR, "general error"},
    Name{IBV_WC_TM_ERR, "TM error"},
    Name{IBV_WC_TM_RNDV_INCOMPLETE, "TM software rendezvous"},
};

struct Rate {
  ibv_rate rate;
  int multiple;  // of 2.5 Gbit/s, rounded down
  int mbps;
};

constexpr std::array kRates = {
    Rate{IBV_RATE_2_5_GBPS, 1, 2500},       Rate{IBV_RATE_5_GBPS, 2, 5000},
    Rate{IBV_RATE_10_GBPS, 4, 10000},       Rate{IBV_RATE_20_GBPS, 8, 20000},
    Rate{IBV_RATE_30_GBPS, 12, 30000},      Rate{IBV_RATE_40_GBPS, 16, 40000},
    Rate{IBV_RATE_60_GBPS, 24, 60000},      Rate{IBV_RATE_80_GBPS, 32, 80000},
    Rate{IBV_RATE_120_GBPS, 48, 120000},    Rate{IBV_RATE_14_GBPS, 6, 14062},
    Rate{IBV_RATE_56_GBPS, 22, 56250},      Rate{IBV_RATE_112_GBPS, 45, 112500},
    Rate{IBV_RATE_168_GBPS, 67, 168750},    Rate{IBV_RATE_25_GBPS, 10, 25781},
    Rate{IBV_RATE_100_GBPS, 40, 103125},    Rate{IBV_RATE_200_GBPS, 80, 206250},
    Rate{IBV_RATE_300_GBPS, 120, 309375},   Rate{IBV_RATE_28_GBPS, 11, 28125},
    Rate{IBV_RATE_50_GBPS, 20, 53125},      Rate{IBV_RATE_400_GBPS, 160, 425000},
    Rate{IBV_RATE_600_GBPS, 240, 637500},   Rate{IBV_RATE_800_GBPS, 320, 850000},
    Rate{IBV_RATE_1200_GBPS, 480, 1275000},
};

}  // namespace

extern "C" {

const char* ibv_node_type_str(ibv_node_type type) { return Find(kNodeTypes, type, "unknown"); }
const char* ibv_port_state_str(ibv_port_state state) { return Find(kPortStates, state, "unknown"); }
const char* ibv_event_type_str(ibv_event_type event) { return Find(kEvents, event, "unknown"); }
const char* ibv_wc_status_str(ibv_wc_status status) { return Find(kStatuses, status, "unknown"); }

int ibv_rate_to_mult(ibv_rate rate) {
  for (const Rate& known : kRates) {
    if (known.rate == rate) return known.multiple;
  }
  return -1;
}

ibv_rate mult_to_ibv_rate(int multiple) {
  for (const Rate& known : kRates) {
    if (known.multiple == multiple) return known.rate;
  }
  return IBV_RATE_MAX;
}

int ibv_rate_to_mbps(ibv_rate rate) {
  for (const Rate& known : kRates) {
    if (known.rate == rate) return known.mbps;
  }
  return -1;
}

ibv_rate mbps_to_ibv_rate(int mbps) {
  for (const Rate& known : kRates) {
    if (known.mbps == mbps) return known.rate;
  }
  return IBV_RATE_MAX;
}

}  // extern "C"
