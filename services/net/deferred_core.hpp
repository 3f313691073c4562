// The inside of Deferred: what is owned, who waits for it, and the errors that it knows.
//
// Service authors include deferred.hpp.
// Tests: tests/services/net/deferred_test.cpp
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "state/base/result.hpp"

namespace tap::net {

template <class T>
class Deferred;

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

/// An operation that tells its end by a callback, as a core. REQUIRES of Operation: its last argument is called once,
/// with a Result<T>, from a later turn, and may end it; dropping it calls it off.
template <class T, class Operation>
class OperationCore final : public Core<T> {
 public:
  template <class... Arguments>
  explicit OperationCore(Arguments&&... arguments)
      : operation_(std::in_place, std::forward<Arguments>(arguments)...,
                   [this](Result<T> answer) { this->complete(std::move(answer)); }) {}

  void release() noexcept override { const std::unique_ptr<OperationCore> ending(this); }
  void cancel() override {
    operation_.reset();
    this->complete(cancelled_error());
  }

 private:
  std::optional<Operation> operation_;
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

}  // namespace tap::net
