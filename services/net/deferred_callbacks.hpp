// How a callback is added to a Deferred: the new Deferred owns the one before it, and the code between them.
//
// Part of deferred.hpp.
// Tests: tests/services/net/deferred_test.cpp
#pragma once

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "services/net/deferred.hpp"

namespace tap::net {

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
      [code = std::move(code)](Result<T> answer,
                               std::optional<Deferred<U>>& later) mutable -> std::optional<Result<U>> {
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
      [code = std::move(code)](Result<T> answer,
                               std::optional<Deferred<T>>& later) mutable -> std::optional<Result<T>> {
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
      [code = std::move(code)](Result<T> answer, std::optional<Deferred<U>>& later) mutable
      -> std::optional<Result<U>> { return deferred::call<U>(code, later, std::move(answer)); });
}

}  // namespace tap::net
