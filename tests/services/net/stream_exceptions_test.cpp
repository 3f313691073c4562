// A protocol's exception ends its connection, is logged with the service's name and the peer, and does nothing else.
#include <doctest/doctest.h>

#include <stdexcept>
#include <string>

#include "services/net/stream.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

/// A server of which the first connection misbehaves and the second must not notice.
struct Pair {
  Loop loop;
  ScriptedFactory factory;
  Transport* first = nullptr;
  int lost = 0;
  std::function<void()> when_first_is_lost;

  Pair() {
    factory.script = echo_script();
    factory.script.made = [this](Transport& transport) {
      if (first == nullptr) first = &transport;
    };
    factory.script.lost = [this](Transport& transport, const Error&) {
      ++lost;
      if (&transport == first && when_first_is_lost) when_first_is_lost();
    };
  }

  /// REQUIRES: the first connection is about to meet an exception, of which the log shall hold `said`.
  void check_only_first_ends(Server& server, Peer& bad, Peer& good, const std::string& said) {
    CHECK(loop.turn_until([&] { return bad.read_now(), bad.gone(); }));
    CHECK(loop.turn_until([&] { return lost == 1 && server.counts().open == 1; }));
    good.send("unharmed");
    CHECK(loop.turn_until([&] { return good.read_now(), good.received() == "unharmed"; }));
    REQUIRE(loop.log.lines().size() == 1);
    const auto& line = loop.log.lines()[0];
    CHECK(line.level >= LogLevel::warning);
    CHECK(line.who == "served");
    CHECK(line.message.find("127.0.0.1:") != std::string::npos);
    CHECK(line.message.find(said) != std::string::npos);
  }
};

void throw_one(bool standard) {
  if (standard) throw std::runtime_error("out of rabbits");
  throw 13;
}

std::string said_of(bool standard) {
  return standard ? "the protocol threw: out of rabbits" : "the protocol threw something that is no exception";
}

}  // namespace

TEST_CASE("stream: an exception of connection_made ends that connection only") {
  for (const bool standard : {true, false}) {
    CAPTURE(standard);
    Pair pair;
    pair.factory.script.made = [&](Transport& transport) {
      if (pair.first != nullptr) return;
      pair.first = &transport;
      throw_one(standard);
    };
    Server server(pair.loop, pair.factory);
    Peer bad = Peer::tcp(server.port());
    Peer good = Peer::tcp(server.port());
    pair.check_only_first_ends(server, bad, good, said_of(standard));
  }
}

TEST_CASE("stream: an exception of data_received ends that connection only, and its answer is not sent") {
  for (const bool standard : {true, false}) {
    CAPTURE(standard);
    Pair pair;
    pair.factory.script.data = [&](Transport& transport, std::string_view data) {
      transport.write(data);
      if (&transport == pair.first) throw_one(standard);
    };
    Server server(pair.loop, pair.factory);
    Peer bad = Peer::tcp(server.port());
    Peer good = Peer::tcp(server.port());
    REQUIRE(pair.loop.turn_until([&] { return pair.factory.built == 2; }));
    bad.send("x");
    pair.check_only_first_ends(server, bad, good, said_of(standard));
    CHECK(bad.received().empty());
  }
}

TEST_CASE("stream: an exception of end_received ends that connection only") {
  for (const bool standard : {true, false}) {
    CAPTURE(standard);
    Pair pair;
    pair.factory.script.end = [&](Transport&) { throw_one(standard); };
    Server server(pair.loop, pair.factory);
    Peer bad = Peer::tcp(server.port());
    Peer good = Peer::tcp(server.port());
    bad.finish_sending();
    pair.check_only_first_ends(server, bad, good, said_of(standard));
  }
}

TEST_CASE("stream: an exception of output_drained ends that connection only") {
  for (const bool standard : {true, false}) {
    CAPTURE(standard);
    Pair pair;
    pair.factory.script.data = [&](Transport& transport, std::string_view data) {
      transport.write(data == "big" ? numbered_bytes(8 << 20) : std::string(data));
      (void)transport.congested();
    };
    pair.factory.script.drained = [&](Transport&) { throw_one(standard); };
    Server server(pair.loop, pair.factory);
    Peer bad = Peer::tcp(server.port());
    Peer good = Peer::tcp(server.port());
    bad.send("big");
    pair.check_only_first_ends(server, bad, good, said_of(standard));
  }
}

TEST_CASE("stream: an exception of connection_lost is logged and ends nothing else") {
  for (const bool standard : {true, false}) {
    CAPTURE(standard);
    Pair pair;
    pair.when_first_is_lost = [&] { throw_one(standard); };
    Server server(pair.loop, pair.factory);
    Peer bad = Peer::tcp(server.port());
    Peer good = Peer::tcp(server.port());
    REQUIRE(pair.loop.turn_until([&] { return pair.factory.built == 2; }));
    bad.close();
    REQUIRE(pair.loop.turn_until([&] { return pair.lost == 1; }));
    good.send("unharmed");
    CHECK(pair.loop.turn_until([&] { return good.read_now(), good.received() == "unharmed"; }));
    CHECK(server.counts().open == 1);
    REQUIRE(pair.loop.log.lines().size() == 1);
    CHECK(pair.loop.log.lines()[0].who == "served");
    CHECK(pair.loop.log.count(said_of(standard)) == 1);
  }
}

TEST_CASE("stream: an exception is logged also when the protocol had ended its connection before") {
  Loop loop;
  ScriptedFactory factory;
  factory.script.data = [](Transport& transport, std::string_view) {
    transport.abort_connection();
    throw std::runtime_error("out of rabbits");
  };
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  peer.send("x");
  REQUIRE(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
  loop.turn(3);
  CHECK(loop.log.count("out of rabbits") == 1);
}

TEST_CASE("stream: an exception after lose_connection ends the connection at once") {
  Loop loop;
  ScriptedFactory factory;
  factory.script.data = [](Transport& transport, std::string_view) {
    transport.lose_connection();
    throw std::runtime_error("out of rabbits");
  };
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  peer.send("x");
  REQUIRE(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
  CHECK(loop.log.count("out of rabbits") == 1);
  CHECK(loop.turn_until([&] { return server.counts().open == 0; }));
}

TEST_CASE("stream: an exception during a drain lets the drain go on") {
  Loop loop;
  ScriptedFactory factory;
  factory.script.data = [](Transport& transport, std::string_view) {
    transport.write(numbered_bytes(8 << 20));
    (void)transport.congested();
  };
  factory.script.drained = [](Transport&) { throw std::runtime_error("out of rabbits"); };
  factory.script.owes = [] { return true; };
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  peer.send("x");
  REQUIRE(loop.turn_until([&] { return peer.read_now(1000), !peer.received().empty(); }));
  bool drained = false;
  server.listener().drain([&] { drained = true; });
  CHECK(loop.turn_until([&] { return peer.read_now(), drained; }));
  CHECK(loop.log.count("out of rabbits") == 1);
}
