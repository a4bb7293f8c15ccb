// Sets of slots of the port table.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

namespace qpip::wire {

inline constexpr uint32_t kMaxPorts = 1024;  ///< ports of one fabric
inline constexpr uint32_t kSlotWords = kMaxPorts / 64;
static_assert(kMaxPorts % 64 == 0 && kSlotWords <= 32);

/// A set that one thread uses. Going through it costs by what is in it.
class SlotSet {
 public:
  bool empty() const { return words_in_use_ == 0; }
  bool contains(uint32_t slot) const { return (words_[slot / 64] & Bit(slot)) != 0; }
  void insert(uint32_t slot) { Add(slot / 64, Bit(slot)); }
  void erase(uint32_t slot) {
    words_[slot / 64] &= ~Bit(slot);
    if (words_[slot / 64] == 0) words_in_use_ &= ~(1u << slot / 64);
  }
  void Add(const SlotSet& other) {
    for (uint32_t word = 0; word < kSlotWords; ++word) Add(word, other.words_[word]);
  }
  /// Word `word` of the set gets `bits` in addition.
  void Add(uint32_t word, uint64_t bits) {
    words_[word] |= bits;
    if (bits != 0) words_in_use_ |= 1u << word;
  }
  /// `each(slot)`, in order, for what is in the set now; it may change the set.
  template <typename Each>
  void ForEach(Each each) const {
    for (uint32_t words = words_in_use_; words != 0; words &= words - 1) {
      const auto word = static_cast<uint32_t>(std::countr_zero(words));
      for (uint64_t rest = words_[word]; rest != 0; rest &= rest - 1) {
        each(word * 64 + static_cast<uint32_t>(std::countr_zero(rest)));
      }
    }
  }

  static constexpr uint64_t Bit(uint32_t slot) { return uint64_t{1} << slot % 64; }

 private:
  uint32_t words_in_use_ = 0;
  std::array<uint64_t, kSlotWords> words_ = {};
};

/// A set in shared memory: anybody inserts, one port takes out. All of it zero: empty.
class SharedSlotSet {
 public:
  /// For the port that takes out.
  bool empty() const { return words_in_use_.load(std::memory_order_acquire) == 0; }
  bool contains(uint32_t slot) const {
    return (words_[slot / 64].load(std::memory_order_acquire) & SlotSet::Bit(slot)) != 0;
  }
  /// What is in it, for anybody.
  SlotSet Snapshot() const {
    SlotSet set;
    for (uint32_t word = 0; word < kSlotWords; ++word) {
      set.Add(word, words_[word].load(std::memory_order_acquire));
    }
    return set;
  }
  void Insert(uint32_t slot) {
    words_[slot / 64].fetch_or(SlotSet::Bit(slot), std::memory_order_seq_cst);
    words_in_use_.fetch_or(1u << slot / 64, std::memory_order_seq_cst);
  }
  void Erase(uint32_t slot) {
    std::atomic<uint64_t>& word = words_[slot / 64];
    const uint64_t bit = SlotSet::Bit(slot);
    if ((word.fetch_and(~bit, std::memory_order_seq_cst) & ~bit) != 0) return;
    words_in_use_.fetch_and(~(1u << slot / 64), std::memory_order_seq_cst);
    // Whoever has inserted meanwhile may have said so before that.
    if (word.load(std::memory_order_seq_cst) != 0) {
      words_in_use_.fetch_or(1u << slot / 64, std::memory_order_seq_cst);
    }
  }
  /// Before anybody else uses it.
  void Clear() {
    for (std::atomic<uint64_t>& word : words_) word.store(0, std::memory_order_relaxed);
    words_in_use_.store(0, std::memory_order_relaxed);
  }

 private:
  std::atomic<uint32_t> words_in_use_;
  std::atomic<uint64_t> words_[kSlotWords];
};

}  // namespace qpip::wire
