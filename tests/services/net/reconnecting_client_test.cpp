#include "services/net/reconnecting_client.hpp"

#include <doctest/doctest.h>

#include <optional>

#include "tests/services/net/dead_address.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

struct Reconnecting {
  explicit Reconnecting(const std::string& endpoint, ReconnectPolicy policy = {}) {
    factory.script.made = [this](Transport& made) { transport = &made; };
    factory.script.lost = [this](Transport&, const Error&) { transport = nullptr; };
    ClientEndpoint parsed = std::move(parse_client_endpoint(endpoint)).value();
    client = std::move(ReconnectingClient::create(loop.reactor, parsed, factory, "client", policy)).value();
    client->set_random([this] { return chance; });
  }
  [[nodiscard]] bool connected() {
    return loop.turn_until([this] { return client->current() != nullptr; });
  }
  /// Waits until the attempt under way has failed; how long the next one waits.
  std::uint64_t wait_after_failure() {
    const std::uint64_t before = client->failures();
    CHECK(loop.turn_until([&] { return client->failures() > before; }));
    for (std::uint64_t ms = 0; ms < 100'000; ms += 50) {
      loop.turn(1);
      if (!client->waiting_to_retry()) return ms;
      loop.clock.advance(50);
    }
    return 0;
  }

  Loop loop;
  ScriptedFactory factory;
  Transport* transport = nullptr;
  double chance = 0.5;  ///< no jitter
  std::unique_ptr<ReconnectingClient> client;
};

std::string local(std::uint16_t port) { return "tcp:127.0.0.1:" + std::to_string(port); }

}  // namespace

TEST_CASE("reconnecting: each failed attempt waits longer, up to the most") {
  const RefusingAddress refusing;
  Reconnecting one(local(refusing.port()), {.first_ms = 1'000, .factor = 2, .most_ms = 5'000});
  one.client->start();
  CHECK(one.wait_after_failure() == 1'000);
  CHECK(one.wait_after_failure() == 2'000);
  CHECK(one.wait_after_failure() == 4'000);
  CHECK(one.wait_after_failure() == 5'000);
  CHECK(one.wait_after_failure() == 5'000);
  CHECK(one.loop.log.count("it is tried again in 1000 ms") == 1);
  CHECK(one.loop.log.count("it is tried again") == 1);
}

TEST_CASE("reconnecting: chance makes the wait longer or shorter by a part of it") {
  const RefusingAddress refusing;
  const ReconnectPolicy policy{.first_ms = 1'000, .factor = 1, .jitter = 0.2};
  Reconnecting early(local(refusing.port()), policy);
  early.chance = 0;
  early.client->start();
  CHECK(early.wait_after_failure() == 800);
  Reconnecting late(local(refusing.port()), policy);
  late.chance = 1;
  late.client->start();
  CHECK(late.wait_after_failure() == 1'200);
}

TEST_CASE("reconnecting: after so many failures it gives up, and says so to who waits") {
  const RefusingAddress refusing;
  Reconnecting one(local(refusing.port()), {.first_ms = 100, .factor = 1, .attempts_max = 3});
  std::string told;
  one.client->start();
  const auto waiter = one.client->when_connected(
      [&](Result<Protocol*> result) { told = result ? "connected" : result.error().message; });
  (void)one.wait_after_failure();
  (void)one.wait_after_failure();
  CHECK(told.empty());
  CHECK(one.loop.turn_until([&] { return !told.empty(); }));
  CHECK(told.find("it has given up after 3 attempts; the last: connecting to " + local(refusing.port())) !=
        std::string::npos);
  CHECK(one.loop.log.count("it has given up") == 1);
  one.loop.clock.advance(1'000'000);
  one.loop.turn(10);
  CHECK(one.client->failures() == 3);
  std::string later;
  const auto second = one.client->when_connected([&](Result<Protocol*> result) { later = result.error().message; });
  CHECK(later.empty());
  one.loop.turn(2);
  CHECK(later == told);
}

TEST_CASE("reconnecting: who waits is told of the connection, who has dropped out is not") {
  Loop elsewhere;
  ScriptedFactory echo;
  std::optional<Reconnecting> one;
  Loop& loop = elsewhere;
  Server server(loop, echo);
  one.emplace(local(server.port()));
  int told = 0;
  const auto count = [&](Result<Protocol*> result) { told += result.ok() ? 1 : 100; };
  const auto waiter = one->client->when_connected(count);
  auto dropped = one->client->when_connected(count);
  one->client->start();
  dropped.reset();
  REQUIRE(one->connected());
  one->loop.turn(2);
  CHECK(told == 1);
  const auto late = one->client->when_connected(count);
  CHECK(told == 1);
  one->loop.turn(2);
  CHECK(told == 2);
}

TEST_CASE("reconnecting: a lost connection is made again, at first after a wait") {
  Loop loop;
  ScriptedFactory factory;
  Transport* accepted = nullptr;
  factory.script.made = [&](Transport& made) { accepted = &made; };
  Server server(loop, factory);
  Reconnecting one(local(server.port()), {.first_ms = 1'000, .factor = 2, .stable_ms = 10'000});
  one.client->start();
  REQUIRE(one.connected());
  REQUIRE(loop.turn_until([&] { return accepted != nullptr; }));
  // A server that hangs up at once is not run at: the waits grow.
  for (const std::uint64_t wait : {1'000U, 2'000U, 4'000U}) {
    std::exchange(accepted, nullptr)->lose_connection();
    loop.turn(2);
    CHECK(one.wait_after_failure() == wait);
    REQUIRE(one.connected());
    REQUIRE(loop.turn_until([&] { return accepted != nullptr; }));
  }
  // One that has served for a while is forgiven.
  one.loop.clock.advance(10'000);
  std::exchange(accepted, nullptr)->lose_connection();
  loop.turn(2);
  REQUIRE(one.loop.turn_until([&] { return one.client->waiting_to_retry(); }));
  CHECK(one.client->failures() == 1);
}

TEST_CASE("reconnecting: a stop ends the connection in order, and is told") {
  Loop loop;
  ScriptedFactory factory;
  std::string received;
  factory.script.data = [&](Transport&, std::string_view data) { received += data; };
  Server server(loop, factory);
  Reconnecting one(local(server.port()));
  one.client->start();
  REQUIRE(one.connected());
  one.transport->write("last words");
  bool stopped = false;
  one.client->stop([&] { stopped = true; });
  CHECK(!stopped);
  CHECK(one.client->current() == nullptr);
  REQUIRE(one.loop.turn_until([&] { return stopped; }));
  CHECK(one.transport == nullptr);
  CHECK(loop.turn_until([&] { return received == "last words"; }));
  one.loop.clock.advance(1'000'000);
  one.loop.turn(5);
  CHECK(!one.client->waiting_to_retry());
  one.client->start();
  CHECK(one.connected());
}

TEST_CASE("reconnecting: a stop calls off an attempt and the waiters") {
  const DeadAddress dead;
  Reconnecting one(local(dead.port()));
  one.client->start();
  std::string told;
  const auto waiter = one.client->when_connected([&](Result<Protocol*> result) { told = result.error().message; });
  one.loop.turn(5);
  bool stopped = false;
  one.client->stop([&] { stopped = true; });
  one.loop.turn(3);
  CHECK(stopped);
  CHECK(told == "there is no connection to " + local(dead.port()) + ": it was stopped");
}

TEST_CASE("reconnecting: dropping it ends the connection and tells no waiter") {
  Loop loop;
  ScriptedFactory factory;
  bool lost = false;
  factory.script.lost = [&](Transport&, const Error&) { lost = true; };
  Server server(loop, factory);
  int told = 0;
  std::unique_ptr<ReconnectingClient::Waiter> waiter;
  {
    Reconnecting one(local(server.port()));
    one.client->start();
    REQUIRE(one.connected());
    waiter = one.client->when_connected([&](auto) { ++told; });
  }
  CHECK(loop.turn_until([&] { return lost; }));
  CHECK(told == 0);
}
