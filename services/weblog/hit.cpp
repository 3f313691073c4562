#include "services/weblog/hit.hpp"

#include <algorithm>
#include <cstdint>

namespace tap::services::weblog {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }

bool all_digits(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), is_digit); }

/// What stands before `end`, which goes too; nullopt when there is no `end`.
std::optional<std::string_view> take_until(std::string_view& rest, std::string_view end) {
  const std::size_t at = rest.find(end);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view taken = rest.substr(0, at);
  rest.remove_prefix(at + end.size());
  return taken;
}

bool take(std::string_view& rest, char wanted) {
  if (rest.empty() || rest.front() != wanted) return false;
  rest.remove_prefix(1);
  return true;
}

/// A text in quotes; a backslash keeps the next byte from ending it.
std::optional<std::string_view> take_quoted(std::string_view& rest) {
  if (!take(rest, '"')) return std::nullopt;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] == '\\') {
      ++i;
    } else if (rest[i] == '"') {
      const std::string_view taken = rest.substr(0, i);
      rest.remove_prefix(i + 1);
      return taken;
    }
  }
  return std::nullopt;
}

/// How many bytes the UTF-8 character at the beginning has, and which it is; 0 bytes when there is none (RFC 3629: no
/// overlong form, no surrogate, nothing above U+10FFFF).
struct Character {
  std::size_t bytes = 0;
  std::uint32_t code = 0;
};

Character first_character(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return {1, first};
  const std::size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < bytes) return {};
  std::uint32_t code = first & (0xffU >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0U) != 0x80U) return {};
    code = code << 6U | (next & 0x3fU);
  }
  const bool overlong = (bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000);
  if (overlong || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) return {};
  return {bytes, code};
}

/// XML 1.0, production 2 (Char).
bool is_xml(std::uint32_t code) {
  if (code < 0x20) return code == '\t' || code == '\n' || code == '\r';
  return code != 0xfffe && code != 0xffff;
}

void append_character(std::string& out, std::string_view bytes, std::uint32_t code, char quote) {
  switch (code) {
    case '&':
      out += "&amp;";
      break;
    case '<':
      out += "&lt;";
      break;
    case '>':
      out += "&gt;";
      break;
    case '\n':
      out += "&#10;";
      break;
    case '\r':
      out += "&#13;";
      break;
    case '\t':
      out += "&#9;";
      break;
    case '"':
      out += quote == '"' ? "&quot;" : "\"";
      break;
    default:
      out += is_xml(code) ? bytes : kReplacement;
  }
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(" \n  ").append(name).append("=");
  append_attribute(out, value);
}

}  // namespace

std::optional<Hit> parse_hit(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  const auto ip = take_until(line, " ");
  // Who it was, twice; a user's name may hold blanks.
  const auto who = take_until(line, " [");
  const auto timestamp = take_until(line, "] ");
  if (!ip || ip->empty() || !who || who->find(' ') == std::string_view::npos || !timestamp || timestamp->empty()) {
    return std::nullopt;
  }
  const auto request = take_quoted(line);
  if (!request || !take(line, ' ')) return std::nullopt;
  const auto status = take_until(line, " ");
  const auto bytes = take_until(line, " ");
  if (!status || status->size() != 3 || !all_digits(*status) || !bytes || (*bytes != "-" && !all_digits(*bytes))) {
    return std::nullopt;
  }
  const auto referrer = take_quoted(line);
  if (!referrer || !take(line, ' ')) return std::nullopt;
  const auto agent = take_quoted(line);
  if (!agent || !(line.empty() || line.front() == ' ')) return std::nullopt;
  return Hit{*ip, *timestamp, *request, *status, *bytes, *referrer, *agent};
}

void append_attribute(std::string& out, std::string_view value) {
  const bool single = value.find('"') != std::string_view::npos && value.find('\'') == std::string_view::npos;
  const char quote = single ? '\'' : '"';
  out += quote;
  while (!value.empty()) {
    const Character character = first_character(value);
    if (character.bytes == 0) out += kReplacement;
    else append_character(out, value.substr(0, character.bytes), character.code, quote);
    value.remove_prefix(std::max<std::size_t>(character.bytes, 1));
  }
  out += quote;
}

void append_hit(std::string& out, const Hit& hit) {
  out += "\n<hit";
  append_field(out, "ip", hit.ip);
  append_field(out, "timestamp", hit.timestamp);
  append_field(out, "request", hit.request);
  append_field(out, "status", hit.status);
  append_field(out, "bytes", hit.bytes);
  append_field(out, "referrer", hit.referrer);
  append_field(out, "agent", hit.agent);
  out += "/>";
}

}  // namespace tap::services::weblog
