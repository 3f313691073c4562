#include "services/net/reactor.hpp"

#include <uv.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <exception>
#include <limits>
#include <mutex>
#include <string>
#include <thread>

#include "state/base/assert.hpp"

namespace tap::net {
namespace {

class SystemClock final : public Clock {
 public:
  [[nodiscard]] std::uint64_t now_ms() const override {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
  }
  [[nodiscard]] bool ticks() const override { return true; }
};

uv_handle_t* as_handle(void* handle) { return static_cast<uv_handle_t*>(handle); }

}  // namespace

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

/// libuv's own objects. They are closed, and the loop is run until they are, by ~Reactor.
struct Reactor::Handles {
  uv_loop_t loop{};
  uv_prepare_t prepare{};
  uv_check_t check{};
  uv_idle_t idle{};  // active while something waits for the next turn: it keeps the loop from sleeping
  uv_timer_t timer{};
  uv_async_t wakeup{};
  std::mutex posted_lock;
  std::vector<std::function<void()>> posted;
  std::atomic<std::thread::id> thread;

  /// Until before_sleep() looks again; also whoever asks backend_timeout_ms() hears it.
  void stay_awake() {
    uv_idle_start(&idle, [](uv_idle_t*) {});
  }
};

Reactor::Reactor(LogSink& log, const Clock& clock)
    : log_(log),
      clock_(clock),
      receive_buffer_(std::make_unique<char[]>(kReceiveBytesMax)),
      handles_(std::make_unique<Handles>()) {
  uv_loop_t* loop = &handles_->loop;
  TAP_ASSERT(uv_loop_init(loop) == 0);
  TAP_ASSERT(uv_loop_configure(loop, UV_METRICS_IDLE_TIME) == 0);
  turn_begin_us_ = uv_hrtime() / 1000;
  loop->data = this;
  TAP_ASSERT(uv_prepare_init(loop, &handles_->prepare) == 0);
  TAP_ASSERT(uv_check_init(loop, &handles_->check) == 0);
  TAP_ASSERT(uv_idle_init(loop, &handles_->idle) == 0);
  TAP_ASSERT(uv_timer_init(loop, &handles_->timer) == 0);
  TAP_ASSERT(uv_async_init(loop, &handles_->wakeup,
                           [](uv_async_t* handle) { static_cast<Reactor*>(handle->data)->run_posted(); }) == 0);
  handles_->prepare.data = handles_->check.data = handles_->idle.data = this;
  handles_->timer.data = handles_->wakeup.data = this;
  uv_prepare_start(&handles_->prepare,
                   [](uv_prepare_t* handle) { static_cast<Reactor*>(handle->data)->before_sleep(); });
  uv_check_start(&handles_->check, [](uv_check_t* handle) {
    auto* self = static_cast<Reactor*>(handle->data);
    if (self->settle(Moment::read)) self->handles_->stay_awake();
  });
}

Reactor::~Reactor() {
  for (void* handle : {static_cast<void*>(&handles_->prepare), static_cast<void*>(&handles_->check),
                       static_cast<void*>(&handles_->idle), static_cast<void*>(&handles_->timer),
                       static_cast<void*>(&handles_->wakeup)}) {
    uv_close(as_handle(handle), nullptr);
  }
  while (ending_ > 0) uv_run(&handles_->loop, UV_RUN_ONCE);
  // Only closes are left. An active handle would make this wait for ever, so it turns without waiting, a few times.
  for (int i = 0; i < 8 && uv_loop_alive(&handles_->loop) != 0; ++i) uv_run(&handles_->loop, UV_RUN_NOWAIT);
  TAP_ASSERT(uv_loop_close(&handles_->loop) == 0);
}

uv_loop_s* Reactor::loop() { return &handles_->loop; }

int Reactor::backend_fd() const { return uv_backend_fd(&handles_->loop); }

/// libuv answers 0 also while it has descriptors that the kernel does not know of yet;
/// our timers are newer than its one.
int Reactor::backend_timeout_ms() const {
  if (!dirty_.empty() || uv_backend_timeout(&handles_->loop) == 0) return 0;
  const auto next = timers_.next_ms();
  if (!next || !clock_.ticks()) return -1;
  const std::uint64_t now = clock_.now_ms();
  const std::uint64_t left = *next > now ? *next - now : 0;
  return static_cast<int>(std::min<std::uint64_t>(left, std::numeric_limits<int>::max()));
}

void Reactor::assert_on_loop() const {
  const std::thread::id owner = handles_->thread.load(std::memory_order_relaxed);
  TAP_ASSERT(owner == std::thread::id{} || owner == std::this_thread::get_id());
}

void Reactor::run() {
  stopping_ = false;
  while (!stopping_) turn(true);
}

void Reactor::stop() {
  stopping_ = true;
  uv_stop(&handles_->loop);
}

void Reactor::turn(bool wait) {
  handles_->thread.store(std::this_thread::get_id(), std::memory_order_relaxed);
  uv_run(&handles_->loop, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
}

/// A turn is what happens between two sleeps; libuv counts the sleeping.
void Reactor::end_turn() {
  ++turn_number_;
  const std::uint64_t now_us = uv_hrtime() / 1000;
  const std::uint64_t slept_us = uv_metrics_idle_time(&handles_->loop) / 1000;
  const std::uint64_t gone_us = now_us - std::exchange(turn_begin_us_, now_us);
  const std::uint64_t idle_us = slept_us - std::exchange(slept_us_, slept_us);
  const std::uint64_t took_us = gone_us - std::min(gone_us, idle_us);
  turn_times_.worst_us = std::max(turn_times_.worst_us, took_us);
  const std::uint64_t waited_us = std::exchange(waited_us_, 0);
  turn_times_.worst_working_us = std::max(turn_times_.worst_working_us, took_us - std::min(took_us, waited_us));
}

Reactor::TurnTimes Reactor::take_turn_times() { return std::exchange(turn_times_, {}); }

Timer Reactor::call_later(std::uint64_t delay_ms, TimerQueue::Callback callback) {
  assert_on_loop();
  return timers_.schedule(clock_.now_ms() + delay_ms, std::move(callback), charged_);
}

void Reactor::post(std::function<void()> work) {
  {
    const std::lock_guard<std::mutex> hold(handles_->posted_lock);
    handles_->posted.push_back(std::move(work));
  }
  uv_async_send(&handles_->wakeup);
}

void Reactor::run_posted() {
  std::vector<std::function<void()>> work;
  {
    const std::lock_guard<std::mutex> hold(handles_->posted_lock);
    work.swap(handles_->posted);
  }
  for (const auto& item : work) guarded("reactor", item);
}

void Reactor::forget(Flushable& item) {
  std::replace(dirty_.begin(), dirty_.end(), &item, static_cast<Flushable*>(nullptr));
  std::replace(flushing_.begin(), flushing_.end(), &item, static_cast<Flushable*>(nullptr));
}

SplicePipe* Reactor::splice_pipe() { return splice_pipe_.open() ? &splice_pipe_ : nullptr; }

std::string Reactor::take_buffer() {
  if (buffers_.empty()) return {};
  std::string buffer = std::move(buffers_.back());
  buffers_.pop_back();
  return buffer;
}

void Reactor::give_buffer(std::string&& buffer) {
  if (buffers_.size() == kBuffersMax || buffer.capacity() > kBufferBytesMax) return;
  buffer.clear();
  buffers_.push_back(std::move(buffer));
}

bool Reactor::guarded(std::string_view who, const std::function<void()>& code) {
  try {
    code();
    return true;
  } catch (const std::exception& thrown) {
    log_.write(LogLevel::error, who, std::string("an exception ended this work: ") + thrown.what());
  } catch (...) {
    log_.write(LogLevel::error, who, "an exception of an unknown type ended this work");
  }
  return false;
}

Reactor::Account Reactor::open_account(std::string name) {
  accounts_.push_back({std::move(name), 0});
  return static_cast<Account>(accounts_.size() - 1);
}

bool Reactor::guarded(Account account, const std::function<void()>& code) {
  const Charge charge(*this, account);
  const bool returned = guarded(name_of(account), code);
  if (!returned) count_exception(account);
  return returned;
}

/// Writes what was said in this turn: one write per connection, however many pieces it came in. What the flushes
/// themselves cause (a drained connection that goes on) waits for the next turn, so that nobody is starved.
/// Returns whether there is more to do at once.
bool Reactor::settle(Moment moment) {
  busy_since_us_ = 0;
  const bool awake = before_flush_ && before_flush_(moment);
  flushing_.swap(dirty_);
  for (std::size_t i = 0; i < flushing_.size(); ++i) {
    if (flushing_[i] != nullptr) flushing_[i]->flush();
  }
  flushing_.clear();
  return awake || !dirty_.empty();
}

void Reactor::settle_if_due() {
  if (dirty_.size() < kSettleFrom) return;  // so few are not worth looking at the clock
  const std::uint64_t now_us = uv_hrtime() / 1000;
  if (busy_since_us_ == 0) busy_since_us_ = now_us;
  else if (now_us - busy_since_us_ >= settle_after_us_) settle(Moment::reading);
}

void Reactor::before_sleep() {
  const std::uint64_t now = clock_.now_ms();
  timers_.run_due(now, [this](const TimerQueue::Callback& callback) { guarded(timers_.whose(), callback); });
  const bool awake = settle(Moment::sleep);
  const auto next = timers_.next_ms();
  const bool due = next && *next <= now;
  if (due || awake) {
    handles_->stay_awake();
  } else {
    uv_idle_stop(&handles_->idle);
  }
  if (next && clock_.ticks() && !due) {
    uv_timer_start(
        &handles_->timer, [](uv_timer_t*) {}, *next - now, 0);
  } else {
    uv_timer_stop(&handles_->timer);
  }
  end_turn();
}

}  // namespace tap::net
