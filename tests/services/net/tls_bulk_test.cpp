// Much through TLS, both ways, over a real connection: 64 MB, or 1 GB with TAP_LONG=1.
#include <doctest/doctest.h>

#include <cstdlib>

#include "services/net/connector.hpp"
#include "state/base/crc32c.hpp"
#include "tests/services/net/certificates.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

TEST_CASE("tls: much goes through an echo and comes back intact, in bounded memory") {
  const std::size_t total = std::size_t{std::getenv("TAP_LONG") == nullptr ? 64U : 1024U} << 20U;
  Loop loop;
  Certificates authority;
  const CertificateFiles files = authority.make("localhost");
  TlsServerSettings settings;
  settings.private_key = files.both;
  settings.certificate = files.both;
  const std::unique_ptr<TlsServer> keys = std::move(TlsServer::load(settings)).value();
  ScriptedFactory echo;
  echo.script = echo_script();
  TlsServerFactory encrypted(LayerPlace{loop.reactor, echo, "echo"}, *keys);
  Server server(loop, encrypted);

  const std::string block = numbered_bytes(100'003);  // no divisor of a record
  std::size_t sent = 0;
  std::size_t received = 0;
  std::size_t wrong = 0;
  bool ended = false;
  ScriptedFactory factory;
  // So much is under way at most: whoever sends without end to an echo that he does not read meanwhile waits for ever,
  // as both sides stop reading while their output is not taken.
  constexpr std::size_t kUnderWay = std::size_t{256} * 1024;
  const auto send_more = [&](Transport& transport) {
    while (sent < total && sent - received < kUnderWay) {
      const std::size_t at = sent % block.size();
      const std::size_t size = std::min({block.size() - at, total - sent, std::size_t{30'000}});
      transport.write(std::string_view(block).substr(at, size));
      sent += size;
    }
    if (sent == total) transport.lose_write_connection();
  };
  factory.script.made = send_more;
  factory.script.data = [&](Transport& transport, std::string_view data) {
    while (!data.empty()) {
      const std::size_t at = received % block.size();
      const std::size_t size = std::min(block.size() - at, data.size());
      if (data.substr(0, size) != std::string_view(block).substr(at, size)) ++wrong;
      received += size;
      data.remove_prefix(size);
    }
    send_more(transport);
  };
  factory.script.end = [&](Transport& transport) {
    ended = true;
    transport.lose_connection();
  };
  const auto endpoint =
      parse_client_endpoint("tls:127.0.0.1:" + std::to_string(server.port()) + ":trustRoots=" + authority.root());
  const auto connector = std::move(Connector::create(loop.reactor, *endpoint, factory, "client")).value();
  const auto connecting = connector->connect([](Result<Protocol*> result) { CHECK(result.ok()); });
  std::size_t before = 0;
  do {
    before = received;
    CAPTURE(sent);
    CAPTURE(received);
    CAPTURE(ended);
    REQUIRE(loop.turn_until([&] { return ended || received > before + (std::size_t{1} << 20U); }));
  } while (!ended);
  CHECK(received == total);
  CHECK(wrong == 0);
}
