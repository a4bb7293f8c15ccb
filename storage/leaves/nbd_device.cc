#include "storage/leaves/nbd_device.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

namespace qpip::storage {

namespace {

using nbd::Io;

/// How many extents of one status are taken; a server may tell more.
constexpr size_t kMostExtents = 512;

Io::Op OpOf(Op op) {
  switch (op) {
    case Op::kRead:
      return Io::Op::kRead;
    case Op::kWrite:
      return Io::Op::kWrite;
    case Op::kFlush:
      return Io::Op::kFlush;
    case Op::kTrim:
      return Io::Op::kTrim;
    case Op::kZero:
      return Io::Op::kZero;
    case Op::kCache:
      return Io::Op::kCache;
    case Op::kStatus:
      return Io::Op::kStatus;
  }
  return Io::Op::kRead;
}

uint32_t FlagsOf(uint32_t flags) {
  uint32_t out = 0;
  if ((flags & kFua) != 0) out |= Io::kFua;
  if ((flags & kNoHole) != 0) out |= Io::kNoHole;
  if ((flags & kFastZero) != 0) out |= Io::kFastZero;
  if ((flags & kOneExtent) != 0) out |= Io::kOneExtent;
  return out;
}

/// Fills a status from what the server has told, which may end behind the range.
void TakeExtents(Request& request, std::span<const nbd::BlockExtent> extents) {
  static_assert(kHole == nbd::BlockExtent::kHole && kZeroes == nbd::BlockExtent::kZeroes);
  uint64_t left = request.length;
  for (const nbd::BlockExtent& extent : extents) {
    const uint64_t bytes = std::min(extent.length, left);
    if (bytes == 0 || !request.extents->Add(bytes, extent.flags)) return;
    left -= bytes;
    if ((request.flags & kOneExtent) != 0) return;
  }
}

Geometry GeometryOf(const nbd::ExportFacts& facts) {
  Geometry geometry;
  geometry.bytes = facts.bytes;
  geometry.minimum = facts.minimum;
  geometry.preferred = facts.preferred;
  geometry.read_only = facts.read_only;
  geometry.rotational = facts.rotational;
  geometry.trim = facts.trim;
  geometry.fast_zero = facts.fast_zero;
  geometry.shared_flush = facts.multi_conn;
  return geometry;
}

}  // namespace

/// An executor's client.
class NbdDevice::Upstream : public Source {
 public:
  /// `client`: the first; nullptr: one is made.
  Upstream(std::unique_ptr<nbd::Client> client, const nbd::ClientOptions& options,
           const Connect& connect)
      : options_(options),
        connect_(connect),
        client_(std::move(client)),
        epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    // Where a flush covers its own connections alone, so does what is known of it; over the end of
    // one client, too.
    if (!options.expected->multi_conn && !client_) {
      options_.ledger = std::make_shared<nbd::ChangeLedger>();
    }
    client_ ? Watch() : Begin();
  }
  ~Upstream() override {
    over_.reset();
    client_.reset();
    if (epoll_ >= 0) close(epoll_);
  }

  /// Throws qpip::Error.
  void Submit(Request& request) {
    if (!client_->failure().empty() && client_->in_flight() == 0) Begin();
    Io& io = request.Scratch<Io>();
    io.op = OpOf(request.op);
    io.flags = FlagsOf(request.flags);
    io.offset = request.offset;
    io.length = request.length;
    io.data = request.data;
    io.context = &request;
    io.done = [](Io& over) { Complete(*static_cast<Request*>(over.context), over.error); };
    if (request.op == Op::kStatus) Prepare(io);
    client_->Submit(io);
  }

  bool Run() override {
    polls_ = true;
    const bool any = client_->Poll() > 0;
    polls_ = false;
    over_.reset();
    return any;
  }
  bool Arm() override { return client_->Arm(); }
  int fd() const override { return epoll_; }

 private:
  struct Room {
    Request* request = nullptr;
    Upstream* upstream = nullptr;
    std::array<nbd::BlockExtent, kMostExtents> extents;
  };

  /// Another client, in place of one that has failed.
  void Begin() {
    std::unique_ptr<nbd::Client> made = connect_(options_);
    // A request that ends may submit the next one: then it is the old client that runs.
    if (polls_) over_ = std::move(client_);
    client_ = std::move(made);
    Watch();
  }
  void Watch() {
    epoll_event event = {};
    event.events = EPOLLIN;
    if (epoll_ >= 0) epoll_ctl(epoll_, EPOLL_CTL_ADD, client_->fd(), &event);
  }
  void Prepare(Io& io) {
    if (rooms_.empty()) rooms_.push_back(std::make_unique<Room>());
    Room* const room = rooms_.back().release();
    rooms_.pop_back();
    room->request = static_cast<Request*>(io.context);
    room->upstream = this;
    io.extents = room->extents;
    io.context = room;
    io.done = [](Io& over) {
      std::unique_ptr<Room> mine(static_cast<Room*>(over.context));
      Request& asked = *mine->request;
      const int error = over.error;
      if (error == 0) TakeExtents(asked, over.extents.first(over.extent_count));
      mine->upstream->rooms_.push_back(std::move(mine));
      Complete(asked, error);
    };
  }

  nbd::ClientOptions options_;
  const Connect& connect_;
  std::vector<std::unique_ptr<Room>> rooms_;  ///< not in use
  bool polls_ = false;
  std::unique_ptr<nbd::Client> over_;  ///< failed, and still polled
  std::unique_ptr<nbd::Client> client_;
  int epoll_;
};

NbdDevice::NbdDevice(const nbd::ClientOptions& options, Connect connect)
    : options_(options), connect_(std::move(connect)) {
  if (!options_.ledger) options_.ledger = std::make_shared<nbd::ChangeLedger>();
  first_ = connect_(options_);
  options_.start_only = true;
  options_.expected = first_->facts();
  geometry_ = GeometryOf(first_->facts());
}

NbdDevice::~NbdDevice() = default;

NbdDevice::Upstream* NbdDevice::UpstreamOf(Executor& executor) {
  if (Source* const found = executor.FindSource(this)) return static_cast<Upstream*>(found);
  std::unique_ptr<nbd::Client> client;
  {
    const std::lock_guard lock(mutex_);
    client = std::move(first_);
  }
  auto made = std::make_unique<Upstream>(std::move(client), options_, connect_);
  Upstream* const upstream = made.get();
  return executor.AddSource(this, std::move(made)) ? upstream : nullptr;
}

void NbdDevice::Submit(Request& request) {
  if (request.op == Op::kStatus && !options_.expected->block_status) {
    request.extents->Add(request.length, 0);
    return Complete(request, 0);
  }
  int error = ENOTSUP;
  try {
    if (Upstream* const upstream = UpstreamOf(*request.executor)) {
      return upstream->Submit(request);
    }
  } catch (const Error& failure) {
    error = failure.code();
  }
  Complete(request, error);
}

}  // namespace qpip::storage
