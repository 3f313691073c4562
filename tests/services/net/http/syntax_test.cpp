#include "services/net/http/syntax.hpp"

#include <doctest/doctest.h>

#include <string>

#include "services/net/http/head.hpp"

using namespace tap::net;

TEST_CASE("http syntax: tokens are what RFC 9110 says they are") {
  const std::string tchar = "!#$%&'*+-.^_`|~0123456789abcxyzABCXYZ";
  CHECK(is_token(tchar));
  CHECK_FALSE(is_token(""));
  int tokens = 0;
  for (int value = 0; value < 256; ++value) {
    if (is_token(std::string(1, static_cast<char>(static_cast<unsigned char>(value))))) ++tokens;
  }
  CHECK(tokens == 15 + 10 + 26 + 26);
}

TEST_CASE("http syntax: only ASCII letters are the same in upper and lower case") {
  CHECK(same_ignoring_case("Content-LENGTH", "content-length"));
  CHECK_FALSE(same_ignoring_case("a", "aa"));
  CHECK_FALSE(same_ignoring_case("@", "`"));
  CHECK_FALSE(same_ignoring_case("[", "{"));
  CHECK_FALSE(same_ignoring_case("\xC9", "\xE9"));
}

TEST_CASE("http syntax: lengths are digits, and chunk sizes hexadecimal ones") {
  CHECK(parse_length("0") == 0U);
  CHECK(parse_length("999999999999999999") == 999'999'999'999'999'999U);
  for (const char* bad : {"", "-1", "+1", "1 ", " 1", "0x1", "1a", "1000000000000000000"})
    CHECK_FALSE(parse_length(bad));
  CHECK(parse_chunk_size("fF") == 255U);
  CHECK(parse_chunk_size("fffffffffffffff") == 0xFFF'FFFF'FFFF'FFFFU);
  for (const char* bad : {"", "g", "0x1", " 1", "1 ", "-1", "1000000000000000"}) CHECK_FALSE(parse_chunk_size(bad));
}

TEST_CASE("http syntax: an authority is a host, and perhaps a port") {
  CHECK(parse_authority("a.example")->port == 0);
  CHECK(parse_authority("a:65535")->port == 65'535);
  CHECK(parse_authority("[::1]:80")->host == "[::1]");
  for (const char* bad :
       {"", ":80", "a:", "a:0", "a:65536", "a:99999999", "[::1", "[]", "[1]", "a b", "a@b", "a/b", "[::1]80"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_authority(bad));
  }
}

TEST_CASE("http heads: fields are found in any case, lists are searched in all of them") {
  HttpHead head;
  head.fields = {{"Accept", "x"}, {"connection", "close, X-Mine"}, {"CONNECTION", " , upgrade"}, {"accept", "y"}};
  CHECK(head.value("ACCEPT") == "x");
  CHECK(head.find("none") == nullptr);
  CHECK(head.lists("Connection", "UPGRADE"));
  CHECK_FALSE(head.lists("Connection", "clos"));
  CHECK(head.hop_by_hop("x-mine"));
  CHECK(head.hop_by_hop("Transfer-Encoding"));
  CHECK(head.hop_by_hop("TE"));
  CHECK_FALSE(head.hop_by_hop("Accept"));
}
