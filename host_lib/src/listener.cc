#include "listener.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "nic_impl.h"
#include "queue_pair.h"
#include "status.h"

namespace qpip {

namespace internal {

std::shared_ptr<ListenerImpl> ListenerImpl::Open(std::shared_ptr<NicImpl> nic, uint16_t port,
                                                 uint16_t backlog) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kListen);
  command.listen = {.port = port, .backlog = backlog};
  const abi::Event answer = nic->channel().Execute(command);
  ThrowIfFailed(answer, "listen on port " + std::to_string(port));
  return std::make_shared<ListenerImpl>(std::move(nic), answer.result[0],
                                        static_cast<uint16_t>(answer.result[1]));
}

void ListenerImpl::Close() {
  if (fd_ >= 0) {
    if (!nic_->forked()) nic_->event_fds().Remove(fd_);
    close(fd_);
  }
  if (nic_->forked()) return;
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kCloseListener);
  command.close_listener = {.listener = handle_};
  // In event order: connections that were mated before the answer have been reported by then.
  nic_->channel().Execute(command, [this](const abi::Event&) {
    const std::lock_guard lock(mutex_);
    for (QpImpl* qp : offered_) qp->WithdrawOffer();
    offered_.clear();
  });
}

void ListenerImpl::AddOffer(QpImpl* qp) {
  const std::lock_guard lock(mutex_);
  offered_.push_back(qp);
}

void ListenerImpl::Forget(QpImpl* qp) {
  const std::lock_guard lock(mutex_);
  std::erase(offered_, qp);
  std::erase(established_, qp);
}

void ListenerImpl::OnEstablished(QpImpl* qp) {
  const std::lock_guard lock(mutex_);
  std::erase(offered_, qp);
  established_.push_back(qp);
}

int ListenerImpl::fd() {
  nic_->ThrowIfForked("listener's descriptor");
  const std::lock_guard lock(mutex_);
  if (fd_ >= 0) return fd_;
  // Readable from the start: there may be something already.
  fd_ = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd_ < 0) throw Error(errno, "listener: cannot create an eventfd");
  nic_->event_fds().Add(fd_);
  return fd_;
}

void ListenerImpl::ClearFd() {
  const std::lock_guard lock(mutex_);
  uint64_t count = 0;
  // EAGAIN when nothing has been signalled.
  while (fd_ >= 0 && read(fd_, &count, sizeof count) < 0 && errno == EINTR) {
  }
}

// Whoever has found nothing sleeps in the descriptor, if there is one.
void ListenerImpl::LeaveToDescriptor() {
  {
    const std::lock_guard lock(mutex_);
    if (fd_ < 0) return;
  }
  nic_->port().GoOnAlone(nullptr);
}

QueuePair* ListenerImpl::Accept(Timeout timeout) {
  nic_->ThrowIfForked("accept");
  const uint64_t deadline_ns = DeadlineNs(nic_->platform(), timeout);
  ClearFd();
  QueuePair* accepted = nullptr;
  nic_->channel().WaitUntil(
      [&] {
        const std::lock_guard lock(mutex_);
        if (established_.empty()) return nic_->troubles().failure() != nullptr;
        // With the lock: without it the queue pair may be destroyed between the two.
        accepted = established_.front()->facade();
        established_.pop_front();
        const uint64_t one = 1;
        if (fd_ >= 0 && !established_.empty()) {  // which ClearFd has left in silence
          [[maybe_unused]] const ssize_t written = write(fd_, &one, sizeof one);
        }
        return true;
      },
      deadline_ns);
  if (accepted != nullptr) return accepted;
  nic_->troubles().ThrowIfFailed("accept");
  LeaveToDescriptor();
  return nullptr;
}

}  // namespace internal

Listener::Listener(std::shared_ptr<internal::ListenerImpl> impl) : impl_(std::move(impl)) {}
Listener::~Listener() { impl_->Close(); }

uint16_t Listener::port() const { return impl_->port(); }

void Listener::Offer(QueuePair& qp) { qp.impl_->OfferTo(impl_, &qp); }

QueuePair* Listener::Accept(Timeout timeout) { return impl_->Accept(timeout); }
int Listener::fd() { return impl_->fd(); }

}  // namespace qpip
