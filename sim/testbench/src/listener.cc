// A listening port whose queue pairs are offered ahead of the connections they become.
#include <algorithm>
#include <utility>

#include "tcp.h"

namespace qpip::testbench {

TcpListener::Impl::Impl(std::shared_ptr<Core> shared_core, uint16_t port,
                        const ListenOptions& listen_options)
    : core(std::move(shared_core)), options(listen_options) {
  Checked(options.tcp);
  listener = core->nic().Listen(port, options.backlog);
}

TcpListener::TcpListener(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TcpListener::~TcpListener() {
  // Stops listening first: the end of an offer is no reason to take up the next SYN.
  impl_->listener.reset();
}

uint16_t TcpListener::port() const { return impl_->listener->port(); }

void TcpListener::Offer(uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    auto impl = std::make_unique<TcpConnection::Impl>(impl_->core, impl_->options.tcp);
    impl_->listener->Offer(impl->qp());
    impl_->offered.push_back(std::unique_ptr<TcpConnection>(new TcpConnection(std::move(impl))));
  }
  impl_->core->Settle();
}

std::unique_ptr<TcpConnection> TcpListener::Accept() {
  impl_->core->Settle();
  const qpip::QueuePair* connected = impl_->listener->Accept(std::chrono::nanoseconds(0));
  if (connected == nullptr) return nullptr;
  auto& offered = impl_->offered;
  const auto found = std::find_if(offered.begin(), offered.end(), [&](const auto& connection) {
    return &connection->queue_pair() == connected;
  });
  std::unique_ptr<TcpConnection> accepted = std::move(*found);
  offered.erase(found);
  if (impl_->options.offered > 0) Offer(1);
  return accepted;
}

std::vector<TcpState> TcpListener::States() {
  std::vector<TcpState> states;
  for (const auto& connection : impl_->offered) states.push_back(connection->State());
  return states;
}

}  // namespace qpip::testbench
