// What a stream does when the peer is slow: congestion, limits, and the memory that it may cost.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "services/net/stream.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

TEST_CASE("stream: a big answer to a slow reader arrives complete and in order") {
  Loop loop;
  const std::string big = numbered_bytes(10'000'000);
  ScriptedFactory factory;
  factory.script.data = [&](Transport& transport, std::string_view) {
    for (std::size_t at = 0; at < big.size(); at += 100'000) transport.write(std::string_view(big).substr(at, 100'000));
  };
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  peer.send("go");
  REQUIRE(loop.turn_until([&] { return peer.read_now(50'000), peer.received().size() >= big.size(); }));
  CHECK(peer.received() == big);
}

TEST_CASE("stream: writes that come while others wait keep their order") {
  Loop loop;
  const Script script;
  LoneStream lone(loop, script);
  const std::string all = numbered_bytes(6 << 20);
  std::size_t written = 0;
  REQUIRE(loop.turn_until([&] {
    if (written < all.size()) {
      const std::size_t size = std::min<std::size_t>(70'001, all.size() - written);
      lone.stream().write(std::string_view(all).substr(written, size));
      written += size;
    }
    lone.peer().read_now(60'000);
    return lone.peer().received().size() == all.size();
  }));
  CHECK(lone.peer().received() == all);
  CHECK(lone.stream().unsent_bytes() == 0);
}

TEST_CASE("stream: an echo to a peer that does not read stops reading, and holds little memory") {
  Loop loop;
  const Script script = echo_script();
  LoneStream lone(loop, script);
  const std::string all = numbered_bytes(8 << 20);
  std::size_t sent = 0;
  std::size_t most = 0;
  const auto pump = [&](int turns) {
    for (int i = 0; i < turns; ++i) {
      sent += lone.peer().send_some(std::string_view(all).substr(sent, 1 << 20));
      loop.turn();
      most = std::max(most, lone.stream().unsent_bytes());
    }
  };
  pump(200);
  const std::size_t stuck = sent;
  CHECK(stuck < all.size());
  pump(200);
  CHECK(sent == stuck);  // the kernel's buffers are full, on both sides: nobody reads
  CHECK(most <= StreamTransport::kHighWaterBytes + Reactor::kReceiveBytesMax);

  REQUIRE(loop.turn_until([&] {
    sent += lone.peer().send_some(std::string_view(all).substr(sent));
    lone.peer().read_now();
    return lone.peer().received().size() == all.size();
  }));
  CHECK(lone.peer().received() == all);
}

TEST_CASE("stream: a peer that does not read holds up nobody else") {
  Loop loop;
  ScriptedFactory factory;
  factory.script = echo_script();
  Server server(loop, factory);
  Peer stuck = Peer::tcp(server.port());
  const std::string much = numbered_bytes(1 << 20);
  for (int i = 0; i < 50; ++i) {
    stuck.send_some(much);
    loop.turn();
  }
  Peer good = Peer::tcp(server.port());
  good.send("quick");
  CHECK(loop.turn_until([&] { return good.read_now(), good.received() == "quick"; }));
  CHECK(loop.log.lines().empty());
}

TEST_CASE("stream: output_drained comes once after congestion, and not without it") {
  Loop loop;
  int drained = 0;
  Script script;
  script.drained = [&](Transport& transport) {
    ++drained;
    CHECK(!transport.congested());
  };
  LoneStream lone(loop, script);
  lone.stream().write("little");
  loop.turn(3);
  CHECK(!lone.stream().congested());
  lone.stream().write(numbered_bytes(StreamTransport::kHighWaterBytes + (2 << 20)));
  CHECK(lone.stream().congested());
  loop.turn(5);
  CHECK(drained == 0);
  CHECK(lone.stream().congested());
  REQUIRE(loop.turn_until([&] { return lone.peer().read_now(), drained > 0; }));
  loop.turn(5);
  CHECK(drained == 1);
  lone.stream().write("more");
  loop.turn(5);
  CHECK(drained == 1);
}

TEST_CASE("stream: a protocol that heeds congestion sends any amount in little memory") {
  Loop loop;
  const std::string all = numbered_bytes(10'000'000);
  std::size_t written = 0;
  std::size_t most = 0;
  const auto produce = [&](Transport& transport) {
    while (written < all.size() && !transport.congested()) {
      transport.write(std::string_view(all).substr(written, 5000));
      written = std::min(all.size(), written + 5000);
      most = std::max(most, static_cast<StreamTransport&>(transport).unsent_bytes());
    }
    if (written == all.size()) transport.lose_connection();
  };
  Script script;
  script.made = produce;
  script.drained = produce;
  LoneStream lone(loop, script);
  REQUIRE(loop.turn_until([&] { return lone.peer().read_now(100'000), lone.peer().gone(); }));
  CHECK(lone.peer().received() == all);
  CHECK(most <= StreamTransport::kHighWaterBytes + 5000);
}

TEST_CASE("stream: a protocol that writes without end to a peer that does not read loses the connection") {
  Loop loop;
  ScriptedFactory factory;
  bool lost = false;
  std::size_t most = 0;
  factory.script.data = [&](Transport& transport, std::string_view) {
    const std::string piece(1 << 20, 'x');
    for (int i = 0; i < 40 && !transport.ending(); ++i) {
      transport.write(piece);
      most = std::max(most, static_cast<StreamTransport&>(transport).unsent_bytes());
    }
  };
  factory.script.lost = [&](Transport&, const Error&) { lost = true; };
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  peer.send("go");
  REQUIRE(loop.turn_until([&] { return lost; }));
  CHECK(most <= StreamTransport::kUnsentBytesMax + (1 << 20));
  CHECK(loop.log.count("more than 16777216 bytes wait to be sent to a peer that does not read") == 1);
  CHECK(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
}

TEST_CASE("stream: pause_reading holds while congestion comes and goes") {
  Loop loop;
  std::string heard;
  Script script;
  script.data = [&](Transport&, std::string_view data) { heard += data; };
  LoneStream lone(loop, script);
  lone.stream().pause_reading();
  lone.peer().send("later");
  lone.stream().write(numbered_bytes(2 << 20));
  REQUIRE(loop.turn_until([&] { return lone.peer().read_now(), lone.peer().received().size() == (2 << 20); }));
  loop.turn(5);
  CHECK(heard.empty());
  lone.stream().resume_reading();
  CHECK(loop.turn_until([&] { return heard == "later"; }));
}

TEST_CASE("stream: resume_reading does not read while the peer does not") {
  Loop loop;
  std::string heard;
  Script script;
  script.data = [&](Transport&, std::string_view data) { heard += data; };
  LoneStream lone(loop, script);
  lone.stream().write(numbered_bytes(2 << 20));
  lone.peer().send("later");
  lone.stream().pause_reading();
  lone.stream().resume_reading();
  loop.turn(5);
  CHECK(heard.empty());
  CHECK(loop.turn_until([&] { return lone.peer().read_now(), heard == "later"; }));
}

TEST_CASE("stream: reading goes on beside stuck output for a protocol that asks for it, and only for such a one") {
  for (const bool wanted : {false, true}) {
    CAPTURE(wanted);
    Loop loop;
    std::size_t heard = 0;
    Script script;
    script.made = [&](Transport& transport) {
      transport.read_while_congested(wanted);
      transport.write(numbered_bytes(8 << 20));
    };
    script.data = [&](Transport&, std::string_view data) { heard += data.size(); };
    LoneStream lone(loop, script);
    loop.turn(3);
    CHECK(lone.stream().congested());
    lone.peer().send("heard beside");
    loop.turn(5);
    CHECK(heard == (wanted ? 12U : 0U));
  }
}

TEST_CASE("stream: much that is written at once leaves at once, unless something before it waits") {
  Loop loop;
  const Script script;
  LoneStream lone(loop, script);
  const std::string big = numbered_bytes(20'000);
  lone.stream().write(big);
  lone.peer().read_now();
  CHECK(lone.peer().take_received() == big);
  CHECK(lone.stream().unsent_bytes() == 0);
  lone.stream().write("small,");
  lone.stream().write(big);
  CHECK(lone.peer().read_now() == 0);
  loop.turn();
  lone.peer().read_now();
  CHECK(lone.peer().take_received() == "small," + big);
  lone.stream().write(big);
  lone.stream().lose_connection();
  REQUIRE(loop.turn_until([&] { return lone.peer().read_now(), lone.peer().ended(); }));
  CHECK(lone.peer().received() == big);
}
