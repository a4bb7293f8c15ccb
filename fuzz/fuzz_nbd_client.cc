// The NBD client against a server that says anything: from the greeting on, or behind a negotiation
// of each kind. Whatever it says, every command ends once, and a read that ends without an error
// has been filled.
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "client_impl.h"
#include "handshake.h"
#include "property.h"
#include "scripted_server.h"

namespace {

using qpip::nbd::Io;
using qpip::nbd::internal::ClientImpl;
using qpip::nbd::testing::Bytes;
using qpip::nbd::testing::ScriptedWire;

/// Greeting and option replies, by the machine alone.
void Negotiate(std::span<const uint8_t> bytes) {
  qpip::nbd::internal::Handshake handshake({});
  try {
    while (!handshake.done()) {
      const std::span<uint8_t> room = handshake.room();
      QPIP_FUZZ_CHECK(!room.empty());
      const size_t taken = std::min(room.size(), bytes.size());
      if (taken == 0) return;
      std::copy_n(bytes.begin(), taken, room.begin());
      bytes = bytes.subspan(taken);
      handshake.Received(taken);
      handshake.Sent(handshake.output().size());
    }
  } catch (const qpip::Error&) {  // refused by name
  }
}

struct Command {
  Io io;
  std::vector<uint8_t> memory;
  iovec run = {};
  std::array<qpip::nbd::BlockExtent, 3> extents;
  int ended = 0;
};

void Prepare(Command& command, Io::Op op, uint64_t offset) {
  constexpr size_t kBytes = 24;
  command.io.op = op;
  command.io.offset = offset;
  command.io.length = op == Io::Op::kFlush ? 0 : kBytes;
  command.memory.resize(kBytes);
  command.run = {command.memory.data(), kBytes};
  if (op == Io::Op::kRead || op == Io::Op::kWrite) command.io.data = {&command.run, 1};
  command.io.extents = command.extents;
  command.io.context = &command;
  command.io.done = [](Io& over) { ++static_cast<Command*>(over.context)->ended; };
}

/// What became of each command, whose memory held `fill` before.
std::vector<std::pair<int, std::vector<uint8_t>>> Run(uint8_t kind, std::span<const uint8_t> bytes,
                                                      uint8_t fill) {
  auto wire = std::make_unique<ScriptedWire>();
  ScriptedWire& server = *wire;
  server.script.extended = kind % 4 == 1;
  server.script.structured = kind % 4 != 3;
  server.script.receive_bytes = 1 + kind / 4;
  std::array<Command, 5> commands;
  constexpr std::array kOps = {Io::Op::kRead, Io::Op::kRead, Io::Op::kWrite, Io::Op::kFlush,
                               Io::Op::kStatus};
  {
    ClientImpl client(std::move(wire), {});
    for (size_t i = 0; i < commands.size(); ++i) {
      Prepare(commands[i], kOps[i], i * 100);
      std::fill(commands[i].memory.begin(), commands[i].memory.end(), fill);
      client.Submit(commands[i].io);
    }
    (void)client.Poll();
    server.connections[0]->Put(bytes);
    (void)client.Poll();
    server.connections[0]->closed = true;
    while (client.in_flight() > 0) (void)client.Poll();
  }
  std::vector<std::pair<int, std::vector<uint8_t>>> results;
  for (const Command& command : commands) {
    QPIP_FUZZ_CHECK(command.ended == 1);
    QPIP_FUZZ_CHECK(command.io.extent_count <= command.extents.size());
    results.emplace_back(command.io.error, command.memory);
  }
  return results;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::span<const uint8_t> bytes(data + 1, size - 1);
  if (data[0] % 4 == 0) {
    Negotiate(bytes);
    return 0;
  }
  const auto once = Run(data[0], bytes, 0x00);
  const auto again = Run(data[0], bytes, 0xff);
  for (size_t i = 0; i < 2; ++i) {  // the reads
    QPIP_FUZZ_CHECK(once[i].first == again[i].first);
    QPIP_FUZZ_CHECK(once[i].first != 0 || once[i].second == again[i].second);
  }
  return 0;
}
