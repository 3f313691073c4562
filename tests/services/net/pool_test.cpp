#include "services/net/pool.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/services/net/fixture.hpp"

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
      works.push_back(run_in_pool(loop.reactor, [] {}, [&](const Result<void>& result) { fine += result.ok() ? 1 : 0; }));
    }
    REQUIRE(loop.turn_until([&] { return error && fine == 1; }));
    const std::string said =
        standard ? "work in the pool threw: out of rabbits" : "work in the pool threw: something that is no exception";
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
    work = run_in_pool(loop.reactor, [] {}, [](const Result<void>&) { throw std::runtime_error("out of hats"); });
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
  PoolWork last = run_in_pool(loop.reactor, [] {}, [](const Result<void>&) {});
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
