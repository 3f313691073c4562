// Everything of the kit that can be waited for, dropped where it waits: under a sanitizer this shows that nothing is
// left behind and nobody comes back to what has gone.
#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "services/net/connector.hpp"
#include "services/net/deferred_tools.hpp"
#include "services/net/pool.hpp"
#include "services/net/process.hpp"
#include "services/net/resolve.hpp"
#include "services/net/task_set.hpp"
#include "services/net/waiting.hpp"
#include "tests/services/net/fixture.hpp"

namespace tap::tests {
namespace {

using net::Deferred;

/// Says that it was there, at its end.
struct Witness {
  explicit Witness(int& count) : ends(count) {}
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;
  ~Witness() { ++ends; }
  int& ends;
};

struct World {
  Loop loop;
  ScriptedFactory factory;
  std::unique_ptr<Server> server;
  std::unique_ptr<net::Connector> connector;
  net::DeferredQueue<int> queue{4};
  net::DeferredSemaphore semaphore{1};
  std::optional<net::DeferredSemaphore::Token> held;
  int stage = 0;      ///< how many of its waits are over
  int witnesses = 0;  ///< frames that have ended

  World() {
    held.emplace(semaphore.acquire().take().value());
    factory.script = echo_script();
    server = std::make_unique<Server>(loop, factory);
    const std::string there = "tcp:127.0.0.1:" + std::to_string(server->port());
    connector = net::Connector::create(loop.reactor, *net::parse_client_endpoint(there), factory, "client").value();
  }
};

Deferred<int> sleeps(World& world, std::uint64_t ms) {
  const Witness witness(world.witnesses);
  Result<void> slept = co_await net::sleep_for(world.loop.reactor, ms);
  if (!slept) co_return std::move(slept).error();
  co_return static_cast<int>(ms);
}

Deferred<void> waits_in_the_background(World& world) {
  const Witness witness(world.witnesses);
  Result<void> slept = co_await net::sleep_for(world.loop.reactor, 1'000'000);
  if (!slept) throw net::Failure(std::move(slept).error());
}

std::vector<Deferred<int>> some(World& world) {
  std::vector<Deferred<int>> all;
  for (const std::uint64_t ms : {30U, 10U, 20U}) all.push_back(sleeps(world, ms));
  return all;
}

/// The value, or the error on its way to whoever waits for the coroutine.
template <class T>
T taken(Result<T>&& answer) {
  if (!answer) throw net::Failure(std::move(answer).error());
  if constexpr (!std::is_void_v<T>) return std::move(answer).value();
}

/// One wait after another, each on something else.
Deferred<void> everything(World& world) {
  const Witness witness(world.witnesses);
  net::Reactor& reactor = world.loop.reactor;
  Result<int> slept = co_await sleeps(world, 5);
  taken(std::move(slept));
  ++world.stage;
  Result<std::vector<Result<int>>> gathered = co_await net::gather(some(world));
  for (Result<int>& one : *gathered) taken(std::move(one));
  ++world.stage;
  Result<int> first = co_await net::any(some(world));
  const int fastest = taken(std::move(first));
  CHECK(fastest == 10);
  ++world.stage;
  Result<int> late = co_await net::with_timeout(reactor, 5, sleeps(world, 50));
  if (late || net::is_cancelled(late.error())) throw net::Failure(late.error());
  ++world.stage;
  Deferred<int> chain = sleeps(world, 5).add_callback([&world](int) { return sleeps(world, 2); });
  Result<int> chained = co_await std::move(chain);
  const int last = taken(std::move(chained));
  CHECK(last == 2);
  ++world.stage;
  Result<int> thing = co_await world.queue.get();
  const int seven = taken(std::move(thing));
  CHECK(seven == 7);
  ++world.stage;
  Result<net::DeferredSemaphore::Token> token = co_await world.semaphore.acquire();
  taken(std::move(token));
  ++world.stage;
  Deferred<int> work = net::defer_to_thread(reactor, [] { return 42; });
  Result<int> worked = co_await std::move(work);
  const int answer = taken(std::move(worked));
  CHECK(answer == 42);
  ++world.stage;
  net::ProcessSpec cat = {};
  cat.words = {"/bin/cat"};
  Result<net::ProcessOutput> said = co_await net::run_process(reactor, cat, "miaow");
  const net::ProcessOutput output = taken(std::move(said));
  CHECK(output.out == "miaow");
  ++world.stage;
  Result<std::vector<net::SocketAddress>> found = co_await net::resolve(reactor, "127.0.0.1", world.server->port());
  const std::vector<net::SocketAddress> addresses = taken(std::move(found));
  ++world.stage;
  Result<Fd> connected = co_await net::connect_first(reactor, addresses);
  taken(std::move(connected));
  ++world.stage;
  Result<net::Protocol*> made = co_await world.connector->connect();
  taken(std::move(made));
  ++world.stage;
  net::TaskSet tasks(reactor, "tasks");
  tasks.add(waits_in_the_background(world), "a task");
  Result<void> slept_beside = co_await net::sleep_for(reactor, 5);
  taken(std::move(slept_beside));
  ++world.stage;
  Result<void> closed = co_await tasks.close();
  taken(std::move(closed));
  ++world.stage;
}

constexpr int kWaits = 14;

/// A turn in which some time passes; whoever waits for a thing or for the semaphore gets it.
void turn(World& world, const Deferred<void>& running) {
  if (world.stage == 6) world.held.reset();
  if (world.stage == 5 && !running.done() && world.queue.size() == 0) CHECK(world.queue.put(7));
  world.loop.clock.advance(5);
  world.loop.turn();
}

}  // namespace

TEST_CASE("coroutines: all that the kit offers, waited for to the end") {
  World world;
  Deferred<void> running = everything(world);
  CHECK(world.loop.turn_until([&] { return turn(world, running), running.done(); }));
  CHECK(running.take().ok());
  CHECK(world.stage == kWaits);
}

TEST_CASE("coroutines: dropped at each of its waits, and a turn and two later, each leaves nothing behind") {
  for (int stage = 0; stage < kWaits; ++stage) {
    for (int more = 0; more < 3; ++more) {
      CAPTURE(stage);
      CAPTURE(more);
      World world;
      {
        const Deferred<void> running = everything(world);
        REQUIRE(world.loop.turn_until([&] {
          if (world.stage < stage) turn(world, running);
          return world.stage >= stage;
        }));
        for (int i = 0; i < more && !running.done(); ++i) turn(world, running);
      }
      const int ended = world.witnesses;
      world.loop.clock.advance(2'000'000);
      world.loop.turn(3);
      CHECK(world.witnesses == ended);  // all of them went with the one that was dropped
      CHECK(world.loop.log.lines().empty());
    }
  }
}

TEST_CASE("coroutines: cancelled at each of its waits, each ends with that as its error") {
  for (int stage = 0; stage < kWaits - 1; ++stage) {  // the last one is over at once
    CAPTURE(stage);
    World world;
    Deferred<void> running = everything(world);
    REQUIRE(world.loop.turn_until([&] {
      if (world.stage < stage) turn(world, running);
      return world.stage >= stage;
    }));
    const int reached = world.stage;  // some waits are over in the same turn as the one before
    running.cancel();
    REQUIRE(world.loop.turn_until([&] { return running.done(); }));
    CHECK(net::is_cancelled(running.take().error()));
    CHECK(world.stage == reached);
  }
}

}  // namespace tap::tests
