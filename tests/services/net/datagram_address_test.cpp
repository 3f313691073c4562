#include "services/net/datagram_address.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

using tap::Fault;
using tap::Result;
using tap::net::DatagramAddress;

namespace {

DatagramAddress at(const std::string& host, std::uint16_t port = 1234) {
  Result<DatagramAddress> address = DatagramAddress::parse(host, port);
  REQUIRE(address.ok());
  return *address;
}

}  // namespace

TEST_CASE("datagram address: a numeric address and a port, as text, port and family") {
  CHECK(at("192.0.2.1").text() == "192.0.2.1:1234");
  CHECK(at("192.0.2.1", 65'535).port() == 65'535);
  CHECK_FALSE(at("192.0.2.1").is_v6());
  CHECK(at("2001:db8::1").text() == "[2001:db8::1]:1234");
  CHECK(at("2001:db8::1", 7).port() == 7);
  CHECK(at("::1").is_v6());
}

TEST_CASE("datagram address: what is no numeric address is refused") {
  for (const char* host : {"", "localhost", "1.2.3", "1.2.3.4:5", "::1%lo", "[::1]"}) {
    CAPTURE(host);
    const Result<DatagramAddress> address = DatagramAddress::parse(host, 1);
    REQUIRE_FALSE(address.ok());
    CHECK(address.error().fault == Fault::config);
    CHECK(address.error().message == "'" + std::string(host) + "' is not a numeric address");
  }
}

TEST_CASE("datagram address: without one it is unknown, and no host") {
  const DatagramAddress none{};
  CHECK(none.text() == "an unknown address");
  CHECK_FALSE(none.is_one_host());
  CHECK(none.port() == 0);
}

TEST_CASE("datagram address: groups, broadcasts and nobody are not one host") {
  for (const char* host : {"0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
                           "::", "ff02::1", "ff0e::1234"}) {
    CAPTURE(host);
    CHECK_FALSE(at(host).is_one_host());
  }
  for (const char* host : {"1.0.0.0", "127.0.0.1", "192.0.2.255", "223.255.255.255", "::1", "fe80::1", "2001:db8::"}) {
    CAPTURE(host);
    CHECK(at(host).is_one_host());
  }
}

TEST_CASE("datagram address: a network is one address of IPv4, one /64 of IPv6, whatever the port") {
  CHECK(at("192.0.2.1", 1).network() == at("192.0.2.1", 2).network());
  CHECK(at("192.0.2.1").network() != at("192.0.2.2").network());
  CHECK(at("2001:db8::1").network() == at("2001:db8::ffff:ffff").network());
  CHECK(at("2001:db8::1").network() != at("2001:db8:0:1::1").network());
}

TEST_CASE("datagram address: two are equal when they are one place, whichever of our addresses they came to") {
  DatagramAddress other = at("192.0.2.1");
  in_addr local{};
  local.s_addr = htonl(INADDR_LOOPBACK);
  other.set_local(local);
  CHECK(at("192.0.2.1") == other);
  CHECK_FALSE(at("192.0.2.1", 1) == at("192.0.2.1", 2));
  CHECK_FALSE(at("192.0.2.1") == at("192.0.2.2"));
  CHECK_FALSE(at("0.0.0.1") == at("::1"));
  CHECK(at("::1") == at("::1"));
  CHECK_FALSE(at("::1") == at("::2"));
}
