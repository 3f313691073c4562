// Several Deferreds at once, and Deferreds in time: gather, any, with_timeout, sleep_for.
//
// Tests: tests/services/net/deferred_tools_test.cpp
#pragma once

#include <cerrno>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "services/net/deferred.hpp"
#include "services/net/reactor.hpp"

namespace tap::net {

namespace deferred {

/// The answers of many, once they are all there.
template <class T>
class AllOf final : public Core<std::vector<Result<T>>> {
 public:
  explicit AllOf(std::vector<Deferred<T>> all) : all_(std::move(all)) {
    for (Deferred<T>& one : all_) {
      if (one.done()) continue;
      ++waiting_;
      one.core()->waiter = &each_;
    }
    if (waiting_ == 0) this->result.emplace(answers());
  }

  void release() noexcept override { const std::unique_ptr<AllOf> ending(this); }
  /// Each of them is asked; their answers are those of all.
  void cancel() override {
    cancelling_ = true;
    for (Deferred<T>& one : all_) one.cancel();
    cancelling_ = false;
    if (waiting_ == 0) this->complete(answers());
  }

 private:
  struct Each final : public Waiter {
    explicit Each(AllOf& of) : owner(of) {}
    void completed() override {
      if (--owner.waiting_ == 0 && !owner.cancelling_) owner.complete(owner.answers());
    }
    AllOf& owner;
  };
  [[nodiscard]] std::vector<Result<T>> answers() {
    std::vector<Result<T>> taken;
    taken.reserve(all_.size());
    for (Deferred<T>& one : all_) taken.push_back(one.take());
    return taken;
  }

  std::vector<Deferred<T>> all_;
  Each each_{*this};
  std::size_t waiting_ = 0;
  bool cancelling_ = false;
};

/// The first good answer of many; the others are dropped then.
template <class T>
class FirstOf final : public Core<T> {
 public:
  explicit FirstOf(std::vector<Deferred<T>> all) {
    candidates_.reserve(all.size());
    for (Deferred<T>& one : all) candidates_.push_back(std::make_unique<Candidate>(*this, std::move(one)));
    waiting_ = candidates_.size();
    if (candidates_.empty()) failures_ = "there was nothing to wait for";
    for (std::size_t i = 0; i < candidates_.size() && !this->done(); ++i) {
      Candidate& candidate = *candidates_[i];
      if (candidate.from.done()) look_at(candidate);
      else candidate.from.core()->waiter = &candidate;
    }
    if (waiting_ == 0 && !this->done()) this->result.emplace(failure());
    if (this->done()) candidates_.clear();
  }

  void release() noexcept override { const std::unique_ptr<FirstOf> ending(this); }
  void cancel() override {
    candidates_.clear();
    this->complete(cancelled_error());
  }

 private:
  struct Candidate final : public Waiter {
    Candidate(FirstOf& of, Deferred<T> one) : owner(of), from(std::move(one)) {}
    void completed() override { owner.completed(*this); }
    FirstOf& owner;
    Deferred<T> from;
  };

  void look_at(Candidate& candidate) {
    Result<T> answer = candidate.from.take();
    --waiting_;
    if (answer) this->result.emplace(std::move(answer));
    else failures_.append(failures_.empty() ? "" : "; ").append(answer.error().message);
  }
  void completed(Candidate& candidate) {
    look_at(candidate);
    if (!this->done() && waiting_ > 0) return;
    if (!this->done()) this->result.emplace(failure());
    candidates_.clear();
    this->tell_waiter();
  }
  [[nodiscard]] Error failure() const { return Error{Fault::unavailable, failures_}; }

  std::vector<std::unique_ptr<Candidate>> candidates_;
  std::size_t waiting_ = 0;
  std::string failures_;
};

/// An answer, or an error when it takes too long.
template <class T>
class Timed final : public Core<T>, private Waiter {
 public:
  Timed(Reactor& reactor, std::uint64_t timeout_ms, Deferred<T> from) : from_(std::move(from)) {
    if (from_.done()) {
      this->result.emplace(from_.take());
      return;
    }
    from_.core()->waiter = this;
    timer_ = reactor.call_later(timeout_ms, [this, timeout_ms] {
      from_ = Deferred<T>();
      this->complete(Error{Fault::temporary, "no answer within " + std::to_string(timeout_ms) + " ms", ETIMEDOUT});
    });
  }

  void release() noexcept override { const std::unique_ptr<Timed> ending(this); }
  void cancel() override { from_.cancel(); }

 private:
  void completed() override {
    timer_.cancel();
    this->complete(from_.take());
  }

  Deferred<T> from_;
  Timer timer_;
};

class Sleeping final : public Core<void> {
 public:
  Sleeping(Reactor& reactor, std::uint64_t delay_ms)
      : timer_(reactor.call_later(delay_ms, [this] { this->complete(Result<void>()); })) {}

  void release() noexcept override { const std::unique_ptr<Sleeping> ending(this); }
  void cancel() override {
    timer_.cancel();
    this->complete(cancelled_error());
  }

 private:
  Timer timer_;
};

}  // namespace deferred

/// All answers, in the order of `all`; the errors among them too (Twisted's DeferredList).
template <class T>
Deferred<std::vector<Result<T>>> gather(std::vector<Deferred<T>> all) {
  return Deferred<std::vector<Result<T>>>(*new deferred::AllOf<T>(std::move(all)));
}

/// The same for two of different types.
template <class A, class B>
Deferred<std::tuple<Result<A>, Result<B>>> gather(Deferred<A> a, Deferred<B> b) {
  // Each leaves its answer behind, so that both are of one type.
  auto first = std::make_shared<std::optional<Result<A>>>();
  auto second = std::make_shared<std::optional<Result<B>>>();
  std::vector<Deferred<void>> both;
  both.push_back(std::move(a).add_both([first](Result<A> answer) { first->emplace(std::move(answer)); }));
  both.push_back(std::move(b).add_both([second](Result<B> answer) { second->emplace(std::move(answer)); }));
  return gather(std::move(both)).add_callback([first, second](const std::vector<Result<void>>&) {
    return std::tuple<Result<A>, Result<B>>(std::move(**first), std::move(**second));
  });
}

/// The first good answer; the others are dropped then. When none is good: an error with all of their messages.
template <class T>
Deferred<T> any(std::vector<Deferred<T>> all) {
  return Deferred<T>(*new deferred::FirstOf<T>(std::move(all)));
}

/// Drops `from` when it has no answer after so long; the answer is then an error of fault temporary.
template <class T>
Deferred<T> with_timeout(Reactor& reactor, std::uint64_t timeout_ms, Deferred<T> from) {
  return Deferred<T>(*new deferred::Timed<T>(reactor, timeout_ms, std::move(from)));
}

/// On the reactor's clock.
inline Deferred<void> sleep_for(Reactor& reactor, std::uint64_t delay_ms) {
  return Deferred<void>(*new deferred::Sleeping(reactor, delay_ms));
}

}  // namespace tap::net
