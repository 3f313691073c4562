// Deferred: an answer that comes later, and the coroutines that wait for it.
//
//     Deferred<Poem> fetch(Reactor& reactor, std::string host) {          // a coroutine: it returns a Deferred
//       Result<Connection> made = co_await connect(reactor, host);        // one co_await, a statement of its own
//       if (!made) co_return std::move(made).error().with("fetching");    // failures are values
//       co_return read_poem(*made);
//     }
//     fetch(reactor, "poems").add_callback([](Poem poem) { ... });
//
// One owner each. Dropping a Deferred cancels what it stands for: a coroutine is destroyed where it waits, with all that
// it waits for. To let one go on in the background, give it to a TaskSet.
//
// As in Twisted, and unlike anything else here, a callback that is added to an answer which is there already is called at
// once: a Deferred knows of no loop that could call it later.
//
// g++ 12 miscompiles some uses of co_await: one per statement, with plain arguments. tests/checks/coroutines refuses others.
//
// Source: Twisted's twisted.internet.defer; KJ's promises for the ownership.   Tests: tests/services/net/deferred_test.cpp
#pragma once

#include <coroutine>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "state/base/assert.hpp"
#include "state/base/result.hpp"

namespace tap::net {

template <class T>
class Deferred;
template <class T>
class DeferredSource;

/// An Error as an exception: what a coroutine throws that has no co_return for it (Deferred<void>), what a callback may
/// throw. Its message is the whole path of contexts that it has come along.
class Failure : public std::exception {
 public:
  explicit Failure(Error error) : error_(std::move(error)) {}
  [[nodiscard]] const char* what() const noexcept override { return error_.message.c_str(); }
  [[nodiscard]] const Error& error() const { return error_; }

 private:
  Error error_;
};

/// What became of something that was cancelled.
[[nodiscard]] Error cancelled_error();
[[nodiscard]] bool is_cancelled(const Error& error);
/// Of an exception that is being handled: a Failure's own error; any other becomes an error of fault internal.
[[nodiscard]] Error current_exception_error();
/// Whether it was made by current_exception_error() from somebody's exception: a bug somewhere, not a fact.
[[nodiscard]] bool is_exception(const Error& error);

/// The inside of it. For the parts of the kit in this folder; service authors need none of it.
namespace deferred {

/// Who waits for a core. completed() is the core's last statement: it may end the core.
class Waiter {
 public:
  virtual void completed() = 0;

 protected:
  ~Waiter() = default;
};

/// What a Deferred owns: where the answer will be.
class CoreBase {
 public:
  CoreBase() = default;
  CoreBase(const CoreBase&) = delete;
  CoreBase& operator=(const CoreBase&) = delete;

  /// The owner has gone: nobody will take the answer.
  virtual void release() noexcept = 0;
  /// Please come to an end, with an error. The answer may come at once, later, or be a good one all the same.
  virtual void cancel() = 0;

  Waiter* waiter = nullptr;

 protected:
  ~CoreBase() = default;
  /// REQUIRES: the last statement of whoever calls it.
  void tell_waiter() {
    if (Waiter* told = std::exchange(waiter, nullptr); told != nullptr) told->completed();
  }
};

template <class T>
class Core : public CoreBase {
 public:
  [[nodiscard]] bool done() const { return result.has_value(); }
  std::optional<Result<T>> result;

 protected:
  ~Core() = default;
  /// REQUIRES: the last statement of whoever calls it.
  void complete(Result<T>&& answer) {
    result.emplace(std::move(answer));
    tell_waiter();
  }
};

struct Release {
  void operator()(CoreBase* core) const noexcept {
    core->waiter = nullptr;
    core->release();
  }
};

/// A core that runs other people's code: it may be let go of in the middle of it, and ends when the code has returned.
class Running {
 public:
  /// Whether the code is running; then the end is put off.
  [[nodiscard]] bool put_off_end() noexcept {
    if (running_) orphaned_ = true;
    return running_;
  }

 protected:
  void begin() { running_ = true; }
  void end() { running_ = false; }
  /// Whether the owner has gone meanwhile.
  [[nodiscard]] bool orphaned() const { return orphaned_; }

 private:
  bool running_ = false;
  bool orphaned_ = false;
};

template <class T>
struct Unwrapped {
  using Value = T;
};
template <class T>
struct Unwrapped<Result<T>> {
  using Value = T;
};
template <class T>
struct Unwrapped<Deferred<T>> {
  using Value = T;
};

template <class Code, class T>
struct Called {
  using Raw = std::invoke_result_t<Code&, T>;
};
template <class Code>
struct Called<Code, void> {
  using Raw = std::invoke_result_t<Code&>;
};
/// What a callback for a T returns, and the T of the Deferred that comes of it.
template <class Code, class T>
using RawOf = typename Called<Code, T>::Raw;
template <class Code, class T>
using ValueOf = typename Unwrapped<std::decay_t<RawOf<Code, T>>>::Value;

}  // namespace deferred

/// Thread:   the loop's, all of it.
/// Lifetime: what it stands for lives as long as it does, at most.
template <class T = void>
class [[nodiscard]] Deferred {
 public:
  class promise_type;
  using Value = T;

  /// One with nothing to wait for: done(), with an error, as if it had been cancelled.
  Deferred() = default;
  explicit Deferred(deferred::Core<T>& core) : core_(&core) {}

  /// Whether the answer is there.
  [[nodiscard]] bool done() const { return core_ == nullptr || core_->done(); }
  /// The answer; this Deferred is empty then. REQUIRES: done().
  [[nodiscard]] Result<T> take() {
    if (core_ == nullptr) return cancelled_error();
    TAP_ASSERT(core_->done());
    Result<T> answer = std::move(*core_->result);
    core_.reset();
    return answer;
  }

  /// Asks whatever is waited for to give up, innermost first; the answer is then an error that is_cancelled(), unless
  /// somebody on the way made something else of it.
  void cancel() {
    if (core_ != nullptr && !core_->done()) core_->cancel();
  }

  /// `code(T)` for a good answer; it returns a value, a Result or a Deferred, which the new Deferred then stands for. Errors
  /// pass by. What it throws becomes an error.
  template <class Code>
  [[nodiscard]] Deferred<deferred::ValueOf<Code, T>> add_callback(Code code) &&;
  /// `code(Error)` for an error; it returns a T (for void: nothing), a Result<T> or a Deferred<T>. Good answers pass by.
  template <class Code>
  [[nodiscard]] Deferred<T> add_errback(Code code) &&;
  /// `code(Result<T>)` for either.
  template <class Code>
  [[nodiscard]] Deferred<deferred::ValueOf<Code, Result<T>>> add_both(Code code) &&;
  /// Puts context in front of an error's message, so that it reads as a path.
  [[nodiscard]] Deferred<T> context(std::string what) && {
    return std::move(*this).add_errback(
        [what = std::move(what)](Error error) -> Result<T> { return std::move(error).with(what); });
  }

  /// For the kit.
  [[nodiscard]] deferred::Core<T>* core() const { return core_.get(); }

 private:
  std::unique_ptr<deferred::Core<T>, deferred::Release> core_;
};

// --- the one who answers ------------------------------------------------------------------------------------------

namespace deferred {

/// Belongs to both ends; the last one ends it.
template <class T>
class SourceCore final : public Core<T> {
 public:
  void release() noexcept override {
    owner_gone_ = true;
    if (source_gone_) {
      delete_();
      return;
    }
    std::function<void()> told = std::move(on_cancel_);
    if (told) told();  // may end the source, and this
  }
  void cancel() override {
    std::function<void()> told = std::exchange(on_cancel_, nullptr);
    cancelled_ = true;
    if (told) told();  // may end the source, and this
    else this->complete(cancelled_error());
  }
  /// The source's last words. The last statement: the answer may end the source.
  void answer(Result<T>&& answered) {
    source_gone_ = true;
    on_cancel_ = nullptr;
    if (owner_gone_) delete_();
    else if (!this->done()) this->complete(std::move(answered));
  }
  [[nodiscard]] bool waited_for() const { return !owner_gone_ && !this->done(); }
  [[nodiscard]] bool cancelled() const { return cancelled_; }
  void on_cancel(std::function<void()> told) { on_cancel_ = std::move(told); }

 private:
  void delete_() noexcept { const std::unique_ptr<SourceCore> ending(this); }

  std::function<void()> on_cancel_;
  bool owner_gone_ = false;
  bool source_gone_ = false;
  bool cancelled_ = false;
};

}  // namespace deferred

/// The other end of a Deferred: answers it, once. One that goes without an answer leaves an error.
/// Thread: the loop's.
template <class T = void>
class DeferredSource {
 public:
  DeferredSource() : core_(new deferred::SourceCore<T>) {}
  DeferredSource(DeferredSource&& other) noexcept : core_(std::exchange(other.core_, nullptr)), taken_(other.taken_) {}
  DeferredSource& operator=(DeferredSource&& other) noexcept {
    if (this == &other) return *this;
    DeferredSource before(std::move(*this));
    core_ = std::exchange(other.core_, nullptr);
    taken_ = other.taken_;
    return *this;
  }
  DeferredSource(const DeferredSource&) = delete;
  DeferredSource& operator=(const DeferredSource&) = delete;
  ~DeferredSource() {
    if (core_ == nullptr) return;
    core_->on_cancel(nullptr);
    if (!taken_) core_->release();
    answer(core_->cancelled() ? cancelled_error()
                              : Error{Fault::internal, "whoever was to answer has gone without it"});
  }

  /// REQUIRES: not called before.
  [[nodiscard]] Deferred<T> deferred() {
    TAP_ASSERT(core_ != nullptr && !taken_);
    taken_ = true;
    return Deferred<T>(*core_);
  }
  /// Whether there is still somebody who waits, and no answer.
  [[nodiscard]] bool waited_for() const { return core_ != nullptr && core_->waited_for(); }
  /// `told` when the Deferred is dropped or cancelled before it is answered; it may answer, or drop this source.
  /// Without it a cancel() answers by itself.
  void on_cancel(std::function<void()> told) {
    if (core_ != nullptr) core_->on_cancel(std::move(told));
  }

  /// Both are the caller's last statement where the one who waits may end the caller. Ignored when nobody waits.
  template <class... Value>
    requires(sizeof...(Value) == (std::is_void_v<T> ? 0 : 1))
  void callback(Value&&... value) {
    if constexpr (std::is_void_v<T>) answer(Result<T>());
    else answer(Result<T>(T(std::forward<Value>(value)...)));
  }
  void errback(Error error) { answer(Result<T>(std::move(error))); }
  void answer(Result<T>&& answered) {
    if (core_ != nullptr) std::exchange(core_, nullptr)->answer(std::move(answered));
  }

 private:
  deferred::SourceCore<T>* core_;
  bool taken_ = false;
};

/// One that has its answer.
template <class T>
[[nodiscard]] Deferred<T> answered(Result<T> answer) {
  DeferredSource<T> source;
  Deferred<T> made = source.deferred();
  source.answer(std::move(answer));
  return made;
}

// --- callbacks ----------------------------------------------------------------------------------------------------

namespace deferred {

/// Calls `code` with an answer and makes a Result of what it returns, or gives the Deferred that it returned.
template <class U, class Code, class... Arguments>
std::optional<Result<U>> call(Code& code, std::optional<Deferred<U>>& later, Arguments&&... arguments) {
  using Raw = std::decay_t<std::invoke_result_t<Code&, Arguments...>>;
  try {
    if constexpr (std::is_same_v<Raw, Deferred<U>>) {
      later.emplace(code(std::forward<Arguments>(arguments)...));
      return std::nullopt;
    } else if constexpr (std::is_void_v<Raw>) {
      code(std::forward<Arguments>(arguments)...);
      return Result<U>();
    } else {
      return Result<U>(code(std::forward<Arguments>(arguments)...));
    }
  } catch (...) {
    return Result<U>(current_exception_error());
  }
}

/// `step(Result<T>, later)` gives the answer, or a Deferred that will.
template <class T, class U, class Step>
class Chained final : public Core<U>, private Waiter, private Running {
 public:
  Chained(Deferred<T> from, Step step) : from_(std::move(from)), step_(std::move(step)) {
    if (from_.done()) take_step();
    else from_.core()->waiter = this;
  }

  void release() noexcept override {
    if (!put_off_end()) delete_();
  }
  void cancel() override {
    if (later_) later_->cancel();
    else from_.cancel();
  }

 private:
  void completed() override {
    if (!later_ && !take_step()) return;
    if (this->done()) this->tell_waiter();
    else if (later_->done()) this->complete(later_->take());
    else later_->core()->waiter = this;
  }

  /// False when the owner has gone, and this with it.
  bool take_step() {
    Result<T> answer = from_.take();
    begin();
    std::optional<Result<U>> now = step_(std::move(answer), later_);
    end();
    if (orphaned()) {
      delete_();
      return false;
    }
    if (now) this->result.emplace(std::move(*now));
    return true;
  }
  void delete_() noexcept { const std::unique_ptr<Chained> ending(this); }

 public:
  /// For the one who made it: what the first step has left to wait for.
  void wait_for_later() {
    if (!this->done() && later_) completed();
  }

 private:
  Deferred<T> from_;
  std::optional<Deferred<U>> later_;
  Step step_;
};

template <class T, class U, class Step>
Deferred<U> chain(Deferred<T> from, Step step) {
  auto* made = new Chained<T, U, Step>(std::move(from), std::move(step));
  made->wait_for_later();
  return Deferred<U>(*made);
}

}  // namespace deferred

template <class T>
template <class Code>
Deferred<deferred::ValueOf<Code, T>> Deferred<T>::add_callback(Code code) && {
  using U = deferred::ValueOf<Code, T>;
  return deferred::chain<T, U>(
      std::move(*this),
      [code = std::move(code)](Result<T> answer, std::optional<Deferred<U>>& later) mutable -> std::optional<Result<U>> {
        if (!answer) return Result<U>(std::move(answer).error());
        if constexpr (std::is_void_v<T>) return deferred::call<U>(code, later);
        else return deferred::call<U>(code, later, std::move(answer).value());
      });
}

template <class T>
template <class Code>
Deferred<T> Deferred<T>::add_errback(Code code) && {
  return deferred::chain<T, T>(
      std::move(*this),
      [code = std::move(code)](Result<T> answer, std::optional<Deferred<T>>& later) mutable -> std::optional<Result<T>> {
        if (answer) return answer;
        return deferred::call<T>(code, later, std::move(answer).error());
      });
}

template <class T>
template <class Code>
Deferred<deferred::ValueOf<Code, Result<T>>> Deferred<T>::add_both(Code code) && {
  using U = deferred::ValueOf<Code, Result<T>>;
  return deferred::chain<T, U>(
      std::move(*this),
      [code = std::move(code)](Result<T> answer, std::optional<Deferred<U>>& later) mutable -> std::optional<Result<U>> {
        return deferred::call<U>(code, later, std::move(answer));
      });
}

// --- coroutines ---------------------------------------------------------------------------------------------------

namespace deferred {

/// What a coroutine's frame needs of its promise, whatever it returns.
class Frame : public Running {
 public:
  [[nodiscard]] std::suspend_never initial_suspend() noexcept {
    begin();
    return {};
  }
  virtual void resume() = 0;
  void waits_for(CoreBase* core) noexcept {
    waits_for_ = core;
    if (core != nullptr) end();
    else begin();
  }

 protected:
  ~Frame() = default;
  CoreBase* waits_for_ = nullptr;
};

/// Not an aggregate: g++ 12 destroys those twice.
template <class U>
class Awaiter final : private Waiter {
 public:
  explicit Awaiter(Deferred<U> awaited) : awaited_(std::move(awaited)) {}
  Awaiter(const Awaiter&) = delete;
  Awaiter& operator=(const Awaiter&) = delete;
  ~Awaiter() = default;

  [[nodiscard]] bool await_ready() const noexcept { return awaited_.done(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> coroutine) noexcept {
    frame_ = &coroutine.promise();
    awaited_.core()->waiter = this;
    frame_->waits_for(awaited_.core());
  }
  [[nodiscard]] Result<U> await_resume() {
    if (frame_ != nullptr) frame_->waits_for(nullptr);
    return awaited_.take();
  }

 private:
  void completed() override { frame_->resume(); }

  Deferred<U> awaited_;
  Frame* frame_ = nullptr;
};

template <class T>
class Promise : public Core<T>, public Frame {
 public:
  template <class U>
  [[nodiscard]] Awaiter<U> await_transform(Deferred<U> awaited) {
    return Awaiter<U>(std::move(awaited));
  }
  void unhandled_exception() noexcept { this->result.emplace(current_exception_error()); }

  void cancel() override {
    if (this->waits_for_ != nullptr) this->waits_for_->cancel();
  }

 protected:
  ~Promise() = default;
};

/// The frame stays until its owner goes: the answer is in it.
template <class P>
class FinalAwaiter final {
 public:
  FinalAwaiter() noexcept {}  // not an aggregate
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<P> coroutine) noexcept { coroutine.promise().finish(); }
  void await_resume() const noexcept {}
};

template <class P, class T>
class OwnedPromise : public Promise<T> {
 public:
  [[nodiscard]] Deferred<T> get_return_object() { return Deferred<T>(static_cast<P&>(*this)); }
  [[nodiscard]] FinalAwaiter<P> final_suspend() noexcept { return {}; }
  void finish() noexcept { this->end(); }

  void release() noexcept override {
    if (!this->put_off_end()) handle().destroy();
  }
  /// The last statement of whoever calls it: the coroutine may end.
  void resume() override {
    const std::coroutine_handle<P> running = handle();
    running.resume();
    // It waits again, or has ended. Nobody but its owner destroys it, and that is put off while it runs.
    if (this->orphaned()) running.destroy();
    else if (running.done()) this->tell_waiter();
  }

 protected:
  ~OwnedPromise() = default;

 private:
  [[nodiscard]] std::coroutine_handle<P> handle() noexcept {
    return std::coroutine_handle<P>::from_promise(static_cast<P&>(*this));
  }
};

}  // namespace deferred

template <class T>
class Deferred<T>::promise_type final : public deferred::OwnedPromise<typename Deferred<T>::promise_type, T> {
 public:
  void return_value(Result<T> answer) { this->result.emplace(std::move(answer)); }
};

template <>
class Deferred<void>::promise_type final : public deferred::OwnedPromise<Deferred<void>::promise_type, void> {
 public:
  void return_void() { this->result.emplace(); }
};

}  // namespace tap::net
