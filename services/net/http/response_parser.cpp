#include "services/net/http/parser.hpp"

#include <algorithm>

#include "services/net/http/syntax.hpp"

namespace tap::net {
namespace {

constexpr std::size_t kVersionBytes = 8;
constexpr std::size_t kStatusBytes = 3;

}  // namespace

// The status of a failure is what a proxy answers for it.
bool HttpResponseParser::read_start_line(std::string_view line) {
  if (!read_version(line.substr(0, kVersionBytes))) return false;
  line.remove_prefix(kVersionBytes);
  if (line.size() < 1 + kStatusBytes || line[0] != ' ') return fail(502, "the status line has no status");
  const std::optional<std::uint64_t> status = parse_length(line.substr(1, kStatusBytes));
  if (!status || *status < 100 || *status > 599) return fail(502, "the status is not a number from 100 to 599");
  if (line.size() > 1 + kStatusBytes && line[1 + kStatusBytes] != ' ') return fail(502, "the status is too long");
  head_.status = static_cast<int>(*status);
  return true;
}

bool HttpResponseParser::read_head(std::string_view start_line) {
  constexpr std::size_t kReasonAt = kVersionBytes + 1 + kStatusBytes + 1;
  head_.reason = start_line.substr(std::min(kReasonAt, start_line.size()));
  const bool bodyless = head_.status < 200 || head_.status == 204;
  if (notes().coded && head_.content_length) return fail(502, "there are a Content-Length and a Transfer-Encoding");
  if (notes().coded && head_.minor_version == 0) return fail(502, "HTTP/1.0 has no Transfer-Encoding");
  if (bodyless && (notes().coded || head_.content_length.value_or(0) != 0)) {
    return fail(502, "a response that has no body has a length");
  }
  return true;
}

HttpParser::Framing HttpResponseParser::framing() const {
  if (to_head_ || head_.status < 200 || head_.status == 204 || head_.status == 304) return Framing::none;
  if (head_.chunked) return Framing::chunked;
  return head_.content_length ? Framing::length : Framing::until_close;
}

void HttpResponseParser::forget_head() {
  head_.status = 0;
  head_.reason = {};
}

}  // namespace tap::net
