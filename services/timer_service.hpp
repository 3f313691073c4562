// TimerService: does something every so often, on a grid (Twisted's TimerService, on LoopingCall).
//
// Tests: tests/services/timer_service_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "services/part.hpp"

namespace tap::services {

/// The grid begins at start(): ticks are due at whole multiples of the interval from there, however long each takes, so
/// that they never drift. What was missed (the loop was busy, the machine slept) is skipped and counted, not made up
/// for. An exception ends its tick only: it is said in the log under the service's name and counted, and the next ticks
/// are left out, 1, 3, 7, ... of them up to kBackoffTicksMax, until one goes well.
///
/// Thread:   the loop's.
/// Lifetime: `tick` is called between start() and stop() only; it may call stop(), and may not destroy the object.
class TimerService final : public Part {
 public:
  static constexpr std::uint64_t kBackoffTicksMax = 63;

  /// REQUIRES: interval_ms > 0.
  TimerService(std::string name, std::uint64_t interval_ms, std::function<void()> tick);
  ~TimerService() override { stop(); }

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] Result<void> start(net::Reactor& reactor) override;
  void stop() override;
  /// "poll: every 1s, 12 ticks, 1 skipped, 2 exceptions, leaving out 3 after the last one"
  [[nodiscard]] std::vector<std::string> status() const override;

  [[nodiscard]] bool running() const { return !stopped_; }
  [[nodiscard]] std::uint64_t ticks() const { return ticks_; }  ///< that went well
  [[nodiscard]] std::uint64_t skipped() const {
    return skipped_;
  }  ///< missed ones, not those left out after an exception
  [[nodiscard]] std::uint64_t exceptions() const { return exceptions_; }

 private:
  void run();
  void schedule(std::uint64_t place);

  std::string name_;
  std::uint64_t interval_ms_;
  std::function<void()> tick_;
  net::Reactor* reactor_ = nullptr;
  net::Reactor::Account account_ = 0;
  net::Timer timer_;
  std::uint64_t began_ms_ = 0;
  std::uint64_t place_ = 0;     ///< on the grid: the tick that is due next is at began_ms_ + place_ * interval_ms_
  std::uint64_t left_out_ = 0;  ///< ticks to leave out: not 0 after an exception
  std::uint64_t ticks_ = 0;
  std::uint64_t skipped_ = 0;
  std::uint64_t exceptions_ = 0;
  bool stopped_ = true;
};

}  // namespace tap::services
