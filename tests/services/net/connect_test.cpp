#include "services/net/connect.hpp"

#include <doctest/doctest.h>

#include "services/net/resolve.hpp"
#include "tests/services/net/dead_address.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

SocketAddress address(const std::string& text, std::uint16_t port = 1) { return *SocketAddress::numeric(text, port); }

std::vector<std::string> order(const std::vector<SocketAddress>& addresses) {
  std::vector<std::string> texts;
  for (const SocketAddress& item : interleaved(addresses)) texts.push_back(item.text());
  return texts;
}

/// A race whose end is kept.
struct Running {
  Running(Loop& loop, const std::vector<SocketAddress>& addresses, std::optional<SocketAddress> from = {})
      : race(std::in_place, loop.reactor, addresses, from, [this](Result<Fd> result) {
          ++done;
          if (result) connected = std::move(result).value();
          else failure = result.error().message;
          race.reset();  // as it may
        }) {}
  std::optional<ConnectRace> race;
  int done = 0;
  Fd connected;
  std::string failure;
};

}  // namespace

TEST_CASE("race: families take turns, the first address first") {
  CHECK(order({address("::1"), address("::2"), address("10.0.0.1"), address("10.0.0.2"), address("::3")}) ==
        std::vector<std::string>{"[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"});
  CHECK(order({address("10.0.0.1"), address("::1")}) == std::vector<std::string>{"10.0.0.1:1", "[::1]:1"});
  CHECK(order({}).empty());
}

TEST_CASE("race: a dead first address costs a quarter of a second, not a timeout") {
  Loop loop;
  ScriptedFactory factory;
  Server server(loop, factory);
  const DeadAddress dead;
  Running running(loop, {dead.address, address("127.0.0.1", server.port())});
  loop.turn(20);
  CHECK(running.done == 0);
  CHECK(server.counts().accepted == 0);
  loop.clock.advance(ConnectRace::kNextAfterMs - 1);
  loop.turn(20);
  CHECK(server.counts().accepted == 0);
  loop.clock.advance(1);
  REQUIRE(loop.turn_until([&] { return running.done == 1; }));
  CHECK(running.connected.open());
  CHECK(loop.turn_until([&] { return server.counts().accepted == 1; }));
}

TEST_CASE("race: a refused address is followed by the next at once") {
  Loop loop;
  ScriptedFactory factory;
  Server server(loop, factory);
  const RefusingAddress refusing;
  Running running(loop, {refusing.address, address("127.0.0.1", server.port())});
  REQUIRE(loop.turn_until([&] { return running.done == 1; }));
  CHECK(running.connected.open());
}

TEST_CASE("race: when all fail, what each said is told") {
  Loop loop;
  const RefusingAddress one;
  const RefusingAddress two;
  Running running(loop, {one.address, two.address});
  REQUIRE(loop.turn_until([&] { return running.done == 1; }));
  CHECK(running.failure == one.address.text() + ": Connection refused; " + two.address.text() + ": Connection refused");
}

TEST_CASE("race: addresses of another family than the one to come from are left out") {
  Loop loop;
  ScriptedFactory factory;
  Server server(loop, factory);
  Running running(loop, {address("127.0.0.1", server.port())}, address("127.0.0.2", 0));
  REQUIRE(loop.turn_until([&] { return running.done == 1; }));
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  REQUIRE(::getsockname(running.connected.get(), reinterpret_cast<sockaddr*>(&from), &length) == 0);
  CHECK(address_text(reinterpret_cast<sockaddr*>(&from), length).find("127.0.0.2:") == 0);
  Running none(loop, {address("127.0.0.1", server.port())}, address("::1", 0));
  REQUIRE(loop.turn_until([&] { return none.done == 1; }));
  CHECK(none.failure == "there is no address of the family of bindAddress");
}

TEST_CASE("race: a dropped one tells nobody and leaves nothing open") {
  Loop loop;
  const DeadAddress dead;
  Running running(loop, {dead.address, dead.address});
  loop.turn(2);
  loop.clock.advance(ConnectRace::kNextAfterMs);
  loop.turn(2);
  running.race.reset();
  loop.clock.advance(60'000);
  loop.turn(5);
  CHECK(running.done == 0);
}

TEST_CASE("resolving: numeric addresses and names are answered from a later turn") {
  Loop loop;
  int answers = 0;
  std::string first;
  const auto keep = [&](Result<std::vector<SocketAddress>> result) {
    ++answers;
    first = result ? result->front().text() : result.error().message;
  };
  {
    const Resolving numeric(loop.reactor, "::1", 80, keep);
    CHECK(answers == 0);
    loop.turn(2);
    CHECK(answers == 1);
    CHECK(first == "[::1]:80");
  }
  {
    const Resolving name(loop.reactor, "localhost", 81, keep);
    REQUIRE(loop.turn_until([&] { return answers == 2; }));
    CHECK(first.substr(first.rfind(':')) == ":81");
  }
  {
    const Resolving none(loop.reactor, "no such name", 82, keep);
    REQUIRE(loop.turn_until([&] { return answers == 3; }));
    CHECK(first.find("the name 'no such name' cannot be resolved: ") == 0);
  }
}

TEST_CASE("resolving: a dropped question is not answered, and the reactor waits for its end") {
  int answers = 0;
  int when_dropped = 0;
  {
    Loop loop;
    for (int i = 0; i < 20; ++i) {
      const Resolving name(loop.reactor, "localhost", 81, [&](auto) { ++answers; });
      loop.turn(1);
      when_dropped = answers;  // one of them may be quick
    }
  }
  CHECK(answers == when_dropped);
}
