#include "preload/core/epoll_sets.h"

#include <algorithm>

#include "preload/core/socket.h"

namespace qpip::preload {

namespace {

constexpr uint32_t kKernelsAlone = EPOLLONESHOT | EPOLLEXCLUSIVE;
constexpr uint32_t kInput = EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
constexpr uint32_t kOutput = EPOLLOUT | EPOLLWRNORM;
constexpr uint32_t kAlways = EPOLLERR | EPOLLHUP;
// One call in so many asks the kernel, whatever the sockets have.
constexpr unsigned kTurns = 16;

}  // namespace

void EpollSets::Registration::Note(bool arrived, bool unblocked) {
  // Both at once: a connection has begun, or failed.
  edge = edge || (arrived && (event.events & kInput) != 0) ||
         (unblocked && (event.events & kOutput) != 0) || (arrived && unblocked);
  if (arrived || unblocked) told = false;
  if (listed) return;
  listed = true;
  set->listed.push_back(this);
}

void EpollSets::Put(Socket& socket, int epoll, int fd, const epoll_event& event) {
  Remove(epoll, fd);
  Set& set = sets_[epoll];
  Registration& registration = set.all[fd];
  registration = {.socket = &socket, .set = &set, .epoll = epoll, .fd = fd, .event = event};
  socket.registrations.push_back(&registration);
  registration.Note(true, true);
}

void EpollSets::Erase(Registration& registration) {
  std::erase(registration.socket->registrations, &registration);
  if (registration.listed) std::erase(registration.set->listed, &registration);
}

void EpollSets::Remove(int epoll, int fd) {
  const auto set = sets_.find(epoll);
  if (set == sets_.end()) return;
  const auto found = set->second.all.find(fd);
  if (found == set->second.all.end()) return;
  Erase(found->second);
  set->second.all.erase(found);
}

void EpollSets::Remove(Socket& socket, int fd) {
  const std::vector<Registration*> registrations = socket.registrations;
  for (const Registration* each : registrations) {
    if (each->fd == fd) Remove(each->epoll, fd);
  }
}

void EpollSets::Close(int epoll) {
  const auto set = sets_.find(epoll);
  if (set == sets_.end()) return;
  for (auto& [fd, registration] : set->second.all) Erase(registration);
  sets_.erase(set);
}

int EpollSets::Tell(int epoll, std::span<epoll_event> out) {
  const auto found = sets_.find(epoll);
  if (found == sets_.end()) return 0;
  std::vector<Registration*>& listed = found->second.listed;
  size_t count = 0;
  size_t kept = 0;
  size_t next = 0;
  for (; next < listed.size() && count < out.size(); ++next) {
    Registration& each = *listed[next];
    const uint32_t asked = each.event.events;
    const uint32_t events = each.socket->Events() & (asked | kAlways);
    const bool edge = (asked & EPOLLET) != 0;
    const bool tell = events != 0 && (asked & kKernelsAlone) == 0 && (!edge || each.edge);
    if (tell) out[count++] = {.events = events, .data = each.event.data};
    each.edge = false;
    each.told = each.told || (tell && edge);
    each.listed = tell && !edge;
    if (each.listed) listed[kept++] = &each;
  }
  // Those that had no room come first next time.
  listed.erase(listed.begin() + static_cast<std::ptrdiff_t>(kept),
               listed.begin() + static_cast<std::ptrdiff_t>(next));
  std::rotate(listed.begin(), listed.begin() + static_cast<std::ptrdiff_t>(kept), listed.end());
  return static_cast<int>(count);
}

bool EpollSets::KernelsTurn(int epoll) {
  const auto found = sets_.find(epoll);
  return found == sets_.end() || ++found->second.turn % kTurns == 0;
}

}  // namespace qpip::preload
