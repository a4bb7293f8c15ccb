// VCONN's cases, on every backend and in every framing that keeps messages apart.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>

#include "on_vconn.h"

namespace qpip::test {

VconnSessionOptions OnVconn::Options(uint16_t window, uint32_t message_bytes) const {
  VconnSessionOptions options;
  options.vconn.window = window;
  options.vconn.message_bytes = message_bytes;
  options.vconn.send_bytes = std::max<size_t>(4096, 2 * message_bytes);
  options.framing = GetParam().framing;
  options.timeout = kPatience;
  return options;
}

void OnVconn::Listen() {
  if (GetParam().framing == Framing::kMpa) {
    rdma_listener_ = std::make_unique<RdmaListener>(*server.nic, kPort);
  } else {
    listener_ = server.nic->Listen(kPort);
  }
}

void OnVconn::Accept(QueuePair& qp) {
  if (rdma_listener_) {
    const auto request = rdma_listener_->Next(kPatience);
    ASSERT_NE(request, nullptr);
    request->Accept(qp);
  } else {
    listener_->Offer(qp);
    ASSERT_EQ(listener_->Accept(kPatience), &qp);
  }
}

void OnVconn::Connect(QueuePair& qp) {
  if (GetParam().framing == Framing::kMpa) {
    RdmaConnect(*client.nic, qp, nics.ServerAt(kPort), {}, kPatience);
  } else {
    qp.Connect(nics.ServerAt(kPort), kPatience);
  }
}

std::unique_ptr<Task> OnVconn::Serve(const VconnSessionOptions& options,
                                     std::function<void(VconnSession&)> program) {
  Listen();
  return nics.testbed().Start([=, this] {
    const auto session = On(server, options);
    Accept(session->qp());
    try {
      session->Open();
      program(*session);
    } catch (const Error& error) {
      ADD_FAILURE() << "server: " << error.what();
    }
  });
}

std::unique_ptr<VconnSession> OnVconn::Connected(const VconnSessionOptions& options) {
  auto session = On(client, options);
  session->Connect(nics.ServerAt(kPort));
  return session;
}

namespace {

/// The error with which `call` ends.
template <typename Call>
Error ErrorOf(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {0, ""};
}

}  // namespace

Error OnVconn::ErrorOfPeer(const std::vector<std::string>& messages, size_t taken) {
  Listen();
  Error error(0, "");
  const auto serving = nics.testbed().Start([&] {
    const auto session = On(server, Options(4));
    Accept(session->qp());
    error = ErrorOf([&] {
      session->Open();
      std::vector<VconnMessage> kept;
      for (size_t i = 0; i < taken; ++i) {
        auto message = session->Receive();
        ASSERT_TRUE(message);
        kept.push_back(std::move(*message));
      }
      (void)session->Receive();
    });
  });
  QpOptions options;
  options.framing = GetParam().framing;
  const auto qp = client.Qp(options);
  auto memory = client.pd->Allocate(4096);
  for (uint64_t i = 0; i < 8; ++i) EXPECT_EQ(qp->PostRecv(i, memory->Sge(2048, 64)), 0);
  Connect(*qp);
  size_t at = 0;
  for (const std::string& message : messages) {
    std::memcpy(static_cast<char*>(memory->data()) + at, message.data(), message.size());
    EXPECT_EQ(qp->PostSend(100 + at, memory->Sge(at, static_cast<uint32_t>(message.size()))), 0);
    at += message.size();
  }
  serving->Join();
  return error;
}

namespace {

constexpr uint64_t kRequests = 300;
constexpr uint64_t kMessages = 64;  ///< one way
constexpr uint64_t kEach = 300;     ///< both ways
constexpr size_t kMost = 4096 - kVconnHeaderBytes;

std::vector<char> Pattern(size_t bytes, uint64_t position) {
  std::vector<char> pattern(bytes);
  FillPattern(pattern.data(), bytes, position);
  return pattern;
}

std::string Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_P(OnVconn, GivenTwoWindowsWhenOpenThenTheSmallerHoldsAndEachKnowsThePeersLength) {
  const auto serving = Serve(Options(5, 1000), [](VconnSession& session) {
    EXPECT_EQ(session.vconn().window(), 3);
    EXPECT_EQ(session.vconn().max_bytes(), 2000 - kVconnHeaderBytes);
    EXPECT_FALSE(session.Receive());
  });
  const auto session = Connected(Options(3, 2000));
  EXPECT_EQ(session->vconn().state(), VconnState::kOpen);
  EXPECT_EQ(session->vconn().window(), 3);
  EXPECT_EQ(session->vconn().credits(), 2);
  EXPECT_EQ(session->vconn().max_bytes(), 1000 - kVconnHeaderBytes);
  session->CloseWrite();
  serving->Join();
}

TEST_P(OnVconn, GivenRequestsOfAllSizesWhenAnsweredInAnyOrderThenEachAnswerIsItsRequests) {
  // Keeps up to three requests, gives buffers back before it answers, and answers any of them.
  const auto serving = Serve(Options(8), [](VconnSession& session) {
    std::mt19937 random(7);
    struct Kept {
      uint64_t cookie;
      std::string request, data;
    };
    std::vector<Kept> kept;
    uint64_t answered = 0;
    while (answered < kRequests) {
      if (kept.size() < 3 && answered + kept.size() < kRequests) {
        const auto message = session.Receive();
        ASSERT_TRUE(message);
        ASSERT_EQ(message->kind(), VconnKind::kRequest);
        kept.push_back({message->cookie(), Text(message->request()), Text(message->data())});
        continue;
      }
      std::swap(kept[random() % kept.size()], kept.back());
      const Kept& one = kept.back();
      if (random() % 4 == 0) {
        session.Answer(one.cookie, {.request = "part"}, /*more=*/true);
      }
      session.Answer(one.cookie, {.request = one.request, .data = one.data});
      kept.pop_back();
      ++answered;
    }
    session.Flush();
  });
  const auto session = Connected(Options(8));
  const auto request_bytes = [](uint64_t i) { return i % 7 == 0 ? 0 : (i * 37) % 200; };
  const auto data_bytes = [&](uint64_t i) {
    return i % 5 == 0 ? kMost - request_bytes(i) : (i * 61) % 1500;
  };
  std::vector<bool> done(kRequests);
  uint64_t asked = 0;
  for (uint64_t got = 0; got < kRequests;) {
    while (asked < kRequests && asked < got + 20) {
      const auto request = Pattern(request_bytes(asked), asked);
      const auto data = Pattern(data_bytes(asked), asked + 1000);
      if (!session->vconn().TryRequest(asked, {.request = request, .data = data})) break;
      ++asked;
    }
    const auto answer = session->Receive();
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->kind(), VconnKind::kAnswer);
    if (answer->more()) {
      EXPECT_EQ(Text(answer->request()), "part");
      continue;
    }
    const uint64_t which = answer->context();
    ASSERT_LT(which, kRequests);
    ASSERT_FALSE(done[which]) << "answered twice";
    done[which] = true;
    ++got;
    ASSERT_EQ(answer->request().size(), request_bytes(which));
    ASSERT_EQ(answer->data().size(), data_bytes(which));
    EXPECT_EQ(CheckPattern(answer->request().data(), answer->request().size(), which),
              answer->request().size());
    EXPECT_EQ(CheckPattern(answer->data().data(), answer->data().size(), which + 1000),
              answer->data().size());
  }
  EXPECT_EQ(session->vconn().waiting(), 0u);
  serving->Join();
}

TEST_P(OnVconn, GivenTheSmallestWindowWhenBothSidesSendAllTheyCanThenAllComes) {
  const auto both_ways = [](VconnSession& session) {
    uint64_t sent = 0;
    for (uint64_t received = 0; received < kEach;) {
      while (sent < kEach && session.vconn().TrySend({.data = Pattern(100, sent)})) ++sent;
      const auto message = session.vconn().Next();
      if (!message) {
        session.Wait();
        continue;
      }
      ASSERT_EQ(message->data().size(), 100u);
      ASSERT_EQ(CheckPattern(message->data().data(), 100, received), 100u);
      ++received;
    }
    while (sent < kEach) session.Send({.data = Pattern(100, sent++)});
    session.Flush();
    session.CloseWrite();
    EXPECT_FALSE(session.Receive());
  };
  const auto serving = Serve(Options(2), both_ways);
  both_ways(*Connected(Options(2)));
  serving->Join();
}

TEST_P(OnVconn, GivenOneDirectionWhenNothingGoesBackThenCreditsComeAloneAtHalfAWindow) {
  const auto serving = Serve(Options(8), [](VconnSession& session) {
    for (uint64_t i = 0; i < kMessages; ++i) {
      const auto message = session.Receive();
      ASSERT_TRUE(message);
      EXPECT_EQ(message->kind(), VconnKind::kMessage);
      EXPECT_EQ(message->request().size() + message->data().size(), i);
    }
    EXPECT_FALSE(session.Receive());
    EXPECT_EQ(session.vconn().counters().received, kMessages);
    EXPECT_EQ(session.vconn().counters().credits_sent, kMessages / 4);
  });
  const auto session = Connected(Options(8));
  for (uint64_t i = 0; i < kMessages; ++i) session->Send({.request = Pattern(i, 0)});
  session->Flush();
  session->CloseWrite();
  serving->Join();
  EXPECT_EQ(session->vconn().counters().sent, kMessages);
}

TEST_P(OnVconn, GivenRegisteredMemoryWhenSentThenItArrivesBehindWhatWasCopied) {
  const auto serving = Serve(Options(4, 70000), [](VconnSession& session) {
    for (int i = 0; i < 20; ++i) {
      const auto message = session.Receive();
      ASSERT_TRUE(message);
      EXPECT_EQ(Text(message->request()), "head");
      ASSERT_EQ(message->data().size(), 2 + 40000u);
      EXPECT_EQ(Text(message->data().first(2)), "ab");
      EXPECT_EQ(CheckPattern(message->data().data() + 2, 30000, 7), 30000u);
      EXPECT_EQ(CheckPattern(message->data().data() + 30002, 10000, 7), 10000u);
    }
    EXPECT_FALSE(session.Receive());
  });
  const auto session = Connected(Options(4, 70000));
  auto memory = client.pd->Allocate(30000);
  FillPattern(memory->data(), 30000, 7);
  const std::array<ibv_sge, 2> list = {memory->Sge(0, 30000), memory->Sge(0, 10000)};
  for (int i = 0; i < 20; ++i) {
    session->Send({.request = "head", .data = "ab", .registered = list});
  }
  session->Flush();
  EXPECT_TRUE(session->vconn().idle());
  session->CloseWrite();
  serving->Join();
}

TEST_P(OnVconn, GivenMessagesThatAreKeptWhenTheWindowIsFullThenTheNextWaitsForOneToBeGivenBack) {
  const auto serving = Serve(Options(4), [](VconnSession& session) {
    std::vector<VconnMessage> kept;
    for (int i = 0; i < 3; ++i) {
      auto message = session.Receive();
      ASSERT_TRUE(message);
      kept.push_back(std::move(*message));
    }
    // The last word of what fits: what comes next comes because two are given back.
    session.Send({.request = "full"});
    EXPECT_EQ(Text(kept[2].request()), "2");
    kept.pop_back();
    kept.pop_back();
    const auto next = session.Receive();
    ASSERT_TRUE(next);
    EXPECT_EQ(Text(next->request()), "3");
    EXPECT_EQ(Text(kept[0].request()), "0");
    EXPECT_FALSE(session.Receive());
  });
  const auto session = Connected(Options(4));
  for (const char* text : {"0", "1", "2"}) {
    ASSERT_TRUE(session->vconn().TrySend({.request = text}));
  }
  EXPECT_FALSE(session->vconn().TrySend({.request = "3"}));
  const auto full = session->Receive();
  ASSERT_TRUE(full);
  EXPECT_EQ(Text(full->request()), "full");
  session->Send({.request = "3"});
  session->Flush();
  session->CloseWrite();
  serving->Join();
}

TEST_P(OnVconn, GivenALengthThatDoesNotFitWhenSentThenItIsRefusedAndNothingElseHappens) {
  const auto serving = Serve(Options(4, 500), [](VconnSession& session) {
    const auto message = session.Receive();
    ASSERT_TRUE(message);
    EXPECT_EQ(message->data().size(), 500 - kVconnHeaderBytes);
    EXPECT_FALSE(session.Receive());
  });
  const auto session = Connected(Options(4));
  const auto most = Pattern(session->vconn().max_bytes(), 0);
  EXPECT_EQ(ErrorOf([&] { session->Send({.request = "x", .data = most}); }).code(), EMSGSIZE);
  EXPECT_EQ(ErrorOf([&] { session->Request(1, {.request = "x", .data = most}); }).code(), EMSGSIZE);
  EXPECT_EQ(session->vconn().waiting(), 0u);
  session->Send({.data = most});
  session->Flush();
  session->CloseWrite();
  serving->Join();
}

// --- Peers that break the rules: a queue pair without a Vconn

/// What a side that keeps to VCONN sends as its first message.
std::string Hello(uint16_t window, uint32_t message_bytes) {
  std::string hello("\x01\0\0\0\0\0\0\x08\0\0\0\0QPVCONN\n\0\x01", 22);
  hello += static_cast<char>(window >> 8);
  hello += static_cast<char>(window);
  for (int shift = 24; shift >= 0; shift -= 8) hello += static_cast<char>(message_bytes >> shift);
  return hello;
}

/// An empty message of the kind that wants no answer; an answer, with a cookie of zero.
const std::string kEmptyMessage("\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
const std::string kEmptyAnswer("\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);

TEST_P(OnVconn, GivenAPeerThatSendsMoreThanItsWindowThenItIsCutOff) {
  // Three fit a window of four; they are read whatever comes behind them.
  const Error error =
      ErrorOfPeer({Hello(4, 4096), kEmptyMessage, kEmptyMessage, kEmptyMessage, kEmptyMessage}, 3);
  const bool rdma = GetParam().framing == Framing::kMpa;
  // Over RDMA the NIC may be the first to see it: a Send without a receive.
  if (rdma && error.code() == ErrnoOf(DisconnectReason::kTerminated)) return;
  EXPECT_EQ(error.code(), EPROTO);
  EXPECT_THAT(error.what(), ::testing::HasSubstr("overrun"));
}

TEST_P(OnVconn, GivenAPeerThatIsNoVconnThenItIsCutOff) {
  const Error error = ErrorOfPeer({"NBDMAGICIHAVEOPT"}, 0);
  EXPECT_EQ(error.code(), EPROTO);
  EXPECT_THAT(error.what(), ::testing::HasSubstr("not_hello"));
}

TEST_P(OnVconn, GivenAnAnswerToNothingThenThePeerIsCutOff) {
  const Error error = ErrorOfPeer({Hello(4, 4096), kEmptyAnswer}, 0);
  EXPECT_EQ(error.code(), EPROTO);
  EXPECT_THAT(error.what(), ::testing::HasSubstr("unknown_cookie"));
}

// --- Ends

TEST_P(OnVconn, GivenAPeerThatAbortsWhenReceivingThenTheErrorSaysSo) {
  const auto serving = Serve(Options(), [](VconnSession& session) {
    ASSERT_TRUE(session.Receive());
    session.qp().Abort();
  });
  const auto session = Connected(Options());
  session->Send({.request = "go"});
  EXPECT_EQ(ErrorOf([&] { (void)session->Receive(); }).code(), ECONNRESET);
  EXPECT_EQ(session->vconn().state(), VconnState::kBroken);
  EXPECT_FALSE(session->vconn().TrySend({.request = "more"}));
  serving->Join();
}

TEST_P(OnVconn, GivenAMessageThatIsKeptWhenItsSessionIsGoneThenItCanStillBeRead) {
  std::optional<VconnMessage> kept;
  const auto serving = Serve(Options(), [&](VconnSession& session) {
    kept = session.Receive();
    EXPECT_FALSE(session.Receive());
  });
  auto session = Connected(Options());
  session->Send({.request = "kept"});
  session->Flush();
  session->CloseWrite();
  serving->Join();
  session.reset();
  ASSERT_TRUE(kept);
  EXPECT_EQ(Text(kept->request()), "kept");
  VconnMessage moved = std::move(*kept);
  EXPECT_EQ(Text(moved.request()), "kept");
  moved.GiveBack();
  EXPECT_TRUE(moved.request().empty());
}

TEST_P(OnVconn, GivenOptionsThatCannotBeWhenCreatedThenTheErrorSaysWhich) {
  EXPECT_EQ(ErrorOf([&] { On(server, Options(1)); }).code(), EINVAL);
  EXPECT_EQ(ErrorOf([&] { On(server, Options(1025)); }).code(), EINVAL);
  EXPECT_EQ(ErrorOf([&] { On(server, Options(4, 63)); }).code(), EINVAL);
  QpOptions stream;
  stream.framing = Framing::kStream;
  const auto qp = server.Qp(stream);
  EXPECT_EQ(ErrorOf([&] { Vconn(*server.pd, *qp); }).code(), EINVAL);
  QpOptions short_queue;
  short_queue.framing = GetParam().framing;
  short_queue.recv_depth = 4;
  const auto other = server.Qp(short_queue);
  EXPECT_EQ(ErrorOf([&] { Vconn(*server.pd, *other); }).code(), ENOMEM);
  const auto session = On(server, Options());
  EXPECT_EQ(ErrorOf([&] { session->Open(); }).code(), ENOTCONN);
  EXPECT_FALSE(session->vconn().TrySend({.request = "x"}));
}

}  // namespace
}  // namespace qpip::test
