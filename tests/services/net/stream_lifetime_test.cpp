// Any owner may let go of a stream at any time. What these cases prove, they prove under AddressSanitizer.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "services/net/stream.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

class CountingOwner final : public StreamOwner {
 public:
  void stream_active(StreamTransport&) override { ++calls; }
  void stream_ended(StreamTransport&) override { ++calls; }
  [[nodiscard]] const std::string& service() const override { return name_; }
  int calls = 0;

 private:
  std::string name_ = "nobody";
};

using Way = std::function<void(Transport&)>;

/// All the ways in which a protocol may end its connection.
std::vector<Way> ways_to_end() {
  return {[](Transport& transport) { transport.lose_connection(); },
          [](Transport& transport) { transport.abort_connection(); },
          [](Transport& transport) { transport.fail("because"); },
          [](Transport& transport) {
            transport.lose_write_connection();
            transport.lose_connection();
            transport.abort_connection();
          }};
}

/// A conversation with every callback in it, of which one ends the connection in the given way.
void check_end_inside(int callback, const Way& way) {
  Loop loop;
  int lost = 0;
  ScriptedFactory factory;
  const auto act = [&](int mine, Transport& transport) {
    if (mine == callback) way(transport);
  };
  factory.script.made = [&](Transport& transport) { act(0, transport); };
  factory.script.data = [&](Transport& transport, std::string_view) {
    act(1, transport);
    transport.write(numbered_bytes(4 << 20));
    (void)transport.congested();
  };
  factory.script.drained = [&](Transport& transport) { act(2, transport); };
  factory.script.end = [&](Transport& transport) {
    act(3, transport);
    transport.lose_connection();
  };
  factory.script.lost = [&](Transport& transport, const Error&) {
    ++lost;
    act(4, transport);
  };
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  peer.send("x");
  peer.finish_sending();
  CHECK(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
  CHECK(loop.turn_until([&] { return lost == 1; }));
  loop.turn(3);
  CHECK(lost == 1);
  CHECK(server.counts().open == 0);
}

}  // namespace

TEST_CASE("stream: dropping one that is new, busy, half-closed, finishing or ended is clean") {
  const std::vector<std::function<void(StreamTransport&)>> states{
      [](StreamTransport&) {},
      [](StreamTransport& stream) { stream.write("unsent"); },
      [](StreamTransport& stream) { stream.pause_reading(); },
      [](StreamTransport& stream) { stream.lose_write_connection(); },
      [](StreamTransport& stream) { stream.lose_connection(); },
      [](StreamTransport& stream) { stream.abort_connection(); },
      [](StreamTransport& stream) { stream.drain(); },
      [](StreamTransport& stream) { stream.write(numbered_bytes(4 << 20)); },
  };
  for (std::size_t i = 0; i < states.size(); ++i) {
    for (const int turns : {0, 1, 3}) {
      CAPTURE(i);
      CAPTURE(turns);
      Loop loop;
      const Script script = echo_script();
      LoneStream lone(loop, script);
      lone.peer().send("hello");
      loop.turn();
      states[i](lone.stream());
      loop.turn(turns);
      lone.drop();
      loop.turn(turns);
      lone.peer().read_now();
      CHECK(lone.ended <= 1);
    }
  }
}

TEST_CASE("stream: dropping one with a write under way frees its bytes and calls nobody") {
  Loop loop;
  int calls = 0;
  Script script;
  script.drained = [&](Transport&) { ++calls; };
  script.lost = [&](Transport&, const Error&) { ++calls; };
  LoneStream lone(loop, script);
  lone.stream().write(numbered_bytes(8 << 20));
  CHECK(lone.stream().congested());
  loop.turn(3);
  CHECK(lone.stream().unsent_bytes() > 0);
  lone.drop();
  CHECK(loop.turn_until([&] { return lone.peer().read_now(), lone.peer().gone(); }));
  CHECK(calls == 0);
  CHECK(lone.ended == 0);
}

TEST_CASE("stream: the loop may end before the close of a dropped one has come through") {
  const Script script = echo_script();
  std::unique_ptr<LoneStream> lone;
  {
    Loop loop;
    lone = std::make_unique<LoneStream>(loop, script);
    lone->stream().write(numbered_bytes(8 << 20));
    loop.turn(2);
    lone->drop();
  }
  lone->peer().read_now();
  CHECK(lone->ended == 0);
}

TEST_CASE("stream: one that was never started, or never opened, is dropped in silence") {
  Loop loop;
  CountingOwner owner;
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  Peer peer{Fd(ends[1])};
  {
    StreamTransport stream(loop.reactor, owner);
    REQUIRE(stream.open(Fd(ends[0]), StreamKind::unix_socket).ok());
  }
  CHECK(loop.turn_until([&] { return peer.read_now(), peer.ended(); }));
  { const StreamTransport never_opened(loop.reactor, owner); }
  CHECK(owner.calls == 0);
}

TEST_CASE("stream: a timer may drop all connections while they are busy") {
  Loop loop;
  ScriptedFactory factory;
  int lost = 0;
  factory.script = echo_script();
  factory.script.lost = [&](Transport&, const Error&) { ++lost; };
  Server server(loop, factory);
  std::vector<Peer> peers;
  for (int i = 0; i < 10; ++i) peers.push_back(Peer::tcp(server.port()));
  REQUIRE(loop.turn_until([&] { return factory.built == 10; }));
  for (Peer& peer : peers) peer.send_some(numbered_bytes(1 << 20));
  const Timer timer = loop.reactor.call_later(0, [&] { server.drop(); });
  loop.turn(5);
  CHECK(lost == 10);
  for (Peer& peer : peers) CHECK(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
}

TEST_CASE("stream: ending the connection from any callback, in any way, is clean and told once") {
  const std::vector<Way> ways = ways_to_end();
  for (std::size_t way = 0; way < ways.size(); ++way) {
    for (int callback = 0; callback < 5; ++callback) {
      CAPTURE(way);
      CAPTURE(callback);
      check_end_inside(callback, ways[way]);
    }
  }
}

TEST_CASE("stream: a protocol may end other connections from inside its own callback") {
  Loop loop;
  std::vector<Transport*> open;
  ScriptedFactory factory;
  factory.script.made = [&](Transport& transport) { open.push_back(&transport); };
  factory.script.data = [&](Transport& transport, std::string_view) {
    for (Transport* other : open) {
      if (other != &transport) other->abort_connection();
    }
    transport.write("the last one");
  };
  factory.script.lost = [&](Transport& transport, const Error&) { std::erase(open, &transport); };
  Server server(loop, factory);
  std::vector<Peer> peers;
  for (int i = 0; i < 5; ++i) peers.push_back(Peer::tcp(server.port()));
  REQUIRE(loop.turn_until([&] { return open.size() == 5; }));
  peers[2].send("out!");
  REQUIRE(loop.turn_until([&] { return open.size() == 1; }));
  CHECK(loop.turn_until([&] { return peers[2].read_now(), peers[2].received() == "the last one"; }));
}

TEST_CASE("stream: connection_lost may end other connections, which are told too") {
  Loop loop;
  std::vector<Transport*> open;
  int lost = 0;
  ScriptedFactory factory;
  factory.script.made = [&](Transport& transport) { open.push_back(&transport); };
  factory.script.lost = [&](Transport& transport, const Error&) {
    ++lost;
    std::erase(open, &transport);
    for (Transport* other : open) other->abort_connection();
  };
  Server server(loop, factory);
  std::vector<Peer> peers;
  for (int i = 0; i < 5; ++i) peers.push_back(Peer::tcp(server.port()));
  REQUIRE(loop.turn_until([&] { return open.size() == 5; }));
  peers[0].reset();
  CHECK(loop.turn_until([&] { return lost == 5; }));
  CHECK(server.counts().open == 0);
}
