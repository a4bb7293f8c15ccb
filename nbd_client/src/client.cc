#include "client_impl.h"
#include "qpip/nbd.h"

namespace qpip::nbd {

Client::Client(Nic& nic, ProtectionDomain& pd, const Endpoint& server, const ClientOptions& options)
    : impl_(std::make_unique<internal::ClientImpl>(
          internal::MakeQpWire(nic, pd, server, options.keepalive), options)) {}

Client::Client(const std::string& where, const ClientOptions& options)
    : impl_(std::make_unique<internal::ClientImpl>(
          internal::MakeSocketWire(where, options.keepalive), options)) {}

Client::~Client() = default;

const ExportFacts& Client::facts() const { return impl_->facts(); }
ClientCounts Client::counts() const { return impl_->counts(); }
size_t Client::connections() const { return impl_->connections(); }
const std::string& Client::failure() const { return impl_->failure(); }
std::span<std::byte> Client::Allocate(size_t bytes) { return impl_->wire().Allocate(bytes); }
void Client::Use(const MemoryRegion& region) { impl_->wire().Use(region); }
void Client::Submit(Io& io) { impl_->Submit(io); }
size_t Client::in_flight() const { return impl_->in_flight(); }
size_t Client::Poll() { return impl_->Poll(); }
size_t Client::Wait(Timeout timeout) { return impl_->Wait(timeout); }
int Client::fd() { return impl_->fd(); }
bool Client::Arm() { return impl_->Arm(); }

int Client::Do(Io& io) {
  bool over = false;
  io.context = &over;
  io.done = [](Io& ended) { *static_cast<bool*>(ended.context) = true; };
  impl_->Submit(io);
  while (!over) (void)impl_->Wait(std::nullopt);
  return io.error;
}

namespace {

int DoRange(Client& client, Io::Op op, uint64_t offset, uint64_t length, uint32_t flags) {
  Io io;
  io.op = op;
  io.flags = flags;
  io.offset = offset;
  io.length = length;
  return client.Do(io);
}

int DoData(Client& client, Io::Op op, uint64_t offset, const iovec& run, uint32_t flags) {
  Io io;
  io.op = op;
  io.flags = flags;
  io.offset = offset;
  io.length = run.iov_len;
  io.data = {&run, 1};
  return client.Do(io);
}

}  // namespace

int Client::Read(uint64_t offset, std::span<std::byte> into) {
  return DoData(*this, Io::Op::kRead, offset, {into.data(), into.size()}, 0);
}

int Client::Write(uint64_t offset, std::span<const std::byte> from, uint32_t flags) {
  return DoData(*this, Io::Op::kWrite, offset, {const_cast<std::byte*>(from.data()), from.size()},
                flags);
}

int Client::Flush() { return DoRange(*this, Io::Op::kFlush, 0, 0, 0); }

int Client::Trim(uint64_t offset, uint64_t length, uint32_t flags) {
  return DoRange(*this, Io::Op::kTrim, offset, length, flags);
}

int Client::Zero(uint64_t offset, uint64_t length, uint32_t flags) {
  return DoRange(*this, Io::Op::kZero, offset, length, flags);
}

int Client::Cache(uint64_t offset, uint64_t length) {
  return DoRange(*this, Io::Op::kCache, offset, length, 0);
}

int Client::Status(uint64_t offset, uint64_t length, std::span<BlockExtent> extents,
                   size_t* count) {
  Io io;
  io.op = Io::Op::kStatus;
  io.offset = offset;
  io.length = length;
  io.extents = extents;
  const int error = Do(io);
  *count = io.extent_count;
  return error;
}

}  // namespace qpip::nbd
