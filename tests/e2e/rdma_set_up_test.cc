// MPA's set-up as the library does it, with a peer that is none at the other end: iWARP's bytes
// through a conventional stream (RFC 5044 section 7.1, RFC 6581 sections 5 and 9).
#include <algorithm>
#include <cstring>

#include "protocols/common/byte_order.h"
#include "protocols/iwarp/crc32c.h"
#include "protocols/iwarp/message_layout.h"
#include "protocols/iwarp/rdmap.h"
#include "protocols/iwarp/startup_frame.h"
#include "protocols/iwarp/terminate.h"
#include "qpip/rdma.h"
#include "qpip/stream.h"
#include "two_nics.h"

namespace qpip::test {
namespace {

constexpr uint16_t kPort = 4791;
using Octets = std::vector<uint8_t>;

Octets Emitted(const iwarp::StartupFrame& frame) {
  Octets bytes(iwarp::StartupBytes(frame));
  iwarp::EmitStartup(frame, bytes);
  return bytes;
}

/// A Reply that accepts what RdmaParameters ask for, or a Request like theirs.
iwarp::StartupFrame Frame(bool reply) {
  iwarp::StartupFrame frame;
  frame.reply = reply;
  frame.crc = true;
  frame.enhanced = true;
  frame.revision = iwarp::kRevision2;
  frame.depths = {.ird = 4, .ord = 4, .peer_to_peer = true, .ready = iwarp::kReadyByWrite};
  return frame;
}

struct ReadFpdu {
  iwarp::DdpHeader ddp;
  Octets payload;
};
/// The next FPDU of the stream.
ReadFpdu NextFpdu(ByteStream& stream) {
  ReadFpdu out;
  Octets length(iwarp::kLengthBytes);
  if (!stream.ReadExact(length)) {
    ADD_FAILURE() << "no FPDU has come";
    return out;
  }
  const uint32_t ulpdu_length = LoadBe16(length.data());
  Octets rest(iwarp::ContentBytes(ulpdu_length) - iwarp::kLengthBytes);
  EXPECT_TRUE(stream.ReadExact(rest));
  Octets all = length;
  all.insert(all.end(), rest.begin(), rest.end());
  const size_t summed = all.size() - iwarp::kCrcBytes;
  EXPECT_EQ(iwarp::Crc32c(std::span<const uint8_t>(all).first(summed)),
            iwarp::LoadCrc(&all[summed]));
  EXPECT_EQ(iwarp::ParseDdp(std::span<const uint8_t>(rest).first(ulpdu_length), &out.ddp),
            iwarp::DdpError::kNone);
  const auto header = static_cast<int64_t>(iwarp::DdpHeaderBytes(out.ddp));
  out.payload.assign(rest.begin() + header, rest.begin() + ulpdu_length);
  return out;
}

/// The next FPDU is a Terminate of these numbers, and the last one.
void ExpectTerminate(ByteStream& stream, const iwarp::CauseCode& code) {
  const ReadFpdu fpdu = NextFpdu(stream);
  EXPECT_FALSE(fpdu.ddp.tagged);
  EXPECT_EQ(fpdu.ddp.queue, iwarp::kTerminateQueue);
  EXPECT_EQ(fpdu.ddp.message_sequence, 1u);
  EXPECT_EQ(iwarp::OpcodeOf(fpdu.ddp.ulp_control), iwarp::Opcode::kTerminate);
  iwarp::Terminate terminate;
  ASSERT_EQ(iwarp::ParseTerminate(fpdu.payload, &terminate), iwarp::TerminateError::kNone);
  EXPECT_EQ(terminate.code, code);
  Octets more(1);
  EXPECT_EQ(stream.Read(more), 0u) << "nothing follows, and the stream ends in order";
  stream.CloseWrite();
}

/// True when the peer ends the connection, in whatever way, and says nothing before.
bool EndsSilently(ByteStream& stream) {
  Octets answer(1);
  try {
    return stream.Read(answer) == 0;
  } catch (const Error&) {
    return true;
  }
}

class RdmaSetUpWire : public ::testing::Test {
 protected:
  /// A connector whose Request is answered by these bytes.
  void Answer(const Octets& reply, const RdmaParameters& parameters = {.ird = 4, .ord = 4}) {
    peer_ = std::make_unique<ByteStream>(*nics.server.nic, *nics.server.pd);
    listener_ = nics.server.nic->Listen(kPort, 1);
    listener_->Offer(peer_->qp());
    connector_ =
        std::make_unique<RdmaConnector>(*nics.client.nic, nics.ServerAt(kPort), parameters);
    waiting_ = nics.testbed().Start([&] { connector_->Wait(kPatience); });
    ASSERT_NE(listener_->Accept(kPatience), nullptr);
    Octets request(iwarp::kStartupHeaderBytes + iwarp::kEnhancedBytes);
    ASSERT_TRUE(peer_->ReadExact(request));
    size_t bytes = 0;
    ASSERT_EQ(iwarp::ParseStartup(request, /*reply=*/false, &request_, &bytes),
              iwarp::StartupError::kNone);
    peer_->Write(reply);
    peer_->Flush();
  }
  /// What becomes of it. A connector that has sent a Terminate waits until its peer has closed.
  RdmaConnector::State Decided() {
    waiting_->Join();
    return connector_->Poll();
  }
  void Forget() {
    connector_.reset();
    listener_.reset();
    peer_.reset();
  }
  /// A stream on which this Request has been sent to a listener.
  std::unique_ptr<ByteStream> Ask(const Octets& request) {
    auto stream = std::make_unique<ByteStream>(*nics.client.nic, *nics.client.pd);
    stream->Connect(nics.ServerAt(kPort));
    stream->Write(request);
    stream->Flush();
    return stream;
  }
  /// A Reply with `data_bytes` behind its header. The end that has sent it closes then.
  static iwarp::StartupFrame ReadReply(ByteStream& stream, Octets* bytes, size_t data_bytes) {
    bytes->resize(iwarp::kStartupHeaderBytes + data_bytes);
    iwarp::StartupFrame frame;
    size_t taken = 0;
    EXPECT_TRUE(stream.ReadExact(*bytes));
    EXPECT_EQ(iwarp::ParseStartup(*bytes, /*reply=*/true, &frame, &taken),
              iwarp::StartupError::kNone);
    EXPECT_EQ(taken, bytes->size());
    return frame;
  }

  TwoNics nics{"mem"};
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<ByteStream> peer_;
  std::unique_ptr<RdmaConnector> connector_;
  std::unique_ptr<Task> waiting_;
  iwarp::StartupFrame request_;
};

/// `frame` with one octet of it changed.
Octets With(Octets frame, size_t at, uint8_t value) {
  frame[at] = value;
  return frame;
}

TEST_F(RdmaSetUpWire, GivenNoRequestThatFitsWhenReceivedThenTcpIsClosedAndItIsCounted) {
  RdmaListener listener(*nics.server.nic, kPort);
  const Octets good = Emitted(Frame(/*reply=*/false));
  Octets followed = good;
  followed.push_back(0);
  const Octets bad[] = {With(good, 3, 'x'),              // another key
                        Emitted(Frame(/*reply=*/true)),  // the other role's
                        With(good, 17, 9),               // a revision that cannot be spoken
                        With(good, 18, 0x03),            // 772 bytes of private data
                        With(good, 19, 2),
                        followed};  // and lengths that do not match
  uint64_t count = 0;
  for (const Octets& request : bad) {
    const auto stream = Ask(request);
    ++count;
    while (listener.refused() < count) ASSERT_EQ(listener.Next(20ms), nullptr) << count;
    EXPECT_TRUE(EndsSilently(*stream)) << count;
  }
}

TEST_F(RdmaSetUpWire, GivenNoReplyThatFitsWhenReceivedThenTheConnectorFailsAndTcpIsClosed) {
  const Octets good = Emitted(Frame(/*reply=*/true));
  const Octets bad[] = {With(good, 3, 'x'), Emitted(Frame(/*reply=*/false)), With(good, 17, 9),
                        With(good, 18, 0x03)};
  for (const Octets& reply : bad) {
    ASSERT_NO_FATAL_FAILURE(Answer(reply));
    EXPECT_FALSE(request_.reject);
    EXPECT_EQ(Decided(), RdmaConnector::State::kFailed);
    EXPECT_EQ(connector_->error().code(), EPROTO);
    connector_.reset();
    EXPECT_TRUE(EndsSilently(*peer_));
    Forget();
  }
}

TEST_F(RdmaSetUpWire, GivenAReplyThatWantsMoreRequestsThanThereAreWhenReceivedThenTerminated) {
  iwarp::StartupFrame reply = Frame(/*reply=*/true);
  reply.depths.ord = 5;
  ASSERT_NO_FATAL_FAILURE(Answer(Emitted(reply)));
  ExpectTerminate(*peer_, {.layer = 2, .type = 0, .code = 6});
  EXPECT_EQ(Decided(), RdmaConnector::State::kFailed);
  EXPECT_NE(std::string(connector_->error().what()).find("insufficient_ird"), std::string::npos);
}

TEST_F(RdmaSetUpWire, GivenAnRtrThatCannotBeMadeWhenItIsTheOnlyOneThenTerminated) {
  iwarp::StartupFrame reply = Frame(/*reply=*/true);
  reply.depths.ready = iwarp::kReadyBySend;
  ASSERT_NO_FATAL_FAILURE(Answer(Emitted(reply)));
  ExpectTerminate(*peer_, {.layer = 2, .type = 0, .code = 7});
  EXPECT_EQ(Decided(), RdmaConnector::State::kFailed);
}

TEST_F(RdmaSetUpWire, GivenAReplyThatWantsMarkersWhenReceivedThenTerminated) {
  iwarp::StartupFrame reply = Frame(/*reply=*/true);
  reply.markers = true;
  ASSERT_NO_FATAL_FAILURE(Answer(Emitted(reply)));
  ExpectTerminate(*peer_, {.layer = 2, .type = 0, .code = 5});
  EXPECT_EQ(Decided(), RdmaConnector::State::kFailed);
  EXPECT_EQ(connector_->error().code(), EPROTO);
}

TEST_F(RdmaSetUpWire, GivenAnInitiatorThatWantsMarkersWhenAcceptedThenItIsRejected) {
  RdmaListener listener(*nics.server.nic, kPort);
  iwarp::StartupFrame request = Frame(/*reply=*/false);
  request.markers = true;
  const auto stream = Ask(Emitted(request));
  const auto accepting = nics.testbed().Start([&] {
    const auto asked = listener.Next(kPatience);
    ASSERT_NE(asked, nullptr);
    auto qp = nics.server.Qp({.framing = Framing::kMpa});
    EXPECT_THROW(asked->Accept(*qp), Error);
  });
  Octets bytes;
  EXPECT_TRUE(ReadReply(*stream, &bytes, iwarp::kEnhancedBytes).reject);
  stream->CloseWrite();
  accepting->Join();
}

TEST_F(RdmaSetUpWire, GivenAResponderThatRejectsWhenAskedThenItsDataGoAndTheStreamEndsInOrder) {
  RdmaListener listener(*nics.server.nic, kPort);
  const auto stream = Ask(Emitted(Frame(/*reply=*/false)));
  const auto rejecting = nics.testbed().Start([&] {
    const auto asked = listener.Next(kPatience);
    ASSERT_NE(asked, nullptr);
    asked->Reject("not you");
  });
  Octets bytes;
  const iwarp::StartupFrame reply = ReadReply(*stream, &bytes, iwarp::kEnhancedBytes + 7);
  EXPECT_TRUE(reply.reject);
  EXPECT_EQ(std::string(reply.private_data.begin(), reply.private_data.end()), "not you");
  Octets more(1);
  EXPECT_EQ(stream->Read(more), 0u);
  stream->CloseWrite();
  rejecting->Join();
}

TEST_F(RdmaSetUpWire, GivenARejectionWithDepthsWhenReceivedThenTheInitiatorIsToldThem) {
  iwarp::StartupFrame reply = Frame(/*reply=*/true);
  reply.reject = true;
  reply.depths.ird = 3;
  reply.depths.ord = 20;
  ASSERT_NO_FATAL_FAILURE(Answer(Emitted(reply)));
  EXPECT_EQ(Decided(), RdmaConnector::State::kRejected);
  EXPECT_EQ(connector_->agreement().peer_ird, 3);
  EXPECT_EQ(connector_->agreement().peer_ord, 20);
}

TEST_F(RdmaSetUpWire, GivenAnRtrIsAgreedOnWhenASendIsPostedThenTheRtrGoesFirst) {
  ASSERT_NO_FATAL_FAILURE(Answer(Emitted(Frame(/*reply=*/true))));
  ASSERT_EQ(Decided(), RdmaConnector::State::kAccepted);
  auto qp = nics.client.Qp({.framing = Framing::kMpa});
  auto memory = nics.client.pd->Allocate(64);
  connector_->Establish(*qp);
  ASSERT_EQ(qp->PostSend(1, memory->Sge(0, 10)), 0);
  const ReadFpdu first = NextFpdu(*peer_);
  EXPECT_TRUE(first.ddp.tagged && first.ddp.last);
  EXPECT_EQ(iwarp::OpcodeOf(first.ddp.ulp_control), iwarp::Opcode::kWrite);
  EXPECT_TRUE(first.payload.empty());
  const ReadFpdu second = NextFpdu(*peer_);
  EXPECT_EQ(iwarp::OpcodeOf(second.ddp.ulp_control), iwarp::Opcode::kSend);
  EXPECT_EQ(second.payload.size(), 10u);
}

}  // namespace
}  // namespace qpip::test
