// A forwarder between two peers that the test plays; the loop's clock stands still.
#include "services/portforward/portforward.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "tests/services/client.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

/// client - forwarder - target, where the target's side is a protocol of the test's.
struct World {
  Loop loop;
  ScriptedFactory target;
  std::unique_ptr<Server> target_port;
  std::unique_ptr<services::Service> service;
  std::unique_ptr<Server> port;

  explicit World(const std::string& to = {}, const ListenerLimits& limits = {}) {
    target_port = std::make_unique<Server>(loop, target);
    const std::string there = "tcp:127.0.0.1:" + std::to_string(target_port->port());
    service = make_service(services::portforward_kind(), {{"to", to.empty() ? there : to}});
    REQUIRE(service->start(loop.reactor).ok());
    port = std::make_unique<Server>(loop, *service, limits);
  }
  ~World() {
    port.reset();
    service->stop();
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] Peer connect() const { return Peer::tcp(port->port()); }
  [[nodiscard]] std::string status() const { return service->status()[0]; }
};

/// The target as bytes: what it has got, and its transport.
struct Target {
  explicit Target(World& world) : world_(world) {
    world.target.script.made = [this](Transport& made) { transport = &made; };
    world.target.script.data = [this](Transport&, std::string_view data) { received.append(data); };
    world.target.script.end = [this](Transport&) { ended = true; };
    world.target.script.lost = [this](Transport&, const Error& reason) {
      transport = nullptr;
      lost = reason.message;
    };
  }
  ~Target() { world_.target.script = Script{}; }
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  Transport* transport = nullptr;
  std::string received;
  std::string lost;
  bool ended = false;

 private:
  World& world_;  ///< outlives it
};

}  // namespace

TEST_CASE("portforward: what either side says the other hears, in order and complete") {
  World world;
  world.target.script = echo_script();
  Peer client = world.connect();
  const std::string all = numbered_bytes(5'000'000);
  std::size_t sent = 0;
  REQUIRE(world.loop.turn_until([&] {
    sent += client.send_some(std::string_view(all).substr(sent, 200'000));
    client.read_now();
    return client.received().size() == all.size();
  }));
  CHECK(client.received() == all);
  CHECK(world.status() ==
        "1 forwarded, 0 without a target, 0 aborted for the other side, 5000000 bytes to the target, "
        "5000000 bytes to clients");
}

TEST_CASE("portforward: the end of one direction is carried over, and the other goes on") {
  World world;
  Target target(world);
  Peer client = world.connect();
  client.send("question");
  client.finish_sending();
  REQUIRE(world.loop.turn_until([&] { return target.ended; }));
  CHECK(target.received == "question");
  target.transport->write("answer");
  REQUIRE(world.loop.turn_until([&] { return client.read_now(), client.received() == "answer"; }));
  CHECK(!client.gone());
  target.transport->lose_connection();
  REQUIRE(world.loop.turn_until([&] { return client.read_now(), client.gone(); }));
  CHECK(client.ended());
  REQUIRE(world.loop.turn_until([&] { return world.port->counts().open == 0; }));
  CHECK(world.status().find("0 aborted") != std::string::npos);
}

TEST_CASE("portforward: the target may end first, and still hear the client") {
  World world;
  Target target(world);
  Peer client = world.connect();
  REQUIRE(world.loop.turn_until([&] { return target.transport != nullptr; }));
  target.transport->write("bye");
  target.transport->lose_write_connection();
  REQUIRE(world.loop.turn_until([&] { return client.read_now(), client.ended(); }));
  CHECK(client.received() == "bye");
  client.send("one more thing");
  REQUIRE(world.loop.turn_until([&] { return target.received == "one more thing"; }));
  client.finish_sending();
  REQUIRE(world.loop.turn_until([&] { return target.ended; }));
  REQUIRE(world.loop.turn_until([&] { return world.port->counts().open == 0; }));
  CHECK(world.status().find("0 aborted") != std::string::npos);
}

TEST_CASE("portforward: a reset of one side is a reset of the other") {
  World world;
  Target target(world);
  {
    Peer client = world.connect();
    client.send("x");
    REQUIRE(world.loop.turn_until([&] { return target.received == "x"; }));
    client.reset();
  }
  REQUIRE(world.loop.turn_until([&] { return !target.lost.empty(); }));
  CHECK(target.lost.find("connection reset") != std::string::npos);
  CHECK(!target.ended);
  target.lost.clear();
  Peer again = world.connect();
  REQUIRE(world.loop.turn_until([&] { return target.transport != nullptr; }));
  target.transport->abort_connection();
  REQUIRE(world.loop.turn_until([&] { return again.read_now(), again.gone(); }));
  CHECK(again.error() == ECONNRESET);
  CHECK(world.status().find("2 aborted") != std::string::npos);
}

TEST_CASE("portforward: a client whose target refuses is reset, and the log says why") {
  std::uint16_t closed = 0;
  {
    Loop loop;
    ScriptedFactory nobody;
    closed = Server(loop, nobody).port();
  }
  World world("tcp:127.0.0.1:" + std::to_string(closed));
  Peer client = world.connect();
  client.send("hello?");
  REQUIRE(world.loop.turn_until([&] { return client.read_now(), client.gone(); }));
  CHECK(client.error() == ECONNRESET);
  CHECK(world.loop.log.count("closed: connecting to tcp:127.0.0.1:") == 1);
  CHECK(world.loop.log.count("Connection refused") == 1);
  CHECK(world.status().find("0 forwarded, 1 without a target") == 0);
}

TEST_CASE("portforward: until the target answers nothing is read, and a client that leaves is forgotten") {
  World world;
  Target target(world);
  {
    Peer client = world.connect();
    client.send("early");
    REQUIRE(world.loop.turn_until([&] { return target.received == "early"; }));  // as soon as there is a target
  }
  REQUIRE(world.loop.turn_until([&] { return target.ended; }));
  target.transport->lose_connection();
  REQUIRE(world.loop.turn_until([&] { return world.port->counts().open == 0; }));
}

TEST_CASE("portforward: a side that does not read stops the other's, and costs no more than the buffers") {
  World world;
  Target target(world);
  Peer client = world.connect();
  REQUIRE(world.loop.turn_until([&] { return target.transport != nullptr; }));
  target.transport->pause_reading();
  std::size_t sent = 0;
  const std::string piece(100'000, 'x');
  std::size_t quiet = 0;
  REQUIRE(world.loop.turn_until([&] {
    const std::size_t took = client.send_some(piece);
    sent += took;
    quiet = took == 0 ? quiet + 1 : 0;
    return quiet > 200;
  }));
  const std::string status = world.status();
  const std::size_t at = status.find("side, ") + 6;
  CHECK(std::stoull(status.substr(at)) <= sent);  // what was read is less: the rest waits in the kernel
  target.transport->resume_reading();
  REQUIRE(world.loop.turn_until([&] { return target.received.size() == sent; }));
}

TEST_CASE("portforward: two sides that both talk and do not listen for a while are not stuck for ever") {
  World world;
  Target target(world);
  Peer client = world.connect();
  REQUIRE(world.loop.turn_until([&] { return target.transport != nullptr; }));
  target.transport->pause_reading();
  target.transport->read_while_congested(true);
  const std::string piece = numbered_bytes(15'000'000);
  target.transport->write(piece);
  std::size_t sent = 0;
  std::size_t quiet = 0;
  REQUIRE(world.loop.turn_until([&] {  // until both are stuck
    const std::size_t took = sent == piece.size() ? 0 : client.send_some(std::string_view(piece).substr(sent));
    sent += took;
    quiet = took == 0 ? quiet + 1 : 0;
    return quiet > 200;
  }));
  // Only the target listens now, and goes on hearing although it is not heard itself.
  target.transport->resume_reading();
  REQUIRE(world.loop.turn_until([&] {
    sent += client.send_some(std::string_view(piece).substr(sent));
    return target.received.size() == piece.size();
  }));
  CHECK(target.received == piece);
  REQUIRE(world.loop.turn_until([&] { return client.read_now(), client.received().size() == piece.size(); }));
  CHECK(client.received() == piece);
}

TEST_CASE("portforward: a stop sends what is on its way, ends both sides in order, and waits for the target's") {
  World world;
  Target target(world);
  Peer client = world.connect();
  client.send("last words");
  REQUIRE(world.loop.turn_until([&] { return target.received == "last words"; }));
  target.transport->write("answer");
  REQUIRE(world.loop.turn_until([&] { return world.status().find(" 6 bytes to clients") != std::string::npos; }));
  bool drained = false;
  world.port->listener().drain([&] { drained = true; });
  REQUIRE(world.loop.turn_until([&] { return drained; }));
  bool ended = false;
  if (world.service->wind_down([&] { ended = true; })) REQUIRE(world.loop.turn_until([&] { return ended; }));
  REQUIRE(world.loop.turn_until([&] { return target.ended; }));
  client.read_now();
  CHECK(client.received() == "answer");
  CHECK(client.ended());
  CHECK(client.error() == 0);
  CHECK(world.status().find("0 aborted") != std::string::npos);
}

TEST_CASE("portforward: a stop while the target has not answered ends the client in order") {
  World world;
  Peer client = world.connect();
  REQUIRE(world.loop.turn_until([&] { return world.port->counts().open == 1; }));
  bool drained = false;
  world.port->listener().drain([&] { drained = true; });
  REQUIRE(world.loop.turn_until([&] { return drained && (client.read_now(), client.gone()); }));
  CHECK(client.ended());
}

TEST_CASE("portforward: a target that nothing can be connected to is refused in the config") {
  const services::Kind kind = services::portforward_kind();
  CHECK(kind.check({}, {"tcp:1"}).error().message.find("to is missing") == 0);
  CHECK(kind.check({{"to", "tcp:1"}}, {"tcp:1"}).error().message.find("to: ") == 0);
  CHECK(kind.check({{"to", "udp:localhost:1"}}, {"tcp:1"}).error().message.find("there is no type 'udp'") !=
        std::string::npos);
  CHECK(kind.check({{"to", "tls:localhost:443"}}, {"tcp:1"}).ok());
}
