#include "services/net/pool.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "services/net/deferred_tools.hpp"
#include "tests/services/net/outcome.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

TEST_CASE("pool: work runs in another thread, its end is told on the loop") {
  Loop loop;
  std::thread::id worked;
  std::thread::id told;
  PoolWork work = run_in_pool(
      loop.reactor, [&] { worked = std::this_thread::get_id(); },
      [&](const Result<void>& result) {
        CHECK(result.ok());
        told = std::this_thread::get_id();
      });
  CHECK(work.active());
  REQUIRE(loop.turn_until([&] { return !work.active(); }));
  CHECK(told == std::this_thread::get_id());
  CHECK_FALSE(worked == told);
}

TEST_CASE("pool: an exception is the error of that work, said once under who asked, and counted") {
  for (const bool standard : {true, false}) {
    CAPTURE(standard);
    Loop loop;
    const Reactor::Account account = loop.reactor.open_account("asker");
    std::optional<Error> error;
    int fine = 0;
    std::vector<PoolWork> works;
    {
      const Reactor::Charge charge(loop.reactor, account);
      works.push_back(run_in_pool(
          loop.reactor,
          [standard] {
            if (standard) throw std::runtime_error("out of rabbits");
            throw 13;
          },
          [&](Result<void> result) { error = std::move(result).error(); }));
      works.push_back(run_in_pool(
          loop.reactor, [] {}, [&](const Result<void>& result) { fine += result.ok() ? 1 : 0; }));
    }
    REQUIRE(loop.turn_until([&] { return error && fine == 1; }));
    const std::string said = standard ? "work in the pool: an exception: out of rabbits"
                                      : "work in the pool: an exception of an unknown type";
    CHECK(error->fault == Fault::internal);
    CHECK(error->message == said);
    REQUIRE(loop.log.lines().size() == 1);
    CHECK(loop.log.lines()[0].who == "asker");
    CHECK(loop.log.lines()[0].message == said);
    CHECK(loop.reactor.exceptions(account) == 1);
  }
}

TEST_CASE("pool: an exception of the news ends it only, under who asked") {
  Loop loop;
  const Reactor::Account account = loop.reactor.open_account("asker");
  PoolWork work;
  {
    const Reactor::Charge charge(loop.reactor, account);
    work = run_in_pool(
        loop.reactor, [] {}, [](const Result<void>&) { throw std::runtime_error("out of hats"); });
  }
  REQUIRE(loop.turn_until([&] { return !work.active(); }));
  CHECK(loop.log.count("out of hats") == 1);
  CHECK(loop.log.lines()[0].who == "asker");
  CHECK(loop.reactor.exceptions(account) == 1);
}

TEST_CASE("pool: dropped news are never told, work that has begun goes on to its end") {
  Loop loop;
  std::promise<void> go;
  std::atomic<bool> ended = false;
  std::promise<void> begun;
  int told = 0;
  {
    PoolWork dropped = run_in_pool(
        loop.reactor,
        [&] {
          begun.set_value();
          go.get_future().wait();
          ended = true;
        },
        [&](const Result<void>&) { ++told; });
    begun.get_future().wait();
    PoolWork moved = std::move(dropped);
    CHECK_FALSE(dropped.active());
    CHECK(moved.active());
  }
  go.set_value();
  PoolWork last = run_in_pool(
      loop.reactor, [] {}, [](const Result<void>&) {});
  REQUIRE(loop.turn_until([&] { return ended && !last.active(); }));
  loop.turn(5);
  CHECK(told == 0);
}

TEST_CASE("pool: a reactor that ends waits for what has begun") {
  std::atomic<bool> ended = false;
  std::promise<void> go;
  PoolWork work;
  {
    Loop loop;
    work = run_in_pool(
        loop.reactor,
        [&] {
          go.get_future().wait();
          ended = true;
        },
        [](const Result<void>&) {});
    work.cancel();
    go.set_value();
  }
  CHECK((ended || !work.active()));
}

TEST_CASE("pool: work is done in another thread and its answer comes on the loop") {
  Loop loop;
  const std::thread::id here = std::this_thread::get_id();
  std::thread::id there;
  Deferred<int> answer = defer_to_thread(loop.reactor, [&there] {
    there = std::this_thread::get_id();
    return 42;
  });
  CHECK_FALSE(answer.done());
  CHECK(outcome(loop, std::move(answer)).value() == 42);
  CHECK(there != here);
}

TEST_CASE("pool: what the work throws, or returns as an error, is the answer's error") {
  Loop loop;
  const auto thrown = outcome(loop, defer_to_thread(loop.reactor, []() -> int { throw std::runtime_error("broken"); }));
  CHECK(thrown.error().message == "work in the pool: an exception: broken");
  const auto refused = outcome(loop, defer_to_thread(loop.reactor, []() -> Result<std::string> {
                                 return Error{Fault::no_input, "no such file"};
                               }));
  CHECK(refused.error().fault == Fault::no_input);
  CHECK(outcome(loop, defer_to_thread(loop.reactor, [] {})).ok());
}

TEST_CASE("pool: dropped answers, and a reactor that ends while work is under way") {
  Loop loop;
  for (int i = 0; i < 100; ++i) {
    Deferred<int> dropped = defer_to_thread(loop.reactor, [i] { return i; });
    if (i % 3 == 0) loop.turn();
  }
  Deferred<int> cancelled = defer_to_thread(loop.reactor, [] { return 1; });
  cancelled.cancel();
  const Result<int> answer = outcome(loop, std::move(cancelled));
  if (!answer) CHECK(is_cancelled(answer.error()));  // or it had begun
}

TEST_CASE("pool: work of many threads and posts to the loop at once") {
  Loop loop;
  int posted = 0;
  std::vector<Deferred<int>> all;
  for (int i = 0; i < 200; ++i) {
    all.push_back(defer_to_thread(loop.reactor, [&loop, &posted] {
      for (int j = 0; j < 20; ++j) loop.reactor.post([&posted] { ++posted; });
      return 1;
    }));
  }
  const auto answers = outcome(loop, gather(std::move(all)));
  CHECK(answers->size() == 200);
  CHECK(loop.turn_until([&] { return posted == 4000; }));
}

TEST_CASE("defer_to_thread: an exception is the answer's, and is said in the log when nobody waits for it any more") {
  Loop loop;
  const Reactor::Account account = loop.reactor.open_account("asker");
  std::promise<void> go;
  const std::shared_future<void> may_go = go.get_future().share();
  std::atomic<bool> begun = false;
  {
    const Reactor::Charge charge(loop.reactor, account);
    const auto heard = outcome(loop, defer_to_thread(loop.reactor, [] { throw std::runtime_error("heard"); }));
    CHECK(is_exception(heard.error()));
    CHECK(loop.log.lines().empty());
    const Deferred<void> dropped = defer_to_thread(loop.reactor, [may_go, &begun] {
      begun = true;
      may_go.wait();
      throw std::runtime_error("unheard");
    });
    while (!begun) std::this_thread::yield();
  }
  go.set_value();
  REQUIRE(loop.turn_until([&] { return !loop.log.lines().empty(); }));
  CHECK(loop.log.lines()[0].message == "work in the pool: an exception: unheard");
  CHECK(loop.reactor.exceptions(account) == 1);
}
