// A service that speaks datagrams, in an application with a journal: nothing leaves before it is durable.
#include <doctest/doctest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "services/application.hpp"
#include "services/echo/echo.hpp"
#include "tests/services/barrier.hpp"
#include "tests/services/net/udp_fixture.hpp"
#include "tests/services/probe.hpp"
#include "tests/state/hooked_disk.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::tests;

namespace {

/// Probes on UDP ports, with a journal on a real directory with hooks.
struct World {
  TemporaryDirectory directory;
  HookedDisk disk{directory.path()};
  Loop loop;
  Calls calls;
  Registry kinds{{probe_kind(calls), echo_kind()}};
  state::SegmentSupply supply{disk, "Test"};
  std::unique_ptr<Committer> committer;
  std::unique_ptr<Application> application;
  std::string broken;
  Barrier slow;

  explicit World(const std::vector<state::ServiceDefinition>& services) {
    state::Definition definition;
    definition.name = "Test";
    definition.services = services;
    Result<std::unique_ptr<Application>> made = Application::create(definition, kinds, loop.reactor);
    REQUIRE(made.ok());
    application = std::move(made).value();
  }
  ~World() {
    slow.open();
    application.reset();
    committer.reset();
  }
  void journal() {
    Result<std::unique_ptr<state::JournalWriter>> writer = state::JournalWriter::open(
        disk, supply, {"Test", state::Lineage::make(), 1, 0, 0, application->introductions()});
    REQUIRE(writer.ok());
    committer = std::make_unique<Committer>(
        loop.reactor, supply, std::move(writer).value(), [this](const Error& error) { broken = error.message; },
        Committer::Place::thread);
    application->journal(*committer);
    loop.turn(3);
    disk.hook = [this](const std::string& operation, const std::string&) {
      if (operation == "sync") slow.pass();
      return 0;
    };
  }
  /// Starts with a UDP port for each of these services.
  Result<void> start(const std::vector<std::string>& services) {
    std::vector<ServiceSocket> sockets;
    for (const std::string& service : services) {
      net::BoundEndpoint bound = bind_udp_endpoint("udp:0:interface=127.0.0.1");
      ports.push_back(static_cast<std::uint16_t>(std::stoi(bound.text.substr(bound.text.rfind(':') + 1))));
      sockets.push_back({service, std::move(bound.fd), net::StreamKind::tcp, 0, bound.text, true});
    }
    return application->start(std::move(sockets));
  }
  std::vector<std::uint16_t> ports;
};

}  // namespace

TEST_CASE("application udp: a service is asked by datagram, and its state is that of its connections") {
  World world({probe_definition("a")});
  REQUIRE(world.start({"a", "a"}).ok());
  UdpPeer peer;
  CHECK(ask_udp(world.loop, peer, world.ports[0], "x") == "1");
  CHECK(ask_udp(world.loop, peer, world.ports[1], "x") == "2");
  CHECK(ask_udp(world.loop, peer, world.ports[0], "peek") == "2");
  CHECK(world.application->status()[0].find(
            ", 3 datagrams received, 3 sent, 0 refused, 0 failed, 0 answers dropped, ") != std::string::npos);
}

TEST_CASE("application udp: no answer leaves before the change that it reveals is durable") {
  World world({probe_definition("a")});
  world.journal();
  REQUIRE(world.start({"a"}).ok());
  UdpPeer asks;
  UdpPeer looks;
  world.slow.close();
  REQUIRE(asks.send_to(world.ports[0], "x"));
  REQUIRE(world.loop.turn_until([&] { return world.committer->last_lsn() == 1; }));
  REQUIRE(looks.send_to(world.ports[0], "peek"));
  world.loop.turn(20);
  CHECK(world.committer->durable_lsn() == 0);
  CHECK_FALSE(asks.receive().has_value());
  CHECK_FALSE(looks.receive().has_value());  // it changed nothing, but tells what is not durable yet
  world.slow.open();
  std::optional<std::string> answer;
  REQUIRE(world.loop.turn_until([&] { return (answer = asks.receive()).has_value(); }));
  CHECK(*answer == "1");
  CHECK(world.committer->durable_lsn() == 1);
  REQUIRE(world.loop.turn_until([&] { return (answer = looks.receive()).has_value(); }));
  CHECK(*answer == "1");
}

TEST_CASE("application udp: a stop reads no more datagrams and waits for what is not durable") {
  World world({probe_definition("a")});
  world.journal();
  REQUIRE(world.start({"a"}).ok());
  UdpPeer peer;
  world.slow.close();
  REQUIRE(peer.send_to(world.ports[0], "x"));
  REQUIRE(world.loop.turn_until([&] { return world.committer->last_lsn() == 1; }));
  bool done = false;
  world.application->drain([&] { done = true; });
  REQUIRE(peer.send_to(world.ports[0], "too late"));
  world.loop.turn(20);
  CHECK_FALSE(done);
  CHECK_FALSE(peer.receive().has_value());
  world.slow.open();
  REQUIRE(world.loop.turn_until([&] { return done; }));
  CHECK(peer.receive() == "1");
  CHECK(world.committer->last_lsn() == 1);
  world.application->stop();
  CHECK(text_of(world.calls) == "start a, open a, close a, stop a");
  CHECK_FALSE(peer.receive().has_value());
}

TEST_CASE("application udp: what was not durable when the journal broke never leaves") {
  World world({probe_definition("a")});
  world.journal();
  REQUIRE(world.start({"a"}).ok());
  world.disk.hook = [](const std::string& operation, const std::string&) { return operation == "sync" ? EIO : 0; };
  UdpPeer peer;
  REQUIRE(peer.send_to(world.ports[0], "x"));
  REQUIRE(world.loop.turn_until([&] { return !world.broken.empty(); }));
  REQUIRE(peer.send_to(world.ports[0], "x"));  // refused: there is no room for a change
  world.loop.turn(20);
  CHECK_FALSE(peer.receive().has_value());
  bool done = false;
  world.application->drain([&] { done = true; });
  world.loop.turn(5);
  CHECK_FALSE(done);
  world.application->abort_connections();
  CHECK(world.loop.turn_until([&] { return done; }));
  CHECK_FALSE(peer.receive().has_value());
}

TEST_CASE("application udp: each of its ports knows the others, so that forged questions make no loop") {
  World world({probe_definition("a"), [] {
                 state::ServiceDefinition echo;
                 echo.name = "echo";
                 echo.kind = "echo";
                 return echo;
               }()});
  REQUIRE(world.start({"a", "echo"}).ok());
  UdpPeer peer;
  CHECK(ask_udp(world.loop, peer, world.ports[1], "hello") == "hello");
  // As if the other service had asked: the echo would be a question to it.
  const Fd forger(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP));
  if (!forger.open()) {
    MESSAGE("not forged: raw sockets are not allowed here");
    return;
  }
  const std::string text = "loop";
  std::string packet;
  for (const std::uint16_t field :
       {world.ports[0], world.ports[1], static_cast<std::uint16_t>(8 + text.size()), static_cast<std::uint16_t>(0)}) {
    packet += static_cast<char>(field >> 8U);
    packet += static_cast<char>(field & 0xffU);
  }
  packet += text;
  const net::DatagramAddress to = net::DatagramAddress::parse("127.0.0.1", 0).value();
  REQUIRE(::sendto(forger.get(), packet.data(), packet.size(), 0, to.raw(), to.raw_size()) > 0);
  REQUIRE(world.loop.turn_until(
      [&] { return world.application->status()[1].find(", 1 refused, 0 failed") != std::string::npos; }));
  CHECK(world.loop.log.count("the source port is one that this tapd serves") == 1);
  CHECK(world.application->status()[0].find(", 0 datagrams received") != std::string::npos);
}

TEST_CASE("application udp: a service without a protocol for datagrams is a failed start") {
  for (const std::string how : {"no protocol", "no datagrams"}) {
    CAPTURE(how);
    World world({probe_definition("a", how)});
    const Result<void> started = world.start({"a"});
    REQUIRE_FALSE(started.ok());
    CHECK(started.error().message ==
          "service 'a', udp:127.0.0.1:" + std::to_string(world.ports[0]) + ": it has no protocol for datagrams");
    CHECK(text_of(world.calls) == "start a, stop a");
  }
}
