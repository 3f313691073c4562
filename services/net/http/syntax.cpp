#include "services/net/http/syntax.hpp"

#include <algorithm>

namespace tap::net {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t'; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

}  // namespace

bool all_of_class(std::string_view text, http_bytes::Class what) {
  return std::all_of(text.begin(), text.end(), [what](char c) { return http_bytes::is(c, what); });
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return x == y || lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

bool next_list_member(std::string_view& list, std::string_view& member) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    member = trimmed(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
    if (!member.empty()) return true;
  }
  return false;
}

std::optional<std::uint64_t> parse_length(std::string_view text) {
  constexpr std::size_t kDigitsMax = 18;
  if (text.empty() || text.size() > kDigitsMax) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

std::optional<std::uint64_t> parse_chunk_size(std::string_view text) {
  constexpr std::size_t kDigitsMax = 15;
  if (text.empty() || text.size() > kDigitsMax || !all_of_class(text, http_bytes::kHex)) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    const auto digit = static_cast<unsigned char>(lower(c));
    value = value << 4U | static_cast<std::uint64_t>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
  }
  return value;
}

std::optional<HttpAuthority> parse_authority(std::string_view text) {
  HttpAuthority authority;
  std::size_t host_end = text.find(':');
  if (!text.empty() && text.front() == '[') {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return std::nullopt;
    const std::string_view inside = text.substr(1, bracket - 1);
    const bool good = std::all_of(inside.begin(), inside.end(),
                                  [](char c) { return http_bytes::is(c, http_bytes::kHex) || c == ':' || c == '.'; });
    if (!good || inside.find(':') == std::string_view::npos) return std::nullopt;
    host_end = bracket + 1;
  } else if (!all_of_class(text.substr(0, host_end), http_bytes::kHost)) {
    return std::nullopt;
  }
  host_end = std::min(host_end, text.size());
  authority.host = text.substr(0, host_end);
  if (authority.host.empty()) return std::nullopt;
  if (host_end == text.size()) return authority;
  constexpr std::size_t kPortDigitsMax = 5;
  constexpr std::uint64_t kPortMax = 65'535;
  const std::string_view digits = text.substr(host_end + 1);
  const std::optional<std::uint64_t> port = parse_length(digits);
  if (text[host_end] != ':' || digits.size() > kPortDigitsMax || !port || *port == 0 || *port > kPortMax) {
    return std::nullopt;
  }
  authority.port = static_cast<std::uint16_t>(*port);
  return authority;
}

}  // namespace tap::net
