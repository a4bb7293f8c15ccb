// A client, a server in memory, and what tests of both share.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <numeric>

#include "client_impl.h"
#include "scripted_server.h"

namespace qpip::nbd::testing {

using internal::ClientImpl;
using std::chrono::milliseconds;

inline Bytes Ramp(size_t bytes, uint8_t first = 1) {
  Bytes ramp(bytes);
  std::iota(ramp.begin(), ramp.end(), first);
  return ramp;
}

/// A command of the test's, with its memory.
struct Command {
  explicit Command(Io::Op op, uint64_t offset = 0, uint64_t length = 0, uint32_t flags = 0) {
    io.op = op;
    io.offset = offset;
    io.length = length;
    io.flags = flags;
    io.context = this;
    io.done = [](Io& over) { ++static_cast<Command*>(over.context)->ended; };
    if (op == Io::Op::kRead || op == Io::Op::kWrite) {
      memory.resize(length, 0xee);
      run = {memory.data(), memory.size()};
      io.data = {&run, 1};
    }
    io.extents = extents;
  }
  Command(const Command&) = delete;

  Io io;
  Bytes memory;
  iovec run = {};
  std::array<BlockExtent, 4> extents;
  int ended = 0;
};

/// Given a client, one connection and what the script says.
class ClientTest : public ::testing::Test {
 protected:
  ClientImpl& Start(const ClientOptions& options = {}) {
    auto wire = std::make_unique<ScriptedWire>();
    wire_ = wire.get();
    wire_->script = script_;
    client_ = std::make_unique<ClientImpl>(std::move(wire), options);
    return *client_;
  }
  ClientImpl& StartCompact(ClientOptions options = {}) {
    script_.extended = false;
    return Start(options);
  }
  Connection& server(size_t index = 0) { return *wire_->connections.at(index); }
  /// Submits and sends.
  void Submit(Command& command) {
    client_->Submit(command.io);
    client_->Poll();
  }
  /// The next request that a connection has got.
  Connection::Asked Next(size_t index = 0) {
    EXPECT_FALSE(server(index).asked.empty());
    if (server(index).asked.empty()) return {};
    Connection::Asked asked = server(index).asked.front();
    server(index).asked.erase(server(index).asked.begin());
    return asked;
  }
  /// Until a command has ended, while time passes.
  void Finish(const Command& command) {
    while (command.ended == 0) client_->Poll();
  }

  Script script_;
  ScriptedWire* wire_ = nullptr;  ///< the client's
  std::unique_ptr<ClientImpl> client_;
};

}  // namespace qpip::nbd::testing
