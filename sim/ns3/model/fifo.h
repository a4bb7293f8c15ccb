// A queue that mostly holds a few entries, of which there are thousands in a simulation.
//
// std::deque walks through its chunks and so through the cache; this one begins at its first slot
// again whenever it runs empty.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace qpip::sim {

template <typename T>
class Fifo {
 public:
  bool empty() const { return head_ == slots_.size(); }
  size_t size() const { return slots_.size() - head_; }
  T& front() { return slots_[head_]; }
  const T& front() const { return slots_[head_]; }
  T& operator[](size_t index) { return slots_[head_ + index]; }

  template <typename... Arguments>
  void emplace_back(Arguments&&... arguments) {
    if (slots_.size() == slots_.capacity() && head_ != 0) Compact();
    slots_.emplace_back(std::forward<Arguments>(arguments)...);
  }
  void push_back(T value) { emplace_back(std::move(value)); }
  void pop_front() {
    slots_[head_] = T();
    ++head_;
    if (head_ == slots_.size()) clear();
  }
  void clear() {
    slots_.clear();
    head_ = 0;
  }

 private:
  /// Instead of growing: what was taken makes room. A queue that is never empty moves each entry
  /// once in as many as it holds.
  void Compact() {
    if (head_ < slots_.size() / 2) return;
    slots_.erase(slots_.begin(), slots_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }

  std::vector<T> slots_;
  size_t head_ = 0;
};

}  // namespace qpip::sim
