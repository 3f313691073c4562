#include "services/files/name.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace tap::services::files {
namespace {

struct Ending {
  std::string_view ending;
  std::string_view type;
};

/// Sorted by ending.
constexpr std::array<Ending, 39> kTypes{{
    {"7z", "application/x-7z-compressed"},
    {"avif", "image/avif"},
    {"bz2", "application/x-bzip2"},
    {"css", "text/css"},
    {"csv", "text/csv"},
    {"gif", "image/gif"},
    {"gz", "application/gzip"},
    {"htm", "text/html"},
    {"html", "text/html"},
    {"ico", "image/vnd.microsoft.icon"},
    {"ics", "text/calendar"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript"},
    {"json", "application/json"},
    {"log", "text/plain"},
    {"md", "text/markdown"},
    {"mjs", "text/javascript"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"oga", "audio/ogg"},
    {"ogg", "audio/ogg"},
    {"ogv", "video/ogg"},
    {"otf", "font/otf"},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"svg", "image/svg+xml"},
    {"tar", "application/x-tar"},
    {"ttf", "font/ttf"},
    {"txt", "text/plain"},
    {"wasm", "application/wasm"},
    {"wav", "audio/wav"},
    {"webm", "video/webm"},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"xml", "application/xml"},
    {"xz", "application/x-xz"},
    {"zip", "application/zip"},
}};

constexpr std::string_view kHexDigits = "0123456789ABCDEF";

int hex_value(char digit) {
  const auto at = kHexDigits.find(static_cast<char>(std::toupper(static_cast<unsigned char>(digit))));
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

/// Calls `look` with each component until it says no.
template <class Look>
bool each_component(std::string_view name, Look look) {
  for (;;) {
    const std::size_t end = std::min(name.find('/'), name.size());
    if (!look(name.substr(0, end))) return false;
    if (end == name.size()) return true;
    name.remove_prefix(end + 1);
  }
}

}  // namespace

bool is_plain_name(std::string_view name) {
  if (name.empty() || name.size() > kNameBytesMax || name.find('\0') != std::string_view::npos) return false;
  return each_component(name, [](std::string_view part) { return !part.empty() && part != "." && part != ".."; });
}

bool is_hidden_name(std::string_view name) {
  return !each_component(name, [](std::string_view part) { return part.empty() || part.front() != '.'; });
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      decoded += text[at];
      continue;
    }
    if (text.size() - at < 3) return std::nullopt;
    const int high = hex_value(text[at + 1]);
    const int low = hex_value(text[at + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    at += 2;
  }
  return decoded;
}

std::string percent_encoded(std::string_view name) {
  constexpr std::string_view kPlain = "-._~/";
  std::string encoded;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && (std::isalnum(byte) != 0 || kPlain.find(c) != std::string_view::npos)) {
      encoded += c;
      continue;
    }
    encoded += '%';
    encoded += kHexDigits[byte >> 4U];
    encoded += kHexDigits[byte & 15U];
  }
  return encoded;
}

std::string_view content_type_of(std::string_view name) {
  constexpr std::string_view kUnknown = "application/octet-stream";
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return kUnknown;
  std::string ending(name.substr(dot + 1));
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto found =
      std::lower_bound(kTypes.begin(), kTypes.end(), ending,
                       [](const Ending& type, const std::string& wanted) { return type.ending < wanted; });
  return found != kTypes.end() && found->ending == ending ? found->type : kUnknown;
}

}  // namespace tap::services::files
