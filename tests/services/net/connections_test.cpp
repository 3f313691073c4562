// Idle connections, and the ends of a set of connections. What a listener adds is in listener_test.cpp.
#include "services/net/connections.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/services/net/fixture.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

constexpr std::uint64_t kIdleMs = 5000;

/// Connects, and returns when the server has taken the connection.
Peer connect_to(Loop& loop, Server& server) {
  const std::uint64_t before = server.counts().accepted;
  Peer peer = Peer::tcp(server.port());
  REQUIRE(loop.turn_until([&] { return server.counts().accepted == before + 1; }));
  return peer;
}

/// Lets the loop notice what it has to; true when nobody was timed out.
bool none_timed_out(Loop& loop, Server& server) {
  loop.turn(4);
  return server.counts().timed_out == 0;
}

Peer adopt_one(ConnectionSet& connections) {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  REQUIRE(connections.adopt(Fd(ends[0]), StreamKind::unix_socket).ok());
  return Peer(Fd(ends[1]));
}

}  // namespace

TEST_CASE("idle timeout: ends a silent connection exactly when its time is over") {
  Loop loop;
  ScriptedFactory factory;
  Server server(loop, factory, {.idle_timeout_ms = kIdleMs});
  Peer peer = connect_to(loop, server);
  loop.clock.advance(kIdleMs - 1);
  CHECK(none_timed_out(loop, server));
  loop.clock.advance(1);
  loop.turn(2);
  CHECK(server.counts().timed_out == 1);
  CHECK(server.counts().open == 0);
  CHECK(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
  REQUIRE(loop.log.lines().size() == 1);
  CHECK(loop.log.lines()[0].who == "served");
  CHECK(loop.log.lines()[0].message.find("connection of 127.0.0.1:") == 0);
  CHECK(loop.log.count("idle for 5000 ms (idle_timeout)") == 1);
}

TEST_CASE("idle timeout: 0 means never") {
  Loop loop;
  ScriptedFactory factory;
  Server server(loop, factory);
  const Peer peer = connect_to(loop, server);
  loop.clock.advance(1'000'000'000);
  CHECK(none_timed_out(loop, server));
}

TEST_CASE("idle timeout: a byte received begins it anew") {
  Loop loop;
  int heard = 0;
  ScriptedFactory factory;
  factory.script.data = [&](Transport&, std::string_view) { ++heard; };
  Server server(loop, factory, {.idle_timeout_ms = kIdleMs});
  Peer peer = connect_to(loop, server);
  for (int i = 1; i <= 5; ++i) {
    loop.clock.advance(kIdleMs - 1);
    peer.send("x");
    REQUIRE(loop.turn_until([&] { return heard == i; }));
    CHECK(none_timed_out(loop, server));
  }
  loop.clock.advance(kIdleMs);
  loop.turn(2);
  CHECK(server.counts().timed_out == 1);
}

TEST_CASE("idle timeout: a byte sent begins it anew") {
  Loop loop;
  Transport* connection = nullptr;
  ScriptedFactory factory;
  factory.script.made = [&](Transport& transport) { connection = &transport; };
  Server server(loop, factory, {.idle_timeout_ms = kIdleMs});
  const Peer peer = connect_to(loop, server);
  for (int i = 0; i < 5; ++i) {
    loop.clock.advance(kIdleMs - 1);
    connection->write("news");
    CHECK(none_timed_out(loop, server));
  }
  loop.clock.advance(kIdleMs);
  loop.turn(2);
  CHECK(server.counts().timed_out == 1);
}

TEST_CASE("idle timeout: what waits to be sent to a peer that does not read is no activity") {
  Loop loop;
  Transport* connection = nullptr;
  ScriptedFactory factory;
  factory.script.made = [&](Transport& transport) { connection = &transport; };
  Server server(loop, factory, {.idle_timeout_ms = kIdleMs});
  const Peer peer = connect_to(loop, server);
  connection->write(numbered_bytes(12 << 20));
  loop.turn(4);
  loop.clock.advance(kIdleMs - 1);
  connection->write("more");
  CHECK(none_timed_out(loop, server));
  // What the kernels have still moved after the first write may count once.
  for (int i = 0; i < 2 && server.counts().timed_out == 0; ++i) {
    loop.clock.advance(kIdleMs);
    connection->write("more");
    loop.turn(2);
  }
  CHECK(server.counts().timed_out == 1);
}

TEST_CASE("idle timeout: a slow reader of a big answer is not idle while bytes move") {
  Loop loop;
  Transport* connection = nullptr;
  ScriptedFactory factory;
  factory.script.made = [&](Transport& transport) { connection = &transport; };
  // A UNIX socket: what is read there has moved at once, whatever else the machine has to do.
  const TemporaryDirectory directory;
  Server server(loop, factory, {.idle_timeout_ms = kIdleMs}, "unix:" + (directory / "s"));
  Peer peer = Peer::unix_socket(directory / "s");
  REQUIRE(loop.turn_until([&] { return connection != nullptr; }));
  const std::string big = numbered_bytes(3 << 20);
  connection->write(big);
  // Little by little every four seconds, never five seconds of silence, as long as we have something to send. So little
  // that some of it moves in the kernel only, which tells us that we may write again much later.
  const auto unsent = [&] { return static_cast<StreamTransport*>(connection)->unsent_bytes(); };
  constexpr std::size_t kStep = 32 << 10;
  for (std::size_t wanted = kStep; server.counts().timed_out == 0 && unsent() > 0; wanted += kStep) {
    REQUIRE(loop.turn_until([&] {
      return peer.read_now(wanted - peer.received().size()), peer.received().size() == wanted || peer.gone();
    }));
    loop.clock.advance(4000);
    loop.turn(4);
  }
  CHECK(server.counts().timed_out == 0);
  REQUIRE(loop.turn_until([&] { return peer.read_now(), peer.received().size() == big.size() || peer.gone(); }));
  CHECK((peer.received() == big));
}

TEST_CASE("idle timeout: each connection has its own time, and the busy ones live") {
  Loop loop;
  ScriptedFactory factory;
  factory.script = echo_script();
  Server server(loop, factory, {.idle_timeout_ms = kIdleMs});
  std::vector<Peer> peers;
  for (int i = 0; i < 5; ++i) {
    peers.push_back(connect_to(loop, server));
    loop.clock.advance(900);
  }
  // Now is 4500; the first of them is due at 5000, unless it speaks.
  peers[0].send("x");
  REQUIRE(loop.turn_until([&] { return peers[0].read_now() > 0; }));
  loop.clock.advance(500);
  for (std::uint64_t gone = 1; gone <= 4; ++gone) {
    loop.clock.advance(899);
    loop.turn(3);
    CHECK(server.counts().timed_out == gone - 1);
    loop.clock.advance(1);
    loop.turn(3);
    CHECK(server.counts().timed_out == gone);
  }
  CHECK(server.counts().open == 1);
  loop.clock.advance(900);
  loop.turn(3);
  CHECK(server.counts().open == 0);
}

TEST_CASE("idle timeout: those that are due together go together") {
  Loop loop;
  ScriptedFactory factory;
  int lost = 0;
  factory.script.lost = [&](Transport&, const Error&) { ++lost; };
  Server server(loop, factory, {.idle_timeout_ms = kIdleMs});
  std::vector<Peer> peers;
  for (int i = 0; i < 20; ++i) peers.push_back(connect_to(loop, server));
  loop.clock.advance(kIdleMs);
  loop.turn(2);
  CHECK(lost == 20);
  CHECK(server.counts().timed_out == 20);
  const Peer next = connect_to(loop, server);
  loop.clock.advance(kIdleMs);
  loop.turn(2);
  CHECK(server.counts().timed_out == 21);
}

TEST_CASE("idle timeout: a stop that waits for a peer ends with the peer's time") {
  Loop loop;
  Transport* connection = nullptr;
  ScriptedFactory factory;
  factory.script.made = [&](Transport& transport) { connection = &transport; };
  Server server(loop, factory, {.idle_timeout_ms = kIdleMs});
  const Peer peer = connect_to(loop, server);
  connection->write(numbered_bytes(12 << 20));
  loop.turn(4);
  bool done = false;
  server.listener().drain([&] { done = true; });
  loop.turn(4);
  CHECK(!done);
  for (int i = 0; i < 2; ++i) {
    loop.clock.advance(kIdleMs);
    loop.turn(3);
  }
  CHECK(done);
}

TEST_CASE("connections: when_empty is told when the last one is gone, from a later turn") {
  Loop loop;
  ScriptedFactory factory;
  ConnectionSet connections(loop.reactor, factory, "served", {});
  Peer first = adopt_one(connections);
  Peer second = adopt_one(connections);
  int told = 0;
  connections.when_empty([&] { ++told; });
  first.close();
  CHECK(loop.turn_until([&] { return connections.counts().open == 1; }));
  CHECK(told == 0);
  second.close();
  CHECK(loop.turn_until([&] { return told == 1; }));
  loop.turn(3);
  CHECK(told == 1);
}

TEST_CASE("connections: the one who is told that they are gone may drop the set") {
  Loop loop;
  ScriptedFactory factory;
  auto connections = std::make_unique<ConnectionSet>(loop.reactor, factory, "served", ListenerLimits{});
  Peer peer = adopt_one(*connections);
  connections->when_empty([&] { connections.reset(); });
  peer.close();
  CHECK(loop.turn_until([&] { return connections == nullptr; }));

  connections = std::make_unique<ConnectionSet>(loop.reactor, factory, "served", ListenerLimits{});
  const Peer other = adopt_one(*connections);
  connections->drain([&] { connections.reset(); });
  CHECK(loop.turn_until([&] { return connections == nullptr; }));
}

TEST_CASE("connections: dropping the set tells every protocol, and not the one who waits for its end") {
  Loop loop;
  ScriptedFactory factory;
  int lost = 0;
  bool told = false;
  factory.script.lost = [&](Transport&, const Error&) { ++lost; };
  {
    ConnectionSet connections(loop.reactor, factory, "served", {});
    std::vector<Peer> peers;
    for (int i = 0; i < 3; ++i) peers.push_back(adopt_one(connections));
    connections.drain([&] { told = true; });
  }
  CHECK(lost == 3);
  loop.turn(3);
  CHECK(!told);
}

TEST_CASE("connections: abort_all ends them from a later turn") {
  Loop loop;
  ScriptedFactory factory;
  int lost = 0;
  factory.script.lost = [&](Transport&, const Error&) { ++lost; };
  ConnectionSet connections(loop.reactor, factory, "served", {});
  const Peer peer = adopt_one(connections);
  connections.abort_all();
  CHECK(lost == 0);
  loop.turn(2);
  CHECK(lost == 1);
  CHECK(connections.counts().open == 0);
}

TEST_CASE("connections: adopting one for which no protocol can be built is an error") {
  Loop loop;
  class Broken final : public Factory {
   public:
    [[nodiscard]] std::unique_ptr<Protocol> build_protocol() override { throw std::runtime_error("none today"); }
  } factory;
  ConnectionSet connections(loop.reactor, factory, "served", {});
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const Peer peer{Fd(ends[1])};
  CHECK(!connections.adopt(Fd(ends[0]), StreamKind::unix_socket).ok());
  CHECK(loop.log.count("none today") == 1);
}
