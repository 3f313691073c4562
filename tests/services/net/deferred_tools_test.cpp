#include "services/net/deferred_tools.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

#include "services/net/task_set.hpp"
#include "services/net/waiting.hpp"
#include "tests/services/net/fixture.hpp"

namespace tap::tests {
namespace {

using net::answered;
using net::Deferred;
using net::DeferredSource;

Error refused() { return Error{Fault::unavailable, "refused"}; }

Deferred<void> naps(net::Reactor& reactor, int times, int& done) {
  for (int i = 0; i < times; ++i) {
    Result<void> slept = co_await net::sleep_for(reactor, 100);
    if (!slept) throw net::Failure(std::move(slept).error());
    ++done;
  }
}

Deferred<void> drain(net::DeferredQueue<int>& queue, std::vector<int>& seen) {
  for (;;) {
    Result<int> next = co_await queue.get();
    if (!next) co_return;
    seen.push_back(*next);
  }
}

Deferred<void> alone(net::DeferredSemaphore& semaphore, Deferred<void> work, std::string name, std::string& log) {
  Result<net::DeferredSemaphore::Token> token = co_await semaphore.acquire();
  log += name;
  Result<void> worked = co_await std::move(work);
  log += "-";
}

Deferred<int> immediate(int value) { co_return value; }

Deferred<std::uint64_t> many_awaits(int times) {
  std::uint64_t sum = 0;
  for (int i = 0; i < times; ++i) {
    Result<int> got = co_await immediate(i);
    sum += static_cast<std::uint64_t>(*got);
  }
  co_return sum;
}

Deferred<std::uint64_t> pulls(DeferredSource<int>& next, int times) {
  std::uint64_t sum = 0;
  for (int i = 0; i < times; ++i) {
    next = DeferredSource<int>();
    Result<int> got = co_await next.deferred();
    sum += static_cast<std::uint64_t>(*got);
  }
  co_return sum;
}

}  // namespace

TEST_CASE("gather: all answers in their order, errors among them") {
  DeferredSource<int> a;
  DeferredSource<int> b;
  std::vector<Deferred<int>> all;
  all.push_back(a.deferred());
  all.push_back(b.deferred());
  Deferred<std::vector<Result<int>>> both = net::gather(std::move(all));
  b.errback(refused());
  CHECK_FALSE(both.done());
  a.callback(1);
  const Result<std::vector<Result<int>>> answers = both.take();
  REQUIRE(answers->size() == 2);
  CHECK(*(*answers)[0] == 1);
  CHECK((*answers)[1].error().message == "refused");

  DeferredSource<std::string> text;
  auto pair = net::gather(answered<int>(7), text.deferred());
  text.callback("seven");
  auto got = pair.take();
  CHECK(*std::get<0>(*got) == 7);
  CHECK(*std::get<1>(*got) == "seven");
}

TEST_CASE("gather: dropped, it drops all") {
  DeferredSource<int> a;
  DeferredSource<int> b;
  {
    std::vector<Deferred<int>> all;
    all.push_back(a.deferred());
    all.push_back(b.deferred());
    auto dropped = net::gather(std::move(all));
  }
  CHECK_FALSE(a.waited_for());
  CHECK_FALSE(b.waited_for());
}

TEST_CASE("any: the first good answer wins and the others are dropped") {
  DeferredSource<int> a;
  DeferredSource<int> b;
  DeferredSource<int> c;
  std::vector<Deferred<int>> all;
  all.push_back(a.deferred());
  all.push_back(b.deferred());
  all.push_back(c.deferred());
  Deferred<int> first = net::any(std::move(all));
  a.errback(refused());
  CHECK_FALSE(first.done());
  b.callback(2);
  CHECK(first.take().value() == 2);
  CHECK_FALSE(c.waited_for());
}

TEST_CASE("any: when none is good the error tells all of them; of nothing it is an error at once; cancel ends it") {
  std::vector<Deferred<int>> all;
  all.push_back(answered<int>(refused()));
  all.push_back(answered<int>(Error{Fault::unavailable, "no route"}));
  CHECK(net::any(std::move(all)).take().error().message == "refused; no route");
  CHECK(net::any(std::vector<Deferred<int>>()).take().error().message == "there was nothing to wait for");
  DeferredSource<int> source;
  std::vector<Deferred<int>> one;
  one.push_back(source.deferred());
  Deferred<int> cancelled = net::any(std::move(one));
  cancelled.cancel();
  CHECK(net::is_cancelled(cancelled.take().error()));
  CHECK_FALSE(source.waited_for());
}

TEST_CASE("with_timeout: in time the answer, after it an error, and what took too long is dropped") {
  Loop loop;
  DeferredSource<int> quick;
  DeferredSource<int> slow;
  Deferred<int> first = net::with_timeout(loop.reactor, 1000, quick.deferred());
  Deferred<int> second = net::with_timeout(loop.reactor, 1000, slow.deferred());
  loop.clock.advance(999);
  loop.turn();
  quick.callback(1);
  CHECK_FALSE(second.done());
  loop.clock.advance(1);
  loop.turn();
  CHECK(first.take().value() == 1);
  CHECK(second.take().error().message == "no answer within 1000 ms");
  CHECK_FALSE(slow.waited_for());
}

TEST_CASE("sleep_for: sleeps on the reactor's clock, and wakes when it is cancelled") {
  Loop loop;
  int done = 0;
  Deferred<void> task = naps(loop.reactor, 3, done);
  for (int i = 0; i < 2; ++i) {
    loop.clock.advance(100);
    loop.turn();
  }
  CHECK(done == 2);
  task.cancel();
  CHECK(net::is_cancelled(task.take().error()));
  CHECK(done == 2);
}

TEST_CASE("task set: failures are logged once with the service's name, and end nothing else") {
  Loop loop;
  net::TaskSet tasks(loop.reactor, "poems");
  int done = 0;
  CHECK(tasks.add(naps(loop.reactor, 1, done), "napping"));
  CHECK(tasks.add(answered<void>(refused()), "127.0.0.1:7"));
  DeferredSource<void> later;
  CHECK(tasks.add(later.deferred().add_callback([] { throw std::runtime_error("broken"); }), "127.0.0.1:8"));
  later.callback();
  CHECK(loop.log.count("127.0.0.1:7: refused") == 1);
  CHECK(loop.log.count("127.0.0.1:8: an exception: broken") == 1);
  CHECK(tasks.failures() == 2);
  CHECK(tasks.exceptions() == 1);
  CHECK(tasks.size() == 1);
  loop.clock.advance(100);
  loop.turn();
  CHECK(done == 1);
  CHECK(tasks.size() == 0);
}

TEST_CASE("task set: close() asks all to end and answers when they have; no more are taken") {
  Loop loop;
  net::TaskSet tasks(loop.reactor, "poems");
  int done = 0;
  DeferredSource<void> stubborn;
  stubborn.on_cancel([] {});
  CHECK(tasks.add(naps(loop.reactor, 5, done), "napping"));
  CHECK(tasks.add(stubborn.deferred(), "stubborn"));
  Deferred<void> closed = tasks.close();
  CHECK(tasks.size() == 1);
  CHECK_FALSE(closed.done());
  CHECK_FALSE(tasks.add(naps(loop.reactor, 1, done), "late"));
  stubborn.callback();
  CHECK(closed.done());
  CHECK(tasks.failures() == 0);
}

TEST_CASE("task set: it is bounded, and dropping it drops the tasks") {
  Loop loop;
  int done = 0;
  {
    net::TaskSet tasks(loop.reactor, "poems", 1);
    CHECK(tasks.add(naps(loop.reactor, 1, done), "one"));
    CHECK_FALSE(tasks.add(naps(loop.reactor, 1, done), "two"));
    CHECK(loop.log.count("two: not begun, there are 1 tasks already") == 1);
  }
  loop.clock.advance(1000);
  loop.turn();
  CHECK(done == 0);
}

TEST_CASE("queue: things come out in order, to those who waited first, and it is bounded") {
  std::vector<int> seen;
  net::DeferredQueue<int> queue(2);
  CHECK(queue.put(1));
  CHECK(queue.put(2));
  CHECK_FALSE(queue.put(3));
  {
    Deferred<void> draining = drain(queue, seen);
    CHECK(queue.put(4));
    CHECK(seen == std::vector<int>{1, 2, 4});
  }
  CHECK(queue.put(5));  // the one who waited has gone
  CHECK(queue.size() == 1);
  CHECK(queue.get().take().value() == 5);
}

TEST_CASE("semaphore: one after the other, and one that goes lets the next one in") {
  net::DeferredSemaphore lock(1);
  std::string log;
  DeferredSource<void> first;
  DeferredSource<void> second;
  DeferredSource<void> third;
  Deferred<void> a = alone(lock, first.deferred(), "a", log);
  Deferred<void> b = alone(lock, second.deferred(), "b", log);
  Deferred<void> c = alone(lock, third.deferred(), "c", log);
  CHECK(log == "a");
  b = Deferred<void>();
  first.callback();
  CHECK(log == "a-c");
  c = Deferred<void>();  // while it holds the lock
  CHECK(lock.free() == 1);
}

TEST_CASE("coroutines: a million awaits, of answers that are there and of such that come") {
  const auto begin = std::chrono::steady_clock::now();
  CHECK(many_awaits(1'000'000).take().value() == 499'999'500'000);
  DeferredSource<int> next;
  Deferred<std::uint64_t> sum = pulls(next, 1'000'000);
  while (!sum.done()) next.callback(1);
  CHECK(sum.take().value() == 1'000'000);
  const auto took = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
  MESSAGE("nanoseconds for each await: " << took / 2e6);
}

}  // namespace tap::tests
