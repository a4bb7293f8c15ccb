#include "apps/nbd/transport.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace qpip::nbd {

size_t Transport::ReadSome(std::span<std::byte> out) {
  iovec run = {};
  const Readable readable = Look({&run, 1}, WaitFor::kRestOfMessage);
  if (readable.ended) throw ConnectionLost("the peer closed in the middle of a message");
  if (readable.runs == 0) return 0;
  const size_t bytes = std::min(run.iov_len, out.size());
  std::memcpy(out.data(), run.iov_base, bytes);
  Consume(bytes);
  return bytes;
}

bool ReadExact(Transport& transport, std::span<uint8_t> out, WaitFor first_byte) {
  size_t done = 0;
  while (done < out.size()) {
    if (done == 0) {
      iovec run = {};
      const Readable readable = transport.Look({&run, 1}, first_byte);
      if (readable.ended) return false;
    }
    const size_t taken = transport.ReadSome(std::as_writable_bytes(out.subspan(done)));
    done += taken;
    if (taken == 0) {
      const WaitFor what = done == 0 ? first_byte : WaitFor::kRestOfMessage;
      transport.Await(nullptr, what, true, kUntilEvent);
    }
  }
  return true;
}

void Drain(Transport& transport, uint64_t bytes) {
  std::array<std::byte, 4096> forgotten;
  while (bytes > 0) {
    const size_t most = static_cast<size_t>(std::min<uint64_t>(bytes, forgotten.size()));
    const size_t taken = transport.ReadSome(std::span(forgotten).first(most));
    bytes -= taken;
    if (taken == 0) transport.Await(nullptr, WaitFor::kRestOfMessage, true, kUntilEvent);
  }
}

}  // namespace qpip::nbd
