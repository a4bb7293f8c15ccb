// VCONN's cases once more, each message an RDMA Send.
#include "on_vconn.h"

namespace qpip::test {
namespace {

VconnBackend OverRdma(const char* name, const char* scheme, const char* options) {
  return {name, [=] { return RealTimeTestbed(scheme, options); }, Framing::kMpa};
}

INSTANTIATE_TEST_SUITE_P(
    Rdma, OnVconn,
    ::testing::Values(OverRdma("mem", "mem", ""), OverRdma("shm", "shm", ""),
                      OverRdma("mem_checksum", "mem", "checksum=1"),
                      OverRdma("shm_mtu1500", "shm", "mtu=1500"),
                      OverRdma("mem_faults", "mem",
                               "mtu=1500&loss=0.01&duplicate=0.01&reorder=0.01&corrupt=0.001"
                               "&seed=3&rto_min_us=5000&rto_initial_us=20000"),
                      VconnBackend{"wg", [] { return WireguardTestbed(""); }, Framing::kMpa}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace qpip::test
