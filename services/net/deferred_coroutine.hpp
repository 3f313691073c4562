// What makes a function that returns a Deferred a coroutine: its promise, and what co_await does with a Deferred.
//
// Part of deferred.hpp.
// Tests: tests/services/net/deferred_test.cpp
#pragma once

#include <coroutine>
#include <utility>

#include "services/net/deferred.hpp"

namespace tap::net {

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
