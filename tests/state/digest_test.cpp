#include "state/digest.hpp"

#include <doctest/doctest.h>

#include <set>

#include "tests/state/says.hpp"

using tap::Bytes;
using tap::Fault;
using tap::state::Digest;
using tap::state::Lineage;
using tap::state::sha256;
using tap::tests::error_of;
using tap::tests::says;

TEST_CASE("digest: the vectors of FIPS 180-4") {
  CHECK(sha256("").text() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc").text() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").text() ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256(Bytes(1'000'000, 'a')).text() == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("digest: a NUL byte counts") {
  CHECK(sha256(Bytes("a\0b", 3)) != sha256("a"));
  CHECK(sha256(Bytes("a\0b", 3)) == sha256(Bytes("a\0b", 3)));
}

TEST_CASE("lineage: its text is 8-4-4-4-12 digits and reads back") {
  const auto lineage = Lineage::parse("00112233-4455-6677-8899-aabbccddeeff");
  REQUIRE(lineage.ok());
  CHECK(lineage->text() == "00112233-4455-6677-8899-aabbccddeeff");
  CHECK(lineage->bytes[1] == '\x11');
  CHECK(lineage->bytes[15] == '\xff');
  const auto plain = Lineage::parse("00112233445566778899AABBCCDDEEFF");
  REQUIRE(plain.ok());
  CHECK(*plain == *lineage);
}

TEST_CASE("lineage: none is all zeros") {
  CHECK(Lineage{}.none());
  CHECK(Lineage{}.text() == "00000000-0000-0000-0000-000000000000");
  CHECK_FALSE(Lineage::make().none());
}

TEST_CASE("lineage: a new one is a random UUID of version 4, and none is made twice") {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const Lineage lineage = Lineage::make();
    const std::string text = lineage.text();
    REQUIRE(text.size() == 36);
    REQUIRE(text[14] == '4');
    REQUIRE(std::string("89ab").find(text[19]) != std::string::npos);
    REQUIRE(seen.insert(text).second);
    const auto back = Lineage::parse(text);
    REQUIRE(back.ok());
    REQUIRE(*back == lineage);
  }
}

TEST_CASE("lineage: what is not one is refused and shown") {
  for (const std::string text : {"", "0011", "00112233-4455-6677-8899-aabbccddeef",
                                 "00112233-4455-6677-8899-aabbccddeeff0", "00112233-4455-6677-8899-aabbccddeeff00",
                                 "g0112233-4455-6677-8899-aabbccddeeff", "00112233 4455 6677 8899 aabbccddeeff"}) {
    const tap::Error error = error_of(Lineage::parse(text));
    CHECK(error.fault == Fault::damaged);
    CHECK(says(error, "'" + text + "' is not a lineage"));
  }
}
