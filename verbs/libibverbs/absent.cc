// What is not there. Public functions say EOPNOTSUPP (docs/verbs.md lists them); rdma-core's
// private ones exist because stock provider libraries, which other programs link for functions of
// their own, bind them when they are loaded.
#include <infiniband/verbs.h>

#include <cerrno>
#include <cstdio>

namespace {

template <typename Pointer>
Pointer* Absent() {
  errno = EOPNOTSUPP;
  return nullptr;
}

}  // namespace

extern "C" {

// --- Public.

ibv_context* ibv_import_device(int) { return Absent<ibv_context>(); }
ibv_pd* ibv_import_pd(ibv_context*, uint32_t) { return Absent<ibv_pd>(); }
void ibv_unimport_pd(ibv_pd*) {}
ibv_mr* ibv_import_mr(ibv_pd*, uint32_t) { return Absent<ibv_mr>(); }
void ibv_unimport_mr(ibv_mr*) {}
ibv_dm* ibv_import_dm(ibv_context*, uint32_t) { return Absent<ibv_dm>(); }
void ibv_unimport_dm(ibv_dm*) {}
ibv_mr* ibv_reg_dmabuf_mr(ibv_pd*, uint64_t, size_t, uint64_t, int, int) {
  return Absent<ibv_mr>();
}
int ibv_resize_cq(ibv_cq*, int) { return EOPNOTSUPP; }
int ibv_attach_mcast(ibv_qp*, const union ibv_gid*, uint16_t) { return EOPNOTSUPP; }
int ibv_detach_mcast(ibv_qp*, const union ibv_gid*, uint16_t) { return EOPNOTSUPP; }
int ibv_resolve_eth_l2_from_gid(ibv_context*, ibv_ah_attr*, uint8_t[6], uint16_t*) {
  errno = EOPNOTSUPP;
  return -1;
}
int ibv_set_ece(ibv_qp*, ibv_ece*) { return EOPNOTSUPP; }
int ibv_query_ece(ibv_qp*, ibv_ece*) { return EOPNOTSUPP; }

// There is no sysfs of these devices.
const char* ibv_get_sysfs_path() { return "/sys"; }
int ibv_read_sysfs_file(const char*, const char*, char*, size_t) { return -1; }

// Conversions from a kernel's structs: there is no kernel.
void ibv_copy_ah_attr_from_kern(ibv_ah_attr*, void*) {}
void ibv_copy_qp_attr_from_kern(ibv_qp_attr*, void*) {}
void ibv_copy_path_rec_from_kern(void*, void*) {}
void ibv_copy_path_rec_to_kern(void*, void*) {}

// --- Private to rdma-core. Callers have a context of their own provider's, which there cannot be.

bool verbs_allow_disassociate_destroy = false;
void ibv_register_driver(const char*, void*) {}
void verbs_register_driver_34(const void*) {}
void __verbs_log(void*, uint32_t, const char*, ...) {}  // NOLINT(bugprone-reserved-identifier)
void* _verbs_init_and_alloc_context(ibv_device*, int, size_t, void*, uint32_t) {
  return Absent<void>();
}
void* verbs_open_device(ibv_device*, void*) { return Absent<void>(); }
void verbs_init_cq(ibv_cq*, ibv_context*, ibv_comp_channel*, void*) {}
void verbs_set_ops(void*, const void*) {}
void verbs_uninit_context(void*) {}
int ibv_read_ibdev_sysfs_file(char*, size_t, void*, const char*, ...) { return -1; }
unsigned __ioctl_final_num_attrs(unsigned count, void*) {  // NOLINT(bugprone-reserved-identifier)
  return count;
}
int execute_ioctl(ibv_context*, void*) { return EOPNOTSUPP; }

#define QPIP_ABSENT(name) \
  int name() { return EOPNOTSUPP; }
QPIP_ABSENT(ibv_cmd_advise_mr)
QPIP_ABSENT(ibv_cmd_alloc_dm)
QPIP_ABSENT(ibv_cmd_alloc_mw)
QPIP_ABSENT(ibv_cmd_alloc_pd)
QPIP_ABSENT(ibv_cmd_attach_mcast)
QPIP_ABSENT(ibv_cmd_close_xrcd)
QPIP_ABSENT(ibv_cmd_create_ah)
QPIP_ABSENT(ibv_cmd_create_counters)
QPIP_ABSENT(ibv_cmd_create_cq)
QPIP_ABSENT(ibv_cmd_create_cq_ex)
QPIP_ABSENT(ibv_cmd_create_cq_ex2)  // of Debian 13
QPIP_ABSENT(ibv_cmd_create_flow)
QPIP_ABSENT(ibv_cmd_create_flow_action_esp)
QPIP_ABSENT(ibv_cmd_create_qp)
QPIP_ABSENT(ibv_cmd_create_qp_ex2)
QPIP_ABSENT(ibv_cmd_create_qp_ex)
QPIP_ABSENT(ibv_cmd_create_rwq_ind_table)
QPIP_ABSENT(ibv_cmd_create_srq)
QPIP_ABSENT(ibv_cmd_create_srq_ex)
QPIP_ABSENT(ibv_cmd_create_wq)
QPIP_ABSENT(ibv_cmd_dealloc_mw)
QPIP_ABSENT(ibv_cmd_dealloc_pd)
QPIP_ABSENT(ibv_cmd_dereg_mr)
QPIP_ABSENT(ibv_cmd_destroy_ah)
QPIP_ABSENT(ibv_cmd_destroy_counters)
QPIP_ABSENT(ibv_cmd_destroy_cq)
QPIP_ABSENT(ibv_cmd_destroy_flow)
QPIP_ABSENT(ibv_cmd_destroy_flow_action)
QPIP_ABSENT(ibv_cmd_destroy_qp)
QPIP_ABSENT(ibv_cmd_destroy_rwq_ind_table)
QPIP_ABSENT(ibv_cmd_destroy_srq)
QPIP_ABSENT(ibv_cmd_destroy_wq)
QPIP_ABSENT(ibv_cmd_detach_mcast)
QPIP_ABSENT(ibv_cmd_free_dm)
QPIP_ABSENT(ibv_cmd_get_context)
QPIP_ABSENT(ibv_cmd_modify_cq)
QPIP_ABSENT(ibv_cmd_modify_flow_action_esp)
QPIP_ABSENT(ibv_cmd_modify_qp)
QPIP_ABSENT(ibv_cmd_modify_qp_ex)
QPIP_ABSENT(ibv_cmd_modify_srq)
QPIP_ABSENT(ibv_cmd_modify_wq)
QPIP_ABSENT(ibv_cmd_open_qp)
QPIP_ABSENT(ibv_cmd_open_xrcd)
QPIP_ABSENT(ibv_cmd_poll_cq)
QPIP_ABSENT(ibv_cmd_post_recv)
QPIP_ABSENT(ibv_cmd_post_send)
QPIP_ABSENT(ibv_cmd_post_srq_recv)
QPIP_ABSENT(ibv_cmd_query_context)
QPIP_ABSENT(ibv_cmd_query_device_any)
QPIP_ABSENT(ibv_cmd_query_mr)
QPIP_ABSENT(ibv_cmd_query_port)
QPIP_ABSENT(ibv_cmd_query_qp)
QPIP_ABSENT(ibv_cmd_query_srq)
QPIP_ABSENT(ibv_cmd_read_counters)
QPIP_ABSENT(ibv_cmd_reg_dm_mr)
QPIP_ABSENT(ibv_cmd_reg_dmabuf_mr)
QPIP_ABSENT(ibv_cmd_reg_mr)
QPIP_ABSENT(ibv_cmd_req_notify_cq)
QPIP_ABSENT(ibv_cmd_rereg_mr)
QPIP_ABSENT(ibv_cmd_resize_cq)
#undef QPIP_ABSENT

}  // extern "C"
