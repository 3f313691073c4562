// What a stop does to connections: read no more, answer what was received, send it, end without a reset.
#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "services/net/line_protocol.hpp"
#include "services/net/stream.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

/// Answers each line with many bytes, so that lines wait as long as the peer does not read.
class Verbose final : public LineProtocol {
 public:
  static constexpr std::size_t kAnswerBytes = 100'000;

 private:
  void line_received(std::string_view line) override { send_line(std::string(kAnswerBytes, line.front())); }
};

class VerboseFactory final : public Factory {
 public:
  [[nodiscard]] std::unique_ptr<Protocol> build_protocol() override { return std::make_unique<Verbose>(); }
};

/// Answers anything with 8 MiB.
Script big_script() {
  Script script;
  script.data = [](Transport& transport, std::string_view) { transport.write(numbered_bytes(8 << 20)); };
  return script;
}

}  // namespace

TEST_CASE("drain: idle clients are ended at once, in order") {
  Loop loop;
  ScriptedFactory factory;
  Server server(loop, factory);
  std::vector<Peer> peers;
  for (int i = 0; i < 20; ++i) peers.push_back(Peer::tcp(server.port()));
  REQUIRE(loop.turn_until([&] { return server.counts().open == 20; }));
  int done = 0;
  server.listener().drain([&] { ++done; });
  CHECK(done == 0);  // never from inside the call
  loop.turn(4);      // no time passes: nobody waits for them
  CHECK(done == 1);
  for (Peer& peer : peers) {
    CHECK(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
    CHECK(peer.ended());
  }
}

TEST_CASE("drain: without a connection it calls back, from a later turn, once") {
  Loop loop;
  ScriptedFactory factory;
  Server server(loop, factory);
  int done = 0;
  server.listener().drain([&] { ++done; });
  CHECK(done == 0);
  loop.turn(3);
  CHECK(done == 1);
}

TEST_CASE("drain: what was written is sent whole before the connection ends") {
  Loop loop;
  ScriptedFactory factory;
  factory.script = big_script();
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  peer.send("go");
  REQUIRE(loop.turn_until([&] { return peer.read_now(1000), !peer.received().empty(); }));
  bool done = false;
  server.listener().drain([&] { done = true; });
  loop.turn(5);
  CHECK(!done);
  REQUIRE(loop.turn_until([&] { return peer.read_now(100'000), peer.gone(); }));
  CHECK(peer.ended());
  CHECK(peer.received() == numbered_bytes(8 << 20));
  CHECK(loop.turn_until([&] { return done; }));
}

TEST_CASE("drain: requests that were received are answered, those that come later are not") {
  Loop loop;
  VerboseFactory factory;
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  std::string lines;
  for (int round = 0; round < 8; ++round) {
    for (char c = 'a'; c <= 'z'; ++c) lines += std::string(1, c) + "\n";
  }
  peer.send(lines);  // for 20 MB of answers
  REQUIRE(loop.turn_until([&] { return peer.read_now(1000), !peer.received().empty(); }));
  bool done = false;
  server.listener().drain([&] { done = true; });
  peer.send("!\n");
  REQUIRE(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
  CHECK(peer.ended());
  CHECK(loop.turn_until([&] { return done; }));
  CHECK(peer.received().size() == lines.size() / 2 * (Verbose::kAnswerBytes + 1));
  CHECK(peer.received().find('!') == std::string::npos);
  CHECK(peer.received().substr(peer.received().size() - 2) == "z\n");
}

TEST_CASE("drain: the client gets no reset although it has sent what nobody will read") {
  Loop loop;
  ScriptedFactory factory;
  factory.script.data = [](Transport& transport, std::string_view) {
    transport.write("the answer");
    transport.pause_reading();
  };
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  peer.send("question");
  REQUIRE(loop.turn_until([&] { return peer.read_now(), peer.received() == "the answer"; }));
  peer.send(numbered_bytes(50'000));
  bool done = false;
  server.listener().drain([&] { done = true; });
  REQUIRE(loop.turn_until([&] { return done; }));
  loop.turn(3);
  CHECK(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
  CHECK(peer.error() == 0);
  CHECK(peer.ended());
}

TEST_CASE("drain: a connection that owes an answer is waited for, whatever it waits for") {
  Loop loop;
  Transport* asked = nullptr;
  bool owes = false;
  ScriptedFactory factory;
  factory.script.data = [&](Transport& transport, std::string_view) {
    asked = &transport;
    owes = true;
  };
  factory.script.owes = [&] { return owes; };
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  peer.send("think about it");
  REQUIRE(loop.turn_until([&] { return owes; }));
  bool done = false;
  server.listener().drain([&] { done = true; });
  loop.turn(10);
  CHECK(!done);
  owes = false;
  asked->write("42");
  REQUIRE(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
  CHECK(peer.received() == "42");
  CHECK(loop.turn_until([&] { return done; }));
}

TEST_CASE("drain: a client that never reads is ended by abort_all, and the drain calls back") {
  Loop loop;
  ScriptedFactory factory;
  factory.script = big_script();
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  peer.send("go");
  REQUIRE(loop.turn_until([&] { return peer.read_now(1000), !peer.received().empty(); }));
  bool done = false;
  server.listener().drain([&] { done = true; });
  loop.turn(10);
  CHECK(!done);
  server.listener().connections().abort_all();
  CHECK(!done);
  CHECK(loop.turn_until([&] { return done; }));
}

TEST_CASE("drain: connections that are ending already are no obstacle") {
  Loop loop;
  std::vector<Transport*> open;
  ScriptedFactory factory;
  factory.script.made = [&](Transport& transport) { open.push_back(&transport); };
  Server server(loop, factory);
  std::vector<Peer> peers;
  for (int i = 0; i < 4; ++i) peers.push_back(Peer::tcp(server.port()));
  REQUIRE(loop.turn_until([&] { return open.size() == 4; }));
  open[0]->lose_connection();
  open[1]->abort_connection();
  open[2]->lose_write_connection();
  int done = 0;
  server.listener().drain([&] { ++done; });
  CHECK(loop.turn_until([&] { return done == 1; }));
  loop.turn(5);
  CHECK(done == 1);
}

TEST_CASE("drain: a listener that drains accepts no more") {
  Loop loop;
  ScriptedFactory factory;
  factory.script = big_script();
  Server server(loop, factory);
  Peer slow = Peer::tcp(server.port());
  slow.send("go");
  REQUIRE(loop.turn_until([&] { return slow.read_now(1000), !slow.received().empty(); }));
  server.listener().drain([] {});
  loop.turn(3);
  CHECK(server.counts().open == 1);
  CHECK(!can_connect(server.port()));
}

TEST_CASE("drain: a protocol may say a last thing, once, after what it owed and before the end") {
  Loop loop;
  int told = 0;
  bool owes = true;
  Script script;
  Transport* transport = nullptr;
  script.made = [&](Transport& made) { transport = &made; };
  script.owes = [&] { return owes; };
  script.stop = [&](Transport& from) {
    ++told;
    from.write("</hits>");
  };
  LoneStream lone(loop, script);
  lone.stream().drain();
  loop.turn(3);
  CHECK(told == 0);
  owes = false;
  transport->write("answer ");
  REQUIRE(loop.turn_until([&] { return lone.peer().read_now(), lone.peer().gone(); }));
  CHECK(lone.peer().received() == "answer </hits>");
  CHECK(lone.peer().ended());
  CHECK(told == 1);
}

TEST_CASE("drain: a protocol that ends its connection itself, or throws, when it hears of the stop does no harm") {
  Loop loop;
  Script polite;
  polite.stop = [](Transport& from) {
    from.write("bye");
    from.lose_connection();
  };
  LoneStream ended(loop, polite);
  ended.stream().drain();
  REQUIRE(loop.turn_until([&] { return ended.peer().read_now(), ended.peer().gone(); }));
  CHECK(ended.peer().received() == "bye");
  CHECK(ended.ended == 1);
  Script rude;
  rude.stop = [](Transport&) { throw std::runtime_error("not now"); };
  LoneStream thrown(loop, rude);
  thrown.stream().drain();
  REQUIRE(loop.turn_until([&] { return thrown.peer().read_now(), thrown.peer().gone(); }));
  CHECK(thrown.ended == 1);
  CHECK(loop.log.count("not now") == 1);
}
