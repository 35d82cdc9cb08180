// A small least-recently-used cache with exact keys.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <utility>

namespace etggml {

/// Holds at most `capacity` values; inserting one more drops the value not used for longest. Not thread-safe.
template <class Key, class Value>
class LruCache {
 public:
  explicit LruCache(size_t capacity) : capacity_(capacity) {}

  /// The value, now the most recently used, or nullptr. Valid until the next insert or erase.
  Value* find(const Key& key) {
    auto it = index_.find(key);
    if (it == index_.end()) return nullptr;
    order_.splice(order_.begin(), order_, it->second);
    return &it->second->second;
  }

  /// Adds or replaces. Returns nullptr (and destroys the value) when the capacity is 0.
  Value* insert(const Key& key, Value value) {
    erase(key);
    if (capacity_ == 0) return nullptr;
    while (index_.size() >= capacity_) {
      index_.erase(order_.back().first);
      order_.pop_back();
    }
    order_.emplace_front(key, std::move(value));
    index_[key] = order_.begin();
    return &order_.front().second;
  }

  void erase(const Key& key) {
    auto it = index_.find(key);
    if (it == index_.end()) return;
    order_.erase(it->second);
    index_.erase(it);
  }

  void clear() {
    index_.clear();
    order_.clear();
  }

  size_t size() const { return index_.size(); }
  size_t capacity() const { return capacity_; }

  template <class Fn>
  void for_each(Fn fn) const {
    for (const auto& entry : order_) fn(entry.first, entry.second);
  }

 private:
  using Order = std::list<std::pair<Key, Value>>;
  size_t capacity_;
  Order order_;  // most recent first
  std::map<Key, typename Order::iterator> index_;
};

}  // namespace etggml
