#include "services/net/http/answer_head.hpp"

#include <algorithm>
#include <array>

#include "services/net/http/syntax.hpp"

namespace tap::net {
namespace {

struct Named {
  int status;
  std::string_view reason;
};

/// RFC 9110 section 15, with those of RFC 6585 and RFC 5842 that we send.
constexpr std::array<Named, 44> kReasons{{
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {508, "Loop Detected"},
}};

constexpr std::array<std::string_view, 6> kFraming{"host",       "content-length", "transfer-encoding",
                                                   "connection", "keep-alive",     "proxy-connection"};

}  // namespace

std::string_view http_reason(int status) {
  const auto found = std::lower_bound(kReasons.begin(), kReasons.end(), status,
                                      [](const Named& named, int wanted) { return named.status < wanted; });
  return found != kReasons.end() && found->status == status ? found->reason : std::string_view();
}

bool HttpFields::add(std::string_view name, std::string_view value) {
  if (!is_token(name)) return false;
  for (const std::string_view framing : kFraming) {
    if (same_ignoring_case(name, framing)) return false;
  }
  has_date_ |= same_ignoring_case(name, "date");
  text_.append(name).append(": ");
  const std::size_t value_at = text_.size();
  text_.append(value).append("\r\n");
  if (all_of_class(value, http_bytes::kText)) return true;
  for (std::size_t at = value_at; at < value_at + value.size(); ++at) {
    if (!http_bytes::is(text_[at], http_bytes::kText)) text_[at] = ' ';
  }
  return true;
}

void HttpFields::clear() {
  text_.clear();
  has_date_ = false;
}

}  // namespace tap::net
