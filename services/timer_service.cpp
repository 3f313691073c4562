#include "services/timer_service.hpp"

#include <algorithm>
#include <utility>

#include "services/units.hpp"
#include "state/base/assert.hpp"

namespace tap::services {

TimerService::TimerService(std::string name, std::uint64_t interval_ms, std::function<void()> tick)
    : name_(std::move(name)), interval_ms_(interval_ms), tick_(std::move(tick)) {
  TAP_ASSERT(interval_ms_ > 0);
}

Result<void> TimerService::start(net::Reactor& reactor) {
  TAP_ASSERT(stopped_);
  reactor_ = &reactor;
  account_ = reactor.charged();
  began_ms_ = reactor.now_ms();
  left_out_ = 0;
  stopped_ = false;
  schedule(1);
  return {};
}

void TimerService::stop() {
  stopped_ = true;
  timer_.cancel();
}

void TimerService::schedule(std::uint64_t place) {
  place_ = place;
  const std::uint64_t due = began_ms_ + place_ * interval_ms_;
  const std::uint64_t now = reactor_->now_ms();
  timer_ = reactor_->call_later(due - std::min(due, now), [this] { run(); });
}

void TimerService::run() {
  // The place in the present, which may be far behind the one that was due.
  const std::uint64_t before = (reactor_->now_ms() - began_ms_) / interval_ms_;
  skipped_ += before - std::min(before, place_);
  if (reactor_->guarded(account_, tick_)) {
    ++ticks_;
    left_out_ = 0;
  } else {
    ++exceptions_;
    left_out_ = std::min(left_out_ * 2 + 1, kBackoffTicksMax);
  }
  if (stopped_) return;
  const std::uint64_t now = (reactor_->now_ms() - began_ms_) / interval_ms_;
  skipped_ += now - std::min(now, std::max(before, place_));
  schedule(now + 1 + left_out_);
}

std::vector<std::string> TimerService::status() const {
  std::string line = name_ + ": every " + duration_text(interval_ms_) + ", " + std::to_string(ticks_) + " ticks, " +
                     std::to_string(skipped_) + " skipped, " + std::to_string(exceptions_) + " exceptions";
  if (stopped_) line += ", stopped";
  else if (left_out_ != 0) line += ", leaving out " + std::to_string(left_out_) + " after the last one";
  return {line};
}

}  // namespace tap::services
