#include "preload/core/acceptor.h"

#include <algorithm>

#include "preload/core/stack.h"

namespace qpip::preload {

namespace {

// Queue pairs that wait for a peer, with their receives posted: each takes a megabyte.
constexpr size_t kMaxOffered = 8;
constexpr int kMaxBacklog = 4096;

size_t Backlog(int asked) {
  // Linux keeps one more than asked.
  return static_cast<size_t>(std::clamp(asked, 0, kMaxBacklog)) + 1;
}

}  // namespace

Acceptor::Acceptor(Stack& stack, uint16_t port, int backlog)
    : stack_(stack),
      listener_(stack.nic().Listen(port, static_cast<uint16_t>(Backlog(backlog)))),
      backlog_(Backlog(backlog)) {
  OfferMore();
  stack_.Add(*this);
}

Acceptor::~Acceptor() { stack_.Remove(*this); }

void Acceptor::set_backlog(int backlog) {
  backlog_ = Backlog(backlog);
  OfferMore();
}

void Acceptor::OfferMore() {
  while (offered_.size() < kMaxOffered && offered_.size() + established_.size() < backlog_) {
    try {
      auto connection = std::make_unique<Connection>(stack_);
      listener_->Offer(connection->qp());
      offered_.push_back(std::move(connection));
    } catch (const Error&) {
      // Memory or the NIC's table is used up: those that are offered go on, and the next that ends
      // leaves its place. Peers wait in the NIC's backlog.
      return;
    }
  }
}

void Acceptor::Refresh() {
  const bool any = std::any_of(offered_.begin(), offered_.end(), [](const auto& connection) {
    return connection->qp().state() != QpState::kConnecting;
  });
  if (any) {
    while (const QueuePair* qp = listener_->Accept(std::chrono::nanoseconds(0))) {
      const auto found = std::find_if(offered_.begin(), offered_.end(),
                                      [qp](const auto& each) { return &each->qp() == qp; });
      if (found == offered_.end()) continue;
      (*found)->Refresh();
      established_.push_back(std::move(*found));
      offered_.erase(found);
      arrived_ = true;
    }
    // What has failed before it was established is offered no more.
    std::erase_if(offered_, [](const auto& connection) {
      return connection->qp().state() == QpState::kClosed;
    });
  }
  OfferMore();
}

std::unique_ptr<Connection> Acceptor::Take() {
  if (established_.empty()) return nullptr;
  std::unique_ptr<Connection> first = std::move(established_.front());
  established_.pop_front();
  OfferMore();
  return first;
}

}  // namespace qpip::preload
