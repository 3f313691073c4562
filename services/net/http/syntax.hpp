// The letters of HTTP/1.1: which bytes may stand where, and the small things that are made of them.
//
// Source: RFC 9110 section 5.6, RFC 9112, RFC 3986 section 3.2.
// Tests: tests/services/net/http/syntax_test.cpp
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tap::net {

namespace http_bytes {

enum Class : std::uint8_t {
  kToken = 1,   ///< tchar: what names and methods are made of
  kText = 2,    ///< what values are made of: visible, space, tab, and bytes above 127
  kTarget = 4,  ///< what a request's target is made of: visible ASCII without what no reader agrees upon
  kHost = 8,    ///< letters, digits, and - . _ ~
  kHex = 16,
};

constexpr std::array<std::uint8_t, 256> make_classes() {
  std::array<std::uint8_t, 256> classes{};
  const auto add = [&](std::string_view bytes, std::uint8_t what) {
    for (const char c : bytes) classes[static_cast<unsigned char>(c)] |= what;
  };
  for (std::size_t c = 0x20; c < 256; ++c) {
    if (c != 0x7F) classes[c] |= kText;
    if (c > 0x20 && c < 0x7F) classes[c] |= kTarget;
  }
  classes['\t'] |= kText;
  for (const char c : std::string_view("#\\\"<>")) {
    classes[static_cast<unsigned char>(c)] =
        static_cast<std::uint8_t>(classes[static_cast<unsigned char>(c)] & ~kTarget);
  }
  constexpr std::string_view kAlphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  add(kAlphanumeric, kToken | kHost);
  add("!#$%&'*+-.^_`|~", kToken);
  add("-._~", kHost);
  add("0123456789abcdefABCDEF", kHex);
  return classes;
}

inline constexpr std::array<std::uint8_t, 256> kClasses = make_classes();

[[nodiscard]] constexpr bool is(char c, Class what) { return (kClasses[static_cast<unsigned char>(c)] & what) != 0; }

}  // namespace http_bytes

/// Whether all of `text` is of a class; true of an empty one.
[[nodiscard]] bool all_of_class(std::string_view text, http_bytes::Class what);
[[nodiscard]] inline bool is_token(std::string_view text) {
  return !text.empty() && all_of_class(text, http_bytes::kToken);
}

/// Names of fields, and most values that we know, are the same in upper and lower case. Only ASCII letters are folded.
[[nodiscard]] bool same_ignoring_case(std::string_view a, std::string_view b);

/// `text` without the spaces and tabs around it.
[[nodiscard]] std::string_view trimmed(std::string_view text);

/// Cuts the next member off a comma-separated list, trimmed; empty members are skipped; false at the end.
[[nodiscard]] bool next_list_member(std::string_view& list, std::string_view& member);

/// Digits and nothing else, at most 18 of them, so that no reader's arithmetic can overflow.
[[nodiscard]] std::optional<std::uint64_t> parse_length(std::string_view text);

/// A chunk's size: 1 to 15 hexadecimal digits and nothing else.
[[nodiscard]] std::optional<std::uint64_t> parse_chunk_size(std::string_view text);

/// host, host:port, [IPv6] or [IPv6]:port; no user, no escapes, the port 1 to 65535.
struct HttpAuthority {
  std::string_view host;   ///< with the brackets
  std::uint16_t port = 0;  ///< 0: none was given
};
[[nodiscard]] std::optional<HttpAuthority> parse_authority(std::string_view text);

}  // namespace tap::net
