// Waiting for each other: DeferredQueue and DeferredSemaphore, as Twisted has them.
//
// Tests: tests/services/net/deferred_tools_test.cpp
#pragma once

#include <cstddef>
#include <deque>
#include <list>
#include <utility>

#include "services/net/deferred.hpp"

namespace tap::net {

/// Things put in on one side and taken out on the other, in order.
///
/// Thread:   the loop's.
/// Lifetime: those that still wait get an error when it goes, and must not come back to it.
template <class T>
class DeferredQueue {
 public:
  explicit DeferredQueue(std::size_t size_max) : size_max_(size_max) {}
  DeferredQueue(const DeferredQueue&) = delete;
  DeferredQueue& operator=(const DeferredQueue&) = delete;

  /// False, and nothing changes, when it is full.
  [[nodiscard]] bool put(T thing) {
    while (!waiting_.empty()) {
      DeferredSource<T> next = std::move(waiting_.front());
      waiting_.pop_front();
      if (!next.waited_for()) continue;
      next.callback(std::move(thing));
      return true;
    }
    if (things_.size() >= size_max_) return false;
    things_.push_back(std::move(thing));
    return true;
  }

  /// The next thing, now or when it comes. One that is dropped before it came takes nothing.
  [[nodiscard]] Deferred<T> get() {
    if (!things_.empty()) {
      Result<T> next(std::move(things_.front()));
      things_.pop_front();
      return answered<T>(std::move(next));
    }
    while (!waiting_.empty() && !waiting_.front().waited_for()) waiting_.pop_front();
    waiting_.emplace_back();
    return waiting_.back().deferred();
  }

  [[nodiscard]] std::size_t size() const { return things_.size(); }

 private:
  std::size_t size_max_;
  std::deque<T> things_;
  std::deque<DeferredSource<T>> waiting_;
};

/// At most so many at once. With one it is a lock.
///
/// Thread:   the loop's.
/// Lifetime: outlives its tokens. Those that still wait get an error when it goes, and must not
///           come back to it.
class DeferredSemaphore {
 public:
  /// Leave to be one of them; gives it back when it goes.
  class Token {
   public:
    explicit Token(DeferredSemaphore& from) : from_(&from) {}
    Token(Token&& other) noexcept : from_(std::exchange(other.from_, nullptr)) {}
    Token& operator=(Token&& other) noexcept {
      std::swap(from_, other.from_);
      return *this;
    }
    Token(const Token&) = delete;
    Token& operator=(const Token&) = delete;
    ~Token() {
      if (from_ != nullptr) from_->give_back();
    }

   private:
    DeferredSemaphore* from_;
  };

  explicit DeferredSemaphore(std::size_t at_once) : free_(at_once) {}
  DeferredSemaphore(const DeferredSemaphore&) = delete;
  DeferredSemaphore& operator=(const DeferredSemaphore&) = delete;

  /// First come, first served.
  [[nodiscard]] Deferred<Token> acquire() {
    if (free_ > 0) {
      --free_;
      return answered<Token>(Token(*this));
    }
    waiting_.emplace_back();
    return waiting_.back().deferred();
  }
  [[nodiscard]] std::size_t free() const { return free_; }

 private:
  void give_back() {
    while (!waiting_.empty()) {
      DeferredSource<Token> next = std::move(waiting_.front());
      waiting_.pop_front();
      if (!next.waited_for()) continue;
      next.callback(Token(*this));
      return;
    }
    ++free_;
  }

  std::size_t free_;
  std::deque<DeferredSource<Token>> waiting_;
};

}  // namespace tap::net
