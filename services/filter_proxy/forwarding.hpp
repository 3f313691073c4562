// Forwarding: what a proxy checks in a request, and how heads are rewritten on their way through it.
//
// A head that goes on is written anew from what the parser understood of the one that came: nothing of its bytes but
// method, target and the values of fields is left. Pure functions of their arguments.
//
// Source: RFC 9110 sections 7.6 (Connection, Max-Forwards, Via), 9.3; RFC 9112 sections 3.2 and 6.1; RFC 6265.
// Tests: tests/services/filter_proxy/forwarding_test.cpp, tests/fuzz/forwarding_fuzz.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "services/net/http/answer_head.hpp"
#include "services/net/http/head.hpp"

namespace tap::services {

/// What is answered in place of forwarding.
struct Refused {
  int status = 400;
  const char* reason = "";  ///< a sentence; literals only
};

/// Where a request goes. Lifetime: `path` is the head's.
struct Target {
  std::string host;  ///< as plain_host() has it: for rules and for the resolver
  std::uint16_t port = 0;
  std::string authority;  ///< for the Host field: as it was written
  std::string_view path;  ///< of the request line that is sent
};

/// Whether a request may be forwarded at all, and where to; `pseudonym` is ours in Via, and finding it means a loop.
/// REQUIRES: it is not CONNECT.
[[nodiscard]] std::optional<Refused> read_target(const net::HttpRequestHead& request, std::string_view pseudonym,
                                                 Target& target);
/// The same of CONNECT.
[[nodiscard]] std::optional<Refused> read_tunnel_target(const net::HttpRequestHead& request, std::string_view pseudonym,
                                                        Target& target);

/// The Max-Forwards of OPTIONS and TRACE: how many more may forward it; nullopt: it does not say, or is none of the
/// two. A value that is no number is refused by read_target().
[[nodiscard]] std::optional<std::uint64_t> forwards_left(const net::HttpRequestHead& request);

struct Rewriting {
  std::string_view pseudonym;
  bool strip_cookies = false;
};

/// Appends the fields that go on. Left out: what says something about one hop only, what frames the message (the client
/// writes its own), Expect, Cookie where they are blocked. Returns whether a cookie was left out.
[[nodiscard]] bool rewrite_request(const net::HttpRequestHead& request, const Rewriting& how, net::HttpFields& out);
/// The same of a response: Set-Cookie.
[[nodiscard]] bool rewrite_response(const net::HttpResponseHead& response, const Rewriting& how,
                                    net::HttpAnswerHead& out);

/// Whether a request asks for an image: by its path's ending, Sec-Fetch-Dest,
/// or an Accept that begins with an image type.
[[nodiscard]] bool asks_for_image(const net::HttpRequestHead& request, std::string_view path);
[[nodiscard]] bool is_image(const net::HttpResponseHead& response);

/// What the last recipient of a TRACE answers: the request as it came, without what is secret.
[[nodiscard]] std::string trace_text(const net::HttpRequestHead& request);

}  // namespace tap::services
