// A server that breaks the protocol is gone on with no more.
#include <gtest/gtest.h>

#include <functional>

#include "client_fixture.h"

namespace qpip::nbd::testing {
namespace {

class BreachTest : public ClientTest {
 protected:
  /// Given a read in flight, when the server sends what `put` puts.
  void Expect(const std::function<void(Connection&, uint64_t cookie)>& put) {
    Start({.reconnect = milliseconds(1000)});
    Command read(Io::Op::kRead, 0, 512);
    Submit(read);
    put(server(), Next().request.cookie);
    client_->Poll();
    EXPECT_EQ(read.ended, 1);
    EXPECT_EQ(read.io.error, EPROTO);
    EXPECT_EQ(wire_->alive, 0u);
    EXPECT_FALSE(client_->failure().empty());
  }
};

TEST_F(BreachTest, NoReply) {
  Expect([](Connection& server, uint64_t) { server.Put(Bytes(64, 0x55)); });
}
TEST_F(BreachTest, AnUnknownCookie) {
  Expect([](Connection& server, uint64_t cookie) { server.PutData(cookie + 1, 0, Ramp(512)); });
}
TEST_F(BreachTest, LessThanAllData) {
  Expect([](Connection& server, uint64_t cookie) { server.PutData(cookie, 0, Ramp(511)); });
}
TEST_F(BreachTest, DataBesideTheRange) {
  Expect([](Connection& server, uint64_t cookie) { server.PutData(cookie, 1, Ramp(512)); });
}
TEST_F(BreachTest, DataThatComesTwice) {
  Expect([](Connection& server, uint64_t cookie) {
    server.PutData(cookie, 0, Ramp(256), false);
    server.PutData(cookie, 255, Ramp(256));
  });
}
TEST_F(BreachTest, AHoleWhereDataWas) {
  Expect([](Connection& server, uint64_t cookie) {
    server.PutData(cookie, 256, Ramp(256), false);
    server.PutHole(cookie, 256, 256);
  });
}
TEST_F(BreachTest, DataOfAnotherPlace) {
  Expect([](Connection& server, uint64_t cookie) {
    server.PutData(cookie, UINT64_MAX - 100, Ramp(512));
  });
}
TEST_F(BreachTest, AHoleBesideTheRange) {
  Expect([](Connection& server, uint64_t cookie) { server.PutHole(cookie, 512, 512); });
}
TEST_F(BreachTest, DataInASimpleReply) {
  Expect([](Connection& server, uint64_t cookie) { server.PutSimple(cookie, 0, Ramp(512)); });
}
TEST_F(BreachTest, AStatusThatNobodyAskedFor) {
  Expect([](Connection& server, uint64_t cookie) { server.PutStatus(cookie, {{512, 0}}); });
}
TEST_F(BreachTest, AChunkOfUnknownType) {
  Expect([](Connection& server, uint64_t cookie) { server.PutChunk(cookie, 99, Ramp(8)); });
}

}  // namespace
}  // namespace qpip::nbd::testing
