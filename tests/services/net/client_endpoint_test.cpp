#include "services/net/client_endpoint.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace tap;
using tap::net::ClientEndpoint;
using tap::net::parse_client_endpoint;

namespace {

ClientEndpoint good(const std::string& text) {
  Result<ClientEndpoint> endpoint = parse_client_endpoint(text);
  if (!endpoint) FAIL_CHECK(endpoint.error().message);
  REQUIRE(endpoint.ok());
  CHECK(endpoint->text == text);
  return std::move(endpoint).value();
}

std::string refusal(const std::string& text) {
  const Result<ClientEndpoint> endpoint = parse_client_endpoint(text);
  if (endpoint.ok()) return "accepted";
  CHECK(endpoint.error().fault == Fault::config);
  const std::string begin = "endpoint '" + text + "': ";
  REQUIRE(endpoint.error().message.find(begin) == 0);
  return endpoint.error().message.substr(begin.size());
}

}  // namespace

TEST_CASE("client endpoint: tcp has a host and a port, a timeout and an address to come from") {
  const ClientEndpoint plain = good("tcp:example.org:80");
  CHECK(plain.type == ClientEndpoint::Type::tcp);
  CHECK(plain.host == "example.org");
  CHECK(plain.port == 80);
  CHECK(plain.timeout_ms == 30'000);
  CHECK(!plain.tls);
  const ClientEndpoint full = good("tcp:[::1]:65535:timeout=10:bindAddress=[::2]");
  CHECK(full.host == "::1");
  CHECK(full.timeout_ms == 10'000);
  CHECK(full.bind_address == "::2");
}

TEST_CASE("client endpoint: unix has a path") {
  CHECK(good("unix:/run/x.sock").path == "/run/x.sock");
  CHECK(good("unix:/run/x.sock:timeout=1").timeout_ms == 1'000);
  CHECK(refusal("unix:") == "it needs a path, as in unix:/run/tapd/fib.sock");
  CHECK(refusal("unix:/" + std::string(107, 'x')) == "the path has 108 bytes, the system takes at most 107");
}

TEST_CASE("client endpoint: tls verifies the host by default") {
  const ClientEndpoint plain = good("tls:example.org:443");
  REQUIRE(plain.tls.has_value());
  CHECK(plain.tls->verify);
  CHECK(plain.tls->server_name == "example.org");
  CHECK(plain.tls->trust_roots.empty());
  ClientEndpoint full = good(
      "ssl:10.0.0.1:443:trustRoots=r.pem:certificate=/"
      "c.pem:privateKey=k.pem:serverName=example.org:alpn=h2,x:verify=no:"
      "timeout=3");
  CHECK(!full.tls->verify);
  CHECK(full.tls->server_name == "example.org");
  CHECK(full.tls->alpn == std::vector<std::string>{"h2", "x"});
  full.tls->resolve("/etc/tapd");
  CHECK(full.tls->trust_roots == "/etc/tapd/r.pem");
  CHECK(full.tls->certificate == "/c.pem");
  CHECK(full.tls->private_key == "/etc/tapd/k.pem");
}

TEST_CASE("client endpoint: what is wrong is told") {
  CHECK(refusal("tcp:") == "it needs a host and a port, as in tcp:example.org:80");
  CHECK(refusal("tcp:example.org") == "it needs a port, as in tcp:example.org:80");
  CHECK(refusal("tcp:h:0") == "the port is a number from 1 to 65535, not '0'");
  CHECK(refusal("tcp:h:http") == "the port is a number from 1 to 65535, not 'http'");
  CHECK(refusal("tcp:h:1:2") == "'2' is one value too many");
  CHECK(refusal("tcp:h:1:timeout=0") == "timeout is a number of seconds from 1 to 3600, not '0'");
  CHECK(refusal("tcp:h:1:timeout=3601") == "timeout is a number of seconds from 1 to 3600, not '3601'");
  CHECK(refusal("tcp:h:1:bindAddress=localhost") == "bindAddress is a numeric address, not 'localhost'");
  CHECK(refusal("tcp:h:1:verify=no") == "it has no option 'verify'");
  CHECK(refusal("tcp:" + std::string(254, 'h') + ":1") == "the host's name is too long");
  CHECK(refusal("tls:h:1:verify=maybe") == "verify is yes or no, not 'maybe'");
  CHECK(refusal("tls:h:1:privateKey=k") == "privateKey needs certificate, the file with what is shown");
  CHECK(refusal("tls:h:1:trustRoots=") == "trustRoots names no file");
  CHECK(refusal("tls:h:1:trustRoot=x") == "it has no option 'trustRoot'; did you mean 'trustRoots'?");
  CHECK(refusal("tls:h:1:alpn=h2,,x").find("alpn is a list of at most 16 names") == 0);
  CHECK(refusal("tpc:h:1") ==
        "there is no type 'tpc' of endpoint to connect to (they look like tcp:example.org:80 or unix:/run/x.sock); did "
        "you "
        "mean 'tcp'?");
  CHECK(refusal("haproxy:tcp:1").find("there is no type 'haproxy'") == 0);
}
