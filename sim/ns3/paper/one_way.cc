#include "sim/ns3/paper/one_way.h"

#include <string>

namespace qpip::sim::paper {
namespace {

constexpr uint16_t kPort = 9;
constexpr uint32_t kReceives = 32;

void Check(int error) {
  if (error != 0) throw Error(error, "one-way messages: a post failed");
}

void Take(CompletionQueue& cq, uint32_t count) {
  while (count != 0) {
    WorkCompletion completion;
    if (cq.Wait({&completion, 1}) == 0) continue;
    CheckCompletion(completion);
    --count;
  }
}

}  // namespace

void CheckCompletion(const WorkCompletion& completion) {
  if (completion.status == IBV_WC_SUCCESS) return;
  throw Error(EIO, std::string("one-way messages: ") + ToString(completion.status));
}

OneWay::OneWay(Host& receiver, Host& sender, uint32_t bytes) : bytes_(bytes) {
  receive_cq_ = receiver.nic->CreateCq(256);
  send_cq_ = sender.nic->CreateCq(256);
  QpOptions options;
  options.send_depth = options.recv_depth = kReceives;
  options.send_cq = options.recv_cq = receive_cq_.get();
  sink_ = receiver.nic->CreateQp(*receiver.pd, options);
  options.send_cq = options.recv_cq = send_cq_.get();
  source_ = sender.nic->CreateQp(*sender.pd, options);
  to_ = receiver.pd->Allocate(kReceiveBytes);
  from_ = sender.pd->Allocate(kReceiveBytes);
  for (uint32_t i = 0; i < kReceives; ++i) PostReceive();
  listener_ = receiver.nic->Listen(kPort);
  listener_->Offer(*sink_);
  source_->Connect({receiver.address(), kPort});
  listener_->Accept();
}

void OneWay::PostSend() { Check(source_->PostSend(0, from_->Sge(0, bytes_))); }
void OneWay::PostReceive() { Check(sink_->PostRecv(0, to_->Sge(0, kReceiveBytes))); }

void OneWay::Burst(uint32_t messages) {
  for (uint32_t i = 0; i < messages; ++i) PostSend();
  Take(*send_cq_, messages);
  Take(*receive_cq_, messages);
  for (uint32_t i = 0; i < messages; ++i) PostReceive();
}

}  // namespace qpip::sim::paper
