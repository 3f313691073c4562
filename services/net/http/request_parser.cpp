#include "services/net/http/parser.hpp"

#include <optional>

#include "services/net/http/syntax.hpp"

namespace tap::net {
namespace {

struct RequestLine {
  std::string_view method;
  std::string_view target;
  std::string_view version;
};

/// Three words with one space between them; more spaces stay in the version, where they are refused.
RequestLine split(std::string_view line) {
  RequestLine parts;
  const std::size_t first = line.find(' ');
  parts.method = line.substr(0, first);
  if (first == std::string_view::npos) return parts;
  line.remove_prefix(first + 1);
  const std::size_t second = line.find(' ');
  parts.target = line.substr(0, second);
  if (second != std::string_view::npos) parts.version = line.substr(second + 1);
  return parts;
}

std::uint16_t default_port(std::string_view scheme) { return scheme.size() == 5 ? 443 : 80; }

/// Whether both mean the same host and port, whichever of them names the scheme's own port.
bool same_authority(const HttpAuthority& a, const HttpAuthority& b, std::string_view scheme) {
  const std::uint16_t otherwise = default_port(scheme);
  return same_ignoring_case(a.host, b.host) && (a.port == 0 ? otherwise : a.port) == (b.port == 0 ? otherwise : b.port);
}

}  // namespace

bool HttpRequestParser::read_start_line(std::string_view line) {
  const RequestLine parts = split(line);
  if (!is_token(parts.method)) return fail(400, "the method is none");
  if (parts.target.empty()) return fail(400, "the request has no target");
  if (!read_version(parts.version)) return false;
  if (!all_of_class(parts.target, http_bytes::kTarget)) return fail(400, "there is a bad byte in the target");
  return read_target(parts.method, parts.target);
}

/// The text has moved since read_start_line(): this sets the views again, to stay.
bool HttpRequestParser::read_head(std::string_view start_line) {
  const RequestLine parts = split(start_line);
  head_.method = parts.method;
  head_.target = parts.target;
  if (!read_target(parts.method, parts.target) || !check_host()) return false;
  if (notes().coded && head_.content_length) {
    return fail(400, "there are a Content-Length and a Transfer-Encoding");
  }
  if (notes().coded && head_.minor_version == 0) return fail(400, "HTTP/1.0 has no Transfer-Encoding");
  if (head_.is("CONNECT") && (head_.has_body() || notes().coded)) return fail(400, "CONNECT has no body");
  const std::string_view expect = notes().expect;
  if (!expect.empty() && !same_ignoring_case(expect, "100-continue")) return fail(417, "what is expected is not known");
  head_.expects_continue = !expect.empty() && head_.minor_version == 1 && head_.has_body();
  return true;
}

HttpParser::Framing HttpRequestParser::framing() const {
  if (head_.chunked) return Framing::chunked;
  return head_.content_length ? Framing::length : Framing::none;
}

void HttpRequestParser::forget_head() {
  head_.method = head_.target = head_.scheme = head_.authority = head_.path = {};
}

bool HttpRequestParser::read_target(std::string_view method, std::string_view target) {
  head_.scheme = head_.authority = {};
  head_.path = target;
  if (method == "CONNECT") {
    head_.form = HttpRequestHead::Form::authority;
    head_.authority = target;
    head_.path = {};
    const std::optional<HttpAuthority> authority = parse_authority(target);
    return (authority && authority->port != 0) || fail(400, "the target of CONNECT is not host:port");
  }
  if (target == "*") {
    head_.form = HttpRequestHead::Form::asterisk;
    return method == "OPTIONS" || fail(400, "the target '*' is for OPTIONS only");
  }
  head_.form = HttpRequestHead::Form::origin;
  return target.front() == '/' || read_absolute_target(target);
}

bool HttpRequestParser::read_absolute_target(std::string_view target) {
  constexpr std::string_view kMark = "://";
  head_.form = HttpRequestHead::Form::absolute;
  const std::size_t mark = target.find(kMark);
  head_.scheme = target.substr(0, mark);
  if (mark == std::string_view::npos ||
      !(same_ignoring_case(head_.scheme, "http") || same_ignoring_case(head_.scheme, "https"))) {
    return fail(400, "the target is neither a path nor an http URL");
  }
  target.remove_prefix(mark + kMark.size());
  const std::size_t path = target.find_first_of("/?");
  head_.authority = target.substr(0, path);
  head_.path = path == std::string_view::npos ? "/" : target.substr(path);
  if (!parse_authority(head_.authority)) return fail(400, "the host in the target is none");
  return head_.path.front() == '/' || fail(400, "the target has no path");
}

bool HttpRequestParser::check_host() {
  if (notes().hosts > 1) return fail(400, "there is more than one Host");
  if (notes().hosts == 0) return head_.minor_version == 0 || fail(400, "there is no Host");
  const std::string_view host = notes().host;
  const std::optional<HttpAuthority> named = parse_authority(host);
  if (!host.empty() && !named) return fail(400, "the Host is none");
  if (head_.form == HttpRequestHead::Form::absolute) {
    // RFC 9112 section 3.2.2 lets the target win; who is asked must not depend on who reads it.
    const std::optional<HttpAuthority> wanted = parse_authority(head_.authority);
    return (named && same_authority(*named, *wanted, head_.scheme)) || fail(400, "the Host is not that of the target");
  }
  if (head_.form != HttpRequestHead::Form::authority) head_.authority = host;
  return true;
}

}  // namespace tap::net
