#include "services/files/conditions.hpp"

#include <algorithm>
#include <cctype>
#include <ctime>
#include <string>

#include "services/net/http/syntax.hpp"

namespace tap::services::files {
namespace {

using net::HttpRequestHead;

std::string_view opaque(std::string_view etag) {
  if (etag.substr(0, 2) == "W/") etag.remove_prefix(2);
  return etag;
}

/// An entity-tag may have a comma inside its quotes, so that it is no list as others are.
std::string_view next_etag(std::string_view& list) {
  const std::size_t begin = list.find_first_not_of(", \t");
  if (begin == std::string_view::npos) return list = {};
  list.remove_prefix(begin);
  const std::size_t quote = list.find('"');
  const std::size_t end = quote == std::string_view::npos ? std::string_view::npos : list.find('"', quote + 1);
  if (end == std::string_view::npos || quote > 2) return list = {};
  const std::string_view tag = list.substr(0, end + 1);
  list.remove_prefix(end + 1);
  return tag;
}

/// `strong`: weak ones are equal to nothing (section 8.8.3.2).
bool any_etag(const HttpRequestHead& request, std::string_view field, std::string_view etag, bool strong) {
  for (const net::HttpField& one : request.fields) {
    if (!net::same_ignoring_case(one.name, field)) continue;
    std::string_view list = one.value;
    if (net::trimmed(list) == "*") return true;
    for (std::string_view tag = next_etag(list); !tag.empty(); tag = next_etag(list)) {
      if (strong && (tag.front() == 'W' || etag.front() == 'W')) continue;
      if (opaque(tag) == opaque(etag)) return true;
    }
  }
  return false;
}

/// If-Range: the same representation, byte by byte.
bool is_the_same(std::string_view wanted, const Validators& file) {
  if (wanted.find('"') != std::string_view::npos) return wanted == file.etag && file.etag.front() != 'W';
  // A weak validator's file has changed so lately that its date says nothing.
  const auto date = parse_http_date(wanted);
  return date && *date == file.modified_s && file.etag.front() != 'W';
}

}  // namespace

std::optional<std::int64_t> parse_http_date(std::string_view text) {
  constexpr std::size_t kDateBytesMax = 40;
  if (text.size() > kDateBytesMax) return std::nullopt;
  const std::string date(text);
  for (const char* form : {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"}) {
    std::tm parts{};
    const char* end = ::strptime(date.c_str(), form, &parts);
    if (end != nullptr && *end == '\0') return ::timegm(&parts);
  }
  return std::nullopt;
}

int evaluate_conditions(const HttpRequestHead& request, const Validators& file) {
  if (request.find("If-Match") != nullptr) {
    if (!any_etag(request, "If-Match", file.etag, true)) return 412;
  } else if (const net::HttpField* since = request.find("If-Unmodified-Since")) {
    const auto date = parse_http_date(since->value);
    if (date && file.modified_s > *date) return 412;
  }
  if (request.find("If-None-Match") != nullptr) return any_etag(request, "If-None-Match", file.etag, false) ? 304 : 200;
  const auto date = parse_http_date(request.value("If-Modified-Since"));
  return date && file.modified_s <= *date ? 304 : 200;
}

RangeWanted range_wanted(const HttpRequestHead& request, const Validators& file) {
  using What = RangeWanted::What;
  constexpr RangeWanted kWhole{};
  if (!request.is("GET")) return kWhole;
  std::string_view value = request.value("Range");
  constexpr std::string_view kUnit = "bytes=";
  if (!net::same_ignoring_case(value.substr(0, kUnit.size()), kUnit)) return kWhole;
  if (const net::HttpField* condition = request.find("If-Range");
      condition != nullptr && !is_the_same(condition->value, file)) {
    return kWhole;
  }
  value = net::trimmed(value.substr(kUnit.size()));
  const std::size_t dash = value.find('-');
  if (dash == std::string_view::npos || value.find(',') != std::string_view::npos) return kWhole;
  const auto first = net::parse_length(value.substr(0, dash));
  const auto last = net::parse_length(value.substr(dash + 1));
  if (dash == 0) {
    if (!last) return kWhole;
    const std::uint64_t bytes = std::min(*last, file.size_bytes);
    if (bytes == 0) return {What::unsatisfiable, 0, 0};
    return {What::part, file.size_bytes - bytes, bytes};
  }
  if (!first || (!last && dash + 1 != value.size()) || (last && *last < *first)) return kWhole;
  if (*first >= file.size_bytes) return {What::unsatisfiable, 0, 0};
  const std::uint64_t end = last ? std::min(*last, file.size_bytes - 1) : file.size_bytes - 1;
  return {What::part, *first, end - *first + 1};
}

}  // namespace tap::services::files
