// The conformance suite: requirements of the RFCs, and cases that show whether they are met.
//
// A case is a function that throws Failure. The same cases run as tests (main.cc) and make
// docs/conformance.md (report.cc), so that what the document says has been seen to happen.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "qpip/testbench/testbench.h"

namespace qpip::conformance {

using testbench::BuildPacket;
using testbench::Bytes;
using testbench::kAck;
using testbench::kFin;
using testbench::kPsh;
using testbench::kRst;
using testbench::kSyn;
using testbench::kUrg;
using testbench::Packet;
using testbench::Pattern;
using testbench::TcpPeer;
using testbench::TcpSegment;
using testbench::TcpState;
using testbench::TestBench;
using testbench::Time;

/// What an RFC asks for, shortly and in our own words.
struct Requirement {
  const char* id;       ///< "MUST-8" where the RFC numbers them, else a section and a number
  const char* section;  ///< where the RFC says so
  const char* text;
  /// Why there is no case, or why a case is meant to be as it is; "" where there is nothing to say.
  const char* note = "";
};

/// One RFC's.
struct Document {
  const char* name;  ///< "RFC 9293"
  const char* title;
  std::vector<Requirement> requirements;
};

/// All documents, in the order of the report.
const std::vector<Document>& Documents();

/// A script, and what it shows.
struct Case {
  const char* name;                ///< unique, snake_case: says what is expected
  std::vector<const char*> shows;  ///< "RFC 9293 MUST-8"
  void (*run)();                   ///< throws Failure
  const char* fails = nullptr;     ///< known to fail, and why
};

/// A topic: one file.
struct Topic {
  const char* name;
  std::vector<Case> cases;
};

/// All topics.
std::vector<Topic> Topics();
Topic HeaderTopic();
Topic OpenTopic();
Topic CloseTopic();
Topic AcknowledgementTopic();
Topic WindowTopic();
Topic RetransmissionTopic();
Topic InterfaceTopic();
Topic ResetTopic();
Topic TimestampTopic();
Topic SackTopic();
Topic CongestionTopic();
Topic Ipv6Topic();
Topic PathMtuTopic();

/// Runs a case. Returns what went wrong; nullopt: nothing.
std::optional<std::string> RunCase(const Case& test);
/// docs/conformance.md. Runs all cases.
std::string Report();

/// A case was not met.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

void Expect(bool condition, const std::string& what);
template <typename A, typename B>
void ExpectEqual(const A& got, const B& expected, const std::string& what) {
  if (got == expected) return;
  throw Failure(what + ": got " + std::to_string(got) + ", expected " + std::to_string(expected));
}

/// What a script begins with.
struct Setup {
  testbench::TestBenchOptions bench = {};
  testbench::ListenOptions listen = {};
  testbench::TcpPeerOptions peer = {};
  Time round_trip{0};  ///< of the handshake that Accept makes
};

/// A bench, a peer, and usually a connection between them.
struct Script {
  explicit Script(const Setup& with = {});

  void Listen();   ///< on port 80
  void Accept();   ///< passive open: the peer connects to port 80
  void Connect();  ///< active open: the NIC connects from port 5000 to the peer's

  /// The NIC's next segment to the peer begins as `text` says, in relative numbers: as much of
  /// "P. 1:101(100) ack 1 win 65535" as matters.
  TcpSegment Sends(const std::string& text);
  /// ... and it leaves at exactly that moment, to which time passes.
  TcpSegment SendsAt(Time when, const std::string& text);
  TcpSegment Next();            ///< whatever the NIC sends next
  void Silent();                ///< the NIC sends nothing more at this moment
  void SilentUntil(Time when);  ///< ... and nothing until then
  int Drain();                  ///< takes all segments; returns how many
  void State(TcpState expected);
  void Injects(const TcpSegment& segment) { peer.Inject(segment); }
  uint64_t Counter(const char* name);

  const Setup setup;
  TestBench bench;
  TcpPeer peer;
  std::unique_ptr<testbench::TcpListener> listener;
  std::unique_ptr<testbench::TcpConnection> connection;
};

}  // namespace qpip::conformance
