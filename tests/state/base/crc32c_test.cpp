#include "state/base/crc32c.hpp"

#include <doctest/doctest.h>

using tap::Bytes;
using tap::ByteView;
using tap::crc32c;
using tap::crc32c_table;

namespace {

/// Bytes that do not repeat within 200.
Bytes pattern(std::size_t count) {
  Bytes bytes;
  std::uint32_t value = 0x12345678;
  for (std::size_t i = 0; i < count; ++i) {
    value = value * 1664525 + 1013904223;
    bytes.push_back(static_cast<char>(static_cast<unsigned char>(value >> 24)));
  }
  return bytes;
}

void check_both(ByteView bytes, std::uint32_t expected) {
  CHECK(crc32c(bytes) == expected);
  CHECK(crc32c_table(bytes) == expected);
}

}  // namespace

TEST_CASE("crc32c: the vectors of RFC 3720, appendix B.4") {
  Bytes up;
  Bytes down;
  for (int i = 0; i < 32; ++i) {
    up.push_back(static_cast<char>(i));
    down.push_back(static_cast<char>(31 - i));
  }
  check_both(Bytes(32, '\0'), 0x8a9136aa);
  check_both(Bytes(32, '\xff'), 0x62a8ab43);
  check_both(up, 0x46dd794e);
  check_both(down, 0x113fdb5c);
  Bytes read_pdu(48, '\0');
  const auto put = [&](std::size_t at, int value) { read_pdu[at] = static_cast<char>(value); };
  put(0, 0x01);
  read_pdu[1] = '\xc0';
  put(16, 0x14);
  put(22, 0x04);
  put(27, 0x14);
  put(31, 0x18);
  put(32, 0x28);
  put(40, 0x02);
  check_both(read_pdu, 0xd9963a56);
}

TEST_CASE("crc32c: nothing has the checksum zero, and the nine digits the well-known one") {
  check_both("", 0);
  check_both("123456789", 0xe3069283);
}

TEST_CASE("crc32c: the instruction and the table agree for every length up to 200 at every alignment") {
  const Bytes bytes = pattern(220);
  for (std::size_t at = 0; at < 16; ++at) {
    for (std::size_t length = 0; length <= 200; ++length) {
      const ByteView piece = ByteView(bytes).substr(at, length);
      REQUIRE_MESSAGE(crc32c(piece) == crc32c_table(piece), "offset ", at, ", length ", length);
      REQUIRE(crc32c(piece, 0xdeadbeef) == crc32c_table(piece, 0xdeadbeef));
    }
  }
}

TEST_CASE("crc32c: it goes on from any point of the bytes") {
  const Bytes bytes = pattern(100);
  const std::uint32_t whole = crc32c(bytes);
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    const ByteView first = ByteView(bytes).substr(0, cut);
    const ByteView rest = ByteView(bytes).substr(cut);
    REQUIRE(crc32c(rest, crc32c(first)) == whole);
    REQUIRE(crc32c_table(rest, crc32c_table(first)) == whole);
  }
}

TEST_CASE("crc32c: every single-bit change of 64 bytes changes it") {
  const Bytes bytes = pattern(64);
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    Bytes changed = bytes;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
    REQUIRE(crc32c(changed) != crc32c(bytes));
  }
}
