#include "services/poetry/pace.hpp"

#include <algorithm>

#include "state/base/assert.hpp"

namespace tap::services {

Pace::Pace(net::Reactor& reactor, std::uint64_t interval_ms)
    : reactor_(reactor),
      interval_ms_(interval_ms),
      grid_ms_(std::clamp<std::uint64_t>(interval_ms / 50, 1, kGridMsMax)) {
  TAP_ASSERT(interval_ms > 0);
}

void Pace::join(Member& member) {
  TAP_ASSERT(!member.in_line_);
  member.due_ms_ = in_order(reactor_.now_ms() + interval_ms_);
  member.place_ = line_.insert(line_.end(), &member);
  member.in_line_ = true;
  if (!timer_.active()) wait();
}

void Pace::leave(Member& member) {
  if (!member.in_line_) return;
  line_.erase(member.place_);
  member.in_line_ = false;
  if (line_.empty()) timer_.cancel();
}

/// `due_ms`, or when the last in line is due. Both are at most an interval from now.
std::uint64_t Pace::in_order(std::uint64_t due_ms) const {
  return line_.empty() ? due_ms : std::max(due_ms, line_.back()->due_ms_);
}

void Pace::serve() {
  const std::uint64_t now = reactor_.now_ms();
  timer_ = reactor_.call_later(grid_ms_, [this] { serve(); });  // whatever a turn throws, the next ones come
  for (std::size_t served = 0; served < kTurnsMax && !line_.empty() && line_.front()->due_ms_ <= now; ++served) {
    Member& member = *line_.front();
    // On a grid of its own, so that turns that come a little late do not add up; what is later than that is not made
    // up for.
    const bool late = now - member.due_ms_ > 2 * grid_ms_;
    member.due_ms_ = in_order((late ? now : member.due_ms_) + interval_ms_);
    line_.splice(line_.end(), line_, member.place_);
    member.take_turn();
  }
  if (line_.empty()) timer_.cancel();
  else wait();
}

void Pace::wait() {
  const std::uint64_t now = reactor_.now_ms();
  const std::uint64_t due = (line_.front()->due_ms_ + grid_ms_ - 1) / grid_ms_ * grid_ms_;
  timer_ = reactor_.call_later(due > now ? due - now : 0, [this] { serve(); });
}

}  // namespace tap::services
