#include "services/filter_proxy/networks.hpp"

#include <doctest/doctest.h>

using namespace tap::services;

namespace {

bool contains(const char* network, const char* address) {
  const auto parsed = Network::parse(network);
  const auto one = PlainAddress::parse(address);
  REQUIRE(parsed);
  REQUIRE(one);
  return parsed->contains(*one);
}

bool is_public_text(const char* text) {
  const auto one = PlainAddress::parse(text);
  REQUIRE(one);
  return is_public(*one);
}

}  // namespace

TEST_CASE("filter-proxy networks: what is none is refused") {
  for (const char* text : {"", "x", "10.0.0.0/33", "10.0.0.0/", "10.0.0.1/8", "fe80::/129", "fe80::1/10", "10.0.0",
                           "1.2.3.4/-1", "::1/ 8"}) {
    CAPTURE(text);
    CHECK_FALSE(Network::parse(text));
  }
}

TEST_CASE("filter-proxy networks: the bits that count are compared") {
  CHECK(contains("10.0.0.0/8", "10.255.0.1"));
  CHECK_FALSE(contains("10.0.0.0/8", "11.0.0.1"));
  CHECK(contains("172.16.0.0/12", "172.31.255.255"));
  CHECK_FALSE(contains("172.16.0.0/12", "172.32.0.0"));
  CHECK(contains("127.0.0.1", "127.0.0.1"));
  CHECK_FALSE(contains("127.0.0.1", "127.0.0.2"));
  CHECK(contains("0.0.0.0/0", "9.9.9.9"));
  CHECK_FALSE(contains("0.0.0.0/0", "::1"));
  CHECK(contains("fe80::/10", "febf::1"));
  CHECK_FALSE(contains("fe80::/10", "fec0::1"));
  CHECK(contains("127.0.0.0/8", "::ffff:127.0.0.1"));
}

TEST_CASE("filter-proxy networks: a peer's address is read from the transport's text") {
  CHECK(peer_address("127.0.0.1:40123")->v4);
  CHECK_FALSE(peer_address("[::1]:40123")->v4);
  CHECK(peer_address("[::ffff:1.2.3.4]:5")->v4);
  CHECK_FALSE(peer_address("unix"));
  CHECK_FALSE(peer_address("a test"));
}

TEST_CASE("filter-proxy networks: what is not public is known in every disguise") {
  for (const char* text :
       {"0.0.0.0",         "10.1.2.3",     "100.64.0.1",    "100.127.255.255", "127.0.0.1",       "127.255.255.254",
        "169.254.169.254", "172.16.0.1",   "192.168.1.1",   "192.0.2.1",       "198.18.0.1",      "224.0.0.1",
        "255.255.255.255", "::",           "::1",           "::7f00:1",        "::ffff:10.0.0.1", "::ffff:127.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1",   "2001::1",         "2001:db8::1",
        "fc00::1",         "fdff::1",      "fe80::1",       "fec0::1",         "ff02::1",         "100::1"}) {
    CAPTURE(text);
    CHECK_FALSE(is_public_text(text));
  }
  for (const char* text :
       {"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.0.1.1",
        "223.255.255.255", "2606:4700::1111", "64:ff9b::101:101", "2002:101:101::", "::ffff:8.8.8.8"}) {
    CAPTURE(text);
    CHECK(is_public_text(text));
  }
}
