#include "apps/nbd/transport.h"

#include <algorithm>
#include <cstring>

namespace qpip::nbd {

bool ReadExact(Transport& transport, std::span<uint8_t> out, WaitFor first_byte) {
  size_t done = 0;
  while (done < out.size()) {
    iovec run = {};
    const WaitFor what = done == 0 ? first_byte : WaitFor::kRestOfMessage;
    if (transport.WaitReadable({&run, 1}, what) == 0) {
      if (done == 0) return false;
      throw ConnectionLost("the peer closed in the middle of a message");
    }
    const size_t bytes = std::min(run.iov_len, out.size() - done);
    std::memcpy(out.data() + done, run.iov_base, bytes);
    transport.Consume(bytes);
    done += bytes;
  }
  return true;
}

void Drain(Transport& transport, uint64_t bytes) {
  while (bytes > 0) {
    iovec run = {};
    if (transport.WaitReadable({&run, 1}, WaitFor::kRestOfMessage) == 0) {
      throw ConnectionLost("the peer closed in the middle of a message");
    }
    const auto taken = static_cast<size_t>(std::min<uint64_t>(run.iov_len, bytes));
    transport.Consume(taken);
    bytes -= taken;
  }
}

}  // namespace qpip::nbd
