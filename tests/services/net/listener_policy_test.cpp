// What a listener may be asked for: a rate of new connections, a number for each peer, keepalive,
// a reserve of descriptors.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "services/net/descriptor_reserve.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

TEST_CASE("connect rate: so many at once, the others wait and come at the rate, none is refused") {
  Loop loop;
  ScriptedFactory factory;
  Server server(loop, factory, {.connect_rate = 10, .connect_burst = 3});
  std::vector<Peer> peers;
  for (int i = 0; i < 8; ++i) peers.push_back(Peer::tcp(server.port()));
  REQUIRE(loop.turn_until([&] { return server.counts().open == 3; }));
  loop.turn(10);
  CHECK(server.counts().open == 3);
  for (std::size_t open = 4; open <= 8; ++open) {
    loop.clock.advance(99);
    loop.turn(5);
    CHECK(server.counts().open == open - 1);
    loop.clock.advance(1);
    CHECK(loop.turn_until([&] { return server.counts().open == open; }));
  }
  CHECK(server.counts().refused == 0);
  for (Peer& peer : peers) CHECK_FALSE((peer.read_now(), peer.gone()));
}

TEST_CASE("connect rate: without a burst as many at once as a second brings") {
  Loop loop;
  ScriptedFactory factory;
  Server server(loop, factory, {.connect_rate = 2});
  std::vector<Peer> peers;
  for (int i = 0; i < 3; ++i) peers.push_back(Peer::tcp(server.port()));
  REQUIRE(loop.turn_until([&] { return server.counts().open == 2; }));
  loop.turn(10);
  CHECK(server.counts().open == 2);
}

TEST_CASE("connect rate: a listener that closes while one waits leaves nothing behind") {
  Loop loop;
  ScriptedFactory factory;
  Server server(loop, factory, {.connect_rate = 1});
  std::vector<Peer> peers;
  for (int i = 0; i < 3; ++i) peers.push_back(Peer::tcp(server.port()));
  REQUIRE(loop.turn_until([&] { return server.counts().open == 1; }));
  loop.turn(5);
  server.listener().close();
  loop.clock.advance(10'000);
  CHECK(loop.turn_until([&] { return peers[1].read_now(), peers[1].gone(); }));
  CHECK(server.counts().open == 1);
}

TEST_CASE("connections per peer: over the limit is refused and said with its address, and there is room again") {
  Loop loop;
  ScriptedFactory factory;
  factory.script = echo_script();
  Server server(loop, factory, {.connections_per_peer_max = 2});
  Peer first = Peer::tcp(server.port());
  const Peer second = Peer::tcp(server.port());
  REQUIRE(loop.turn_until([&] { return server.counts().open == 2; }));
  for (int i = 0; i < 5; ++i) {
    Peer third = Peer::tcp(server.port());
    CHECK(loop.turn_until([&] { return third.read_now(), third.gone(); }));
  }
  CHECK(server.counts().refused == 5);
  CHECK(factory.built == 2);
  REQUIRE(loop.log.lines().size() == 1);
  CHECK(loop.log.lines()[0].level == LogLevel::warning);
  CHECK(loop.log.lines()[0].who == "served");
  CHECK(loop.log.count("refused 1 connections, the last of 127.0.0.1:") == 1);
  CHECK(loop.log.count("its address has 2 already (max_connections_per_peer)") == 1);

  first.close();
  REQUIRE(loop.turn_until([&] { return server.counts().open == 1; }));
  Peer fourth = Peer::tcp(server.port());
  fourth.send("x");
  CHECK(loop.turn_until([&] { return fourth.read_now(), fourth.received() == "x"; }));

  loop.clock.advance(ConnectionSet::kRefusalsSaidMs);
  loop.turn(2);
  Peer fifth = Peer::tcp(server.port());
  CHECK(loop.turn_until([&] { return fifth.read_now(), fifth.gone(); }));
  CHECK(loop.log.count("refused 5 connections, the last of") == 1);
}

TEST_CASE("connections per peer: a protocol that cannot be built gives its place back, a UNIX peer has none") {
  const TemporaryDirectory directory;
  Loop loop;
  class Refusing final : public Factory {
   public:
    [[nodiscard]] std::unique_ptr<Protocol> build_protocol() override { return nullptr; }
  } factory;
  Server server(loop, factory, {.connections_per_peer_max = 1});
  for (int i = 0; i < 3; ++i) {
    Peer peer = Peer::tcp(server.port());
    CHECK(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
  }
  CHECK(server.counts().refused == 0);
  ScriptedFactory serving;
  Server local(loop, serving, {.connections_per_peer_max = 1}, "unix:" + (directory / "s.sock"));
  const Peer one = Peer::unix_socket(directory / "s.sock");
  const Peer two = Peer::unix_socket(directory / "s.sock");
  CHECK(loop.turn_until([&] { return local.counts().open == 2; }));
}

TEST_CASE("keepalive: the connections have it, with three probes within the same time again") {
  Loop loop;
  ScriptedFactory factory;
  factory.script.data = [](Transport& transport, std::string_view) { transport.write("x"); };
  int fd = -1;
  Server server(loop, factory, {.keepalive_ms = 60'000});
  const int lowest_free = ::eventfd(0, 0);
  ::close(lowest_free);
  Peer peer = Peer::tcp(server.port());
  REQUIRE(loop.turn_until([&] { return server.counts().open == 1; }));
  fd = peer.fd() == lowest_free ? lowest_free + 1 : lowest_free;
  const auto option = [fd](int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return ::getsockopt(fd, level, name, &value, &size) == 0 ? value : -1;
  };
  CHECK(option(SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(option(IPPROTO_TCP, TCP_KEEPIDLE) == 60);
  CHECK(option(IPPROTO_TCP, TCP_KEEPINTVL) == 20);
  CHECK(option(IPPROTO_TCP, TCP_KEEPCNT) == 3);
}

TEST_CASE("descriptors: the last ones are not given to connections, those wait, and come when there are more") {
  const ChildEnd end = in_child([] {
    Loop loop;
    ScriptedFactory factory;
    factory.script = echo_script();
    Server server(loop, factory);
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 160;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    std::vector<Peer> peers;
    const auto all_settled = [&] {
      loop.clock.advance(Listener::kDescriptorLookMs);
      loop.turn(3);
    };
    // Each connection takes one on either side, so they are used up long before there are 160.
    while (loop.log.count("new connections wait") == 0 && peers.size() < 160) {
      peers.push_back(Peer::tcp(server.port()));
      all_settled();
    }
    const std::size_t open = server.counts().open;
    if (loop.log.count("new connections wait: 32 of 160 descriptors are left") != 1) ::_exit(2);
    std::vector<Fd> free;
    for (int fd = ::eventfd(0, EFD_CLOEXEC); fd >= 0; fd = ::eventfd(0, EFD_CLOEXEC)) free.emplace_back(fd);
    if (free.size() < DescriptorReserve::kDescriptorReserve - 4) ::_exit(3);
    free.clear();
    for (int i = 0; i < 20; ++i) all_settled();
    if (server.counts().open != open || server.listener().failed_accepts() != 0) ::_exit(4);
    if (loop.log.lines().size() != 1) ::_exit(5);
    Peer waiting = std::move(peers.back());
    waiting.send("at last");
    peers.erase(peers.begin() + static_cast<std::ptrdiff_t>(peers.size() / 2), peers.end());
    for (int i = 0; i < 50 && waiting.received() != "at last"; ++i) {
      all_settled();
      waiting.read_now();
    }
    if (waiting.received() != "at last") ::_exit(6);
    loop.clock.advance(Listener::kShortSaidMs);
    loop.turn(3);
    ::_exit(loop.log.count("accepting connections again: there are descriptors") == 1 ? 0 : 7);
  });
  CHECK(end.code == 0);
  CHECK(end.err == "");
}

TEST_CASE("descriptors: far from the limit nothing is opened to look, near it the limit is read again") {
  const ChildEnd end = in_child([] {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    DescriptorReserve reserve;
    if (!reserve.enough()) ::_exit(1);
    limit.rlim_cur = 64;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    reserve.note(4);
    if (!reserve.enough() || reserve.limit() == 64) ::_exit(2);  // it has not looked
    reserve.note(1'000'000'000);
    if (!reserve.enough() || reserve.limit() != 64) ::_exit(3);
    if (reserve.reserve() != 16) ::_exit(4);
    std::vector<Fd> taken;
    while (reserve.enough() && taken.size() < 64) taken.emplace_back(::eventfd(0, EFD_CLOEXEC));
    if (taken.empty() || taken.back().get() >= 48) ::_exit(5);
  });
  CHECK(end.code == 0);
}
