// Deferred and coroutines: who calls whom, what becomes of exceptions, and that nothing is left when one is dropped.
#include "services/net/deferred.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace tap::tests {
namespace {

using net::answered;
using net::Deferred;
using net::DeferredSource;
using net::Failure;

Error refused() { return Error{Fault::unavailable, "refused"}; }

/// Counts how many of it there are: a frame that is left behind keeps one.
struct Counted {
  explicit Counted(int& of) : count(&of) { ++*count; }
  Counted(const Counted& other) : count(other.count) { ++*count; }
  Counted& operator=(const Counted&) = default;
  ~Counted() { --*count; }
  int* count;
};

Deferred<int> plus_one(Deferred<int> from) {
  Result<int> got = co_await std::move(from);
  if (!got) co_return std::move(got).error().with("adding");
  co_return *got + 1;
}

Deferred<std::string> two_steps(Deferred<int> first, Deferred<int> second, Counted kept) {
  const Counted local(*kept.count);
  Result<int> one = co_await std::move(first);
  Result<int> two = co_await std::move(second);
  if (!one) co_return std::move(one).error();
  if (!two) co_return std::move(two).error();
  co_return std::to_string(*one) + "," + std::to_string(*two);
}

Deferred<void> throws_after(Deferred<void> from, bool failure) {
  Result<void> got = co_await std::move(from);
  if (failure) throw Failure(refused().with("inside"));
  throw std::runtime_error("broken");
}

Deferred<int> nested(Deferred<int> from, int depth) {
  if (depth == 0) {
    Result<int> got = co_await std::move(from);
    co_return got;
  }
  Deferred<int> inner = nested(std::move(from), depth - 1);
  Result<int> got = co_await std::move(inner);
  if (!got) co_return std::move(got).error().with(std::to_string(depth));
  co_return *got + 1;
}

}  // namespace

TEST_CASE("deferred: an answer goes down the chain of callbacks, and each may change its type") {
  DeferredSource<int> source;
  std::vector<std::string> heard;
  Deferred<void> chain = source.deferred()
                             .add_callback([](int number) { return std::to_string(number); })
                             .add_callback([](const std::string& text) -> Result<std::string> { return text + "!"; })
                             .add_callback([&](const std::string& text) { heard.push_back(text); });
  CHECK_FALSE(chain.done());
  source.callback(7);
  CHECK(heard == std::vector<std::string>{"7!"});
  REQUIRE(chain.done());
  CHECK(chain.take().ok());
}

TEST_CASE("deferred: an error passes callbacks by, gathers context, and an errback makes something good of it") {
  DeferredSource<int> source;
  std::string message;
  bool called = false;
  Deferred<int> chain = source.deferred()
                            .add_callback([&](int number) { return called = true, number; })
                            .context("connecting")
                            .context("fetching the poem")
                            .add_errback([&](const Error& error) { return message = error.message, 5; });
  source.errback(refused());
  CHECK_FALSE(called);
  CHECK(message == "fetching the poem: connecting: refused");
  CHECK(chain.take().value() == 5);
}

TEST_CASE("deferred: what a callback throws becomes an error; a Failure keeps its own") {
  Deferred<int> thrown = answered<int>(1).add_callback([](int) -> int { throw std::runtime_error("broken"); });
  const Result<int> first = thrown.take();
  REQUIRE_FALSE(first.ok());
  CHECK(first.error().message == "an exception: broken");
  CHECK(net::is_exception(first.error()));
  Deferred<int> failed = answered<int>(1).add_callback([](int) -> int { throw Failure(refused()); });
  const Result<int> second = failed.take();
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().message == "refused");
  CHECK_FALSE(net::is_exception(second.error()));
  Deferred<int> odd = answered<int>(1).add_callback([](int) -> int { throw 5; });
  CHECK(odd.take().error().message == "an exception of an unknown type");
}

TEST_CASE("deferred: a callback that returns a Deferred puts the rest of the chain off") {
  DeferredSource<int> first;
  DeferredSource<int> second;
  Deferred<int> chain =
      first.deferred().add_callback([&](int) { return second.deferred(); }).add_callback([](int number) {
        return number * 2;
      });
  first.callback(1);
  CHECK_FALSE(chain.done());
  second.callback(21);
  CHECK(chain.take().value() == 42);
}

TEST_CASE("deferred: add_both sees either") {
  int seen = 0;
  const auto look = [&](const Result<int>& answer) { seen += answer.ok() ? 1 : 100; };
  CHECK(answered<int>(1).add_both(look).take().ok());
  CHECK(answered<int>(refused()).add_both(look).take().ok());
  CHECK(seen == 101);
}

TEST_CASE("deferred: dropping it tells the one who was to answer, and his answer goes nowhere") {
  DeferredSource<int> source;
  bool told = false;
  source.on_cancel([&] { told = true; });
  {
    Deferred<int> dropped = source.deferred().add_callback([](int number) { return number; });
    CHECK_FALSE(told);
  }
  CHECK(told);
  CHECK_FALSE(source.waited_for());
  source.callback(3);
}

TEST_CASE("deferred: cancel() answers with an error, or lets the one who was to answer do it") {
  DeferredSource<int> plain;
  Deferred<int> first = plain.deferred();
  first.cancel();
  CHECK(net::is_cancelled(first.take().error()));
  DeferredSource<int> careful;
  Deferred<int> second = careful.deferred();
  careful.on_cancel([&] { careful.errback(refused()); });
  second.cancel();
  CHECK(second.take().error().message == "refused");
  DeferredSource<int> leaving;
  Deferred<int> third = leaving.deferred();
  leaving.on_cancel([&] { const DeferredSource<int> gone = std::move(leaving); });
  third.cancel();
  CHECK(net::is_cancelled(third.take().error()));
}

TEST_CASE("deferred: a source that goes without an answer leaves an error") {
  Deferred<int> left;
  {
    DeferredSource<int> source;
    left = source.deferred();
  }
  CHECK(left.take().error().message == "whoever was to answer has gone without it");
  const DeferredSource<int> never_asked;
}

TEST_CASE("deferred: a callback may drop the chain that it is part of") {
  DeferredSource<int> source;
  Deferred<int> chain;
  bool later = false;
  chain = source.deferred()
              .add_callback([&](int number) {
                chain = Deferred<int>();
                return number;
              })
              .add_callback([&](int number) { return later = true, number; });
  source.callback(1);
  CHECK_FALSE(later);
  CHECK(chain.done());
}

TEST_CASE("coroutine: it begins at once, waits, and goes on in the call that answers") {
  DeferredSource<int> source;
  Deferred<int> sum = plus_one(source.deferred());
  CHECK_FALSE(sum.done());
  source.callback(41);
  CHECK(sum.take().value() == 42);
  CHECK(plus_one(answered<int>(1)).take().value() == 2);
  CHECK(plus_one(answered<int>(refused())).take().error().message == "adding: refused");
}

TEST_CASE("coroutine: dropped at each of its waits it leaves nothing behind, and what it waited for is dropped too") {
  for (int wait = 0; wait < 3; ++wait) {
    CAPTURE(wait);
    int alive = 0;
    int told = 0;
    DeferredSource<int> first;
    DeferredSource<int> second;
    first.on_cancel([&] { ++told; });
    second.on_cancel([&] { ++told; });
    {
      Deferred<std::string> both = two_steps(first.deferred(), second.deferred(), Counted(alive));
      CHECK(alive == 2);
      if (wait >= 1) first.callback(1);
      if (wait >= 2) second.callback(2);
      CHECK(both.done() == (wait == 2));
    }
    CHECK(alive == 0);
    CHECK(told == 2 - wait);
  }
}

TEST_CASE("coroutine: exceptions end it, and only it") {
  DeferredSource<void> source;
  Deferred<void> broken = throws_after(source.deferred(), false);
  source.callback();
  CHECK(broken.take().error().message == "an exception: broken");
  CHECK(throws_after(answered<void>({}), true).take().error().message == "inside: refused");
}

TEST_CASE("coroutine: cancel() reaches the innermost wait, and the error comes back as a path") {
  DeferredSource<int> source;
  Deferred<int> outer = nested(source.deferred(), 3);
  outer.cancel();
  REQUIRE(outer.done());
  const Result<int> answer = outer.take();
  CHECK(answer.error().message == "3: 2: 1: cancelled");
  CHECK(net::is_cancelled(answer.error()));
  DeferredSource<int> good;
  Deferred<int> sum = nested(good.deferred(), 100);
  good.callback(1);
  CHECK(sum.take().value() == 101);
}

TEST_CASE("coroutine: it may lose its owner while it runs, and ends at its next wait") {
  struct Owner {
    Deferred<void> task;
    int steps = 0;
    int alive = 0;
  } owner;
  DeferredSource<void> begin;
  DeferredSource<void> never;
  const auto body = [](Owner* of, Deferred<void> first, Deferred<void> second) -> Deferred<void> {
    const Counted counted(of->alive);
    Result<void> begun = co_await std::move(first);
    of->task = Deferred<void>();
    ++of->steps;
    Result<void> more = co_await std::move(second);
    ++of->steps;
  };
  owner.task = body(&owner, begin.deferred(), never.deferred());
  begin.callback();
  CHECK(owner.steps == 1);
  CHECK(owner.alive == 0);
  CHECK_FALSE(never.waited_for());
}

TEST_CASE("deferred: an answer that nobody has asked for leaves nothing behind") {
  int alive = 0;
  DeferredSource<Counted> source;
  source.callback(Counted(alive));
  CHECK(alive == 0);
  CHECK_FALSE(source.waited_for());
}

}  // namespace tap::tests
