// The cases of on_backend_cases.cc in real time, and those that make sense in real time only.
#include <sys/epoll.h>
#include <unistd.h>

#include "on_backend.h"

namespace qpip::test {
namespace {

Backend RealTime(const char* name, const char* scheme, const char* options) {
  return {name, [=] { return RealTimeTestbed(scheme, options); }};
}

INSTANTIATE_TEST_SUITE_P(
    All, OnBackend,
    ::testing::Values(RealTime("mem", "mem", ""), RealTime("shm", "shm", ""),
                      RealTime("mem_checksum", "mem", "checksum=1"),
                      RealTime("shm_copy", "shm", "copy=1"),
                      RealTime("shm_mtu1500", "shm", "mtu=1500"),
                      RealTime("mem_short_fifo", "mem", "doorbells=2"),
                      RealTime("mem_faults", "mem",
                               "loss=0.01&duplicate=0.01&reorder=0.01&corrupt=0.001&seed=3"
                               "&rto_min_us=5000&rto_initial_us=20000"),
                      Backend{"wg", [] { return WireguardTestbed(""); }},
                      Backend{"wg_faults",
                              [] {
                                return WireguardTestbed(
                                    "loss=0.01&duplicate=0.01&reorder=0.01&corrupt=0.001&seed=3"
                                    "&rto_min_us=5000&rto_initial_us=20000");
                              }}),
    [](const auto& test) { return test.param.name; });

// In virtual time nobody can block in epoll_wait: the simulation would stand still.
TEST_P(OnBackend, GivenArmedDescriptorWhenCompletionComesThenEpollWakes) {
  auto client_qp = client.Qp();
  auto server_qp = server.Qp();
  auto memory = client.pd->Allocate(64);
  auto sink = server.pd->Allocate(64);
  ASSERT_EQ(server_qp->PostRecv(1, sink->Sge(0, 64)), 0);
  nics.Connect(*client_qp, *server_qp);
  const int epoll_fd = epoll_create1(0);
  epoll_event event{};
  event.events = EPOLLIN;
  ASSERT_EQ(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, server.cq->fd(), &event), 0);
  ASSERT_TRUE(server.cq->Arm());
  ASSERT_EQ(client_qp->PostSend(1, memory->Sge(0, 10)), 0);
  epoll_event ready{};
  ASSERT_EQ(epoll_wait(epoll_fd, &ready, 1, 60000), 1);
  server.cq->Acknowledge();
  WorkCompletion wc{};
  ASSERT_EQ(server.cq->Poll({&wc, 1}), 1u);
  EXPECT_EQ(wc.byte_len, 10u);
  close(epoll_fd);
}

}  // namespace
}  // namespace qpip::test
