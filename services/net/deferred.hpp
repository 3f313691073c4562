// Deferred: an answer that comes later, and the coroutines that wait for it.
//
//     Deferred<Poem> fetch(Reactor& reactor, std::string host) {          // a coroutine: it returns a Deferred
//       Result<Connection> made = co_await connect(reactor, host);        // one co_await, a statement of its own
//       if (!made) co_return std::move(made).error().with("fetching");    // failures are values
//       co_return read_poem(*made);
//     }
//     fetch(reactor, "poems").add_callback([](Poem poem) { ... });
//
// One owner each. Dropping a Deferred cancels what it stands for: a coroutine is destroyed where it waits, with all
// that it waits for. To let one go on in the background, give it to a TaskSet.
//
// As in Twisted, and unlike anything else here, a callback that is added to an answer which is there
// already is called at once: a Deferred knows of no loop that could call it later.
//
// g++ 12 miscompiles some uses of co_await: one per statement, with plain arguments.
// tests/checks/coroutines refuses others.
//
// Source: Twisted's twisted.internet.defer; KJ's promises for the ownership.
// Tests: tests/services/net/deferred_test.cpp
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "services/net/deferred_core.hpp"
#include "state/base/assert.hpp"
#include "state/base/result.hpp"

namespace tap::net {

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

  /// `code(T)` for a good answer; it returns a value, a Result or a Deferred, which the new Deferred then stands for.
  /// Errors pass by. What it throws becomes an error.
  template <class Code>
  [[nodiscard]] Deferred<deferred::ValueOf<Code, T>> add_callback(Code code) &&;
  /// `code(Error)` for an error; it returns a T (for void: nothing), a Result<T> or a Deferred<T>.
  /// Good answers pass by.
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
  /// Nobody waits, and nobody ever can: the answer that follows ends it.
  void never_owned() { owner_gone_ = true; }
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
    if (core_ == nullptr) return;
    deferred::SourceCore<T>* core = std::exchange(core_, nullptr);
    if (!std::exchange(taken_, true)) core->never_owned();
    core->answer(std::move(answered));
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

}  // namespace tap::net

// The other half of it: what add_callback() and the others do, and what makes a function that returns one a coroutine.
#include "services/net/deferred_callbacks.hpp"  // IWYU pragma: export
#include "services/net/deferred_coroutine.hpp"  // IWYU pragma: export
