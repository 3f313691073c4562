#include "services/net/connector.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

#include "tests/services/net/certificates.hpp"
#include "tests/services/net/dead_address.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

ClientEndpoint to(const std::string& text) { return std::move(parse_client_endpoint(text)).value(); }
std::string local(std::uint16_t port) { return "tcp:127.0.0.1:" + std::to_string(port); }

struct Client {
  explicit Client(Loop& used, const std::string& endpoint, Gate* gate = nullptr) : loop(used) {
    factory.script.data = [this](Transport&, std::string_view data) { received += data; };
    factory.script.made = [this](Transport& made) { transport = &made; };
    factory.script.lost = [this](Transport&, const Error&) {
      transport = nullptr;
      ++lost;
    };
    connector = std::move(Connector::create(loop.reactor, to(endpoint), factory, "client", gate)).value();
  }
  std::unique_ptr<Connecting> begin() {
    return connector->connect([this](Result<Protocol*> result) {
      ++told;
      if (result) protocol = *result;
      else failure = result.error().message;
    });
  }
  /// How it ended: "" is connected.
  std::string connect() {
    const std::unique_ptr<Connecting> connecting = begin();
    CHECK(told == 0);
    CHECK(loop.turn_until([this] { return told == 1; }));
    return failure;
  }

  Loop& loop;
  ScriptedFactory factory;
  Transport* transport = nullptr;
  Protocol* protocol = nullptr;
  std::string received;
  std::string failure;
  int told = 0;
  int lost = 0;
  std::unique_ptr<Connector> connector;
};

/// An echo server that speaks TLS.
struct TlsEcho {
  explicit TlsEcho(Loop& loop) : place{loop.reactor, echo, "echo"} {
    echo.script = echo_script();
    const CertificateFiles files = authority.make("localhost");
    TlsServerSettings settings;
    settings.private_key = files.both;
    settings.certificate = files.both;
    keys = std::move(TlsServer::load(settings)).value();
    encrypted = std::make_unique<TlsServerFactory>(place, *keys);
    server = std::make_unique<Server>(loop, *encrypted);
  }
  [[nodiscard]] std::string endpoint(const std::string& more) const {
    return "tls:127.0.0.1:" + std::to_string(server->port()) + ":trustRoots=" + authority.root() + more;
  }
  Certificates authority;
  ScriptedFactory echo;
  LayerPlace place;
  std::unique_ptr<TlsServer> keys;
  std::unique_ptr<TlsServerFactory> encrypted;
  std::unique_ptr<Server> server;
};

}  // namespace

TEST_CASE("connector: a connection is made, and the protocol started and told") {
  Loop loop;
  ScriptedFactory echo;
  echo.script = echo_script();
  Server server(loop, echo);
  Client client(loop, local(server.port()));
  CHECK(client.connect().empty());
  REQUIRE(client.transport != nullptr);
  CHECK(client.protocol != nullptr);
  client.transport->write("hello");
  CHECK(loop.turn_until([&] { return client.received == "hello"; }));
  client.transport->lose_connection();
  CHECK(loop.turn_until([&] { return client.lost == 1; }));
}

TEST_CASE("connector: a UNIX socket is connected to, by its path") {
  Loop loop;
  const TemporaryDirectory directory;
  ScriptedFactory echo;
  Server server(loop, echo, {}, "unix:" + directory.path() + "/s");
  Client client(loop, "unix:" + directory.path() + "/s");
  CHECK(client.connect().empty());
  Client none(loop, "unix:" + directory.path() + "/none");
  CHECK(none.connect().find("No such file or directory") != std::string::npos);
}

TEST_CASE("connector: what fails is told with the endpoint and the address") {
  Loop loop;
  const RefusingAddress refusing;
  Client client(loop, local(refusing.port()));
  CHECK(client.connect() ==
        "connecting to " + local(refusing.port()) + ": " + refusing.address.text() + ": Connection refused");
  CHECK(client.factory.built == 0);
}

TEST_CASE("connector: the timeout is for all of it") {
  Loop loop;
  const DeadAddress dead;
  Client client(loop, local(dead.port()) + ":timeout=10");
  const std::unique_ptr<Connecting> connecting = client.begin();
  loop.turn(5);
  loop.clock.advance(9'999);
  loop.turn(5);
  CHECK(client.told == 0);
  loop.clock.advance(1);
  loop.turn(5);
  CHECK(client.failure ==
        "connecting to " + local(dead.port()) + ":timeout=10: no connection within 10000 ms (timeout)");
}

TEST_CASE("connector: a dropped handle calls it off, at any time") {
  Loop loop;
  TlsEcho tls(loop);
  for (int turns = 0; turns < 12; ++turns) {
    Client client(loop, tls.endpoint(""));
    std::unique_ptr<Connecting> connecting = client.begin();
    loop.turn(turns);
    const int told = client.told;
    connecting.reset();
    CHECK(loop.turn_until([&] { return told == 1 || client.connector->connections().counts().open == 0; }));
    CHECK(client.told == told);
  }
}

TEST_CASE("connector: with TLS the protocol begins behind the handshake") {
  Loop loop;
  TlsEcho tls(loop);
  Client client(loop, tls.endpoint(":serverName=localhost"));
  CHECK(client.connect().empty());
  REQUIRE(client.transport != nullptr);
  CHECK(client.transport->tls()->version == "TLSv1.3");
  client.transport->write("hello");
  CHECK(loop.turn_until([&] { return client.received == "hello"; }));
}

TEST_CASE("connector: a server that is not the one that was asked for is not talked to") {
  Loop loop;
  TlsEcho tls(loop);
  Client client(loop, tls.endpoint(":serverName=example.org"));
  CHECK(client.connect().find("hostname mismatch") != std::string::npos);
  CHECK(client.factory.built == 0);
  Client unverified(loop, tls.endpoint(":serverName=example.org:verify=no"));
  CHECK(unverified.connect().empty());
}

TEST_CASE("connector: a server that speaks no TLS is an error, one that hangs up too") {
  Loop loop;
  ScriptedFactory greeter;
  greeter.script.made = [](Transport& transport) { transport.write("220 hello, no TLS here\r\n"); };
  Server server(loop, greeter);
  Client client(loop, "tls:127.0.0.1:" + std::to_string(server.port()) + ":verify=no");
  CHECK(client.connect().find("the TLS handshake failed") != std::string::npos);
  greeter.script.made = [](Transport& transport) { transport.lose_connection(); };
  Client hung_up(loop, "tls:127.0.0.1:" + std::to_string(server.port()) + ":verify=no");
  CHECK(hung_up.connect().find("ended within the TLS handshake") != std::string::npos);
}

TEST_CASE("connector: output waits for the gate, through TLS too") {
  Loop loop;
  TlsEcho tls(loop);
  Gate gate;
  Client client(loop, tls.endpoint(""), &gate);
  REQUIRE(client.connect().empty());
  gate.applied(1);
  client.transport->write("told too early");
  loop.turn(50);
  CHECK(client.received.empty());
  gate.pass(1);
  CHECK(loop.turn_until([&] { return client.received == "told too early"; }));
}

TEST_CASE("connector: a server that stops ends TLS in order: what it answered is sent, and its end is one") {
  Loop loop;
  TlsEcho tls(loop);
  Client client(loop, tls.endpoint(""));
  bool ended = false;
  client.factory.script.end = [&](Transport& transport) {
    ended = true;
    transport.lose_connection();
  };
  REQUIRE(client.connect().empty());
  client.transport->write("hello");
  REQUIRE(loop.turn_until([&] { return client.received == "hello"; }));
  bool drained = false;
  tls.server->listener().drain([&] { drained = true; });
  CHECK(loop.turn_until([&] { return drained && ended; }));
}

TEST_CASE("connector: what the callback throws is logged, and nothing else happens") {
  Loop loop;
  ScriptedFactory echo;
  Server server(loop, echo);
  Client client(loop, local(server.port()));
  int called = 0;
  const auto connecting = client.connector->connect([&](Result<Protocol*>) {
    ++called;
    throw std::runtime_error("in the callback");
  });
  CHECK(loop.turn_until([&] { return called == 1; }));
  CHECK(loop.log.count("in the callback") == 1);
  CHECK(client.transport != nullptr);
}

TEST_CASE("connector: a file that cannot be used is told before anything is connected") {
  Loop loop;
  ScriptedFactory factory;
  const auto made = Connector::create(loop.reactor, to("tls:h:1:trustRoots=/nonexistent"), factory, "client");
  REQUIRE(!made.ok());
  CHECK(made.error().fault == Fault::config);
  CHECK(made.error().message ==
        "endpoint 'tls:h:1:trustRoots=/nonexistent': cannot read /nonexistent: No such file or directory");
}
