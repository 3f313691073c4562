// WorkThread: one thread that does what it is given, one after the other.
//
// Tests: tests/services/work_thread_test.cpp
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace tap::services {

/// For what may block and must not wait behind other people's work, as libuv's pool would have it.
/// Thread:   run() and wait_idle() from any but its own.
/// Lifetime: the thread starts with the first work; the destructor does what is left and waits for the end.
class WorkThread {
 public:
  /// Later: nobody waits for it, and where processors are few it leaves them to the loop. Zeroing a segment on the
  /// loop's own processor had it wait for 3 ms and more in each turn of a busy second.
  enum class Urgency : std::uint8_t { now, later };

  explicit WorkThread(Urgency urgency = Urgency::now) : urgency_(urgency) {}
  WorkThread(const WorkThread&) = delete;
  WorkThread& operator=(const WorkThread&) = delete;
  ~WorkThread();

  void run(std::function<void()> work);
  /// Waits until all that was given is done.
  void wait_idle();

 private:
  void loop();

  Urgency urgency_;
  std::mutex lock_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
  bool busy_ = false;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace tap::services
