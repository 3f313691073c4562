#include "services/filter_proxy/forwarding.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "services/filter_proxy/networks.hpp"
#include "services/filter_proxy/rules.hpp"
#include "services/net/http/syntax.hpp"

namespace tap::services {
namespace {

using net::same_ignoring_case;

constexpr std::array<std::string_view, 5> kFraming{"content-length", "transfer-encoding", "host", "connection",
                                                   "expect"};
constexpr std::array<std::string_view, 12> kImageEndings{".png",  ".jpg", ".jpeg", ".gif", ".webp", ".avif",
                                                         ".apng", ".bmp", ".ico",  ".svg", ".jxl",  ".tiff"};

/// A name that a careless reader takes for one that frames the message: CGI and its heirs make `-` and `_` the same.
bool is_disguised(std::string_view name) {
  if (name.find_first_of("_.~") == std::string_view::npos) return false;
  std::string plain(name);
  for (char& c : plain) {
    if (c == '_' || c == '.' || c == '~') c = '-';
  }
  return std::any_of(kFraming.begin(), kFraming.end(),
                     [&](std::string_view one) { return same_ignoring_case(one, plain); });
}

/// Says something about one hop only, whatever the Connection field lists.
bool is_hop_by_hop(std::string_view name) {
  switch (name.size()) {
    case 2:
      return same_ignoring_case(name, "te");
    case 7:
      return same_ignoring_case(name, "upgrade") || same_ignoring_case(name, "trailer");
    case 10:
      return same_ignoring_case(name, "connection") || same_ignoring_case(name, "keep-alive");
    case 14:
      return same_ignoring_case(name, "http2-settings");
    case 16:
      return same_ignoring_case(name, "proxy-connection");
    case 17:
      return same_ignoring_case(name, "transfer-encoding");
    case 18:
      return same_ignoring_case(name, "proxy-authenticate");
    case 19:
      return same_ignoring_case(name, "proxy-authorization");
    case 25:
      return same_ignoring_case(name, "proxy-authentication-info");
    default:
      return false;
  }
}

/// What the Connection fields list beyond that; mostly nothing.
std::vector<std::string_view> listed_fields(const net::HttpHead& head) {
  std::vector<std::string_view> listed;
  for (const net::HttpField& field : head.fields) {
    if (field.name.size() != 10 || !same_ignoring_case(field.name, "connection")) continue;
    std::string_view rest = field.value;
    std::string_view member;
    while (net::next_list_member(rest, member)) {
      if (!same_ignoring_case(member, "close") && !is_hop_by_hop(member)) listed.push_back(member);
    }
  }
  return listed;
}

bool stays_here(std::string_view name, const std::vector<std::string_view>& listed) {
  return is_hop_by_hop(name) || is_disguised(name) ||
         std::any_of(listed.begin(), listed.end(), [&](std::string_view one) { return same_ignoring_case(one, name); });
}

std::string via_value(const net::HttpHead& head, std::string_view pseudonym) {
  return (head.minor_version == 0 ? "1.0 " : "1.1 ") + std::string(pseudonym);
}

/// Whether we have forwarded it already: our name is the second word of a member of Via.
bool went_round(const net::HttpHead& head, std::string_view pseudonym) {
  for (const net::HttpField& field : head.fields) {
    if (field.name.size() != 3 || !same_ignoring_case(field.name, "via")) continue;
    std::string_view rest = field.value;
    std::string_view member;
    while (net::next_list_member(rest, member)) {
      member.remove_prefix(std::min(member.find(' '), member.size()));
      member = net::trimmed(member);
      if (member.substr(0, member.find(' ')) == pseudonym) return true;
    }
  }
  return false;
}

/// getaddrinfo(3) takes "127.1" and "0x7f000001" for addresses: two names of one place would escape the rules.
bool is_half_numeric(const std::string& host) {
  if (PlainAddress::parse(host)) return false;
  const std::string_view last = std::string_view(host).substr(host.rfind('.') + 1);
  const bool digits = std::all_of(last.begin(), last.end(), [](char c) { return c >= '0' && c <= '9'; });
  return last.empty() || digits || last.substr(0, 2) == "0x";
}

std::optional<Refused> read_place(const net::HttpRequestHead& request, std::string_view pseudonym,
                                  std::uint16_t otherwise, Target& target) {
  const std::optional<net::HttpAuthority> authority = net::parse_authority(request.authority);
  if (!authority) return Refused{400, "the host in the target is none"};
  target.host = plain_host(authority->host);
  target.port = authority->port == 0 ? otherwise : authority->port;
  target.authority = request.authority;
  if (target.host.size() > RuleSet::kHostBytesMax) return Refused{400, "the host in the target is too long"};
  if (is_half_numeric(target.host)) return Refused{400, "the host in the target is half an address"};
  for (const net::HttpField& field : request.fields) {
    if (is_disguised(field.name)) return Refused{400, "a field's name is a disguise of one that frames the message"};
  }
  if (went_round(request, pseudonym)) return Refused{508, "this request has been here before"};
  return std::nullopt;
}

bool is_secret(std::string_view name) {
  return same_ignoring_case(name, "cookie") || same_ignoring_case(name, "authorization") ||
         same_ignoring_case(name, "proxy-authorization");
}

}  // namespace

std::optional<Refused> read_target(const net::HttpRequestHead& request, std::string_view pseudonym, Target& target) {
  using Form = net::HttpRequestHead::Form;
  if (request.form != Form::absolute) {
    return Refused{400, "this is a proxy: the target of a request is a whole URL, as in http://host/path"};
  }
  if (!same_ignoring_case(request.scheme, "http")) return Refused{400, "https goes through CONNECT"};
  // Readers differ on whether such a request has a body; one that thinks not takes it for the next request.
  const bool bodyless = request.is("GET") || request.is("HEAD") || request.is("TRACE");
  if (bodyless && request.has_body()) return Refused{400, "a request of this method has no body here"};
  if (const std::optional<Refused> refused = read_place(request, pseudonym, 80, target)) return refused;
  target.path = request.path;
  // RFC 9112 section 3.2.4: an OPTIONS without a path is one of the server as a whole.
  constexpr std::size_t kMarkBytes = 3;
  const bool pathless = request.target.size() == request.scheme.size() + kMarkBytes + request.authority.size();
  if (pathless && request.is("OPTIONS")) target.path = "*";
  const net::HttpField* forwards = request.find("max-forwards");
  const bool counts = request.is("OPTIONS") || request.is("TRACE");
  if (counts && forwards != nullptr && !net::parse_length(forwards->value)) {
    return Refused{400, "Max-Forwards is not a number"};
  }
  return std::nullopt;
}

std::optional<Refused> read_tunnel_target(const net::HttpRequestHead& request, std::string_view pseudonym,
                                          Target& target) {
  return read_place(request, pseudonym, 443, target);
}

std::optional<std::uint64_t> forwards_left(const net::HttpRequestHead& request) {
  if (!request.is("OPTIONS") && !request.is("TRACE")) return std::nullopt;
  const net::HttpField* field = request.find("max-forwards");
  return field == nullptr ? std::nullopt : net::parse_length(field->value);
}

bool rewrite_request(const net::HttpRequestHead& request, const Rewriting& how, net::HttpFields& out) {
  bool stripped = false;
  const std::vector<std::string_view> listed = listed_fields(request);
  const std::optional<std::uint64_t> forwards = forwards_left(request);
  for (const net::HttpField& field : request.fields) {
    const std::string_view name = field.name;
    if (stays_here(name, listed)) continue;
    if (name.size() == 6 && same_ignoring_case(name, "expect")) continue;
    if (forwards && name.size() == 12 && same_ignoring_case(name, "max-forwards")) continue;
    if (how.strip_cookies && (same_ignoring_case(name, "cookie") || same_ignoring_case(name, "cookie2"))) {
      stripped = true;
      continue;
    }
    out.add(name, field.value);
  }
  if (forwards && *forwards > 0) out.add("Max-Forwards", std::to_string(*forwards - 1));
  out.add("Via", via_value(request, how.pseudonym));
  return stripped;
}

bool rewrite_response(const net::HttpResponseHead& response, const Rewriting& how, net::HttpAnswerHead& out) {
  bool stripped = false;
  const std::vector<std::string_view> listed = listed_fields(response);
  for (const net::HttpField& field : response.fields) {
    const std::string_view name = field.name;
    if (stays_here(name, listed)) continue;
    if (how.strip_cookies && (same_ignoring_case(name, "set-cookie") || same_ignoring_case(name, "set-cookie2"))) {
      stripped = true;
      continue;
    }
    out.add(name, field.value);
  }
  out.add("Via", via_value(response, how.pseudonym));
  return stripped;
}

bool asks_for_image(const net::HttpRequestHead& request, std::string_view path) {
  path = path.substr(0, path.find('?'));
  for (const std::string_view ending : kImageEndings) {
    if (path.size() > ending.size() && same_ignoring_case(path.substr(path.size() - ending.size()), ending))
      return true;
  }
  if (same_ignoring_case(request.value("sec-fetch-dest"), "image")) return true;
  constexpr std::string_view kImage = "image/";
  return same_ignoring_case(request.value("accept").substr(0, kImage.size()), kImage);
}

bool is_image(const net::HttpResponseHead& response) {
  constexpr std::string_view kImage = "image/";
  return same_ignoring_case(response.value("content-type").substr(0, kImage.size()), kImage);
}

std::string trace_text(const net::HttpRequestHead& request) {
  std::string text;
  text.append(request.method).append(" ").append(request.target).append(" HTTP/1.");
  text += request.minor_version == 0 ? "0\r\n" : "1\r\n";
  for (const net::HttpField& field : request.fields) {
    if (!is_secret(field.name)) text.append(field.name).append(": ").append(field.value).append("\r\n");
  }
  return text.append("\r\n");
}

}  // namespace tap::services
