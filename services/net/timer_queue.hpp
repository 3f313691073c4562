// TimerQueue: what is to happen later, in order. Knows nothing of a loop; the reactor runs it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

namespace tap::net {

class TimerQueue;

/// One thing that will happen, as long as this object lives: dropping or cancelling it calls it off.
/// Lifetime: the queue (so, the reactor) outlives it.
class Timer {
 public:
  Timer() = default;
  Timer(Timer&& other) noexcept { take(other); }
  Timer& operator=(Timer&& other) noexcept {
    if (this != &other) {
      cancel();
      take(other);
    }
    return *this;
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { cancel(); }

  void cancel();
  /// Whether it is still to happen.
  [[nodiscard]] bool active() const;

 private:
  friend class TimerQueue;
  using Key = std::pair<std::uint64_t, std::uint64_t>;  // deadline, then order of scheduling
  Timer(TimerQueue* queue, Key key) : queue_(queue), key_(key) {}
  void take(Timer& other) noexcept {
    queue_ = std::exchange(other.queue_, nullptr);
    key_ = other.key_;
  }

  TimerQueue* queue_ = nullptr;
  Key key_{};
};

/// Thread: the loop's.
class TimerQueue {
 public:
  using Callback = std::function<void()>;

  /// `whose` is the scheduler's to read again with whose().
  [[nodiscard]] Timer schedule(std::uint64_t at_ms, Callback callback, std::uint32_t whose = 0);
  /// Runs what is due at `now_ms`, earliest first; what is scheduled meanwhile waits for the next call.
  /// `door` is called with each callback and calls it: exceptions are its business.
  void run_due(std::uint64_t now_ms, const std::function<void(const Callback&)>& door);
  /// Of the callback that `door` has been given last.
  [[nodiscard]] std::uint32_t whose() const { return whose_; }
  [[nodiscard]] std::optional<std::uint64_t> next_ms() const;
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  friend class Timer;
  struct Entry {
    Callback callback;
    std::uint32_t whose;
  };
  std::map<Timer::Key, Entry> entries_;
  std::uint64_t scheduled_ = 0;
  std::uint32_t whose_ = 0;
};

}  // namespace tap::net
