// Bytes.
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "preload/interpose/interpose.h"

using namespace qpip::preload;  // NOLINT: the C library's names are outside of it

namespace {

long Receive(int fd, std::span<const iovec> to, int flags) {
  return Enter([&](Sockets& sockets) { return sockets.Receive(fd, to, flags); });
}

long Send(int fd, std::span<const iovec> from, int flags) {
  return Enter([&](Sockets& sockets) { return sockets.Send(fd, from, flags); });
}

iovec One(const void* data, size_t bytes) {
  return {.iov_base = const_cast<void*>(data), .iov_len = std::min<size_t>(bytes, 0x7ffff000)};
}

// Through a buffer: the file's pages are not the NIC's.
long SendFile(int out, int in, off_t* offset, size_t count) {
  constexpr size_t kChunk = 128 * 1024;
  off_t at = offset != nullptr ? *offset : lseek(in, 0, SEEK_CUR);
  if (at < 0) return -EINVAL;
  const auto chunk = std::make_unique<std::byte[]>(std::min(count, kChunk));
  size_t done = 0;
  long error = 0;
  while (done < count) {
    const ssize_t read = pread(in, chunk.get(), std::min(count - done, kChunk), at);
    if (read <= 0) {
      error = read < 0 ? -errno : 0;
      break;
    }
    const iovec piece = One(chunk.get(), static_cast<size_t>(read));
    const long sent = Send(out, {&piece, 1}, 0);
    if (sent == kKernel) return kKernel;
    if (sent < 0) {
      error = sent;
      break;
    }
    done += static_cast<size_t>(sent);
    at += sent;
    if (sent < read) break;
  }
  if (offset != nullptr) {
    *offset = at;
  } else {
    lseek(in, at, SEEK_SET);
  }
  return done != 0 ? static_cast<long>(done) : error;
}

}  // namespace

extern "C" {

ssize_t recv(int fd, void* data, size_t bytes, int flags) {
  QPIP_REAL(recv);
  if (!Ours(fd)) return real(fd, data, bytes, flags);
  const iovec piece = One(data, bytes);
  const long result = Receive(fd, {&piece, 1}, flags);
  return result == kKernel ? real(fd, data, bytes, flags) : Return<ssize_t>(result);
}

ssize_t recvfrom(int fd, void* data, size_t bytes, int flags, sockaddr* address,
                 socklen_t* length) {
  QPIP_REAL(recvfrom);
  if (!Ours(fd)) return real(fd, data, bytes, flags, address, length);
  const iovec piece = One(data, bytes);
  const long result = Receive(fd, {&piece, 1}, flags);
  if (result == kKernel) return real(fd, data, bytes, flags, address, length);
  if (result >= 0 && address != nullptr && length != nullptr) *length = 0;
  return Return<ssize_t>(result);
}

ssize_t read(int fd, void* data, size_t bytes) {
  QPIP_REAL(read);
  if (!Ours(fd)) return real(fd, data, bytes);
  const iovec piece = One(data, bytes);
  const long result = Receive(fd, {&piece, 1}, 0);
  return result == kKernel ? real(fd, data, bytes) : Return<ssize_t>(result);
}

ssize_t readv(int fd, const iovec* list, int count) {
  QPIP_REAL(readv);
  if (!Ours(fd) || count < 0) return real(fd, list, count);
  const long result = Receive(fd, {list, static_cast<size_t>(count)}, 0);
  return result == kKernel ? real(fd, list, count) : Return<ssize_t>(result);
}

ssize_t recvmsg(int fd, msghdr* message, int flags) {
  QPIP_REAL(recvmsg);
  if (!Ours(fd)) return real(fd, message, flags);
  const long result = Receive(fd, {message->msg_iov, message->msg_iovlen}, flags);
  if (result == kKernel) return real(fd, message, flags);
  if (result >= 0) {
    message->msg_namelen = 0;
    message->msg_controllen = 0;
    message->msg_flags = 0;
  }
  return Return<ssize_t>(result);
}

ssize_t send(int fd, const void* data, size_t bytes, int flags) {
  QPIP_REAL(send);
  if (!Ours(fd)) return real(fd, data, bytes, flags);
  const iovec piece = One(data, bytes);
  const long result = Send(fd, {&piece, 1}, flags);
  return result == kKernel ? real(fd, data, bytes, flags) : Return<ssize_t>(result);
}

ssize_t sendto(int fd, const void* data, size_t bytes, int flags, const sockaddr* address,
               socklen_t length) {
  QPIP_REAL(sendto);
  if (!Ours(fd)) return real(fd, data, bytes, flags, address, length);
  const iovec piece = One(data, bytes);
  const long result = Send(fd, {&piece, 1}, flags);
  return result == kKernel ? real(fd, data, bytes, flags, address, length)
                           : Return<ssize_t>(result);
}

ssize_t write(int fd, const void* data, size_t bytes) {
  QPIP_REAL(write);
  if (!Ours(fd)) return real(fd, data, bytes);
  const iovec piece = One(data, bytes);
  const long result = Send(fd, {&piece, 1}, 0);
  return result == kKernel ? real(fd, data, bytes) : Return<ssize_t>(result);
}

ssize_t writev(int fd, const iovec* list, int count) {
  QPIP_REAL(writev);
  if (!Ours(fd) || count < 0) return real(fd, list, count);
  const long result = Send(fd, {list, static_cast<size_t>(count)}, 0);
  return result == kKernel ? real(fd, list, count) : Return<ssize_t>(result);
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  QPIP_REAL(sendmsg);
  if (!Ours(fd)) return real(fd, message, flags);
  const long result = Send(fd, {message->msg_iov, message->msg_iovlen}, flags);
  return result == kKernel ? real(fd, message, flags) : Return<ssize_t>(result);
}

int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  QPIP_REAL(sendmmsg);
  if (!Ours(fd)) return real(fd, messages, count, flags);
  for (unsigned i = 0; i < count; ++i) {
    const ssize_t sent = sendmsg(fd, &messages[i].msg_hdr, flags);
    if (sent < 0) return i != 0 ? static_cast<int>(i) : -1;
    messages[i].msg_len = static_cast<unsigned>(sent);
  }
  return static_cast<int>(count);
}

int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  QPIP_REAL(recvmmsg);
  if (!Ours(fd)) return real(fd, messages, count, flags, timeout);
  for (unsigned i = 0; i < count; ++i) {
    // Those behind the first are taken as far as they are there.
    const ssize_t received =
        recvmsg(fd, &messages[i].msg_hdr, i == 0 ? flags : flags | MSG_DONTWAIT);
    if (received < 0) return i != 0 ? static_cast<int>(i) : -1;
    messages[i].msg_len = static_cast<unsigned>(received);
    if (received == 0) return static_cast<int>(i + 1);
  }
  return static_cast<int>(count);
}

ssize_t sendfile(int out, int in, off_t* offset, size_t count) noexcept {
  QPIP_REAL(sendfile);
  if (!Ours(out)) return real(out, in, offset, count);
  const long result = SendFile(out, in, offset, count);
  return result == kKernel ? real(out, in, offset, count) : Return<ssize_t>(result);
}

ssize_t sendfile64(int out, int in, off64_t* offset, size_t count) noexcept {
  return sendfile(out, in, offset, count);
}

// Programs go on with read and write then.
ssize_t splice(int in, off64_t* in_offset, int out, off64_t* out_offset, size_t bytes,
               unsigned flags) {
  QPIP_REAL(splice);
  if (!Ours(in) && !Ours(out)) return real(in, in_offset, out, out_offset, bytes, flags);
  return Return<ssize_t>(-EINVAL);
}

// What -D_FORTIFY_SOURCE makes of them. The program has been compiled with the room in mind.
ssize_t __read_chk(int fd, void* data, size_t bytes, size_t room) {
  if (bytes > room) __builtin_trap();
  return read(fd, data, bytes);
}
ssize_t __recv_chk(int fd, void* data, size_t bytes, size_t room, int flags) {
  if (bytes > room) __builtin_trap();
  return recv(fd, data, bytes, flags);
}
ssize_t __recvfrom_chk(int fd, void* data, size_t bytes, size_t room, int flags, sockaddr* address,
                       socklen_t* length) {
  if (bytes > room) __builtin_trap();
  return recvfrom(fd, data, bytes, flags, address, length);
}

}  // extern "C"
