#include "services/net/proxy_header.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "state/base/crc32c.hpp"

using namespace tap;
using tap::net::parse_proxy_header;
using tap::net::ProxyHeader;

namespace {

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

std::string version_2(unsigned command, unsigned family, const std::string& rest) {
  std::string header = kSignature + static_cast<char>(command) + static_cast<char>(family);
  header += static_cast<char>(rest.size() >> 8U);
  header += static_cast<char>(rest.size() & 0xFFU);
  return header + rest;
}

std::string v4(const std::string& extras = "") {
  return version_2(0x21, 0x11, std::string("\xC0\x00\x02\x01\x0A\x00\x00\x01\x9C\x43\x01\xBB", 12) + extras);
}

/// What is wrong with it; empty: nothing.
std::string refusal(const std::string& bytes) {
  const auto parsed = parse_proxy_header(bytes);
  if (parsed.ok()) return *parsed ? "" : "more is to come";
  CHECK(parsed.error().fault == Fault::damaged);
  return parsed.error().message;
}

/// The source; every beginning of the header must ask for more, and bytes behind it must not matter.
std::string source_of(const std::string& header) {
  for (std::size_t cut = 0; cut < header.size(); ++cut) {
    const auto part = parse_proxy_header(std::string_view(header).substr(0, cut));
    CAPTURE(cut);
    REQUIRE(part.ok());
    REQUIRE(!part->has_value());
  }
  for (const char* behind : {"", "GET / HTTP/1.0\r\n", "\r\n", "\n"}) {
    const auto whole = parse_proxy_header(header + behind);
    REQUIRE(whole.ok());
    REQUIRE(whole->has_value());
    CHECK((*whole)->size == header.size());
  }
  return (*parse_proxy_header(header))->source;
}

}  // namespace

TEST_CASE("proxy header: version 1 tells addresses of both families, or nothing") {
  CHECK(source_of("PROXY TCP4 192.0.2.1 10.0.0.1 40003 443\r\n") == "192.0.2.1:40003");
  CHECK(source_of("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n") == "[2001:db8::1]:65535");
  CHECK(source_of("PROXY UNKNOWN\r\n").empty());
  CHECK(source_of("PROXY UNKNOWN whatever stands here, 1 2\r\n").empty());
  const std::string longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
  const std::string line = "PROXY UNKNOWN " + longest + " " + longest + " 65535 65535\r\n";
  CHECK(line.size() == ProxyHeader::kVersion1BytesMax);
  CHECK(source_of(line).empty());
}

TEST_CASE("proxy header: version 2 tells addresses of all families, or nothing") {
  CHECK(source_of(v4()) == "192.0.2.1:40003");
  const std::string one = std::string(15, '\0') + "\1";
  CHECK(source_of(version_2(0x21, 0x21, one + one + std::string("\x00\x50\x00\x51", 4))) == "[::1]:80");
  CHECK(source_of(version_2(0x21, 0x31, std::string(216, 'x'))) == "unix");
  CHECK(source_of(version_2(0x21, 0x00, "")).empty());
  CHECK(source_of(version_2(0x20, 0x11, "not looked at")).empty());
  CHECK(source_of(v4(std::string("\x04\x00\x03", 3) + "abc")) == "192.0.2.1:40003");
}

TEST_CASE("proxy header: a checksum is verified") {
  std::string header = v4(std::string("\x03\x00\x04\0\0\0\0", 7));
  const std::uint32_t sum = crc32c(header);
  for (std::size_t i = 0; i < 4; ++i) header[header.size() - 4 + i] = static_cast<char>(sum >> (24 - 8 * i) & 0xFFU);
  CHECK(source_of(header) == "192.0.2.1:40003");
  header.back() = static_cast<char>(header.back() ^ 1);
  CHECK(refusal(header) == "the PROXY header is wrong: its checksum does not match");
  CHECK(refusal(v4(std::string("\x03\x00\x03\0\0\0", 6))) ==
        "the PROXY header is wrong: its checksum has not four bytes");
}

TEST_CASE("proxy header: what is none is refused with its first wrong byte") {
  const std::string none = "there is no PROXY header before the first byte";
  CHECK(refusal("GET / HTTP/1.0\r\n") == none);
  CHECK(refusal("P ") == none);
  CHECK(refusal("PROXY\t") == none);
  CHECK(refusal("proxy TCP4") == none);
  CHECK(refusal("\r\n\r\n\r") == none);
  CHECK(refusal("\x16\x03\x01") == none);
}

TEST_CASE("proxy header: version 1 is taken as the document says it, and no wider") {
  for (const char* line :
       {"PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 ::1 1 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 x\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY \r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        "PROXY TCP4 1.2.3.4\r 1.2.3.4 1 2\r\n", "PROXY TCP4 localhost 1.2.3.4 1 2\r\n"}) {
    CAPTURE(line);
    CHECK(refusal(line).find("the PROXY header is wrong: ") == 0);
  }
  CHECK(refusal("PROXY UNKNOWN" + std::string(94, 'x')) ==
        "the PROXY header is wrong: its line is longer than 107 bytes");
  CHECK(refusal("PROXY UNKNOWN" + std::string(92, 'x') + "\r") == "more is to come");
  CHECK(refusal(std::string("PROXY UNKNOWN \0\r\n", 17)).find("its line ends") != std::string::npos);
}

TEST_CASE("proxy header: version 2 is bounded, and its parts fit") {
  const std::string begin = "the PROXY header is wrong: ";
  CHECK(refusal(version_2(0x31, 0x11, "")) == begin + "the version is 2 and the command LOCAL or PROXY");
  CHECK(refusal(version_2(0x22, 0x11, "")) == begin + "the version is 2 and the command LOCAL or PROXY");
  CHECK(refusal(version_2(0x21, 0x41, "")) == begin + "its address family or protocol is not known");
  CHECK(refusal(version_2(0x21, 0x13, "")) == begin + "its address family or protocol is not known");
  CHECK(refusal(version_2(0x21, 0x11, "12345678901")) == begin + "it has no room for its addresses");
  CHECK(refusal(version_2(0x21, 0x21, std::string(35, 'x'))) == begin + "it has no room for its addresses");
  CHECK(refusal(v4("\x04")) == begin + "an extension is cut off");
  CHECK(refusal(v4(std::string("\x04\x00\x01", 3))) == begin + "an extension is longer than the header");
  CHECK(refusal(version_2(0x21, 0x00, std::string(4'081, '\0'))) == begin + "it is longer than 4096 bytes");
  CHECK(refusal(kSignature + "\x21\x11\xFF\xFF") == begin + "it is longer than 4096 bytes");
}
