// Answers by datagram wait for the gate as those of connections do.
#include <doctest/doctest.h>

#include "services/net/gate.hpp"
#include "tests/services/net/udp_fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

/// A port behind a gate, and a peer that its test writes to.
struct GatedPort {
  Loop loop;
  Gate gate;
  UdpServer server{loop, udp_echo(), &gate};
  UdpPeer peer;
  DatagramAddress to = DatagramAddress::parse("127.0.0.1", peer.port()).value();

  void write(std::string_view text) { server.transport->write(text, to); }
  /// What the peer has got after a few turns, one after the other.
  std::string got() {
    loop.turn(4);
    std::string all;
    while (const std::optional<std::string> datagram = peer.receive()) all += *datagram + ";";
    return all;
  }
};

}  // namespace

TEST_CASE("udp gate: what is written while nothing is undurable leaves at once") {
  GatedPort port;
  port.write("free");
  CHECK(port.got() == "free;");
  port.gate.applied(1);
  port.gate.pass(1);
  port.write("again");
  CHECK(port.got() == "again;");
}

TEST_CASE("udp gate: what is written after a change waits until that change is passed") {
  GatedPort port;
  port.write("before");
  port.gate.applied(1);
  port.write("secret");
  CHECK(port.got() == "before;");
  CHECK(port.gate.held_bytes() > 0);
  port.gate.pass(1);
  CHECK(port.got() == "secret;");
  CHECK(port.gate.held_bytes() == 0);
}

TEST_CASE("udp gate: answers leave batch by batch, each with its own") {
  GatedPort port;
  port.gate.applied(1);
  port.write("one");
  port.gate.sealed(1);
  port.gate.applied(2);
  port.write("two");
  port.gate.applied(3);
  port.write("three");
  CHECK(port.got().empty());
  port.gate.pass(1);
  CHECK(port.got() == "one;");
  port.gate.sealed(3);
  port.gate.pass(3);
  CHECK(port.got() == "two;three;");
}

TEST_CASE("udp gate: a datagram that changes nothing waits too, for what it may reveal") {
  GatedPort port;
  port.gate.applied(1);
  REQUIRE(port.peer.send_to(port.server.port, "what is it?"));
  REQUIRE(port.loop.turn_until([&] { return port.server.transport->counts().received == 1; }));
  CHECK(port.got().empty());
  port.gate.pass(1);
  CHECK(port.got() == "what is it?;");
}

TEST_CASE("udp gate: while much is held nothing more is read, so that questions are lost and not answers") {
  GatedPort port;
  port.gate.applied(1);
  const std::string big(60'000, 'x');
  std::size_t written = 0;
  for (; port.server.transport->queued_bytes() <= UdpTransport::kHighWaterBytes; ++written) port.write(big);
  REQUIRE(port.peer.send_to(port.server.port, "anybody there?"));
  port.loop.turn(10);
  CHECK(port.server.transport->counts().received == 0);
  port.gate.pass(1);
  CHECK(port.loop.turn_until([&] { return port.server.transport->counts().received == 1; }));
  CHECK(port.server.transport->counts().dropped == 0);
  CHECK(port.server.transport->counts().sent >= written);
}

TEST_CASE("udp gate: what is held is bounded, the rest is dropped and counted") {
  GatedPort port;
  port.gate.applied(1);
  for (int i = 0; i < 100; ++i) port.write(std::string(60'000, 'x'));
  port.loop.turn(2);
  CHECK(port.gate.held_bytes() <= UdpTransport::kQueueBytesMax);
  const DatagramCounts& counts = port.server.transport->counts();
  CHECK(counts.dropped > 0);
  port.gate.pass(1);
  port.loop.turn(2);
  CHECK(counts.sent + counts.dropped == 100);
}

TEST_CASE("udp gate: a stop waits for it, an abort drops what it holds") {
  GatedPort stopping;
  stopping.gate.applied(1);
  stopping.write("answer");
  bool done = false;
  stopping.server.transport->drain([&] { done = true; });
  CHECK(stopping.got().empty());
  CHECK_FALSE(done);
  stopping.gate.pass(1);
  CHECK(stopping.got() == "answer;");
  CHECK(done);

  GatedPort broken;
  broken.gate.applied(1);
  broken.write("never");
  CHECK(broken.got().empty());
  broken.server.transport->close();
  CHECK(broken.gate.held_bytes() == 0);
  broken.gate.pass(1);
  CHECK(broken.got().empty());
}
