// Rates, the write buffer, deadlines of requests and of readers, on real sockets and a virtual clock.
#include "services/net/stream_policy.hpp"

#include <doctest/doctest.h>
#include <sys/ioctl.h>

#include <functional>
#include <string>
#include <vector>

#include "services/net/line_protocol.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

/// Counts what its connections deliver.
struct Sink {
  Loop loop;
  ScriptedFactory factory;
  std::size_t received = 0;

  Sink() {
    factory.script.data = [this](Transport&, std::string_view data) { received += data.size(); };
  }
  /// What has come after so much more time, when nothing more comes by itself.
  std::size_t after(std::uint64_t ms) {
    for (std::uint64_t gone = 0; gone < ms; gone += 10) {
      loop.clock.advance(10);
      settle();
    }
    return received;
  }
  void settle() {
    for (std::size_t before = received + 1; before != received;) {
      before = received;
      loop.turn(4);
    }
  }
};

class Lines final : public LineProtocol {
 public:
  void line_received(std::string_view line) override { send_line(line); }
};

class LineFactory final : public Factory {
 public:
  [[nodiscard]] std::unique_ptr<Protocol> build_protocol() override { return std::make_unique<Lines>(); }
};

}  // namespace

TEST_CASE("read rate: a connection is read at its rate, with a second's worth at once, and no byte is lost") {
  Sink sink;
  Server server(sink.loop, sink.factory, {.read_rate = 10'000});
  Peer peer = Peer::tcp(server.port());
  peer.send(std::string(50'000, 'x'));
  REQUIRE(sink.loop.turn_until([&] { return sink.received > 0; }));
  sink.settle();
  CHECK(sink.received == 10'000);
  CHECK(sink.after(1000) == doctest::Approx(20'000).epsilon(0.06));
  CHECK(sink.after(1000) == doctest::Approx(30'000).epsilon(0.06));
  CHECK(sink.after(3000) == 50'000);
}

TEST_CASE("read rate: a byte a second is possible too") {
  Sink sink;
  Server server(sink.loop, sink.factory, {.read_rate = 1});
  Peer peer = Peer::tcp(server.port());
  peer.send("abc");
  REQUIRE(sink.loop.turn_until([&] { return sink.received == 1; }));
  CHECK(sink.after(900) == 1);
  CHECK(sink.after(100) == 2);
  CHECK(sink.after(1000) == 3);
}

TEST_CASE("read rate: one for all connections of the service is shared by them") {
  Sink sink;
  TokenBucket total(10'000, 10'000);
  Server server(sink.loop, sink.factory);
  server.listener().connections().share({0, &total, nullptr});
  std::vector<Peer> peers;
  for (int i = 0; i < 4; ++i) {
    peers.push_back(Peer::tcp(server.port()));
    peers.back().send(std::string(20'000, 'x'));
  }
  REQUIRE(sink.loop.turn_until([&] { return sink.received >= 10'000; }));
  sink.settle();
  CHECK(sink.received == 10'000);
  CHECK(sink.after(2000) == doctest::Approx(30'000).epsilon(0.06));
  CHECK(sink.after(7000) == 80'000);
}

TEST_CASE("read rate: who waits for his rate is not idle, and one that ends while he waits is gone") {
  Sink sink;
  Server server(sink.loop, sink.factory, {.idle_timeout_ms = 500, .read_rate = 1});
  Peer peer = Peer::tcp(server.port());
  peer.send("abc");
  REQUIRE(sink.loop.turn_until([&] { return sink.received == 1; }));
  CHECK(sink.after(2000) == 3);
  CHECK(server.counts().timed_out == 0);
  peer.send("defgh");
  sink.settle();
  server.listener().connections().abort_all();
  sink.after(2000);
  CHECK(server.counts().open == 0);
}

TEST_CASE("write buffer: reading pauses above it and goes on at a quarter") {
  for (const std::size_t buffer : {std::size_t{4096}, std::size_t{1} << 20}) {
    CAPTURE(buffer);
    Loop loop;
    ScriptedFactory factory;
    std::size_t most = 0;
    bool told = false;
    factory.script.data = [&](Transport& transport, std::string_view data) {
      transport.write(std::string(data.size() * 64, 'y'));
      if (transport.congested()) told = true;
      most += data.size() * 64;
    };
    Server server(loop, factory, {.write_buffer_bytes = buffer});
    Peer peer = Peer::tcp(server.port());
    for (int i = 0; i < 400; ++i) {
      (void)peer.send_some(std::string(512, 'x'));
      loop.turn(2);
    }
    CHECK(told);
    const std::size_t stuck = most;
    (void)peer.send_some(std::string(512, 'x'));
    loop.turn(10);
    CHECK(most == stuck);
    CHECK(loop.turn_until([&] { return peer.read_now(), most > stuck; }));
  }
}

TEST_CASE("request timeout: a line that does not end is ended when its time is over, bytes do not help") {
  Loop loop;
  LineFactory factory;
  Server server(loop, factory, {.request_timeout_ms = 1000});
  Peer peer = Peer::tcp(server.port());
  peer.send("a");
  REQUIRE(loop.turn_until([&] { return server.counts().open == 1; }));
  loop.turn(3);
  for (int i = 0; i < 9; ++i) {
    loop.clock.advance(100);
    peer.send("b");
    loop.turn(3);
  }
  loop.clock.advance(99);
  loop.turn(3);
  CHECK(server.counts().timed_out == 0);
  loop.clock.advance(1);
  loop.turn(3);
  CHECK(server.counts().timed_out == 1);
  CHECK(server.counts().open == 0);
  REQUIRE(loop.log.lines().size() == 1);
  CHECK(loop.log.lines()[0].who == "served");
  CHECK(loop.log.count("connection of 127.0.0.1:") == 1);
  CHECK(loop.log.count("its request is not complete after 1000 ms (request_timeout)") == 1);
}

TEST_CASE("request timeout: it begins with a request's first byte, not before, and each request has its own") {
  Loop loop;
  LineFactory factory;
  Server server(loop, factory, {.request_timeout_ms = 1000});
  Peer peer = Peer::tcp(server.port());
  REQUIRE(loop.turn_until([&] { return server.counts().open == 1; }));
  loop.clock.advance(100'000);
  loop.turn(3);
  CHECK(server.counts().timed_out == 0);
  peer.send("he");
  loop.turn(3);
  std::string wanted;
  for (int i = 0; i < 5; ++i) {
    loop.clock.advance(999);
    loop.turn(3);
    peer.send("llo\nhe");  // the end of one, and the beginning of the next
    wanted += "hello\n";
    CHECK(loop.turn_until([&] { return peer.read_now(), peer.received() == wanted; }));
  }
  CHECK(server.counts().timed_out == 0);
  loop.clock.advance(1000);
  loop.turn(3);
  CHECK(server.counts().timed_out == 1);
}

TEST_CASE("request timeout: whole lines, one after the other, never time out") {
  Loop loop;
  LineFactory factory;
  Server server(loop, factory, {.request_timeout_ms = 1000});
  Peer peer = Peer::tcp(server.port());
  for (int i = 0; i < 10; ++i) {
    peer.send("one\ntwo\nthr");
    loop.turn(3);
    loop.clock.advance(900);
    peer.send("ee\n");
    loop.turn(3);
    loop.clock.advance(5000);
    loop.turn(3);
  }
  CHECK(loop.turn_until([&] { return peer.read_now(), peer.received().size() == 10 * 14; }));
  CHECK(server.counts().timed_out == 0);
}

TEST_CASE("request timeout: the earliest of many is ended first, one that ends by itself is forgotten") {
  Loop loop;
  LineFactory factory;
  Server server(loop, factory, {.request_timeout_ms = 1000});
  std::vector<Peer> peers;
  for (int i = 0; i < 5; ++i) {
    peers.push_back(Peer::tcp(server.port()));
    peers.back().send("x");
    REQUIRE(loop.turn_until([&] { return server.counts().accepted == static_cast<std::uint64_t>(i) + 1; }));
    loop.turn(3);
    loop.clock.advance(100);
  }
  peers[1].reset();
  REQUIRE(loop.turn_until([&] { return server.counts().open == 4; }));
  loop.clock.advance(500);
  loop.turn(3);
  CHECK(server.counts().timed_out == 1);
  CHECK(loop.turn_until([&] { return peers[0].read_now(), peers[0].gone(); }));
  CHECK_FALSE((peers[2].read_now(), peers[2].gone()));
  loop.clock.advance(1000);
  loop.turn(3);
  CHECK(server.counts().timed_out == 4);
}

namespace {

/// Lets seconds go by, each with `second`, until a connection is ended. Returns for how many of them before that one the
/// kernel had passed nothing on to `stuck`: how long it does so at first is its own affair, and not on our clock.
int still_seconds(Loop& loop, Server& server, const Peer& stuck, const std::function<void()>& second) {
  const auto unread = [&stuck] {
    int bytes = 0;
    REQUIRE(::ioctl(stuck.fd(), FIONREAD, &bytes) == 0);
    return bytes;
  };
  int still = 0;
  int before = unread();
  for (int passed = 0; passed < 60; ++passed) {
    loop.clock.advance(1000);
    second();
    loop.turn(5);
    if (server.counts().timed_out != 0) break;
    still = unread() == before ? still + 1 : 0;
    before = unread();
  }
  return still;
}

}  // namespace

TEST_CASE("slow reader: one that takes nothing is ended after its time and told once, one that takes is not") {
  Loop loop;
  ScriptedFactory factory;
  factory.script.data = [](Transport& transport, std::string_view) { transport.write(numbered_bytes(8 << 20)); };
  Server server(loop, factory, {.slow_reader_timeout_ms = 4000});
  Peer stuck = Peer::tcp(server.port());
  Peer slow = Peer::tcp(server.port());
  stuck.send("x");
  slow.send("x");
  REQUIRE(loop.turn_until([&] { return server.counts().open == 2; }));
  loop.turn(5);
  const int still = still_seconds(loop, server, stuck, [&] { slow.read_now(200'000); });
  CHECK(still >= 3);
  CHECK(still <= 5);
  CHECK(server.counts().timed_out == 1);
  CHECK(server.counts().open == 1);
  CHECK(loop.log.count("bytes wait for it (slow_reader_timeout)") == 1);
  CHECK(loop.turn_until([&] { return slow.read_now(), slow.received().size() == (8 << 20); }));
  loop.clock.advance(100'000);
  loop.turn(5);
  CHECK(server.counts().open == 1);
}

TEST_CASE("slow reader: the rest of a connection that we end has the same time, however little it is") {
  Loop loop;
  ScriptedFactory factory;
  factory.script.data = [](Transport& transport, std::string_view) {
    transport.write(numbered_bytes(8 << 20));
    transport.lose_connection();
  };
  Server server(loop, factory, {.write_buffer_bytes = 8 << 20, .slow_reader_timeout_ms = 4000});
  Peer stuck = Peer::tcp(server.port());
  stuck.send("x");
  REQUIRE(loop.turn_until([&] { return server.counts().open == 1; }));
  loop.turn(5);
  const int still = still_seconds(loop, server, stuck, [] {});
  CHECK(still >= 3);
  CHECK(still <= 5);
  CHECK(server.counts().timed_out == 1);
  CHECK(server.counts().open == 0);
}
