// The client's side of NBD's negotiation, as a machine: bytes in, bytes out.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "protocols/nbd/handshake.h"
#include "protocols/nbd/transmission.h"
#include "qpip/nbd.h"

namespace qpip::nbd::internal {

/// What was agreed on.
struct Agreed {
  ExportFacts facts;
  Headers headers = Headers::kCompact;
  bool chunks = false;         ///< structured replies, or extended headers
  uint32_t allocation_id = 0;  ///< of base:allocation, where there is block status
};

/// From the greeting to the transmission phase. Takes no byte of the latter.
class Handshake {
 public:
  explicit Handshake(const ClientOptions& options);

  /// What is to be sent, in order; Sent() takes it away from the front.
  std::span<const uint8_t> output() const { return std::span(output_).subspan(sent_); }
  void Sent(size_t bytes);
  /// Where received bytes go, never empty until done(); Received() says how many have.
  std::span<uint8_t> room() { return std::span(input_).subspan(have_); }
  /// Throws Error: see Client's constructor.
  void Received(size_t bytes);
  bool done() const { return state_ == State::kDone; }
  const Agreed& agreed() const { return agreed_; }

 private:
  enum class State {
    kGreeting,
    kReplyHeader,  ///< of the option that was asked for last
    kReplyData,
    kExportName,  ///< what answers EXPORT_NAME
    kDone,
  };

  void Expect(State state, size_t bytes);
  void Send(std::span<const uint8_t> bytes);
  void Ask(Option option, std::span<const uint8_t> data = {});
  void OnGreeting();
  void OnReplyHeader();
  void OnReply();
  void OnFeature();
  void OnMetaContext();
  void OnGo();
  void AskForAllocation();
  void Go();
  void GoTheOldWay();
  void OnExportName();
  void TakeInfo();
  void TakeFlags(uint64_t bytes, uint16_t flags);
  [[noreturn]] void Refused();
  Text name() const { return {name_.data(), name_.size()}; }

  std::string name_;
  bool wants_chunks_, wants_extended_, wants_status_;
  std::vector<uint8_t> output_;
  size_t sent_ = 0;
  std::vector<uint8_t> input_;
  size_t have_ = 0;
  State state_ = State::kGreeting;
  Option option_ = kOptionAbort;
  uint32_t reply_ = 0;  ///< of the option reply whose data is read
  bool any_info_ = false;
  bool no_zeroes_ = false;
  Agreed agreed_;
};

}  // namespace qpip::nbd::internal
