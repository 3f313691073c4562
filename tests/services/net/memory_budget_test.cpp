#include "services/net/memory_budget.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "services/net/line_protocol.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

constexpr std::size_t kBudget = std::size_t{4} << 20;

/// A server whose connections share a budget. By a UNIX socket: the kernel holds little of what nobody reads.
struct Shared {
  TemporaryDirectory directory;
  Loop loop;
  MemoryBudget budget{loop.reactor, kBudget};
  ScriptedFactory factory;
  Server server{loop, factory, {}, "unix:" + (directory / "s.sock")};

  Shared() {
    factory.script = echo_script();
    server.listener().connections().share({0, nullptr, &budget});
  }
  Peer connect() { return Peer::unix_socket(directory / "s.sock"); }
  void look() {
    loop.clock.advance(MemoryBudget::kLookMs);
    loop.turn(4);
  }
};

}  // namespace

TEST_CASE("memory budget: idle connections hold nothing, what is sent is given back") {
  Shared shared;
  Peer peer = shared.connect();
  peer.send(std::string(50'000, 'x'));
  CHECK(shared.loop.turn_until([&] { return peer.read_now(), peer.received().size() == 50'000; }));
  shared.loop.turn(3);
  CHECK(shared.budget.used_bytes() == 0);
}

TEST_CASE("memory budget: input that waits is counted, and goes with its connection") {
  Loop loop;
  MemoryBudget budget(loop.reactor, kBudget);
  class Lines final : public LineProtocol {
    void line_received(std::string_view) override {}
  };
  class LineFactory final : public Factory {
   public:
    [[nodiscard]] std::unique_ptr<Protocol> build_protocol() override { return std::make_unique<Lines>(); }
  } factory;
  Server server(loop, factory);
  server.listener().connections().share({0, nullptr, &budget});
  Peer peer = Peer::tcp(server.port());
  peer.send(std::string(10'000, 'x'));
  CHECK(loop.turn_until([&] { return budget.used_bytes() >= 10'000; }));
  peer.send("\n");
  CHECK(loop.turn_until([&] { return budget.used_bytes() < 20; }));
  peer.send(std::string(10'000, 'x'));
  CHECK(loop.turn_until([&] { return budget.used_bytes() >= 10'000; }));
  peer.reset();
  CHECK(loop.turn_until([&] { return budget.used_bytes() == 0; }));
}

TEST_CASE("memory budget: those that hold most are read no more, others are, and all are again when it is over") {
  Shared shared;
  std::vector<Peer> greedy;
  for (int i = 0; i < 64; ++i) greedy.push_back(shared.connect());
  Peer modest = shared.connect();
  // They send and do not read, until the server takes no more from any of them.
  std::size_t most = 0;
  for (std::size_t sent = 1; sent != 0;) {
    sent = 0;
    for (Peer& peer : greedy) sent += peer.send_some(std::string(32'768, 'x'));
    shared.look();
    most = std::max(most, shared.budget.used_bytes());
  }
  CHECK(most <= kBudget);
  CHECK(most > kBudget / 2);
  CHECK(shared.budget.shortages() == 1);
  CHECK(shared.budget.ended() == 0);
  CHECK(shared.loop.log.count("those that hold most are not read for now (memory_budget)") == 1);
  modest.send("hello");
  CHECK(shared.loop.turn_until([&] { return modest.read_now(), modest.received() == "hello"; }));
  CHECK(shared.loop.turn_until([&] {
    for (Peer& peer : greedy) peer.read_now();
    shared.look();
    return shared.loop.log.count("all are read") == 1;
  }));
  CHECK(shared.budget.used_bytes() <= kBudget / 2);
  CHECK(shared.loop.turn_until([&] {
    std::size_t read = 0;
    for (Peer& peer : greedy) read += peer.read_now();
    return read == 0 && shared.budget.used_bytes() == 0;
  }));
  (void)greedy[0].take_received();
  greedy[0].send("y");
  CHECK(shared.loop.turn_until(
      [&] { return greedy[0].read_now(), greedy[0].received().find('y') != std::string::npos; }));
}

TEST_CASE("memory budget: near its end new connections are refused, above it who holds most is ended and told") {
  Shared shared;
  std::vector<Transport*> connections;
  shared.factory.script.made = [&](Transport& transport) { connections.push_back(&transport); };
  std::vector<Peer> peers;
  for (std::size_t i = 0; i < 100; ++i) {
    peers.push_back(shared.connect());
    REQUIRE(shared.loop.turn_until([&] { return connections.size() == i + 1; }));
  }
  // A service that writes what nobody takes: reading less would not help.
  const auto write_until = [&](const std::function<bool()>& holds) {
    for (std::size_t i = 0; !holds() && i < 100'000; ++i) {
      connections[i % connections.size()]->write(std::string(10'000, 'x'));
      shared.loop.turn(2);
    }
    return holds();
  };
  REQUIRE(write_until([&] { return shared.budget.used_bytes() > kBudget / 8 * MemoryBudget::kRefuseEighths; }));
  REQUIRE(shared.budget.ended() == 0);
  Peer refused = shared.connect();
  CHECK(shared.loop.turn_until([&] { return refused.read_now(), refused.gone(); }));
  CHECK(shared.server.counts().refused == 1);
  REQUIRE(write_until([&] { return shared.budget.ended() != 0; }));
  CHECK(shared.loop.log.count("the budget of 4194304 bytes is used up, and it holds") == shared.budget.ended());
  CHECK(shared.loop.turn_until([&] { return shared.server.counts().open == 100 - shared.budget.ended(); }));
  CHECK(shared.budget.ended() <= 2);
  CHECK(shared.budget.used_bytes() <= kBudget);
  peers.clear();
  CHECK(shared.loop.turn_until([&] { return shared.server.counts().open == 0; }));
  CHECK(shared.budget.used_bytes() == 0);
  Peer welcome = shared.connect();
  CHECK(shared.loop.turn_until([&] { return shared.server.counts().open == 1; }));
}

TEST_CASE("memory budget: it outlives its members without a trace") {
  Loop loop;
  MemoryBudget budget(loop.reactor, kBudget);
  ScriptedFactory factory;
  factory.script.data = [](Transport& transport, std::string_view) { transport.write(numbered_bytes(8 << 20)); };
  {
    Server server(loop, factory);
    server.listener().connections().share({0, nullptr, &budget});
    Peer peer = Peer::tcp(server.port());
    peer.send("x");
    REQUIRE(loop.turn_until([&] { return server.counts().open == 1; }));
    loop.turn(1);
  }
  CHECK(budget.used_bytes() == 0);
  loop.clock.advance(10 * MemoryBudget::kLookMs);
  loop.turn(4);
}
