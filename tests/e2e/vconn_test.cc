// VCONN in real time, in messages of Framing::kSegment; and with epoll, which makes sense there
// only.
#include <sys/epoll.h>
#include <unistd.h>

#include "on_vconn.h"

namespace qpip::test {
namespace {

constexpr char kFaults[] =
    "loss=0.01&duplicate=0.01&reorder=0.01&corrupt=0.001&seed=3&rto_min_us=5000"
    "&rto_initial_us=20000";

VconnBackend RealTime(const char* name, const char* scheme, const char* options) {
  return {name, [=] { return RealTimeTestbed(scheme, options); }};
}

INSTANTIATE_TEST_SUITE_P(All, OnVconn,
                         ::testing::Values(RealTime("mem", "mem", ""), RealTime("shm", "shm", ""),
                                           RealTime("mem_checksum", "mem", "checksum=1"),
                                           RealTime("shm_copy", "shm", "copy=1"),
                                           RealTime("shm_mtu1500", "shm", "mtu=1500"),
                                           RealTime("mem_short_fifo", "mem", "doorbells=2"),
                                           RealTime("mem_faults", "mem", kFaults),
                                           VconnBackend{"wg", [] { return WireguardTestbed(""); }},
                                           VconnBackend{"wg_faults",
                                                        [] { return WireguardTestbed(kFaults); }}),
                         [](const auto& test) { return test.param.name; });

TEST_P(OnVconn, GivenAnArmedDescriptorWhenAMessageComesThenEpollWakes) {
  const auto serving = Serve(Options(), [](VconnSession& session) {
    while (auto message = session.Receive()) {
      session.Answer(message->cookie(), {.request = message->request()});
    }
    session.Flush();
  });
  const auto session = Connected(Options());
  const int epoll_fd = epoll_create1(0);
  epoll_event event{};
  event.events = EPOLLIN;
  ASSERT_EQ(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, session->cq().fd(), &event), 0);
  for (uint64_t i = 0; i < 20; ++i) {
    ASSERT_TRUE(session->vconn().TryRequest(i, {.request = "?"}));
    std::optional<VconnMessage> answer;
    while (!(answer = session->vconn().Next())) {
      if (session->cq().Arm()) {
        epoll_event ready{};
        ASSERT_EQ(epoll_wait(epoll_fd, &ready, 1, 60000), 1);
        session->cq().Acknowledge();
      }
      session->Poll();
      ASSERT_EQ(session->vconn().state(), VconnState::kOpen);
    }
    EXPECT_EQ(answer->context(), i);
  }
  session->CloseWrite();
  serving->Join();
  close(epoll_fd);
}

}  // namespace
}  // namespace qpip::test
