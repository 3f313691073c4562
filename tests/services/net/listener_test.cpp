#include "services/net/listener.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/services/net/fixture.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

BoundEndpoint bind_text(const std::string& text) {
  Result<Endpoint> endpoint = parse_endpoint(text);
  REQUIRE(endpoint.ok());
  Result<BoundEndpoint> bound = bind_endpoint(*endpoint, std::nullopt);
  REQUIRE(bound.ok());
  return std::move(bound).value();
}

/// As long as it lives, this process gets no further descriptor.
class NoMoreDescriptors {
 public:
  NoMoreDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const Fd lowest_free(::dup(STDIN_FILENO));
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(lowest_free.get());
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  NoMoreDescriptors(const NoMoreDescriptors&) = delete;
  NoMoreDescriptors& operator=(const NoMoreDescriptors&) = delete;
  ~NoMoreDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("listener: takes many connections, each with a protocol of its own, and counts them") {
  Loop loop;
  ScriptedFactory factory;
  factory.script = echo_script();
  Server server(loop, factory);
  std::vector<Peer> peers;
  for (int i = 0; i < 100; ++i) {
    peers.push_back(Peer::tcp(server.port()));
    peers.back().send(std::to_string(i));
  }
  for (int i = 0; i < 100; ++i) {
    Peer& peer = peers[static_cast<std::size_t>(i)];
    CHECK(loop.turn_until([&] { return peer.read_now(), peer.received() == std::to_string(i); }));
  }
  CHECK(factory.built == 100);
  CHECK(server.counts().open == 100);
  CHECK(server.counts().accepted == 100);
  peers.clear();
  CHECK(loop.turn_until([&] { return server.counts().open == 0; }));
  CHECK(server.counts().accepted == 100);
  CHECK(server.counts().refused == 0);
  CHECK(server.counts().timed_out == 0);
}

TEST_CASE("listener: serves a UNIX socket") {
  const TemporaryDirectory directory;
  Loop loop;
  ScriptedFactory factory;
  factory.script = echo_script();
  const Server server(loop, factory, {}, "unix:" + (directory / "s.sock"));
  Peer peer = Peer::unix_socket(directory / "s.sock");
  peer.send("local");
  CHECK(loop.turn_until([&] { return peer.read_now(), peer.received() == "local"; }));
}

TEST_CASE("listener: over connections_max it refuses at once, and goes on when there is room") {
  Loop loop;
  ScriptedFactory factory;
  factory.script = echo_script();
  Server server(loop, factory, {.connections_max = 2});
  Peer first = Peer::tcp(server.port());
  Peer second = Peer::tcp(server.port());
  Peer third = Peer::tcp(server.port());
  CHECK(loop.turn_until([&] { return third.read_now(), third.gone(); }));
  CHECK(server.counts().open == 2);
  CHECK(server.counts().refused == 1);
  CHECK(factory.built == 2);
  first.send("still served");
  CHECK(loop.turn_until([&] { return first.read_now(), first.received() == "still served"; }));

  second.close();
  REQUIRE(loop.turn_until([&] { return server.counts().open == 1; }));
  Peer fourth = Peer::tcp(server.port());
  fourth.send("me too");
  CHECK(loop.turn_until([&] { return fourth.read_now(), fourth.received() == "me too"; }));
}

TEST_CASE("listener: refusing is logged once an episode, and again when it is over") {
  Loop loop;
  ScriptedFactory factory;
  Server server(loop, factory, {.connections_max = 1});
  for (int episode = 1; episode <= 2; ++episode) {
    CAPTURE(episode);
    Peer served = Peer::tcp(server.port());
    REQUIRE(loop.turn_until([&] { return server.counts().open == 1; }));
    std::vector<Peer> refused;
    for (int i = 0; i < 5 * episode; ++i) refused.push_back(Peer::tcp(server.port()));
    for (Peer& peer : refused) REQUIRE(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
    CHECK(loop.log.lines().size() == static_cast<std::size_t>(2 * episode - 1));
    served.close();
    REQUIRE(loop.turn_until([&] { return server.counts().open == 0; }));
  }
  CHECK(server.counts().refused == 15);
  REQUIRE(loop.log.lines().size() == 4);
  const auto& lines = loop.log.lines();
  CHECK(lines[0].level == LogLevel::warning);
  CHECK(lines[0].who == "served");
  CHECK(lines[0].message == "refusing connections: the limit of 1 is reached (max_connections)");
  CHECK(lines[1].level == LogLevel::info);
  CHECK(lines[1].message == "accepting connections again, after 5 were refused");
  CHECK(lines[2].message == lines[0].message);
  CHECK(lines[3].message == "accepting connections again, after 10 were refused");
}

TEST_CASE("listener: one that ends while it refuses does not claim to accept again") {
  for (const bool drains : {true, false}) {
    CAPTURE(drains);
    Loop loop;
    ScriptedFactory factory;
    Server server(loop, factory, {.connections_max = 1});
    const Peer served = Peer::tcp(server.port());
    Peer refused = Peer::tcp(server.port());
    REQUIRE(loop.turn_until([&] { return refused.read_now(), refused.gone(); }));
    if (drains) server.listener().drain([] {});
    else server.drop();
    loop.turn(5);
    CHECK(loop.log.count("refusing connections") == 1);
    CHECK(loop.log.count("accepting connections again") == 0);
  }
}

TEST_CASE("listener: a protocol that cannot be built costs its connection and is logged") {
  Loop loop;
  class Refusing final : public Factory {
   public:
    [[nodiscard]] std::unique_ptr<Protocol> build_protocol() override {
      ++built;
      if (built == 1) throw std::runtime_error("no protocol today");
      if (built == 2) return nullptr;
      return std::make_unique<ScriptedProtocol>(script);
    }
    int built = 0;
    Script script = echo_script();
  } factory;
  Server server(loop, factory);
  for (int i = 0; i < 2; ++i) {
    Peer unlucky = Peer::tcp(server.port());
    CHECK(loop.turn_until([&] { return unlucky.read_now(), unlucky.gone(); }));
  }
  CHECK(server.counts().open == 0);
  CHECK(server.counts().accepted == 0);
  CHECK(loop.log.count("no protocol today") == 1);
  CHECK(loop.log.lines()[0].who == "served");
  Peer lucky = Peer::tcp(server.port());
  lucky.send("me");
  CHECK(loop.turn_until([&] { return lucky.read_now(), lucky.received() == "me"; }));
}

TEST_CASE("listener: dropping it ends its connections with a reset, and its port is free") {
  Loop loop;
  ScriptedFactory factory;
  int lost = 0;
  std::string reason;
  factory.script.lost = [&](Transport&, const Error& error) {
    ++lost;
    reason = error.message;
  };
  Server server(loop, factory);
  std::vector<Peer> peers;
  for (int i = 0; i < 3; ++i) peers.push_back(Peer::tcp(server.port()));
  REQUIRE(loop.turn_until([&] { return server.counts().open == 3; }));
  const std::uint16_t port = server.port();
  server.drop();
  CHECK(lost == 3);
  CHECK(reason == "the connection was aborted by us");
  loop.turn(3);
  for (Peer& peer : peers) {
    CHECK(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
    CHECK(peer.error() == ECONNRESET);
  }
  CHECK(!can_connect(port));
}

TEST_CASE("listener: close may be repeated, and leaves the connections alone") {
  Loop loop;
  ScriptedFactory factory;
  factory.script = echo_script();
  Server server(loop, factory);
  Peer peer = Peer::tcp(server.port());
  REQUIRE(loop.turn_until([&] { return server.counts().open == 1; }));
  server.listener().close();
  server.listener().close();
  loop.turn(2);
  CHECK(!can_connect(server.port()));
  peer.send("still here");
  CHECK(loop.turn_until([&] { return peer.read_now(), peer.received() == "still here"; }));
}

TEST_CASE("listener: a port that another took between bind and listen is unavailable") {
  Loop loop;
  ScriptedFactory factory;
  BoundEndpoint first = bind_text("tcp:0:interface=127.0.0.1");
  const std::string port = first.text.substr(first.text.rfind(':') + 1);
  BoundEndpoint second = bind_text("tcp:" + port + ":interface=127.0.0.1");  // nobody listens yet
  Listener winner(loop.reactor, factory, "winner", {});
  CHECK(winner.listen(std::move(first.fd), StreamKind::tcp, 16).ok());
  Listener loser(loop.reactor, factory, "loser", {});
  const Result<void> lost = loser.listen(std::move(second.fd), StreamKind::tcp, 16);
  REQUIRE(!lost.ok());
  CHECK(lost.error().fault == Fault::unavailable);
  CHECK(lost.error().message == "cannot listen: address already in use");
}

TEST_CASE("listener: a descriptor that is no socket is unavailable, and is closed") {
  Loop loop;
  ScriptedFactory factory;
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  const Fd read_end(ends[0]);
  Listener listener(loop.reactor, factory, "served", {});
  const Result<void> listening = listener.listen(Fd(ends[1]), StreamKind::tcp, 16);
  REQUIRE(!listening.ok());
  CHECK(listening.error().fault == Fault::unavailable);
  loop.turn(2);
  char byte = 0;
  CHECK(::read(read_end.get(), &byte, 1) == 0);
}

TEST_CASE("listener: without descriptors left, those it has go on, and new ones come when there are some again") {
  Loop loop;
  ScriptedFactory factory;
  factory.script = echo_script();
  Server server(loop, factory);
  Peer before = Peer::tcp(server.port());
  REQUIRE(loop.turn_until([&] { return server.counts().open == 1; }));
  const Peer meanwhile = Peer::tcp(server.port());
  {
    const NoMoreDescriptors none;
    loop.turn(5);
    before.send("still here");
    CHECK(loop.turn_until([&] { return before.read_now(), before.received() == "still here"; }));
    CHECK(server.counts().accepted == 1);
  }
  Peer after = Peer::tcp(server.port());
  after.send("at last");
  CHECK(loop.turn_until([&] { return after.read_now(), after.received() == "at last"; }));
  CHECK(loop.log.lines().size() <= 1);
}

TEST_CASE("listener: a socket that fails for good is said once, and does not hold the loop") {
  const ChildEnd end = in_child([] {
    ::alarm(5);
    Loop loop;
    ScriptedFactory factory;
    BoundEndpoint bound = bind_text("tcp:0:interface=127.0.0.1");
    const Fd shared(::dup(bound.fd.get()));  // as another process may have it, which passed it on
    Listener listener(loop.reactor, factory, "served", {});
    if (!listener.listen(std::move(bound.fd), StreamKind::tcp, 16).ok()) ::_exit(2);
    loop.turn(2);
    ::shutdown(shared.get(), SHUT_RDWR);
    loop.turn(10);
    ::_exit(loop.log.count("cannot accept a connection") == 1 ? 0 : 1);
  });
  CHECK(end.signal == 0);
  CHECK(end.code == 0);
}
