#include "services/net/endpoint.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

using tap::Fault;
using tap::Result;
using tap::net::conflict;
using tap::net::Endpoint;
using tap::net::endpoint_prefix;
using tap::net::EndpointText;
using tap::net::parse_endpoint;
using tap::net::split_endpoint;
using Type = tap::net::Endpoint::Type;
using Verify = tap::net::TlsServerSettings::ClientVerify;

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

TEST_CASE("endpoint: an unknown type names the nearest") {
  const std::string look = " (endpoints look like tcp:8888 or unix:/run/x.sock)";
  CHECK(refusal("tpc:8888") == "there is no endpoint type 'tpc'" + look + "; did you mean 'tcp'?");
  CHECK(refusal("unxi:/s") == "there is no endpoint type 'unxi'" + look + "; did you mean 'unix'?");
  CHECK(refusal("hapoxy:tcp:1") == "there is no endpoint type 'hapoxy'" + look + "; did you mean 'haproxy'?");
  CHECK(refusal("TCP:8888") == "there is no endpoint type 'TCP'" + look);
  CHECK(refusal("8888") == "there is no endpoint type '8888'" + look);
  CHECK(refusal("") == "there is no endpoint type ''" + look);
  CHECK(refusal(":8888") == "there is no endpoint type ''" + look);
  CHECK(refusal("/run/x.sock") == "there is no endpoint type '/run/x.sock'" + look);
}

TEST_CASE("endpoint: tls is tcp with keys, of the family of its interface") {
  const Endpoint plain = good("tls:443:privateKey=k.pem");
  CHECK(plain.type == Type::tcp);
  CHECK(plain.port == 443);
  REQUIRE(plain.tls.has_value());
  CHECK(plain.tls->private_key == "k.pem");
  CHECK(plain.tls->certificate == "k.pem");
  CHECK(plain.tls->client_verify == Verify::none);
  Endpoint full = good(
      "ssl:443:privateKey=k:certKey=/c:extraCertChain=x:interface=[::1]:backlog=7:clientCA=ca:clientVerify=optional:"
      "alpn=h2,http/1.1:sni=names");
  CHECK(full.type == Type::tcp6);
  CHECK(full.interface == "::1");
  CHECK(full.backlog == 7);
  CHECK(full.tls->client_verify == Verify::optional);
  CHECK(full.tls->alpn == std::vector<std::string>{"h2", "http/1.1"});
  full.tls->resolve("/etc/tapd");
  CHECK(full.tls->private_key == "/etc/tapd/k");
  CHECK(full.tls->certificate == "/c");
  CHECK(full.tls->extra_chain == "/etc/tapd/x");
  CHECK(full.tls->client_ca == "/etc/tapd/ca");
  CHECK(full.tls->sni_directory == "/etc/tapd/names");
  CHECK(good("tls:443:privateKey=k:clientCA=ca").tls->client_verify == Verify::require);
  CHECK(good("tls:443:privateKey=k:clientCA=ca:clientVerify=require").tls->client_verify == Verify::require);
}

TEST_CASE("endpoint: what is wrong with a tls endpoint is told") {
  CHECK(refusal("tls:443") == "it needs privateKey=FILE (PEM)");
  CHECK(refusal("tls:443:privateKey=") == "privateKey names no file");
  CHECK(refusal("tls:privateKey=k") == "it needs a port, as in tcp:8888 (tcp:0 takes a free one)");
  CHECK(refusal("tls:1:privateKey=k:clientVerify=require") == "clientVerify needs clientCA, the file with the roots");
  CHECK(refusal("tls:1:privateKey=k:clientCA=c:clientVerify=no") == "clientVerify is require or optional, not 'no'");
  CHECK(refusal("tls:1:privateKey=k:alpn=").find("alpn is a list") == 0);
  CHECK(refusal("tls:1:privateKey=k:alpn=" + std::string(256, 'x')).find("alpn is a list") == 0);
  CHECK(refusal("tls:1:privateKey=k:certkey=c") == "it has no option 'certkey'; did you mean 'certKey'?");
  CHECK(refusal("tcp:1:privateKey=k") == "it has no option 'privateKey'");
}

TEST_CASE("endpoint: haproxy goes before any other, once") {
  const Endpoint plain = good("haproxy:tcp:8888:interface=127.0.0.1");
  CHECK(plain.proxied);
  CHECK(plain.type == Type::tcp);
  CHECK(plain.port == 8888);
  CHECK(good("haproxy:unix:/a\\:b").path == "/a:b");
  CHECK(good("haproxy:tls:443:privateKey=k").tls.has_value());
  CHECK(refusal("haproxy:") == "it needs the endpoint behind the proxy, as in haproxy:tcp:8888");
  CHECK(refusal("haproxy") == "it needs the endpoint behind the proxy, as in haproxy:tcp:8888");
  CHECK(refusal("haproxy:haproxy:tcp:1") == "haproxy: stands twice; one proxy's header is read");
  CHECK(refusal("haproxy:stdio:") == "standard input has no proxy before it");
  CHECK(parse_endpoint("haproxy:tcp:x").error().message ==
        "endpoint 'tcp:x': the port is a number from 0 to 65535, not 'x'");
}

TEST_CASE("endpoint: systemd names a socket, or counts to it") {
  const Endpoint named = good("systemd:name=fib");
  CHECK(named.type == Type::systemd);
  CHECK(named.socket_name == "fib");
  CHECK(named.socket_index == 0);
  const Endpoint counted = good("systemd:domain=INET:index=2");
  CHECK(counted.socket_domain == "INET");
  CHECK(counted.socket_index == 2);
  CHECK(refusal("systemd:") == "it needs name=NAME (FileDescriptorName= of the socket unit), or domain=INET:index=0");
  CHECK(refusal("systemd:domain=INET") ==
        "it needs name=NAME (FileDescriptorName= of the socket unit), or domain=INET:index=0");
  CHECK(refusal("systemd:domain=IP:index=0") == "domain is INET, INET6 or UNIX, not 'IP'");
  CHECK(refusal("systemd:index=-1") == "index is a number from 0 to 4095, not '-1'");
  CHECK(refusal("systemd:name=fib:fd=3") == "it has no option 'fd'");
}

TEST_CASE("endpoint: where it listens is told in its own words") {
  CHECK(endpoint_prefix(good("tcp:1")) == "tcp:");
  CHECK(endpoint_prefix(good("tcp6:1")) == "tcp6:");
  CHECK(endpoint_prefix(good("tls:1:privateKey=k:interface=[::]")) == "tls:");
  CHECK(endpoint_prefix(good("haproxy:tls:1:privateKey=k")) == "haproxy:tls:");
  CHECK(endpoint_prefix(good("haproxy:unix:/a")) == "haproxy:");
  CHECK(endpoint_prefix(good("systemd:name=fib")).empty());
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
      {"tls:1:privateKey=k", "tcp:1", true},
      {"tls:1:privateKey=k", "tls:2:privateKey=k", false},
      {"haproxy:tcp:1", "tcp:1:interface=127.0.0.1", true},
      {"systemd:name=a", "systemd:name=a:index=0", true},
      {"systemd:name=a", "systemd:name=b", false},
      {"systemd:name=a", "systemd:name=a:index=1", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.a);
    CAPTURE(row.b);
    CHECK(conflict(good(row.a), good(row.b)) == row.conflicts);
    CHECK(conflict(good(row.b), good(row.a)) == row.conflicts);
  }
}
