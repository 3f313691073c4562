#include "services/net/timer_queue.hpp"

namespace tap::net {

void Timer::cancel() {
  if (queue_ != nullptr) std::exchange(queue_, nullptr)->entries_.erase(key_);
}

bool Timer::active() const { return queue_ != nullptr && queue_->entries_.count(key_) != 0; }

Timer TimerQueue::schedule(std::uint64_t at_ms, Callback callback, std::uint32_t whose) {
  const Timer::Key key{at_ms, scheduled_++};
  entries_.emplace(key, Entry{std::move(callback), whose});
  return Timer(this, key);
}

void TimerQueue::run_due(std::uint64_t now_ms, const std::function<void(const Callback&)>& door) {
  const std::uint64_t end = scheduled_;
  for (auto next = entries_.begin(); next != entries_.end() && next->first.first <= now_ms;) {
    if (next->first.second >= end) {
      ++next;
      continue;
    }
    const Timer::Key key = next->first;
    const Callback callback = std::move(next->second.callback);
    whose_ = next->second.whose;
    entries_.erase(next);
    door(callback);
    next = entries_.upper_bound(key);
  }
}

std::optional<std::uint64_t> TimerQueue::next_ms() const {
  if (entries_.empty()) return std::nullopt;
  return entries_.begin()->first.first;
}

}  // namespace tap::net
