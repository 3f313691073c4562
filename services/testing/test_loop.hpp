// TestLoop: a reactor on a clock that stands still, for tests of what happens, and of what does not.
#pragma once

#include <cstdint>
#include <functional>

#include "services/net/reactor.hpp"
#include "services/testing/recording_log.hpp"
#include "services/testing/virtual_clock.hpp"

namespace tap::testing {

/// Nothing here waits for real time: a turn does what is ready and returns.
///
///     TestLoop loop;
///     CHECK(loop.turn_until([&] { return peer.received() == "pong"; }));
///     CHECK(loop.not_yet([&] { return timer_fired; }));     // however often it turns
///     loop.advance(500);                                    // now time has passed
///     CHECK(timer_fired);
///
/// Thread: one. Lifetime: outlives everything made with its reactor.
class TestLoop {
 public:
  /// After so many turns what should have happened has not.
  static constexpr int kTurnsMax = 1000;
  /// What has not happened after so many turns will not happen without something new.
  static constexpr int kQuietTurns = 20;

  RecordingLog log;
  VirtualClock clock;
  net::Reactor reactor{log, clock};

  void turn(int count = 1) {
    for (int i = 0; i < count; ++i) reactor.turn(false);
  }
  /// Turns until `done` says so, at most `turns_max` times. False: it did not.
  [[nodiscard]] bool turn_until(const std::function<bool()>& done, int turns_max = kTurnsMax) {
    for (int i = 0; i < turns_max; ++i) {
      if (done()) return true;
      turn();
    }
    return done();
  }
  /// Turns, without any time passing, and tells whether `happened` was false all the while.
  [[nodiscard]] bool not_yet(const std::function<bool()>& happened, int turns = kQuietTurns) {
    return !turn_until(happened, turns);
  }
  /// Lets time pass in steps of `step_ms`, each followed by a turn, so that timers that set timers keep their order.
  void advance(std::uint64_t ms, std::uint64_t step_ms = 10) {
    while (ms > 0) {
      const std::uint64_t step = ms < step_ms ? ms : step_ms;
      clock.advance(step);
      ms -= step;
      turn();
    }
  }
};

}  // namespace tap::testing
