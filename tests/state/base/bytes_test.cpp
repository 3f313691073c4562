#include "state/base/bytes.hpp"

#include <doctest/doctest.h>

#include <limits>

using tap::ByteReader;
using tap::Bytes;
using tap::ByteView;

TEST_CASE("bytes: integers are written least significant byte first") {
  Bytes out;
  tap::put_le<std::uint8_t>(out, 0xab);
  tap::put_le<std::uint16_t>(out, 0x1234);
  tap::put_le<std::uint32_t>(out, 0x89abcdef);
  tap::put_le<std::uint64_t>(out, 0x0123456789abcdef);
  CHECK(out == Bytes("\xab"
                     "\x34\x12"
                     "\xef\xcd\xab\x89"
                     "\xef\xcd\xab\x89\x67\x45\x23\x01"));
}

TEST_CASE("bytes: what put_le writes, get_le reads") {
  for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0x80}, std::uint64_t{0xff00ff00},
                                    std::numeric_limits<std::uint64_t>::max()}) {
    Bytes out;
    tap::put_le(out, value);
    tap::put_le(out, static_cast<std::uint32_t>(value));
    tap::put_le(out, static_cast<std::uint8_t>(value));
    REQUIRE(out.size() == 13);
    CHECK(tap::get_le<std::uint64_t>(out.data()) == value);
    CHECK(tap::get_le<std::uint32_t>(out.data() + 8) == static_cast<std::uint32_t>(value));
    CHECK(tap::get_le<std::uint8_t>(out.data() + 12) == static_cast<std::uint8_t>(value));
  }
}

TEST_CASE("byte reader: a run of reads gives the values, the offset and what is left") {
  const Bytes bytes("\x01\x02\x00rest", 7);
  ByteReader reader(bytes);
  CHECK(reader.u<std::uint8_t>() == 1);
  CHECK(reader.u<std::uint16_t>() == 2);
  CHECK(reader.offset() == 3);
  CHECK(reader.left() == 4);
  CHECK(reader.take(4) == "rest");
  CHECK(reader.left() == 0);
  CHECK(reader.take(0).empty());
  CHECK(reader.ok());
}

TEST_CASE("byte reader: a read past the end yields zero and spoils everything after it") {
  const Bytes bytes("\xff\xff\xff", 3);
  ByteReader reader(bytes);
  CHECK(reader.u<std::uint32_t>() == 0);
  CHECK_FALSE(reader.ok());
  CHECK(reader.u<std::uint8_t>() == 0);
  CHECK(reader.take(1).empty());
  CHECK(reader.take(0).empty());
  CHECK_FALSE(reader.ok());
  CHECK(reader.offset() == 0);
}

TEST_CASE("byte reader: a length near 2^64 does not wrap around") {
  const Bytes bytes("abcd");
  for (const std::uint64_t length :
       {std::uint64_t{3}, std::numeric_limits<std::uint64_t>::max(), std::numeric_limits<std::uint64_t>::max() - 1}) {
    ByteReader reader(bytes);
    CHECK(reader.take(2) == "ab");
    CHECK(reader.take(length).empty());
    CHECK_FALSE(reader.ok());
  }
}

TEST_CASE("hex: every byte goes there and back") {
  Bytes all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(static_cast<unsigned char>(i)));
  const std::string text = tap::to_hex(all);
  CHECK(text.substr(0, 6) == "000102");
  CHECK(text.substr(506) == "fdfeff");
  Bytes back = "what was there before";
  REQUIRE(tap::from_hex(text, back));
  CHECK(back == all);
}

TEST_CASE("hex: capital digits are read, anything else is refused") {
  Bytes out;
  REQUIRE(tap::from_hex("aAfF09", out));
  CHECK(out == "\xaa\xff\x09");
  REQUIRE(tap::from_hex("", out));
  CHECK(out.empty());
  for (const char* text : {"a", "abc", "0g", "g0", "0x", " 0", "0 ", "-1", "\xff\xff", "::", "@@", "//", "``", "GG"}) {
    CHECK_FALSE_MESSAGE(tap::from_hex(text, out), text);
  }
}
