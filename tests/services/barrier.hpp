// Barrier: a disk that a test makes slow, at the moment it chooses.
#pragma once

#include <condition_variable>
#include <mutex>

namespace tap::tests {

/// Holds up whoever passes while it is closed. Thread: any.
class Barrier {
 public:
  void close() {
    const std::lock_guard<std::mutex> hold(lock_);
    closed_ = true;
  }
  void open() {
    const std::lock_guard<std::mutex> hold(lock_);
    closed_ = false;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock<std::mutex> hold(lock_);
    changed_.wait(hold, [this] { return !closed_; });
  }

 private:
  std::mutex lock_;
  std::condition_variable changed_;
  bool closed_ = false;
};

}  // namespace tap::tests
