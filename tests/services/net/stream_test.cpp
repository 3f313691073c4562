#include "services/net/stream.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

TEST_CASE("stream: the pieces written in one turn leave in one system call") {
  Loop loop;
  Script script;
  script.data = [](Transport& transport, std::string_view data) {
    transport.write("you said ");
    transport.write(data);
    transport.write("!");
  };
  // A packet socket keeps each system call apart, as a stream does not.
  LoneStream lone(loop, script, SOCK_SEQPACKET);
  lone.peer().send("hello");
  char packet[64];
  ssize_t got = -1;
  REQUIRE(loop.turn_until([&] { return (got = ::recv(lone.peer().fd(), packet, sizeof packet, 0)) > 0; }));
  CHECK(std::string(packet, static_cast<std::size_t>(got)) == "you said hello!");
  loop.turn(3);
  CHECK(::recv(lone.peer().fd(), packet, sizeof packet, 0) < 0);
}

TEST_CASE("stream: a thousand small answers leave in one system call") {
  Loop loop;
  std::string all;
  Script script;
  script.data = [&](Transport& transport, std::string_view) {
    for (int i = 0; i < 1000; ++i) {
      transport.write(std::to_string(i));
      all += std::to_string(i);
    }
  };
  LoneStream lone(loop, script, SOCK_SEQPACKET);
  lone.peer().send("go");
  char packet[8192];
  ssize_t got = -1;
  REQUIRE(loop.turn_until([&] { return (got = ::recv(lone.peer().fd(), packet, sizeof packet, 0)) > 0; }));
  CHECK(std::string(packet, static_cast<std::size_t>(got)) == all);
}

TEST_CASE("stream: nothing is written before the turn ends") {
  Loop loop;
  const Script script;
  LoneStream lone(loop, script);
  lone.stream().write("soon");
  CHECK(lone.peer().read_now() == 0);
  CHECK(lone.stream().unsent_bytes() == 4);
  loop.turn();
  lone.peer().read_now();
  CHECK(lone.peer().received() == "soon");
  CHECK(lone.stream().unsent_bytes() == 0);
}

TEST_CASE("stream: an echo over TCP and over a UNIX socket gives back what was sent") {
  Loop loop;
  ScriptedFactory factory;
  factory.script = echo_script();
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  peer.send("over TCP");
  CHECK(loop.turn_until([&] { return peer.read_now(), peer.received() == "over TCP"; }));
  const Script script = echo_script();
  LoneStream lone(loop, script);
  lone.peer().send("over UNIX");
  CHECK(loop.turn_until([&] { return lone.peer().read_now(), lone.peer().received() == "over UNIX"; }));
}

TEST_CASE("stream: connection_made may answer before anything was received") {
  Loop loop;
  ScriptedFactory factory;
  factory.script.made = [](Transport& transport) { transport.write("220 ready\r\n"); };
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  CHECK(loop.turn_until([&] { return peer.read_now(), peer.received() == "220 ready\r\n"; }));
}

TEST_CASE("stream: the peer is named for the log, and after its end too") {
  Loop loop;
  std::string named;
  std::string afterwards;
  ScriptedFactory factory;
  factory.script.made = [&](Transport& transport) { named = transport.peer(); };
  factory.script.lost = [&](Transport& transport, const Error&) { afterwards = transport.peer(); };
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  REQUIRE(loop.turn_until([&] { return !named.empty(); }));
  CHECK(named.substr(0, 10) == "127.0.0.1:");
  peer.close();
  REQUIRE(loop.turn_until([&] { return !afterwards.empty(); }));
  CHECK(afterwards == named);
  const Script script;
  LoneStream lone(loop, script);
  CHECK(lone.stream().peer() == "unix");
}

TEST_CASE("stream: lose_connection sends what was written first, and then the end") {
  Loop loop;
  const std::string big = numbered_bytes(3 << 20);
  ScriptedFactory factory;
  factory.script.made = [&](Transport& transport) {
    transport.write(big);
    transport.lose_connection();
    CHECK(transport.ending());
    transport.write("too late");
  };
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  REQUIRE(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
  CHECK(peer.ended());
  CHECK(peer.received() == big);
}

TEST_CASE("stream: lose_connection reads no more, and the end comes from a later turn") {
  Loop loop;
  int reads = 0;
  int lost = 0;
  Script script;
  script.data = [&](Transport& transport, std::string_view) {
    ++reads;
    transport.lose_connection();
    CHECK(lost == 0);
  };
  LoneStream lone(loop, script, SOCK_SEQPACKET);
  lone.peer().send("one");
  lone.peer().send("two");
  REQUIRE(loop.turn_until([&] { return lone.ended == 1; }));
  CHECK(reads == 1);
  CHECK(lone.stream().over());
}

TEST_CASE("stream: lose_write_connection ends our direction, and goes on reading") {
  Loop loop;
  std::string heard;
  Script script;
  script.made = [](Transport& transport) {
    transport.write("that is all from me");
    transport.lose_write_connection();
    transport.write("too late");
  };
  script.data = [&](Transport&, std::string_view data) { heard += data; };
  LoneStream lone(loop, script);
  REQUIRE(loop.turn_until([&] { return lone.peer().read_now(), lone.peer().gone(); }));
  CHECK(lone.peer().ended());
  CHECK(lone.peer().received() == "that is all from me");
  CHECK(!lone.stream().ending());
  lone.peer().send("but I go on");
  CHECK(loop.turn_until([&] { return heard == "but I go on"; }));
  lone.peer().finish_sending();
  CHECK(loop.turn_until([&] { return lone.ended == 1; }));
}

TEST_CASE("stream: lose_write_connection sends everything before it half-closes") {
  Loop loop;
  const std::string big = numbered_bytes(5 << 20);
  Script script;
  script.made = [&](Transport& transport) {
    transport.write(big);
    transport.lose_write_connection();
  };
  LoneStream lone(loop, script);
  REQUIRE(loop.turn_until([&] { return lone.peer().read_now(), lone.peer().gone(); }));
  CHECK(lone.peer().received() == big);
  CHECK(lone.ended == 0);
}

TEST_CASE("stream: both directions ended, the peer's first, is the end") {
  Loop loop;
  Script script;
  script.end = [](Transport& transport) { transport.lose_write_connection(); };
  LoneStream lone(loop, script);
  lone.peer().finish_sending();
  CHECK(loop.turn_until([&] { return lone.ended == 1; }));
}

TEST_CASE("stream: both directions ended, ours first, is the end") {
  Loop loop;
  bool peer_finished = false;
  Script script;
  script.made = [](Transport& transport) { transport.lose_write_connection(); };
  script.end = [&](Transport&) { peer_finished = true; };  // everything was said long ago
  LoneStream lone(loop, script);
  loop.turn(3);
  lone.peer().finish_sending();
  REQUIRE(loop.turn_until([&] { return peer_finished; }));
  loop.turn(5);
  CHECK(lone.ended == 1);
}

TEST_CASE("stream: the peer's end is told once, and by default ends the connection after the answers") {
  Loop loop;
  int ends = 0;
  std::string reason;
  ScriptedFactory factory;
  factory.script = echo_script();
  factory.script.lost = [&](Transport&, const Error& error) {
    ++ends;
    reason = error.message;
  };
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  peer.send("last words");
  peer.finish_sending();
  REQUIRE(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
  CHECK(peer.ended());
  CHECK(peer.received() == "last words");
  CHECK(loop.turn_until([&] { return ends == 1; }));
  CHECK(reason == "the connection was ended by us");
  CHECK(server.counts().open == 0);
}

TEST_CASE("stream: a protocol may go on answering after the peer's end") {
  Loop loop;
  Transport* connection = nullptr;
  ScriptedFactory factory;
  factory.script.end = [&](Transport& transport) { connection = &transport; };
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  peer.finish_sending();
  REQUIRE(loop.turn_until([&] { return connection != nullptr; }));
  loop.turn(5);
  connection->write("a late answer");
  connection->lose_connection();
  REQUIRE(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
  CHECK(peer.received() == "a late answer");
}

TEST_CASE("stream: abort_connection drops what is unsent, and the peer sees a reset") {
  Loop loop;
  std::string reason;
  ScriptedFactory factory;
  factory.script.data = [](Transport& transport, std::string_view) {
    transport.write("never sent");
    transport.abort_connection();
    CHECK(transport.ending());
  };
  factory.script.lost = [&](Transport&, const Error& error) { reason = error.message; };
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  peer.send("go");
  REQUIRE(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
  CHECK(peer.error() == ECONNRESET);
  CHECK(peer.received().empty());
  CHECK(loop.turn_until([&] { return reason == "the connection was aborted by us"; }));
}

TEST_CASE("stream: one that requires a clean end is reset by the death of the process, and ends as others do") {
  Loop loop;
  ScriptedFactory factory;
  int fd = -1;
  bool required = true;
  factory.script.made = [&](Transport& transport) {
    if (required) transport.require_clean_end();
    transport.write("half of it");
    fd = static_cast<StreamTransport&>(transport).fd();
  };
  factory.script.data = [](Transport& transport, std::string_view) {
    transport.write(numbered_bytes(500'000));
    transport.lose_connection();
  };
  Server server(loop, factory);
  // What the kernel does with the descriptors of a process that has died: it closes them, and asks nobody.
  const Fd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const bool reset : {true, false}) {
    required = reset;
    Peer peer = Peer::tcp(server.port());
    REQUIRE(loop.turn_until([&] { return peer.read_now() > 0; }));
    REQUIRE(::dup3(nothing.get(), fd, O_CLOEXEC) == fd);
    REQUIRE(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
    CHECK(peer.received() == "half of it");
    CHECK(peer.error() == (reset ? ECONNRESET : 0));
  }
  required = true;
  Peer peer = Peer::tcp(server.port());
  peer.send("all of it");
  REQUIRE(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
  CHECK(peer.error() == 0);
  CHECK(peer.received() == "half of it" + numbered_bytes(500'000));
}

TEST_CASE(
    "stream: a listener can require a clean end before any protocol can, and the next one on its socket need not") {
  Loop loop;
  ScriptedFactory factory;
  int fd = -1;
  factory.script.made = [&](Transport& transport) { fd = static_cast<StreamTransport&>(transport).fd(); };
  factory.script.data = [](Transport& transport, std::string_view) {
    transport.write("all of it");
    transport.lose_connection();
  };
  const Fd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  Result<BoundEndpoint> bound = bind_endpoint(*parse_endpoint("tcp:0:interface=127.0.0.1"), std::nullopt);
  REQUIRE(bound.ok());
  const Fd kept = std::move(bound->fd);
  for (const bool clean : {true, false}) {
    Listener listener(loop.reactor, factory, "poem", {.clean_end = clean});
    REQUIRE(listener.listen(Fd(::fcntl(kept.get(), F_DUPFD_CLOEXEC, 3)), StreamKind::tcp, 8).ok());
    fd = -1;
    Peer dying = Peer::tcp(port_of(kept.get()));
    REQUIRE(loop.turn_until([&] { return fd != -1; }));
    REQUIRE(::dup3(nothing.get(), fd, O_CLOEXEC) == fd);
    REQUIRE(loop.turn_until([&] { return dying.read_now(), dying.gone(); }));
    CHECK(dying.error() == (clean ? ECONNRESET : 0));
    Peer served = Peer::tcp(port_of(kept.get()));
    served.send("x");
    REQUIRE(loop.turn_until([&] { return served.read_now(), served.gone(); }));
    CHECK(served.error() == 0);
    CHECK(served.received() == "all of it");
  }
}

TEST_CASE("stream: fail says why with the service and the peer, and resets") {
  Loop loop;
  ScriptedFactory factory;
  factory.script.data = [](Transport& transport, std::string_view) { transport.fail("it spoke out of turn"); };
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  peer.send("x");
  REQUIRE(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
  CHECK(peer.error() == ECONNRESET);
  REQUIRE(loop.log.lines().size() == 1);
  const auto& line = loop.log.lines()[0];
  CHECK(line.level == LogLevel::warning);
  CHECK(line.who == "served");
  CHECK(line.message.find("connection of 127.0.0.1:") == 0);
  CHECK(line.message.find(" closed: it spoke out of turn") != std::string::npos);
}

TEST_CASE("stream: a peer that resets in mid-reply ends its connection only") {
  Loop loop;
  int lost = 0;
  bool answering = false;
  ScriptedFactory factory;
  factory.script.data = [&](Transport& transport, std::string_view data) {
    if (data == "big") transport.write(numbered_bytes(8 << 20));
    else transport.write(data);
    answering = true;
  };
  factory.script.lost = [&](Transport&, const Error&) { ++lost; };
  Server server(loop, factory);
  Peer good = Peer::tcp(server.port());
  Peer bad = Peer::tcp(server.port());
  bad.send("big");
  REQUIRE(loop.turn_until([&] { return answering; }));
  loop.turn(3);
  bad.reset();
  REQUIRE(loop.turn_until([&] { return lost == 1; }));
  good.send("still here");
  CHECK(loop.turn_until([&] { return good.read_now(), good.received() == "still here"; }));
  CHECK(server.counts().open == 1);
}

TEST_CASE("stream: pause_reading stops what arrives, resume_reading brings it") {
  Loop loop;
  std::string heard;
  Script script;
  script.data = [&](Transport&, std::string_view data) { heard += data; };
  LoneStream lone(loop, script);
  lone.stream().pause_reading();
  lone.peer().send("waiting");
  loop.turn(5);
  CHECK(heard.empty());
  lone.stream().resume_reading();
  CHECK(heard.empty());  // never from inside the call
  CHECK(loop.turn_until([&] { return heard == "waiting"; }));
}

TEST_CASE("stream: who sends much has one buffer of it in a turn, and others have theirs before the next") {
  Loop loop;
  std::size_t much = 0;
  std::size_t little = 0;
  Script much_script;
  much_script.data = [&](Transport&, std::string_view data) { much += data.size(); };
  Script little_script;
  little_script.data = [&](Transport&, std::string_view data) { little += data.size(); };
  LoneStream flooding(loop, much_script);
  LoneStream asking(loop, little_script);
  const int large = 1 << 20;
  REQUIRE(::setsockopt(flooding.peer().fd(), SOL_SOCKET, SO_SNDBUFFORCE, &large, sizeof large) == 0);
  const std::string flood(3 * Reactor::kReceiveBytesMax + 100, 'f');
  REQUIRE(::send(flooding.peer().fd(), flood.data(), flood.size(), MSG_DONTWAIT) == static_cast<ssize_t>(flood.size()));
  asking.peer().send("?");
  for (int turn = 0; much == 0 && turn < 3; ++turn) loop.turn();
  CHECK(much == Reactor::kReceiveBytesMax);
  CHECK(little == 1);
  loop.turn();
  CHECK(much == 2 * Reactor::kReceiveBytesMax);
  CHECK(loop.turn_until([&] { return much == flood.size(); }));
}

TEST_CASE("stream: every call on one that has ended does nothing") {
  Loop loop;
  const Script script;
  LoneStream lone(loop, script);
  StreamTransport& stream = lone.stream();
  stream.abort_connection();
  stream.write("x");
  stream.lose_connection();
  stream.lose_write_connection();
  stream.abort_connection();
  stream.fail("x");
  stream.pause_reading();
  stream.resume_reading();
  stream.drain();
  CHECK(!stream.congested());
  CHECK(stream.ending());
  loop.turn(3);
  CHECK(lone.ended == 1);
  CHECK(loop.log.lines().empty());
  CHECK(stream.unsent_bytes() == 0);
}

TEST_CASE("stream: a socket that is none is an error and not a stream") {
  Loop loop;
  ScriptedFactory factory;
  ConnectionSet connections(loop.reactor, factory, "served", {});
  CHECK(!connections.adopt(Fd(), StreamKind::tcp).ok());
  CHECK(connections.counts().open == 0);
  CHECK(factory.built == 0);
}
