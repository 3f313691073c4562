#include "services/net/haproxy_layer.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

#include "services/testing/string_transport.hpp"
#include "tests/services/net/tls_pair.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

namespace {

constexpr std::string_view kHeader = "PROXY TCP4 192.0.2.1 10.0.0.1 40003 443\r\n";

struct Proxied {
  Loop loop;
  ScriptedFactory factory;
  testing::StringTransport below;
  LayerPlace place{loop.reactor, factory, "web"};
  std::unique_ptr<HaproxyLayer> layer;
  Transport* transport = nullptr;
  std::string received;
  bool ended = false;

  Proxied() {
    factory.script.made = [this](Transport& made) { transport = &made; };
    factory.script.data = [this](Transport&, std::string_view data) { received += data; };
    factory.script.end = [this](Transport&) { ended = true; };
    begin();
  }
  void begin() {
    transport = nullptr;
    received.clear();
    layer = std::make_unique<HaproxyLayer>(place);
    layer->attach(below);
    layer->connection_made();
  }
};

}  // namespace

TEST_CASE("haproxy: the client's address is the peer's, and the rest of the bytes its own, wherever they are cut") {
  Proxied proxied;
  const std::string all = std::string(kHeader) + "hello";
  for (std::size_t first = 0; first <= all.size(); ++first) {
    for (std::size_t second = first; second <= all.size(); ++second) {
      proxied.begin();
      const std::string_view bytes = all;
      for (const std::string_view piece :
           {bytes.substr(0, first), bytes.substr(first, second - first), bytes.substr(second)}) {
        if (!piece.empty()) proxied.layer->data_received(piece);
      }
      REQUIRE(proxied.transport != nullptr);
      REQUIRE(proxied.received == "hello");
      REQUIRE(proxied.transport->peer() == "192.0.2.1:40003");
    }
  }
}

TEST_CASE("haproxy: a connection without a header is failed and costs nothing above") {
  Proxied proxied;
  proxied.layer->data_received("GET / HTTP/1.0\r\n");
  CHECK(proxied.below.failure() == "there is no PROXY header before the first byte");
  CHECK(proxied.factory.built == 0);
}

TEST_CASE("haproxy: a header that does not come, or not to its end, is waited for so long") {
  Proxied proxied;
  proxied.layer->data_received(kHeader.substr(0, 10));
  proxied.loop.clock.advance(HaproxyLayer::kHeaderWithinMs - 1);
  proxied.loop.turn(2);
  CHECK(proxied.below.failure().empty());
  proxied.loop.clock.advance(1);
  proxied.loop.turn(2);
  CHECK(proxied.below.failure() == "no PROXY header came within 5000 ms");
  Proxied cut;
  cut.layer->data_received(kHeader.substr(0, 10));
  cut.layer->end_received();
  CHECK(cut.below.failure() == "the connection ended within the PROXY header");
}

TEST_CASE("haproxy: a connection that says nothing is a health check, and no news") {
  Proxied proxied;
  proxied.layer->end_received();
  CHECK(proxied.below.lost());
  CHECK(proxied.below.failure().empty());
  CHECK(proxied.loop.log.lines().empty());
}

TEST_CASE("haproxy: the proxy's own connections keep its address") {
  Proxied proxied;
  proxied.layer->data_received("PROXY UNKNOWN\r\n");
  REQUIRE(proxied.transport != nullptr);
  CHECK(proxied.transport->peer() == "a test");
}

TEST_CASE("haproxy: everything else goes through to the transport and the protocol") {
  Proxied proxied;
  proxied.factory.script.owes = [] { return true; };
  proxied.layer->data_received(kHeader);
  REQUIRE(proxied.transport != nullptr);
  CHECK(proxied.layer->owes_answer());
  proxied.transport->write("out");
  CHECK(proxied.below.take_written() == "out");
  proxied.below.set_congested(true);
  CHECK(proxied.transport->congested());
  proxied.layer->end_received();
  CHECK(proxied.ended);
  proxied.transport->lose_write_connection();
  CHECK(proxied.below.half_closed());
  CHECK(proxied.transport->tls() == nullptr);
  proxied.transport->fail("bad");
  CHECK(proxied.below.failure() == "bad (for the client 192.0.2.1:40003)");
  CHECK(proxied.transport->ending());
}

TEST_CASE("haproxy: a paused protocol gets what came with the header when it reads again") {
  Proxied proxied;
  proxied.factory.script.made = [&proxied](Transport& made) {
    proxied.transport = &made;
    made.pause_reading();
  };
  proxied.layer->data_received(std::string(kHeader) + "first");
  CHECK(proxied.received.empty());
  CHECK(!proxied.below.reading());
  proxied.transport->resume_reading();
  proxied.layer->data_received("second");  // it may come before the turn that brings what was held
  proxied.loop.turn(2);
  CHECK(proxied.received == "firstsecond");
}

TEST_CASE("haproxy: a factory that has no protocol, or throws, ends the connection") {
  class Empty final : public Factory {
   public:
    [[nodiscard]] std::unique_ptr<Protocol> build_protocol() override {
      if (throws) throw std::runtime_error("no");
      return nullptr;
    }
    bool throws = false;
  } empty;
  Loop loop;
  const LayerPlace place{loop.reactor, empty, "web"};
  for (const bool throws : {false, true}) {
    empty.throws = throws;
    testing::StringTransport below;
    HaproxyLayer layer(place);
    layer.attach(below);
    layer.connection_made();
    layer.data_received(std::string(kHeader) + "hello");
    CHECK(below.aborted());
  }
}

TEST_CASE("haproxy: TLS begins behind the header, and the protocol sees both") {
  Loop loop;
  Certificates authority;
  const CertificateFiles files = authority.make("localhost");
  TlsServerSettings settings;
  settings.private_key = files.both;
  settings.certificate = files.both;
  const std::unique_ptr<TlsServer> keys = std::move(TlsServer::load(settings)).value();
  TlsClientSettings trust;
  trust.trust_roots = authority.root();
  trust.server_name = "localhost";
  const std::unique_ptr<TlsClient> client = std::move(TlsClient::load(trust)).value();
  ScriptedFactory factory;
  Transport* seen = nullptr;
  factory.script.made = [&](Transport& made) { seen = &made; };
  TlsServerFactory encrypted(LayerPlace{loop.reactor, factory, "web"}, *keys);
  HaproxyFactory proxied(LayerPlace{loop.reactor, encrypted, "web"});
  testing::StringTransport below;
  const std::unique_ptr<Protocol> layer = proxied.build_protocol();
  layer->attach(below);
  layer->connection_made();
  TlsEnd peer(loop, "client");
  peer.begin(std::move(client->make_session()).value());
  std::string up = std::string(kHeader) + peer.below.take_written();
  while (!up.empty()) {
    layer->data_received(up);
    TlsPair::feed(*peer.layer, below.take_written(), 1 << 20);
    up = peer.below.take_written();
  }
  REQUIRE(seen != nullptr);
  CHECK(seen->peer() == "192.0.2.1:40003");
  REQUIRE(seen->tls() != nullptr);
  CHECK(seen->tls()->version == "TLSv1.3");
}
