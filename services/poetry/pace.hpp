// Pace: one timer for all who do something every so often, thousands of them.
//
// All have the same interval, so that whoever was served last is due last: they stand in a line, and the timer waits
// for the first. It wakes on a grid, a fiftieth of the interval, and serves all who are due by then together.
//
// Tests: tests/services/poetry/pace_test.cpp
#pragma once

#include <cstdint>
#include <list>

#include "services/net/reactor.hpp"

namespace tap::services {

/// Thread:     the loop's.
/// Lifetime:   the reactor outlives it, and it outlives its members.
/// Invariants: line_ is in the order of due_ms.
class Pace {
 public:
  /// One who has a turn. Its own turn may leave, and may end others.
  class Member {
   public:
    Member() = default;
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;
    virtual ~Member() = default;

    virtual void take_turn() = 0;
    [[nodiscard]] bool in_line() const { return in_line_; }

   private:
    friend class Pace;
    std::list<Member*>::iterator place_;
    std::uint64_t due_ms_ = 0;
    bool in_line_ = false;
  };

  /// The timer is never later than this for the sake of serving many together.
  static constexpr std::uint64_t kGridMsMax = 10;
  /// So many have their turn before the loop looks after others.
  static constexpr std::size_t kTurnsMax = 200;

  /// REQUIRES: interval_ms > 0.
  Pace(net::Reactor& reactor, std::uint64_t interval_ms);
  Pace(const Pace&) = delete;
  Pace& operator=(const Pace&) = delete;

  /// Its first turn comes an interval from now. One that comes too late (the loop was busy) puts off those after it:
  /// nobody has two turns at once. REQUIRES: not in line.
  void join(Member& member);
  /// Nothing, when it is not in line.
  void leave(Member& member);

  [[nodiscard]] std::size_t size() const { return line_.size(); }

 private:
  [[nodiscard]] std::uint64_t in_order(std::uint64_t due_ms) const;
  void serve();
  void wait();

  net::Reactor& reactor_;
  std::uint64_t interval_ms_;
  std::uint64_t grid_ms_;
  std::list<Member*> line_;
  net::Timer timer_;
};

}  // namespace tap::services
