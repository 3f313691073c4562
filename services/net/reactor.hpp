// Reactor: one libuv loop and what belongs to it: timers, the shared receive buffer, work posted from elsewhere.
//
// Never a singleton: whoever needs one gets it passed in.
// Tests: tests/services/net/reactor_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "services/net/clock.hpp"
#include "services/net/descriptor_reserve.hpp"
#include "services/net/log.hpp"
#include "services/net/splice_pipe.hpp"
#include "services/net/timer_queue.hpp"

struct uv_loop_s;

namespace tap::net {

/// Something with output to be written at the end of the turn.
class Flushable {
 public:
  virtual void flush() = 0;

 protected:
  ~Flushable() = default;
};

/// Thread:   the one that calls run(), for everything but post().
/// Lifetime: outlives all that was made with it; its destructor runs the remaining closes and asserts that no handle
///           is left, so that a leak is a failed test.
class Reactor {
 public:
  /// One read delivers at most this much, and a connection that has so much for us has to wait for the next turn with
  /// the rest, so that others have theirs; the buffer is shared by all connections of the loop.
  static constexpr std::size_t kReceiveBytesMax = std::size_t{64} * 1024;
  /// Kept for reuse: so many output buffers, none larger than this.
  static constexpr std::size_t kBuffersMax = 64;
  static constexpr std::uint64_t kSettleAfterUs = 250;
  static constexpr std::size_t kSettleFrom = 16;
  static constexpr std::size_t kBufferBytesMax = std::size_t{16} * 1024;

  explicit Reactor(LogSink& log, const Clock& clock = system_clock());
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;
  ~Reactor();

  /// Turns until stop().
  void run();
  void stop();
  /// One turn: what is ready, and when `wait`, sleeping until something is.
  void turn(bool wait);

  /// Calls `callback` once, `delay_ms` from now at the earliest, unless the Timer is dropped before. With 0: in the
  /// next turn, never from inside this call.
  [[nodiscard]] Timer call_later(std::uint64_t delay_ms, TimerQueue::Callback callback);

  /// Runs `work` on the loop's thread, soon. Thread: any, as long as the reactor lives; the one call that is so.
  /// Work that is still waiting when the reactor ends is destroyed, not run.
  void post(std::function<void()> work);

  // For a loop that is not ours and drives this one: it waits until backend_fd() is readable, at most
  // backend_timeout_ms() (-1: without end), then calls turn(false).
  [[nodiscard]] int backend_fd() const;
  [[nodiscard]] int backend_timeout_ms() const;

  /// Has `item.flush()` called once at the end of this turn. `item` must call forget() if it ends before.
  void flush_later(Flushable& item) { dirty_.push_back(&item); }
  void forget(Flushable& item);
  /// Flushes before the turn's end when it has worked for settle_after_us by now. A turn that hundreds of peers have
  /// something for would otherwise answer all of them at once, and they and we would wait for each other in turns.
  /// Called after each read, from outside of everybody's code.
  void settle_if_due();
  void settle_after(std::uint64_t us) { settle_after_us_ = us; }
  enum class Moment : std::uint8_t {
    reading,  ///< within a turn that is long: there is more to read
    read,     ///< what was there in this turn is read
    sleep,    ///< the last before the next turn
  };
  /// Has `work` called before anything is flushed, in each of these moments; one owner, nullptr ends it. When it returns
  /// true the next turn does not sleep.
  void before_flush(std::function<bool(Moment)> work) { before_flush_ = std::move(work); }

  /// Whose code runs, so that what it throws is said with a name and counted: a service. 0 is nobody in particular.
  using Account = std::uint32_t;
  /// Lifetime: the reactor's; so there are as many as there are services, not as many as connections.
  [[nodiscard]] Account open_account(std::string name);
  [[nodiscard]] std::uint64_t exceptions(Account account) const { return accounts_[account].exceptions; }
  void count_exception(Account account) { ++accounts_[account].exceptions; }
  [[nodiscard]] const std::string& name_of(Account account) const { return accounts_[account].name; }
  [[nodiscard]] Account charged() const { return charged_; }
  /// While it lives, timers that are set and pool work that is given are this account's.
  class Charge {
   public:
    Charge(Reactor& reactor, Account account) : reactor_(reactor), before_(std::exchange(reactor.charged_, account)) {}
    Charge(const Charge&) = delete;
    Charge& operator=(const Charge&) = delete;
    ~Charge() { reactor_.charged_ = before_; }

   private:
    Reactor& reactor_;
    Account before_;
  };

  /// The door for other people's code: runs it, and logs what it throws under `who`. Returns whether it returned.
  bool guarded(std::string_view who, const std::function<void()>& code);
  /// The same, under the account's name, and counted there.
  bool guarded(Account account, const std::function<void()>& code);

  /// What connections may not take.
  [[nodiscard]] DescriptorReserve& descriptors() { return descriptors_; }

  /// Counts turns, and begins again after the last number.
  [[nodiscard]] std::uint32_t turn_number() const { return turn_number_; }
  [[nodiscard]] std::uint64_t now_ms() const { return clock_.now_ms(); }
  [[nodiscard]] LogSink& log() { return log_; }
  [[nodiscard]] std::span<char> receive_buffer() { return {receive_buffer_.get(), kReceiveBytesMax}; }
  /// nullptr: there is none to be had.
  [[nodiscard]] SplicePipe* splice_pipe();
  /// The longest turn since the last call, what happens between two sleeps; in microseconds.
  struct TurnTimes {
    std::uint64_t worst_us = 0;          ///< all of it
    std::uint64_t worst_working_us = 0;  ///< without what was said to be waiting
  };
  [[nodiscard]] TurnTimes take_turn_times();
  /// So much of this turn was spent waiting for a device, not working.
  void note_waiting(std::uint64_t us) { waited_us_ += us; }

  /// For what comes to an end by itself but not at once (work in the pool, a killed process): ~Reactor waits for it.
  void will_end() { ++ending_; }
  void has_ended() { --ending_; }

  /// An empty buffer with memory of an earlier one, for output; give it back when it is sent. What is kept is bounded.
  [[nodiscard]] std::string take_buffer();
  void give_buffer(std::string&& buffer);
  [[nodiscard]] uv_loop_s* loop();
  /// REQUIRES to be on the loop's thread once run() or turn() has been called.
  void assert_on_loop() const;

 private:
  struct Handles;
  void before_sleep();
  void end_turn();
  bool settle(Moment moment);
  void run_posted();

  LogSink& log_;
  const Clock& clock_;
  TimerQueue timers_;
  std::vector<Flushable*> dirty_;
  std::vector<Flushable*> flushing_;
  std::function<bool(Moment)> before_flush_;
  std::unique_ptr<char[]> receive_buffer_;
  SplicePipe splice_pipe_;
  std::vector<std::string> buffers_;
  std::unique_ptr<Handles> handles_;
  TurnTimes turn_times_;
  std::uint64_t settle_after_us_ = kSettleAfterUs;
  std::uint64_t busy_since_us_ = 0;  ///< the first read since the last settle(); 0: there was none
  std::uint64_t turn_begin_us_ = 0;
  std::uint64_t slept_us_ = 0;   ///< since the loop was made, when the turn began
  std::uint64_t waited_us_ = 0;  ///< in this turn
  std::uint32_t turn_number_ = 1;
  std::size_t ending_ = 0;
  struct Accounted {
    std::string name;
    std::uint64_t exceptions = 0;
  };
  std::deque<Accounted> accounts_{{"timer", 0}};  // names stay where they are
  Account charged_ = 0;
  DescriptorReserve descriptors_;
  bool stopping_ = false;
};

}  // namespace tap::net
