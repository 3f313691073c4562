// MemoryBudget: how much all connections of a process may hold in buffers, and what happens when they want more.
//
// Tests: tests/services/net/memory_budget_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "services/net/reactor.hpp"

namespace tap::net {

class StreamTransport;

/// Somebody who owns streams.
class BudgetMember {
 public:
  virtual void each_stream(const std::function<void(StreamTransport&)>& use) = 0;

 protected:
  ~BudgetMember() = default;
};

/// What is counted is what connections hold themselves: output that is not sent, input that waits for the rest of a
/// request. In three steps, each in eighths of the budget:
///   - from 6 on, those that hold most are not read any more, until the others together hold less than half of it;
///   - from 7 on, new connections are refused;
///   - above 8, those that hold most are ended, each with a line in the log: their services write what nobody takes.
///
/// Thread:   the loop's.
/// Lifetime: outlives its members and their streams.
class MemoryBudget {
 public:
  static constexpr std::size_t kCalmEighths = 4;
  static constexpr std::size_t kStopEighths = 6;
  static constexpr std::size_t kRefuseEighths = 7;
  /// While it is short, everybody is looked at so often, and whenever a sixteenth more is taken.
  static constexpr std::uint64_t kLookMs = 100;

  /// REQUIRES: bytes_max > 0.
  MemoryBudget(Reactor& reactor, std::size_t bytes_max);
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  void join(BudgetMember& member) { members_.push_back(&member); }
  void leave(BudgetMember& member);

  /// A stream holds so much more, or less.
  void changed(std::ptrdiff_t bytes);
  [[nodiscard]] bool stopping() const { return used_ > eighths(kStopEighths); }
  [[nodiscard]] bool refusing() const { return used_ > eighths(kRefuseEighths); }
  [[nodiscard]] std::size_t used_bytes() const { return used_; }
  [[nodiscard]] std::size_t bytes_max() const { return bytes_max_; }
  /// How often it was short, and how many connections were ended for it.
  [[nodiscard]] std::uint64_t shortages() const { return shortages_; }
  [[nodiscard]] std::uint64_t ended() const { return ended_; }

 private:
  [[nodiscard]] std::size_t eighths(std::size_t count) const { return bytes_max_ / 8 * count; }
  void look();
  void stop_largest(const std::vector<StreamTransport*>& largest_first) const;
  void end_largest(const std::vector<StreamTransport*>& largest_first);

  Reactor& reactor_;
  std::size_t bytes_max_;
  std::size_t used_ = 0;
  std::size_t look_at_;  ///< above this much somebody has to look
  std::vector<BudgetMember*> members_;
  Timer looking_;
  std::uint64_t shortages_ = 0;
  std::uint64_t ended_ = 0;
  bool short_ = false;  ///< said in the log
};

}  // namespace tap::net
