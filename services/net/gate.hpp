// Gate: holds what connections send until the change it may reveal is safe.
//
// The network layer knows nothing of states; to it a change is a position, a number that only grows. What is written
// while the last position is not passed yet waits for it, and so does the end of a connection.
//
// Tests: tests/services/net/gate_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "state/base/seeded.hpp"

namespace tap::net {

/// Hears that something was passed. The call comes from pass(); the waiter acts at the end of the turn.
class GateWaiter {
 public:
  virtual void gate_passed() = 0;

 protected:
  ~GateWaiter() = default;
};

/// Thread:   the loop's.
/// Lifetime: outlives the connections behind it. A gate that is never passed again (its journal is broken) holds for
///           good what it has; it goes with the connections.
class Gate {
 public:
  /// Above this much held output, of all connections, those that write more are not read until some of it has left.
  static constexpr std::size_t kHeldBytesMax = std::size_t{64} << 20U;

  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  /// Something happened that whatever is written from now on may reveal. REQUIRES: positions only grow.
  void applied(std::uint64_t position) { last_ = position; }
  /// Everything up to here will be passed together; positions above it later.
  void sealed(std::uint64_t position) { sealed_ = position; }
  /// What waits for this position, or an earlier one, may leave.
  void pass(std::uint64_t position) {
    passed_ = position;
    std::vector<GateWaiter*> now;
    now.swap(waiters_);
    for (GateWaiter* waiter : now) {
      if (waiter != nullptr) waiter->gate_passed();
    }
  }

  [[nodiscard]] bool closed() const { return last_ > passed_ && !TAP_SEEDED(reply_before_durable); }
  [[nodiscard]] std::uint64_t last() const { return last_; }
  [[nodiscard]] std::uint64_t sealed() const { return sealed_; }
  [[nodiscard]] std::uint64_t passed() const { return passed_; }

  /// Has waiter.gate_passed() called once, after the next pass(). It must call forget() if it ends before.
  void wait(GateWaiter& waiter) { waiters_.push_back(&waiter); }
  void forget(GateWaiter& waiter) {
    for (GateWaiter*& item : waiters_) {
      if (item == &waiter) item = nullptr;
    }
  }

  /// A connection tells how much more, or less, it holds.
  void hold(std::ptrdiff_t bytes) {
    held_bytes_ = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(held_bytes_) + bytes);
  }
  [[nodiscard]] std::size_t held_bytes() const { return held_bytes_; }
  [[nodiscard]] bool crowded() const { return held_bytes_ > kHeldBytesMax; }

 private:
  std::uint64_t last_ = 0;
  std::uint64_t sealed_ = 0;
  std::uint64_t passed_ = 0;
  std::size_t held_bytes_ = 0;
  std::vector<GateWaiter*> waiters_;
};

}  // namespace tap::net
