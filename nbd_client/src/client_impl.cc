#include "client_impl.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace qpip::nbd::internal {

namespace {

constexpr unsigned kMaxConnectionsOfOne = 64;
constexpr uint32_t kMaxDepth = 4096;
/// Longest payload of one request: what is longer is cut, so that pieces share the connections.
constexpr uint64_t kMostPayload = 8u << 20;
/// Longest range without payload: compact headers have 32 bits for it.
constexpr uint64_t kMostRange = 1u << 30;
/// The same of what must not be cut.
constexpr uint64_t kMostAtOnce = UINT32_MAX;
constexpr auto kFirstBackoff = std::chrono::milliseconds(4);
constexpr auto kLongestBackoff = std::chrono::milliseconds(256);
constexpr auto kGoodbye = std::chrono::seconds(1);

// Io::stage
constexpr uint8_t kAllSent = 1;   ///< all its pieces have been made
constexpr uint8_t kFlushing = 2;  ///< a flush stands for FUA
constexpr uint8_t kNeedsFlush = 4;

bool IsFastZero(const Io& io) { return io.op == Io::Op::kZero && (io.flags & Io::kFastZero) != 0; }

bool IsChange(Io::Op op) {
  return op == Io::Op::kWrite || op == Io::Op::kTrim || op == Io::Op::kZero;
}

Command CommandOf(Io::Op op) {
  switch (op) {
    case Io::Op::kRead:
      return kCommandRead;
    case Io::Op::kWrite:
      return kCommandWrite;
    case Io::Op::kFlush:
      return kCommandFlush;
    case Io::Op::kTrim:
      return kCommandTrim;
    case Io::Op::kZero:
      return kCommandWriteZeroes;
    case Io::Op::kCache:
      return kCommandCache;
    case Io::Op::kStatus:
      return kCommandBlockStatus;
  }
  return kCommandRead;
}

int OpenEpoll(int wire, int timer) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  for (const int fd : {wire, timer}) {
    epoll_event event = {};
    event.events = EPOLLIN;
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
      const int error = errno;
      if (epoll >= 0) close(epoll);
      throw Error(error, std::string("no descriptor: ") + std::strerror(error));
    }
  }
  return epoll;
}

}  // namespace

ClientImpl::ClientImpl(std::unique_ptr<Wire> wire, const ClientOptions& options)
    : options_(options),
      wire_(std::move(wire)),
      ledger_(options.ledger ? options.ledger : std::make_shared<ChangeLedger>()),
      // As of a file that is opened: what no flush has said yet is said to the next one.
      told_losses_(ledger_->reported()) {
  if (options.expected) facts_ = *options.expected;
  if (options.connections < 1 || options.connections > kMaxConnectionsOfOne) {
    throw Error(EINVAL, "bad number of connections: " + std::to_string(options.connections) +
                            ": 1 to " + std::to_string(kMaxConnectionsOfOne));
  }
  if (options.depth < 1 || options.depth > kMaxDepth) {
    throw Error(EINVAL, "bad depth: " + std::to_string(options.depth) + ": 1 to " +
                            std::to_string(kMaxDepth));
  }
  if (options.export_name.size() > kMaxNameBytes) {
    throw Error(EINVAL,
                "export name too long: at most " + std::to_string(kMaxNameBytes) + " bytes");
  }
  links_.push_back(std::make_unique<Link>(*wire_, options_, *this));
  if (!options_.start_only) AwaitConnections();
}

ClientImpl::~ClientImpl() {
  try {
    const auto deadline = Clock::now() + kGoodbye;
    for (const auto& link : links_) {
      if (!link->ready() || link->in_flight() > 0) continue;
      try {
        link->Disconnect(Clock::now());
        for (;;) {  // until the server closes, which is thrown
          const auto now = Clock::now();
          if (now >= deadline) break;
          link->Send(now);
          link->Receive(now);
          (void)wire_->Wait(std::chrono::nanoseconds(deadline - now));
        }
      } catch (const Error&) {
      }
    }
    Fail(ECANCELED, "the client has ended");
    (void)Deliver();
  } catch (const std::exception&) {  // a callback's own
  }
  if (epoll_ >= 0) close(epoll_);
  if (timer_ >= 0) close(timer_);
}

void ClientImpl::AwaitConnections() {
  const auto patience_ends = Clock::now() + options_.patience;
  for (;;) {
    (void)Poll();
    if (failed_ != 0) throw Error(failed_, failure_);
    if (ever_ready_ && connections() == links_.size()) return;
    const auto now = Clock::now();
    if (ever_ready_ && now >= patience_ends) return;
    std::optional<Clock::time_point> limit;
    if (ever_ready_) limit = patience_ends;
    (void)wire_->Wait(UntilDeadline(now, limit));
  }
}

size_t ClientImpl::connections() const {
  return static_cast<size_t>(
      std::count_if(links_.begin(), links_.end(), [](const auto& link) { return link->ready(); }));
}

// --- Poll

size_t ClientImpl::Poll() {
  auto now = Clock::now();
  try {
    if (failed_ == 0) {
      (void)wire_->Poll();
      RunLinks(now);
    }
    // What callbacks submit leaves at once too.
    Dispatch();
    SendAll(now);
    const size_t ended = Deliver();
    if (ended > 0) {
      Dispatch();
      SendAll(now);
    }
    return ended;
  } catch (const Error& error) {  // the NIC has ended
    Fail(error.code(), error.what());
    return Deliver();
  }
}

size_t ClientImpl::Wait(Timeout timeout) {
  std::optional<Clock::time_point> ends;
  if (timeout) ends = Clock::now() + *timeout;
  for (;;) {
    const size_t ended = Poll();
    if (ended > 0 || in_flight_ == 0) return ended;
    const auto now = Clock::now();
    if (ends && now >= *ends) return 0;
    try {
      (void)wire_->Wait(UntilDeadline(now, ends));
    } catch (const Error& error) {
      Fail(error.code(), error.what());
    }
  }
}

void ClientImpl::RunLinks(Clock::time_point now) {
  for (size_t i = 0; i < links_.size() && failed_ == 0; ++i) RunLink(*links_[i], now);
}

void ClientImpl::RunLink(Link& link, Clock::time_point now) {
  try {
    if (link.state() == Link::State::kDown) {
      if (now < link.next_attempt) return;
      link.Start(now);
    }
    if (!link.ready() && link.Advance(now)) OnReady(link);
    if (link.ready()) link.Receive(now);
    link.ThrowIfOverdue(now);
  } catch (const Refusal& error) {
    OnLoss(link, error, true, now);
  } catch (const Error& error) {
    OnLoss(link, error, false, now);
  }
}

void ClientImpl::OnReady(Link& link) {
  const ExportFacts& found = link.agreed().facts;
  if (ever_ready_ || options_.expected) CompareFacts(found);
  if (!ever_ready_) {
    facts_ = found;
    const unsigned more = found.multi_conn ? options_.connections - 1 : 0;
    for (unsigned i = 0; i < more; ++i) {
      links_.push_back(std::make_unique<Link>(*wire_, options_, *this));
    }
  }
  ever_ready_ = true;
  lost_since_.reset();
  if (!refusing_since_) link.backoff = std::chrono::milliseconds(0);
  link.changes_before = ledger_->answered();
  if (std::exchange(link.was_ready, true)) ++counts_.reconnects;
}

void ClientImpl::CompareFacts(const ExportFacts& found) const {
  const auto lost = [](bool before, bool now) { return before && !now; };
  const bool other = found.bytes != facts_.bytes || lost(!facts_.read_only, !found.read_only) ||
                     lost(facts_.flush, found.flush) || lost(facts_.fua, found.fua) ||
                     lost(facts_.trim, found.trim) || lost(facts_.zero, found.zero) ||
                     lost(facts_.fast_zero, found.fast_zero) || lost(facts_.cache, found.cache) ||
                     lost(facts_.multi_conn, found.multi_conn) ||
                     lost(facts_.block_status, found.block_status) ||
                     found.minimum > facts_.minimum || found.maximum < facts_.maximum;
  if (other) throw Refusal(ESTALE, "the export is another one than before");
}

void ClientImpl::OnLoss(Link& link, const Error& error, bool refused, Clock::time_point now) {
  // What breaks the protocol in the middle would do it again.
  const bool was_up = link.ready();
  const bool broken = refused && was_up;
  const int code = error.code();
  const std::string text = error.what();
  const std::vector<Piece> pieces = link.Drop();
  if (was_up) ledger_->OnLoss();
  PutBack(pieces);
  const auto limit = ever_ready_ ? options_.reconnect : options_.patience;
  // A connection more than the first may be refused: there are others.
  const bool gives_up =
      link.was_ready ? limit.count() == 0 : !ever_ready_ && refused && code != ESHUTDOWN;
  if (broken || gives_up) return Fail(code, text);
  if (was_up && code == ESHUTDOWN) {
    // It may be there again each time, and shut down for ever.
    if (!refusing_since_) refusing_since_ = now;
    if (now - *refusing_since_ >= limit) return Fail(code, text);
  }
  if (connections() == 0) {
    if (!lost_since_) lost_since_ = now;
    if (now - *lost_since_ >= limit) return Fail(code, text);
  }
  link.next_attempt = now + link.backoff;
  if (lost_since_) link.next_attempt = std::min(link.next_attempt, *lost_since_ + limit);
  link.backoff = std::clamp(2 * link.backoff, kFirstBackoff, kLongestBackoff);
}

void ClientImpl::PutBack(const std::vector<Piece>& pieces) {
  for (const Piece& piece : pieces) {
    if (IsChange(piece.command) && !options_.replay_changes) {
      Piece over = piece;
      over.error = ECONNRESET;
      OnPieceDone(over);
    } else {
      again_.push_back(piece);
      ++counts_.replayed;
    }
  }
}

void ClientImpl::SendAll(Clock::time_point now) {
  for (const auto& link : links_) {
    if (!link->ready()) continue;
    try {
      link->Send(now);
    } catch (const Error& error) {
      OnLoss(*link, error, false, now);
    }
  }
}

size_t ClientImpl::Deliver() {
  IoList over = std::exchange(over_, {});
  size_t ended = 0;
  while (!over.empty()) {
    Io& io = over.Pop();
    --in_flight_;
    ++counts_.commands;
    ++ended;
    if (io.done != nullptr) io.done(io);
  }
  return ended;
}

void ClientImpl::Fail(int code, const std::string& text) {
  if (failed_ != 0) return;
  failed_ = code == 0 ? EIO : code;
  failure_ = text;
  std::vector<Piece> pieces;
  for (const auto& link : links_) {
    for (const Piece& piece : link->Drop()) pieces.push_back(piece);
  }
  pieces.insert(pieces.end(), again_.begin(), again_.end());
  again_.clear();
  for (Piece& piece : pieces) {
    piece.error = failed_;
    OnPieceDone(piece);
  }
  while (!waiting_.empty()) {
    Io& io = waiting_.front();
    if (io.error == 0) io.error = failed_;
    AllSent(io);
  }
}

// --- Commands

void ClientImpl::Submit(Io& io) {
  io.error = 0;
  io.pieces = 0;
  io.stage = 0;
  io.extent_count = 0;
  ++in_flight_;
  waiting_.Push(io);
}

Link* ClientImpl::PickLink() {
  Link* best = nullptr;
  for (const auto& link : links_) {
    if (link->HasRoom() && (best == nullptr || link->in_flight() < best->in_flight())) {
      best = link.get();
    }
  }
  return best;
}

void ClientImpl::Dispatch() {
  while (!again_.empty()) {
    Link* const link = PickLink();
    if (link == nullptr) return;
    Piece piece = again_.front();
    again_.pop_front();
    if (piece.command == kCommandFlush && suspect()) {  // it would not cover what was lost
      piece.error = EIO;
      OnPieceDone(piece);
    } else {
      link->Take(piece);
    }
  }
  while (!waiting_.empty()) {
    if (failed_ != 0) {
      waiting_.front().error = failed_;
      AllSent(waiting_.front());
      continue;
    }
    Link* const link = PickLink();
    if (link == nullptr) return;
    Piece piece;
    if (CutPiece(&piece)) link->Take(piece);
  }
}

int ClientImpl::Check(const Io& io) const {
  if (io.op == Io::Op::kFlush) return suspect() ? EIO : 0;
  if (io.length == 0 || io.offset > facts_.bytes || io.length > facts_.bytes - io.offset) {
    return EINVAL;
  }
  if ((io.offset | io.length) % facts_.minimum != 0) return EINVAL;
  if (IsChange(io.op) && facts_.read_only) return EPERM;
  if (io.op == Io::Op::kStatus) return facts_.block_status && !io.extents.empty() ? 0 : EINVAL;
  // ENOTSUP is that nothing has changed: of pieces, some would have.
  const bool has_fast_zero = facts_.zero && facts_.fast_zero;
  if (IsFastZero(io) && (!has_fast_zero || io.length > MostBytes(io))) return ENOTSUP;
  if (io.op != Io::Op::kRead && io.op != Io::Op::kWrite) return 0;
  uint64_t bytes = 0;
  for (const iovec& run : io.data) bytes += run.iov_len;
  return bytes == io.length ? 0 : EINVAL;
}

bool ClientImpl::IsDoneHere(const Io& io) const {
  switch (io.op) {
    case Io::Op::kFlush:
      return !facts_.flush;
    case Io::Op::kTrim:
      return !facts_.trim;
    case Io::Op::kCache:
      return !facts_.cache;
    default:
      return false;
  }
}

uint64_t ClientImpl::MostBytes(const Io& io) const {
  const bool payload =
      io.op == Io::Op::kRead || io.op == Io::Op::kWrite || (io.op == Io::Op::kZero && !facts_.zero);
  // What a server has advertised as its maximum holds for these without payload too, but not for a
  // fast zero ("Block size constraints").
  const bool limited = io.op == Io::Op::kZero || io.op == Io::Op::kCache;
  uint64_t most = kMostRange;
  if (payload) {
    most = std::min<uint64_t>(facts_.maximum, kMostPayload);
  } else if (IsFastZero(io)) {
    most = kMostAtOnce;
  } else if (limited) {
    most = std::min<uint64_t>(facts_.maximum, kMostRange);
  }
  return std::max<uint64_t>(most - most % facts_.minimum, facts_.minimum);
}

bool ClientImpl::CutPiece(Piece* piece) {
  Io& io = waiting_.front();
  if (cut_ == 0) {
    io.error = Check(io);
    if (io.op == Io::Op::kFlush && io.error == EIO) {
      told_losses_ = ledger_->losses();
      ledger_->OnReported(told_losses_);
    }
    if (io.error != 0 || IsDoneHere(io)) {
      AllSent(io);
      return false;
    }
  }
  if (io.error != 0) {  // a piece has failed: the rest is not worth the way
    AllSent(io);
    return false;
  }
  piece->io = &io;
  piece->command = CommandOf(io.op);
  piece->offset = io.op == Io::Op::kFlush ? 0 : io.offset + cut_;
  piece->length = io.op == Io::Op::kFlush ? 0 : std::min(MostBytes(io), io.length - cut_);
  piece->changes = ledger_->answered();
  if (io.op == Io::Op::kZero) {
    piece->zeroes = !facts_.zero;
    if (piece->zeroes) piece->command = kCommandWrite;
    if (!piece->zeroes && (io.flags & Io::kNoHole) != 0) piece->flags |= kCommandNoHole;
    if (IsFastZero(io)) piece->flags |= kCommandFastZero;
  }
  if (io.op == Io::Op::kStatus && (io.flags & Io::kOneExtent) != 0) piece->flags |= kCommandReqOne;
  if (IsChange(io.op) && (io.flags & Io::kFua) != 0) {
    if (facts_.fua) {
      piece->flags |= kCommandFua;
    } else if (facts_.flush) {
      io.stage |= kNeedsFlush;
    }
  }
  ++io.pieces;
  cut_ += piece->length;
  // A status is of where the range begins: one piece tells as much as the server likes.
  if (cut_ == io.length || io.op == Io::Op::kFlush || io.op == Io::Op::kStatus) AllSent(io);
  return true;
}

void ClientImpl::AllSent(Io& io) {
  (void)waiting_.Pop();
  cut_ = 0;
  io.stage |= kAllSent;
  EndIfOver(io);
}

void ClientImpl::OnPieceDone(const Piece& piece) {
  Io& io = *piece.io;
  --io.pieces;
  if (piece.error == 0) refusing_since_.reset();
  int error = piece.error;
  if (error == 0 && piece.command == kCommandFlush) {
    // Another client may have lost meanwhile what this flush was to cover.
    if (suspect()) {
      error = EIO;
    } else {
      ledger_->OnFlush(piece.changes_before, piece.changes);
    }
  }
  if (error == 0 && IsChange(piece.command) && (piece.flags & kCommandFua) == 0) {
    ledger_->OnChange();
  }
  if (io.error == 0) io.error = error;
  EndIfOver(io);
}

void ClientImpl::EndIfOver(Io& io) {
  if (io.pieces > 0 || (io.stage & kAllSent) == 0) return;
  if (io.error == 0 && (io.stage & (kNeedsFlush | kFlushing)) == kNeedsFlush) {
    io.stage |= kFlushing;
    Piece flush;
    flush.io = &io;
    flush.command = kCommandFlush;
    flush.changes = ledger_->answered();
    ++io.pieces;
    again_.push_back(flush);
    return;
  }
  over_.Push(io);
}

// --- Waiting

std::optional<Clock::time_point> ClientImpl::NextDeadline() const {
  std::optional<Clock::time_point> first;
  if (failed_ != 0) return first;
  for (const auto& link : links_) {
    const auto deadline = link->deadline();
    if (deadline && (!first || *deadline < *first)) first = deadline;
  }
  return first;
}

Timeout ClientImpl::UntilDeadline(Clock::time_point now,
                                  std::optional<Clock::time_point> other) const {
  std::optional<Clock::time_point> first = NextDeadline();
  if (other && (!first || *other < *first)) first = other;
  Timeout left;
  if (first) left = std::max(std::chrono::nanoseconds(0), std::chrono::nanoseconds(*first - now));
  for (const auto& link : links_) {
    const Timeout step = wire_->connecting_step();
    if (link->state() == Link::State::kConnecting && step && (!left || *step < *left)) left = step;
  }
  return left;
}

int ClientImpl::fd() {
  if (epoll_ >= 0) return epoll_;
  if (timer_ < 0) timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  epoll_ = OpenEpoll(wire_->fd(), timer_);
  return epoll_;
}

bool ClientImpl::Arm() {
  (void)fd();
  try {
    Dispatch();
    SendAll(Clock::now());
    if (!over_.empty() || !wire_->Arm()) return false;
  } catch (const Error& error) {
    Fail(error.code(), error.what());
    return false;
  }
  const auto now = Clock::now();
  const Timeout left = UntilDeadline(now, std::nullopt);
  if (left && left->count() == 0) return false;
  itimerspec when = {};  // all zero: never
  if (left) {
    when.it_value.tv_sec = static_cast<time_t>(left->count() / 1'000'000'000);
    when.it_value.tv_nsec = static_cast<long>(left->count() % 1'000'000'000);
  }
  timerfd_settime(timer_, 0, &when, nullptr);  // which also forgets what it has told
  return true;
}

}  // namespace qpip::nbd::internal
