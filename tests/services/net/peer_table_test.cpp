#include "services/net/peer_table.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

using tap::net::peer_key;
using tap::net::PeerKey;
using tap::net::PeerTable;

namespace {

PeerKey v4(const char* text) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  REQUIRE(::inet_pton(AF_INET, text, &address.sin_addr) == 1);
  return *peer_key(reinterpret_cast<const sockaddr*>(&address));
}

PeerKey v6(const char* text) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  REQUIRE(::inet_pton(AF_INET6, text, &address.sin6_addr) == 1);
  return *peer_key(reinterpret_cast<const sockaddr*>(&address));
}

}  // namespace

TEST_CASE("peer table: an IPv4 address is one peer, an IPv6 network of 64 bits is one") {
  CHECK(v4("10.0.0.1") == v4("10.0.0.1"));
  CHECK_FALSE(v4("10.0.0.1") == v4("10.0.0.2"));
  CHECK(v6("2001:db8:1:2::1") == v6("2001:db8:1:2:ffff::9"));
  CHECK_FALSE(v6("2001:db8:1:2::1") == v6("2001:db8:1:3::1"));
}

TEST_CASE("peer table: IPv4 inside IPv6 is IPv4, and nothing else is") {
  CHECK(v6("::ffff:10.0.0.1") == v4("10.0.0.1"));
  CHECK_FALSE(v6("a00:1::") == v4("10.0.0.1"));
}

TEST_CASE("peer table: a UNIX socket has no address") {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  CHECK_FALSE(peer_key(reinterpret_cast<const sockaddr*>(&address)));
}

TEST_CASE("peer table: it counts up to its limit, each peer for itself, and forgets those that have gone") {
  PeerTable table;
  const PeerKey one = v4("10.0.0.1");
  const PeerKey other = v4("10.0.0.2");
  CHECK(table.enter(one, 2));
  CHECK(table.enter(one, 2));
  CHECK_FALSE(table.enter(one, 2));
  CHECK(table.enter(other, 2));
  table.leave(one);
  CHECK(table.enter(one, 2));
  for (int i = 0; i < 2; ++i) table.leave(one);
  table.leave(other);
  table.leave(other);
  CHECK(table.size() == 0);
}
