#include "services/net/proxy_header.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <vector>

#include "services/net/address.hpp"
#include "services/net/endpoint_fields.hpp"
#include "state/base/crc32c.hpp"

namespace tap::net {
namespace {

using Parsed = Result<std::optional<ProxyHeader>>;

constexpr std::string_view kSignature1 = "PROXY ";
constexpr std::string_view kSignature2("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t kFixed2Bytes = 16;
constexpr std::size_t kUnixAddressBytes = 108;
constexpr unsigned char kChecksumType = 0x03;
constexpr std::size_t kTypeAndLengthBytes = 3;

Error wrong(const std::string& why) { return Error{Fault::damaged, "the PROXY header is wrong: " + why}; }

unsigned byte_at(std::string_view bytes, std::size_t at) { return static_cast<unsigned char>(bytes[at]); }

std::size_t two_bytes(std::string_view bytes, std::size_t at) {
  return byte_at(bytes, at) << 8U | byte_at(bytes, at + 1);
}

/// `raw`: 4 or 16 bytes.
std::string text_of(std::string_view raw, std::size_t port) {
  if (raw.size() == sizeof(in_addr)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    std::copy(raw.begin(), raw.end(), reinterpret_cast<char*>(&address.sin_addr));
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    return address_text(reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  std::copy(raw.begin(), raw.end(), reinterpret_cast<char*>(&address.sin6_addr));
  address.sin6_port = htons(static_cast<std::uint16_t>(port));
  return address_text(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

// --- version 1: a line ------------------------------------------------------------------------------------------

/// The numeric address's bytes; empty when it is none of that family.
std::string numeric(const std::string& text, int family) {
  std::array<char, sizeof(in6_addr)> raw{};
  if (::inet_pton(family, text.c_str(), raw.data()) != 1) return {};
  return {raw.data(), family == AF_INET ? sizeof(in_addr) : sizeof(in6_addr)};
}

std::optional<unsigned> port_of(const std::string& text) {
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  return endpoint_number(text, 10, 65'535);
}

Result<std::string> source_of_line(std::string_view line) {
  std::vector<std::string> words{""};
  for (const char c : line) {
    if (c == ' ') words.emplace_back();
    else words.back() += c;
  }
  if (words[0] == "UNKNOWN") return std::string();  // whatever follows is not to be looked at
  if (words[0] != "TCP4" && words[0] != "TCP6") return wrong("the protocol is TCP4, TCP6 or UNKNOWN");
  if (words.size() != 5) return wrong("it has two addresses and two ports, with one space between");
  const int family = words[0] == "TCP4" ? AF_INET : AF_INET6;
  const std::string source = numeric(words[1], family);
  if (source.empty() || numeric(words[2], family).empty())
    return wrong("an address is not a numeric one of its family");
  const auto port = port_of(words[3]);
  if (!port || !port_of(words[4])) return wrong("a port is not a number from 0 to 65535");
  return text_of(source, *port);
}

Parsed parse_version_1(std::string_view bytes) {
  const std::string_view seen = bytes.substr(0, ProxyHeader::kVersion1BytesMax);
  const std::size_t end = seen.find("\r\n");
  const std::size_t odd = seen.substr(0, end).find_first_of(std::string_view("\r\n\0", 3));
  const bool cut_cr = odd != std::string_view::npos && seen[odd] == '\r' && odd + 1 == bytes.size();
  if (odd != std::string_view::npos && !cut_cr) return wrong("its line ends with CR LF, and has neither before");
  if (end == std::string_view::npos) {
    if (bytes.size() >= ProxyHeader::kVersion1BytesMax) return wrong("its line is longer than 107 bytes");
    return std::optional<ProxyHeader>();
  }
  Result<std::string> source = source_of_line(seen.substr(kSignature1.size(), end - kSignature1.size()));
  if (!source) return std::move(source).error();
  return std::optional(ProxyHeader{end + 2, std::move(source).value()});
}

// --- version 2: binary ------------------------------------------------------------------------------------------

/// Walks what follows the addresses; a checksum there is verified (section 2.2.4).
Result<void> check_extras(std::string_view header, std::size_t at) {
  while (at < header.size()) {
    if (header.size() - at < kTypeAndLengthBytes) return wrong("an extension is cut off");
    const std::size_t length = two_bytes(header, at + 1);
    const std::size_t value = at + kTypeAndLengthBytes;
    if (header.size() - value < length) return wrong("an extension is longer than the header");
    if (byte_at(header, at) == kChecksumType) {
      if (length != 4) return wrong("its checksum has not four bytes");
      std::string zeroed(header);
      std::fill_n(zeroed.begin() + static_cast<std::ptrdiff_t>(value), 4, '\0');
      const std::size_t told = two_bytes(header, value) << 16U | two_bytes(header, value + 2);
      if (crc32c(zeroed) != told) return wrong("its checksum does not match");
    }
    at = value + length;
  }
  return {};
}

Parsed parse_version_2(std::string_view bytes) {
  if (bytes.size() > 12 && byte_at(bytes, 12) != 0x20 && byte_at(bytes, 12) != 0x21) {
    return wrong("the version is 2 and the command LOCAL or PROXY");
  }
  if (bytes.size() < kFixed2Bytes) return std::optional<ProxyHeader>();
  const bool local = byte_at(bytes, 12) == 0x20;
  const unsigned family = byte_at(bytes, 13) >> 4U;
  const unsigned protocol = byte_at(bytes, 13) & 0x0FU;
  if (family > 3 || protocol > 2) return wrong("its address family or protocol is not known");
  const std::size_t size = kFixed2Bytes + two_bytes(bytes, 14);
  if (size > ProxyHeader::kVersion2BytesMax) return wrong("it is longer than 4096 bytes");
  constexpr std::array<std::size_t, 4> kAddressBytes{0, 12, 36, 2 * kUnixAddressBytes};
  const std::size_t addresses = local ? 0 : kAddressBytes[family];
  if (kFixed2Bytes + addresses > size) return wrong("it has no room for its addresses");
  if (bytes.size() < size) return std::optional<ProxyHeader>();
  const std::string_view header = bytes.substr(0, size);
  ProxyHeader parsed{size, ""};
  if (local) return std::optional(parsed);  // nothing behind it is to be looked at
  if (Result<void> checked = check_extras(header, kFixed2Bytes + addresses); !checked)
    return std::move(checked).error();
  if (family == 1) parsed.source = text_of(header.substr(kFixed2Bytes, 4), two_bytes(header, kFixed2Bytes + 8));
  if (family == 2) parsed.source = text_of(header.substr(kFixed2Bytes, 16), two_bytes(header, kFixed2Bytes + 32));
  if (family == 3) parsed.source = "unix";
  return std::optional(std::move(parsed));
}

bool begins_alike(std::string_view bytes, std::string_view signature) {
  const std::size_t common = std::min(bytes.size(), signature.size());
  return bytes.substr(0, common) == signature.substr(0, common);
}

}  // namespace

Result<std::optional<ProxyHeader>> parse_proxy_header(std::string_view bytes) {
  if (begins_alike(bytes, kSignature1)) {
    if (bytes.size() <= kSignature1.size()) return std::optional<ProxyHeader>();
    return parse_version_1(bytes);
  }
  if (begins_alike(bytes, kSignature2)) return parse_version_2(bytes);
  return Error{Fault::damaged, "there is no PROXY header before the first byte"};
}

}  // namespace tap::net
