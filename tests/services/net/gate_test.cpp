#include "services/net/gate.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include "services/net/refusal.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

/// A connection behind a gate, whose protocol does what the test says.
struct Gated {
  Loop loop;
  Gate gate;
  ScriptedFactory factory;
  std::unique_ptr<ConnectionSet> connections;
  std::unique_ptr<Peer> peer;
  Transport* transport = nullptr;
  bool lost = false;

  explicit Gated(ListenerLimits limits = {}) {
    factory.script.made = [this](Transport& made) { transport = &made; };
    factory.script.lost = [this](Transport&, const Error&) { lost = true; };
    connections = std::make_unique<ConnectionSet>(loop.reactor, factory, "gated", limits, &gate);
    add_peer();
  }
  void add_peer() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    peer = std::make_unique<Peer>(Fd(ends[0]));
    REQUIRE(connections->adopt(Fd(ends[1]), StreamKind::unix_socket).ok());
  }
  /// What the peer has got after a few turns.
  std::string got() {
    loop.turn(4);
    peer->read_now();
    return peer->take_received();
  }
};

}  // namespace

TEST_CASE("gate: what is written while nothing is undurable leaves at once") {
  Gated gated;
  gated.transport->write("free");
  CHECK(gated.got() == "free");
  gated.gate.applied(1);
  gated.gate.pass(1);
  gated.transport->write("again");
  CHECK(gated.got() == "again");
}

TEST_CASE("gate: what is written after a change waits until that change is passed") {
  Gated gated;
  gated.gate.applied(1);
  gated.transport->write("secret");
  CHECK(gated.got().empty());
  gated.gate.pass(1);
  CHECK(gated.got() == "secret");
}

TEST_CASE("gate: a mere read that saw an undurable change waits for it too, on any connection") {
  Gated gated;
  Peer first = std::move(*gated.peer);
  Transport* writer = gated.transport;
  gated.add_peer();
  gated.gate.applied(1);
  writer->write("changed");
  gated.transport->write("seen");
  CHECK(gated.got().empty());
  first.read_now();
  CHECK(first.received().empty());
  gated.gate.pass(1);
  CHECK(gated.got() == "seen");
  first.read_now();
  CHECK(first.received() == "changed");
}

TEST_CASE("gate: what was written before a change does not wait for it") {
  Gated gated;
  gated.transport->write("before ");
  gated.gate.applied(1);
  gated.transport->write("after");
  CHECK(gated.got() == "before ");
  gated.gate.pass(1);
  CHECK(gated.got() == "after");
}

TEST_CASE("gate: outputs leave batch by batch, each with its own") {
  Gated gated;
  gated.gate.applied(1);
  gated.transport->write("one ");
  gated.gate.sealed(1);  // in flight
  gated.gate.applied(2);
  gated.transport->write("two ");
  gated.gate.applied(3);
  gated.transport->write("three");
  CHECK(gated.got().empty());
  gated.gate.pass(1);
  CHECK(gated.got() == "one ");
  gated.gate.sealed(3);
  gated.gate.pass(3);
  CHECK(gated.got() == "two three");
}

TEST_CASE("gate: the end of a connection is output too") {
  Gated gated;
  gated.gate.applied(1);
  gated.transport->lose_connection();
  CHECK(gated.got().empty());
  CHECK_FALSE(gated.peer->ended());
  gated.gate.pass(1);
  CHECK(gated.got().empty());
  CHECK(gated.peer->ended());
  CHECK(gated.lost);
}

TEST_CASE("gate: a half-close is output too") {
  Gated gated;
  gated.gate.applied(1);
  gated.transport->write("last");
  gated.transport->lose_write_connection();
  CHECK(gated.got().empty());
  CHECK_FALSE(gated.peer->ended());
  gated.gate.pass(1);
  CHECK(gated.got() == "last");
  CHECK(gated.peer->ended());
}

TEST_CASE("gate: a stop waits for it, an abort drops what it holds") {
  Gated stopping;
  stopping.gate.applied(1);
  stopping.transport->write("answer");
  bool empty = false;
  stopping.connections->drain([&] { empty = true; });
  CHECK(stopping.got().empty());
  CHECK_FALSE(empty);
  stopping.gate.pass(1);
  CHECK(stopping.got() == "answer");
  CHECK(empty);

  Gated broken;
  broken.gate.applied(1);
  broken.transport->write("never");
  CHECK(broken.got().empty());
  CHECK(broken.gate.held_bytes() == 5);
  broken.connections->abort_all();
  CHECK(broken.got().empty());
  CHECK(broken.peer->gone());
  CHECK(broken.lost);
  broken.connections.reset();
  CHECK(broken.gate.held_bytes() == 0);
  broken.gate.pass(1);  // nobody is left to hear it
}

TEST_CASE("gate: a connection that has too much held is not read, and goes on when it has left") {
  Gated gated;
  int requests = 0;
  gated.factory.script.data = [&](Transport& transport, std::string_view data) {
    ++requests;
    transport.write(std::string(data.size() * StreamTransport::kHighWaterBytes, 'x'));
  };
  gated.gate.applied(1);
  gated.peer->send("aa");
  CHECK(gated.got().empty());
  CHECK(requests == 1);
  gated.peer->send("b");
  CHECK(gated.got().empty());
  CHECK(requests == 1);
  CHECK(gated.gate.held_bytes() == 2 * StreamTransport::kHighWaterBytes);
  gated.gate.pass(1);
  std::size_t received = 0;
  CHECK(gated.loop.turn_until([&] {
    gated.peer->read_now();
    received += gated.peer->take_received().size();
    return received == 3 * StreamTransport::kHighWaterBytes;
  }));
  CHECK(requests == 2);
  CHECK(gated.gate.held_bytes() == 0);
}

TEST_CASE("gate: when all connections together hold too much, those that write more are not read") {
  Gated gated;
  int requests = 0;
  gated.factory.script.data = [&](Transport& transport, std::string_view) {
    ++requests;
    transport.write("short");
  };
  gated.gate.applied(1);
  gated.gate.hold(static_cast<std::ptrdiff_t>(Gate::kHeldBytesMax) + 1);
  gated.peer->send("a");
  CHECK(gated.got().empty());
  gated.peer->send("b");
  CHECK(gated.got().empty());
  CHECK(requests == 1);
  gated.gate.hold(-static_cast<std::ptrdiff_t>(Gate::kHeldBytesMax) - 1);
  gated.gate.pass(1);
  CHECK(gated.loop.turn_until([&] { return requests == 2; }));
  CHECK(gated.got() == "shortshort");
}

TEST_CASE("gate: waiting for a slow disk is not idleness") {
  ListenerLimits limits;
  limits.idle_timeout_ms = 100;
  Gated gated(limits);
  gated.gate.applied(1);
  gated.transport->write("late");
  CHECK(gated.got().empty());
  for (int i = 0; i < 10; ++i) {
    gated.loop.clock.advance(60);
    gated.loop.turn(2);
  }
  CHECK_FALSE(gated.lost);
  gated.gate.pass(1);
  CHECK(gated.got() == "late");
  gated.loop.clock.advance(201);
  gated.loop.turn(4);
  CHECK(gated.lost);
}

TEST_CASE("gate: large held output leaves whole and in order, also in pieces") {
  Gated gated;
  const std::string all = numbered_bytes(3'000'000);
  gated.gate.applied(1);
  gated.transport->write(std::string_view(all).substr(0, 1'000'000));
  gated.gate.sealed(1);
  gated.gate.applied(2);
  gated.transport->write(std::string_view(all).substr(1'000'000));
  gated.gate.pass(1);
  std::string received;
  CHECK(gated.loop.turn_until([&] {
    gated.peer->read_now(100'000);
    received += gated.peer->take_received();
    return received.size() == 1'000'000;
  }));
  CHECK(gated.got().empty());
  gated.gate.pass(2);
  CHECK(gated.loop.turn_until([&] {
    gated.peer->read_now(100'000);
    received += gated.peer->take_received();
    return received.size() == all.size();
  }));
  CHECK((received == all));
}

TEST_CASE("refusal: thrown by a protocol it ends the connection in order, and nothing is logged") {
  Gated gated;
  gated.factory.script.data = [](Transport& transport, std::string_view) {
    transport.write("first");
    throw Refusal("no room");
  };
  gated.peer->send("x");
  CHECK(gated.got() == "first");
  CHECK(gated.peer->ended());
  CHECK(gated.peer->error() == 0);
  CHECK(gated.loop.log.lines().empty());
}
