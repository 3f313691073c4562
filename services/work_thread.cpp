#include "services/work_thread.hpp"

#include <sched.h>
#include <unistd.h>

#include <csignal>

namespace tap::services {
namespace {

constexpr int kNicer = 10;

/// This thread only: on Linux both are a thread's (nice(2), sched_setscheduler(2)).
void step_back() {
  (void)!::nice(kNicer);
  const sched_param none{};
  (void)::sched_setscheduler(0, SCHED_BATCH, &none);  // woken, it takes the processor from nobody
}

}  // namespace

WorkThread::~WorkThread() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard<std::mutex> hold(lock_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void WorkThread::run(std::function<void()> work) {
  {
    const std::lock_guard<std::mutex> hold(lock_);
    work_.push_back(std::move(work));
  }
  if (!thread_.joinable()) {
    // Signals are for the loop's thread: a new thread inherits the mask of the one that makes it.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] {
      if (urgency_ == Urgency::later) step_back();
      loop();
    });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  changed_.notify_all();
}

void WorkThread::wait_idle() {
  std::unique_lock<std::mutex> hold(lock_);
  changed_.wait(hold, [this] { return work_.empty() && !busy_; });
}

void WorkThread::loop() {
  std::unique_lock<std::mutex> hold(lock_);
  for (;;) {
    changed_.wait(hold, [this] { return ending_ || !work_.empty(); });
    if (work_.empty()) return;
    const std::function<void()> next = std::move(work_.front());
    work_.pop_front();
    busy_ = true;
    hold.unlock();
    next();
    hold.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace tap::services
