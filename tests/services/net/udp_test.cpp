// One UDP port over real sockets of the loopback interface. What it holds behind the gate is in udp_gate_test.cpp.
#include "services/net/udp.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

#include "services/net/refusal.hpp"
#include "tests/services/net/udp_fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

TEST_CASE("udp: a datagram comes whole, and an answer goes back where it came from") {
  Loop loop;
  UdpServer server(loop, udp_echo());
  UdpPeer peer;
  CHECK(ask_udp(loop, peer, server.port, "hello") == "hello");
  CHECK(peer.sender().text() == "127.0.0.1:" + std::to_string(server.port));
  CHECK(server.transport->counts().received == 1);
  CHECK(server.transport->counts().sent == 1);
}

TEST_CASE("udp: an empty datagram is one, and the longest there can be is whole") {
  Loop loop;
  UdpServer server(loop, udp_echo());
  UdpPeer peer;
  CHECK(ask_udp(loop, peer, server.port, "").empty());
  const std::string longest = numbered_bytes(DatagramTransport::kDatagramBytesMax);
  CHECK(ask_udp(loop, peer, server.port, longest) == longest);
  CHECK(server.transport->counts().received == 2);
}

TEST_CASE("udp: several in one turn keep their order and their senders") {
  Loop loop;
  UdpServer server(loop, udp_echo());
  UdpPeer first;
  UdpPeer second;
  for (int i = 0; i < 20; ++i) {
    REQUIRE(first.send_to(server.port, "a" + std::to_string(i)));
    REQUIRE(second.send_to(server.port, "b" + std::to_string(i)));
  }
  REQUIRE(loop.turn_until([&] { return server.transport->counts().sent == 40; }));
  for (int i = 0; i < 20; ++i) {
    CHECK(first.receive() == "a" + std::to_string(i));
    CHECK(second.receive() == "b" + std::to_string(i));
  }
}

TEST_CASE("udp: others have their turn after a bounded number of datagrams") {
  Loop loop;
  UdpServer server(loop, {});
  UdpPeer peer;
  const std::size_t sent = UdpTransport::kReadsPerTurnMax + 10;
  for (std::size_t i = 0; i < sent; ++i) REQUIRE(peer.send_to(server.port, "x"));
  REQUIRE(loop.turn_until([&] { return server.transport->counts().received > 0; }));
  CHECK(server.transport->counts().received <= 2 * UdpTransport::kReadsPerTurnMax);
  CHECK(loop.turn_until([&] { return server.transport->counts().received == sent; }));
}

TEST_CASE("udp: IPv6 works the same, and answers come from the address that was asked") {
  Loop loop;
  UdpServer server(loop, udp_echo(), nullptr, "udp6:0");
  UdpPeer peer("::1");
  CHECK(ask_udp(loop, peer, server.port, "six", "::1") == "six");
  CHECK(peer.sender().text() == "[::1]:" + std::to_string(server.port));
}

TEST_CASE("udp: on all interfaces an answer comes from the address that was asked") {
  Loop loop;
  UdpServer server(loop, udp_echo(), nullptr, "udp:0");
  UdpPeer peer;
  for (const std::string ours : {"127.0.0.1", "127.0.0.2", "127.45.6.7"}) {
    CHECK(ask_udp(loop, peer, server.port, "who?", ours) == "who?");
    CHECK(peer.sender().text() == ours + ":" + std::to_string(server.port));
  }
}

TEST_CASE("udp: what is sent to everybody is not looked at") {
  Loop loop;
  UdpServer server(loop, udp_echo(), nullptr, "udp:0");
  UdpPeer peer;
  REQUIRE(peer.send_to(server.port, "all of you", "127.255.255.255"));
  CHECK(ask_udp(loop, peer, server.port, "only you") == "only you");
  CHECK(server.transport->counts().received == 1);
  CHECK(server.transport->counts().to_everybody == 1);
}

TEST_CASE("udp: a group's datagrams are not looked at either") {
  Loop loop;
  UdpServer server(loop, udp_echo(), nullptr, "udp6:0");
  UdpPeer peer("::1");
  // ff01::1 are all nodes of one interface: this host alone.
  if (!peer.send_to(server.port, "all of you", "ff01::1")) {
    MESSAGE("this machine has no route to ff01::1");
    return;
  }
  CHECK(ask_udp(loop, peer, server.port, "only you", "::1") == "only you");
  CHECK(server.transport->counts().received == 1);
}

TEST_CASE("udp: an exception ends that datagram only, is said once with service and peer, and then counted") {
  Loop loop;
  DatagramScript script;
  script.received = [](DatagramTransport& transport, std::string_view datagram, const DatagramAddress& from) {
    if (datagram == "bad") throw std::runtime_error("no such thing");
    if (datagram == "worse") throw 5;
    transport.write(datagram, from);
  };
  UdpServer server(loop, script);
  UdpPeer peer;
  REQUIRE(peer.send_to(server.port, "bad"));
  REQUIRE(peer.send_to(server.port, "worse"));
  REQUIRE(peer.send_to(server.port, "bad"));
  CHECK(ask_udp(loop, peer, server.port, "good") == "good");
  CHECK(server.transport->counts().failed == 3);
  REQUIRE(loop.log.lines().size() == 1);
  CHECK(loop.log.lines()[0].who == "served");
  CHECK(loop.log.lines()[0].level == LogLevel::warning);
  CHECK(loop.log.lines()[0].message ==
        "a datagram is given up, the protocol threw: 127.0.0.1:" + std::to_string(peer.port()) + ": no such thing");
  loop.clock.advance(RepeatedLine::kQuietMs);
  loop.turn(2);
  REQUIRE(loop.log.lines().size() == 2);
  CHECK(loop.log.lines()[1].message == "a datagram is given up, the protocol threw: 2 more within a minute");
  loop.clock.advance(RepeatedLine::kQuietMs);
  loop.turn(2);
  CHECK(loop.log.lines().size() == 2);  // there were none, so nothing is said
  REQUIRE(peer.send_to(server.port, "worse"));
  REQUIRE(loop.turn_until([&] { return server.transport->counts().failed == 4; }));
  CHECK(loop.log.lines().back().message.find("something that is no exception") != std::string::npos);
}

TEST_CASE("udp: a Refusal is no failure: it is counted, and there is no answer") {
  Loop loop;
  DatagramScript script;
  script.received = [](DatagramTransport&, std::string_view, const DatagramAddress&) { throw Refusal("full"); };
  UdpServer server(loop, script);
  UdpPeer peer;
  REQUIRE(peer.send_to(server.port, "a"));
  REQUIRE(loop.turn_until([&] { return server.transport->counts().refused == 1; }));
  CHECK(loop.log.lines().empty());
  CHECK(server.transport->counts().failed == 0);
}

TEST_CASE("udp: what is refused is one line for each reason, not one for each datagram") {
  Loop loop;
  DatagramScript script;
  script.received = [](DatagramTransport& transport, std::string_view datagram, const DatagramAddress& from) {
    transport.refuse(datagram, from);
  };
  UdpServer server(loop, script);
  UdpPeer peer;
  for (int i = 0; i < 20; ++i) {
    REQUIRE(peer.send_to(server.port, "too loud"));
    REQUIRE(peer.send_to(server.port, "too rude"));
  }
  REQUIRE(loop.turn_until([&] { return server.transport->counts().refused == 40; }));
  CHECK(loop.log.lines().size() == 2);
  CHECK(loop.log.count("too loud: the first is of 127.0.0.1:" + std::to_string(peer.port())) == 1);
  loop.clock.advance(RepeatedLine::kQuietMs);
  loop.turn(2);
  CHECK(loop.log.count("too rude: 19 more within a minute") == 1);
}

TEST_CASE("udp: more reasons than there should be share the last one's line") {
  Loop loop;
  DatagramScript script;
  script.received = [](DatagramTransport& transport, std::string_view datagram, const DatagramAddress& from) {
    transport.refuse(datagram, from);
  };
  UdpServer server(loop, script);
  UdpPeer peer;
  const std::size_t reasons = UdpTransport::kReasonsMax + 20;
  for (std::size_t i = 0; i < reasons; ++i) REQUIRE(peer.send_to(server.port, "reason " + std::to_string(i)));
  REQUIRE(loop.turn_until([&] { return server.transport->counts().refused == reasons; }));
  CHECK(loop.log.lines().size() == UdpTransport::kReasonsMax);
}

TEST_CASE("udp: an answer that cannot be sent costs itself only") {
  Loop loop;
  UdpServer server(loop, udp_echo());
  UdpPeer peer;
  const DatagramAddress from = DatagramAddress::parse("127.0.0.1", peer.port()).value();
  const DatagramAddress broadcast = DatagramAddress::parse("255.255.255.255", 9).value();
  server.transport->write("before", from);
  server.transport->write("to all", broadcast);
  server.transport->write("to nobody", DatagramAddress());
  server.transport->write("to the other family", DatagramAddress::parse("::1", 9).value());
  server.transport->write(std::string(DatagramTransport::kDatagramBytesMax + 1, 'x'), from);
  server.transport->write("after", from);
  loop.turn(2);
  CHECK(peer.receive() == "before");
  CHECK(peer.receive() == "after");
  CHECK(server.transport->counts().dropped == 4);
  CHECK(server.transport->counts().sent == 2);
  CHECK(loop.log.lines().size() == 1);
}

TEST_CASE("udp: the queue is bounded, what does not fit is dropped and counted") {
  Loop loop;
  UdpServer server(loop, udp_echo());
  const DatagramAddress to = DatagramAddress::parse("127.0.0.1", 9).value();
  const std::size_t fit = UdpTransport::kQueueBytesMax / UdpTransport::kDatagramCost;
  for (std::size_t i = 0; i < fit + 7; ++i) server.transport->write("", to);
  CHECK(server.transport->queued_bytes() <= UdpTransport::kQueueBytesMax);
  CHECK(server.transport->counts().dropped == 7);
  loop.turn(2);
  CHECK(server.transport->queued_bytes() == 0);
  CHECK(server.transport->counts().sent + server.transport->counts().dropped == fit + 7);
  CHECK(loop.log.count("an answer is dropped: more than 1048576 bytes wait to be sent") == 1);
}

TEST_CASE("udp: a protocol may send without being asked, from its start to its stop") {
  Loop loop;
  UdpPeer peer;
  const DatagramAddress to = DatagramAddress::parse("127.0.0.1", peer.port()).value();
  DatagramScript script;
  script.started = [&](DatagramTransport& transport) { transport.write("I am here", to); };
  script.stopped = [&](DatagramTransport& transport) { transport.write("too late", to); };
  UdpServer server(loop, script);
  loop.turn(2);
  CHECK(peer.receive() == "I am here");
  server.transport.reset();
  loop.turn(2);
  CHECK_FALSE(peer.receive().has_value());
}

TEST_CASE("udp: a protocol that throws when it is started opens no port, one that throws at its end ends") {
  Loop loop;
  DatagramScript script;
  script.started = [](DatagramTransport&) { throw std::runtime_error("not today"); };
  script.stopped = [](DatagramTransport&) { throw std::runtime_error("nor tomorrow"); };
  std::vector<std::uint16_t> ports;
  UdpTransport transport(loop.reactor, "served", std::make_unique<ScriptedDatagrams>(script), ports);
  BoundEndpoint bound = bind_udp_endpoint("udp:0:interface=127.0.0.1");
  const Result<void> opened = transport.open(std::move(bound.fd));
  REQUIRE_FALSE(opened.ok());
  CHECK(opened.error().fault == Fault::internal);
  CHECK(opened.error().message == "its protocol threw when it was started");
  transport.close();
  transport.close();
  CHECK(loop.log.count("nor tomorrow") == 1);
}

TEST_CASE("udp: a descriptor that cannot be watched is an error, and the protocol is not started") {
  Loop loop;
  DatagramScript script;
  bool started = false;
  script.started = [&](DatagramTransport&) { started = true; };
  std::vector<std::uint16_t> ports;
  UdpTransport transport(loop.reactor, "served", std::make_unique<ScriptedDatagrams>(script), ports);
  Fd file(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));  // epoll(7) takes no files
  const Result<void> opened = transport.open(std::move(file));
  REQUIRE_FALSE(opened.ok());
  CHECK(opened.error().fault == Fault::internal);
  CHECK_FALSE(started);
}

TEST_CASE("udp: an error of reading is said, and reading is tried again later, not in a spin") {
  Loop loop;
  DatagramScript script;
  std::vector<std::uint16_t> ports;
  UdpTransport transport(loop.reactor, "served", std::make_unique<ScriptedDatagrams>(script), ports);
  int ends[2];  // recvmsg(2) on a pipe fails, and goes on failing
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  const Fd write_end(ends[1]);
  REQUIRE(transport.open(Fd(ends[0])).ok());
  REQUIRE(::write(write_end.get(), "x", 1) == 1);
  REQUIRE(loop.turn_until([&] { return loop.log.count("cannot read datagrams, trying again: ") == 1; }));
  loop.turn(5);
  loop.clock.advance(UdpTransport::kReadPauseMs);
  loop.turn(5);
  loop.clock.advance(RepeatedLine::kQuietMs);
  loop.turn(5);
  CHECK(loop.log.count("cannot read datagrams, trying again: 1 more within a minute") == 1);
}

TEST_CASE("udp: nobody can take the port a second time, also with SO_REUSEADDR") {
  Loop loop;
  UdpServer server(loop, udp_echo());
  const Fd thief(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  REQUIRE(::setsockopt(thief.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
  const DatagramAddress same = DatagramAddress::parse("127.0.0.1", server.port).value();
  CHECK(::bind(thief.get(), same.raw(), same.raw_size()) == -1);
}

TEST_CASE("udp: it knows the ports this process serves") {
  Loop loop;
  UdpServer server(loop, udp_echo());
  CHECK(server.transport->serves_port(server.port));
  CHECK_FALSE(server.transport->serves_port(static_cast<std::uint16_t>(server.port ^ 1U)));
}

TEST_CASE("udp: a drain reads no more, sends what was said, and tells from a later turn") {
  Loop loop;
  UdpServer server(loop, udp_echo());
  UdpPeer peer;
  server.transport->write("last", DatagramAddress::parse("127.0.0.1", peer.port()).value());
  bool done = false;
  server.transport->drain([&] { done = true; });
  CHECK_FALSE(done);
  REQUIRE(peer.send_to(server.port, "too late"));
  REQUIRE(loop.turn_until([&] { return done; }));
  CHECK(peer.receive() == "last");
  CHECK_FALSE(peer.receive().has_value());
  CHECK(server.transport->counts().received == 0);
  bool idle_done = false;
  server.transport->drain([&] { idle_done = true; });
  CHECK_FALSE(idle_done);
  CHECK(loop.turn_until([&] { return idle_done; }));
}

TEST_CASE("udp: a transport that is dropped between a write and the turn's end sends nothing and leaves nothing") {
  Loop loop;
  UdpPeer peer;
  {
    UdpServer server(loop, udp_echo());
    server.transport->write("never", DatagramAddress::parse("127.0.0.1", peer.port()).value());
    server.transport->drain([] { FAIL("it is gone"); });
  }
  loop.turn(3);
  CHECK_FALSE(peer.receive().has_value());
}
