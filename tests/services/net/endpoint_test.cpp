#include "services/net/endpoint.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

using tap::Fault;
using tap::Result;
using tap::net::conflict;
using tap::net::Endpoint;
using tap::net::EndpointText;
using tap::net::parse_endpoint;
using tap::net::split_endpoint;
using Type = tap::net::Endpoint::Type;

namespace {

Endpoint good(const std::string& text) {
  CAPTURE(text);
  Result<Endpoint> endpoint = parse_endpoint(text);
  if (!endpoint) FAIL_CHECK(endpoint.error().message);
  REQUIRE(endpoint.ok());
  CHECK(endpoint->text == text);
  return std::move(endpoint).value();
}

/// The message without the part that is always the same.
std::string refusal(const std::string& text) {
  const Result<Endpoint> endpoint = parse_endpoint(text);
  if (endpoint.ok()) return "accepted";
  CHECK(endpoint.error().fault == Fault::config);
  const std::string begin = "endpoint '" + text + "': ";
  const std::string& message = endpoint.error().message;
  return message.substr(0, begin.size()) == begin ? message.substr(begin.size()) : "otherwise: " + message;
}

}  // namespace

TEST_CASE("endpoint: tcp takes a port, an interface and a backlog") {
  const Endpoint plain = good("tcp:8888");
  CHECK(plain.type == Type::tcp);
  CHECK(plain.port == 8888);
  CHECK(plain.interface == "0.0.0.0");
  CHECK(plain.backlog == Endpoint::kDefaultBacklog);
  const Endpoint full = good("tcp:65535:interface=127.0.0.1:backlog=128");
  CHECK(full.port == 65'535);
  CHECK(full.interface == "127.0.0.1");
  CHECK(full.backlog == 128);
  CHECK(good("tcp:1:backlog=65535:interface=10.0.0.1").backlog == 65'535);
  CHECK(good("tcp:0").port == 0);
  CHECK(good("tcp:8888:interface=").interface == "0.0.0.0");
}

TEST_CASE("endpoint: tcp6 takes an address with colons, escaped or in brackets") {
  const Endpoint plain = good("tcp6:8888");
  CHECK(plain.type == Type::tcp6);
  CHECK(plain.interface == "::");
  CHECK(good("tcp6:8888:interface=[::1]").interface == "::1");
  CHECK(good("tcp6:8888:interface=[::1]:backlog=7").backlog == 7);
  CHECK(good("tcp6:8888:interface=\\:\\:1").interface == "::1");
  CHECK(good("tcp6:0:interface=[fe80::1:2]").interface == "fe80::1:2");
}

TEST_CASE("endpoint: udp and udp6 take a port and an interface, and no backlog") {
  const Endpoint plain = good("udp:53");
  CHECK(plain.type == Type::udp);
  CHECK(plain.is_datagram());
  CHECK(plain.port == 53);
  CHECK(plain.interface == "0.0.0.0");
  CHECK(good("udp:0:interface=127.0.0.1").interface == "127.0.0.1");
  const Endpoint six = good("udp6:53:interface=[::1]");
  CHECK(six.type == Type::udp6);
  CHECK(six.is_datagram());
  CHECK(six.is_v6());
  CHECK(good("udp6:53").interface == "::");
  CHECK_FALSE(good("tcp:53").is_datagram());
  CHECK(refusal("udp:") == "it needs a port, as in udp:8888 (udp:0 takes a free one)");
  CHECK(refusal("udp:65536") == "the port is a number from 0 to 65535, not '65536'");
  CHECK(refusal("udp:1:backlog=5").find("it has no option 'backlog'") == 0);
  CHECK(refusal("udp6:1:interface=127.0.0.1") == "interface is a numeric IPv6 address, not '127.0.0.1'");
}

TEST_CASE("endpoint: UDP and TCP have ports of their own, two of UDP are one place") {
  CHECK_FALSE(conflict(good("udp:53"), good("tcp:53")));
  CHECK_FALSE(conflict(good("udp:53"), good("udp6:53")));
  CHECK_FALSE(conflict(good("udp:0"), good("udp:0")));
  CHECK(conflict(good("udp:53"), good("udp:53:interface=127.0.0.1")));
  CHECK(conflict(good("udp6:53:interface=[::1]"), good("udp6:53")));
}

TEST_CASE("endpoint: unix takes a path, a mode and a backlog") {
  const Endpoint plain = good("unix:/run/tapd/fib.sock");
  CHECK(plain.type == Type::unix_socket);
  CHECK(plain.path == "/run/tapd/fib.sock");
  CHECK(!plain.mode.has_value());
  CHECK(good("unix:/s:mode=660").mode == 0660U);
  CHECK(good("unix:/s:mode=0").mode == 0U);
  CHECK(good("unix:/s:mode=0777").mode == 0777U);
  CHECK(good("unix:/s:backlog=3").backlog == 3);
  CHECK(good("unix:/with spaces and \xC3\xA9").path == "/with spaces and \xC3\xA9");
}

TEST_CASE("endpoint: a backslash makes the next character itself") {
  CHECK(good("unix:/a\\:b").path == "/a:b");
  CHECK(good("unix:/a\\\\b").path == "/a\\b");
  CHECK(good("unix:/a\\[b\\]").path == "/a[b]");
  CHECK(good("unix:\\[/a\\]").path == "[/a]");
}

TEST_CASE("endpoint: an escaped '=' is part of a value, so that every path can be written") {
  CHECK(good("unix:/run/a\\=b.sock").path == "/run/a=b.sock");
}

TEST_CASE("endpoint: brackets hold colons, and are only brackets where a value begins") {
  CHECK(good("unix:[/a:b]").path == "/a:b");
  CHECK(good("unix:/a[b]").path == "/a[b]");
  CHECK(good("unix:/a]b").path == "/a]b");
  CHECK(refusal("unix:[/a") == "a '[' is never closed");
  CHECK(refusal("tcp6:1:interface=[::1") == "a '[' is never closed");
}

TEST_CASE("endpoint: fd takes a descriptor's number, stdio takes nothing") {
  CHECK(good("fd:3").fd == 3);
  CHECK(good("fd:3").type == Type::fd);
  CHECK(good("fd:0").fd == 0);
  CHECK(good("stdio:").type == Type::stdio);
  CHECK(good("stdio").type == Type::stdio);
}

TEST_CASE("endpoint: a colon at the end says nothing") { CHECK(good("tcp:8888:").port == 8888); }

TEST_CASE("endpoint: what a number may be is told") {
  CHECK(refusal("tcp:65536") == "the port is a number from 0 to 65535, not '65536'");
  CHECK(refusal("tcp:-1") == "the port is a number from 0 to 65535, not '-1'");
  CHECK(refusal("tcp:+1") == "the port is a number from 0 to 65535, not '+1'");
  CHECK(refusal("tcp: 80") == "the port is a number from 0 to 65535, not ' 80'");
  CHECK(refusal("tcp:80 ") == "the port is a number from 0 to 65535, not '80 '");
  CHECK(refusal("tcp:0x50") == "the port is a number from 0 to 65535, not '0x50'");
  CHECK(refusal("tcp:http") == "the port is a number from 0 to 65535, not 'http'");
  CHECK(refusal("tcp:99999999999999999999") == "the port is a number from 0 to 65535, not '99999999999999999999'");
  CHECK(refusal("tcp:1:backlog=0") == "backlog is a number from 1 to 65535, not '0'");
  CHECK(refusal("tcp:1:backlog=65536") == "backlog is a number from 1 to 65535, not '65536'");
  CHECK(refusal("tcp:1:backlog=") == "backlog is a number from 1 to 65535, not ''");
  CHECK(refusal("unix:/s:backlog=x") == "backlog is a number from 1 to 65535, not 'x'");
  CHECK(refusal("unix:/s:mode=888") == "mode is octal, from 0 to 777, not '888'");
  CHECK(refusal("unix:/s:mode=1777") == "mode is octal, from 0 to 777, not '1777'");
  CHECK(refusal("unix:/s:mode=rw") == "mode is octal, from 0 to 777, not 'rw'");
  CHECK(refusal("unix:/s:mode=") == "mode is octal, from 0 to 777, not ''");
  CHECK(refusal("fd:x") == "'x' is not a descriptor's number");
  CHECK(refusal("fd:-1") == "'-1' is not a descriptor's number");
  CHECK(refusal("fd:1000001") == "'1000001' is not a descriptor's number");
}

TEST_CASE("endpoint: what is missing is told") {
  CHECK(refusal("tcp:") == "it needs a port, as in tcp:8888 (tcp:0 takes a free one)");
  CHECK(refusal("tcp") == "it needs a port, as in tcp:8888 (tcp:0 takes a free one)");
  CHECK(refusal("tcp::8888") == "it needs a port, as in tcp:8888 (tcp:0 takes a free one)");
  CHECK(refusal("tcp:interface=127.0.0.1") == "it needs a port, as in tcp:8888 (tcp:0 takes a free one)");
  CHECK(refusal("unix:") == "it needs a path, as in unix:/run/tapd/fib.sock");
  CHECK(refusal("fd:") == "it needs a descriptor's number, as in fd:3");
}

TEST_CASE("endpoint: an interface is a numeric address of the right family") {
  CHECK(refusal("tcp:1:interface=localhost") == "interface is a numeric IPv4 address, not 'localhost'");
  CHECK(refusal("tcp:1:interface=[::1]") == "interface is a numeric IPv4 address, not '::1'");
  CHECK(refusal("tcp:1:interface=1.2.3") == "interface is a numeric IPv4 address, not '1.2.3'");
  CHECK(refusal("tcp6:1:interface=127.0.0.1") == "interface is a numeric IPv6 address, not '127.0.0.1'");
}

TEST_CASE("endpoint: what is too much, twice or misspelt is told") {
  CHECK(refusal("tcp:1:2") == "'2' is one value too many");
  CHECK(refusal("tcp:1::") == "'' is one value too many");
  CHECK(refusal("stdio:x") == "'x' is one value too many");
  CHECK(refusal("fd:3:backlog=5") == "it has no option 'backlog'");
  CHECK(refusal("stdio:mode=600") == "it has no option 'mode'");
  CHECK(refusal("tcp:1:backlog=1:backlog=2") == "'backlog' stands twice");
  CHECK(refusal("tcp:1:backlg=5") == "it has no option 'backlg'; did you mean 'backlog'?");
  CHECK(refusal("tcp:1:interfce=1.2.3.4") == "it has no option 'interfce'; did you mean 'interface'?");
  CHECK(refusal("unix:/s:mod=660") == "it has no option 'mod'; did you mean 'mode'?");
  CHECK(refusal("tcp:1:mode=660") == "it has no option 'mode'");
}

TEST_CASE("endpoint: an unknown type names the nearest, a planned one says so") {
  const std::string look = " (endpoints look like tcp:8888 or unix:/run/x.sock)";
  CHECK(refusal("tpc:8888") == "there is no endpoint type 'tpc'" + look + "; did you mean 'tcp'?");
  CHECK(refusal("unxi:/s") == "there is no endpoint type 'unxi'" + look + "; did you mean 'unix'?");
  CHECK(refusal("TCP:8888") == "there is no endpoint type 'TCP'" + look);
  CHECK(refusal("8888") == "there is no endpoint type '8888'" + look);
  CHECK(refusal("") == "there is no endpoint type ''" + look);
  CHECK(refusal(":8888") == "there is no endpoint type ''" + look);
  CHECK(refusal("/run/x.sock") == "there is no endpoint type '/run/x.sock'" + look);
  for (const char* planned : {"tls:443:privateKey=k:certKey=c", "ssl:443", "systemd:name=fib", "haproxy:tcp:8888"}) {
    const std::string text = planned;
    CHECK(refusal(text) ==
          "endpoints of type '" + text.substr(0, text.find(':')) + "' are not served yet by this version");
  }
}

TEST_CASE("endpoint: a path of 107 bytes is the longest that the system takes") {
  const std::string longest = "/" + std::string(106, 'x');
  CHECK(good("unix:" + longest).path == longest);
  CHECK(refusal("unix:" + longest + "y") == "the path has 108 bytes, the system takes at most 107");
}

TEST_CASE("endpoint: an escape without a character, and a NUL, are refused") {
  CHECK(refusal("unix:/a\\") == "it ends in the middle of an escape");
  const Result<Endpoint> endpoint = parse_endpoint(std::string("unix:/a\0b", 9));
  REQUIRE(!endpoint.ok());
  CHECK(endpoint.error().message.find("NUL") != std::string::npos);
}

TEST_CASE("endpoint: splitting keeps values in order and options by name") {
  Result<EndpointText> parts = split_endpoint("haproxy:tcp:8888:a=1:b=x=y:c=");
  REQUIRE(parts.ok());
  CHECK(parts->type == "haproxy");
  CHECK(parts->values == std::vector<std::string>{"tcp", "8888"});
  CHECK(parts->options == std::map<std::string, std::string>{{"a", "1"}, {"b", "x=y"}, {"c", ""}});
}

TEST_CASE("endpoint: two conflict exactly when they cannot be bound at once") {
  struct Row {
    const char* a;
    const char* b;
    bool conflicts;
  };
  const std::vector<Row> rows{
      {"tcp:1", "tcp:1", true},
      {"tcp:1", "tcp:2", false},
      {"tcp:0", "tcp:0", false},
      {"tcp:1", "tcp:1:interface=127.0.0.1", true},
      {"tcp:1:interface=0.0.0.0", "tcp:1:interface=127.0.0.1", true},
      {"tcp:1:interface=127.0.0.1", "tcp:1:interface=127.0.0.1:backlog=5", true},
      {"tcp:1:interface=127.0.0.1", "tcp:1:interface=127.0.0.2", false},
      {"tcp6:1", "tcp:1", false},  // tcp6 is IPv6 only
      {"tcp6:1", "tcp6:1:interface=[::1]", true},
      {"tcp6:1:interface=[::1]", "tcp6:1:interface=[::2]", false},
      {"unix:/a", "unix:/a:mode=600", true},
      {"unix:/a", "unix:/b", false},
      {"unix:/a", "tcp:1", false},
      {"fd:3", "fd:3", true},
      {"fd:3", "fd:4", false},
      {"stdio:", "stdio:", true},
      {"stdio:", "fd:0", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.a);
    CAPTURE(row.b);
    CHECK(conflict(good(row.a), good(row.b)) == row.conflicts);
    CHECK(conflict(good(row.b), good(row.a)) == row.conflicts);
  }
}
