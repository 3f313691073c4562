#include "services/filter_proxy/forwarding.hpp"

#include <doctest/doctest.h>

#include "services/net/http/parser.hpp"

using namespace tap;
using namespace tap::services;

namespace {

constexpr char kUs[] = "tapd-us";

/// A request's head, parsed.
struct Asked {
  net::HttpRequestParser parser;
  explicit Asked(const std::string& text) {
    std::string_view input = text;
    REQUIRE(parser.next(input) == net::HttpEvent::head);
  }
};

int status_of(const std::string& text) {
  const Asked asked(text);
  Target target;
  const auto refused = asked.parser.head().is("CONNECT") ? read_tunnel_target(asked.parser.head(), kUs, target)
                                                         : read_target(asked.parser.head(), kUs, target);
  return refused ? refused->status : 0;
}

std::string sent_on(const std::string& text, bool strip = false) {
  const Asked asked(text);
  net::HttpFields out;
  (void)rewrite_request(asked.parser.head(), {kUs, strip}, out);
  return out.text();
}

std::string passed_back(const std::string& text, bool strip = false) {
  net::HttpResponseParser parser;
  std::string_view input = text;
  REQUIRE(parser.next(input) == net::HttpEvent::head);
  net::HttpAnswerHead out(200);
  (void)rewrite_response(parser.head(), {kUs, strip}, out);
  return out.fields().text();
}

}  // namespace

TEST_CASE("filter-proxy forwarding: what is not for a proxy, or may be read in two ways, is refused") {
  const std::string host = "Host: a.example\r\n";
  CHECK(status_of("GET / HTTP/1.1\r\n" + host + "\r\n") == 400);
  CHECK(status_of("GET https://a.example/ HTTP/1.1\r\n" + host + "\r\n") == 400);
  CHECK(status_of("GET http://a.example/ HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\n") == 400);
  CHECK(status_of("HEAD http://a.example/ HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n") == 400);
  CHECK(status_of("GET http://a.example/ HTTP/1.1\r\n" + host + "Content_Length: 3\r\n\r\n") == 400);
  CHECK(status_of("GET http://a.example/ HTTP/1.1\r\n" + host + "transfer.encoding: chunked\r\n\r\n") == 400);
  CHECK(status_of("OPTIONS http://a.example/ HTTP/1.1\r\n" + host + "Max-Forwards: x\r\n\r\n") == 400);
  CHECK(status_of("GET http://127.1/ HTTP/1.1\r\nHost: 127.1\r\n\r\n") == 400);
  CHECK(status_of("GET http://0x7f000001/ HTTP/1.1\r\nHost: 0x7f000001\r\n\r\n") == 400);
  CHECK(status_of("GET http://2130706433/ HTTP/1.1\r\nHost: 2130706433\r\n\r\n") == 400);
  CHECK(status_of("GET http://a.example/ HTTP/1.1\r\n" + host + "\r\n") == 0);
  CHECK(status_of("GET http://a.example/ HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n") == 0);
  CHECK(status_of("GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") == 0);
  CHECK(status_of("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n") == 0);
}

TEST_CASE("filter-proxy forwarding: a request that was here before is a loop") {
  const std::string begin = "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n";
  CHECK(status_of(begin + "Via: 1.1 tapd-us\r\n\r\n") == 508);
  CHECK(status_of(begin + "Via: 1.0 fred, HTTP/1.1   tapd-us (a comment)\r\n\r\n") == 508);
  CHECK(status_of(begin + "Via: 1.1 a\r\nvia: 1.1 tapd-us\r\n\r\n") == 508);
  CHECK(status_of(begin + "Via: 1.1 tapd-us2, 1.1 not-tapd-us\r\n\r\n") == 0);
  CHECK(status_of("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nVia: 1.1 tapd-us\r\n\r\n") == 508);
}

TEST_CASE("filter-proxy forwarding: the target is taken apart") {
  Target target;
  const Asked plain("GET http://A.Example.:8080/p?q HTTP/1.1\r\nHost: A.Example.:8080\r\n\r\n");
  REQUIRE_FALSE(read_target(plain.parser.head(), kUs, target));
  CHECK(target.host == "a.example");
  CHECK(target.port == 8080);
  CHECK(target.authority == "A.Example.:8080");
  CHECK(target.path == "/p?q");
  const Asked six("GET http://[::1] HTTP/1.1\r\nHost: [::1]\r\n\r\n");
  REQUIRE_FALSE(read_target(six.parser.head(), kUs, target));
  CHECK(target.host == "::1");
  CHECK(target.port == 80);
  CHECK(target.path == "/");
  const Asked whole("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n");
  REQUIRE_FALSE(read_target(whole.parser.head(), kUs, target));
  CHECK(target.path == "*");
}

TEST_CASE("filter-proxy forwarding: what concerns one hop stays here, what Connection lists too") {
  CHECK(sent_on("GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n"
                "Proxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
                "Proxy-Authorization: Basic x\r\nAccept: */*\r\nX-Yours: 2\r\n\r\n") ==
        "Accept: */*\r\nX-Yours: 2\r\nVia: 1.1 tapd-us\r\n");
  CHECK(sent_on("POST http://a/ HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\nCookie: a=b\r\n\r\n") ==
        "Cookie: a=b\r\nVia: 1.0 tapd-us\r\n");
  CHECK(passed_back("HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nContent-Length: 0\r\n"
                    "Proxy-Authenticate: Basic\r\nUpgrade: h2\r\nServer: s\r\n\r\n") ==
        "Server: s\r\nVia: 1.1 tapd-us\r\n");
}

TEST_CASE("filter-proxy forwarding: cookies go neither way where they are blocked") {
  const std::string request = "GET http://a/ HTTP/1.1\r\nHost: a\r\ncookie: a=b\r\nCookie2: $Version=1\r\nA: 1\r\n\r\n";
  CHECK(sent_on(request, true) == "A: 1\r\nVia: 1.1 tapd-us\r\n");
  CHECK(sent_on(request, false).find("a=b") != std::string::npos);
  const std::string response =
      "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\nContent-Length: 0\r\nA: 1\r\n\r\n";
  CHECK(passed_back(response, true) == "A: 1\r\nVia: 1.1 tapd-us\r\n");
  CHECK(passed_back(response, false).find("c=d") != std::string::npos);
}

TEST_CASE("filter-proxy forwarding: Max-Forwards counts down for OPTIONS and TRACE only") {
  CHECK(sent_on("TRACE http://a/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n") ==
        "Max-Forwards: 2\r\nVia: 1.1 tapd-us\r\n");
  CHECK(sent_on("GET http://a/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n") ==
        "Max-Forwards: 3\r\nVia: 1.1 tapd-us\r\n");
  CHECK(forwards_left(Asked("OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n").parser.head()) == 0);
  const Asked trace("TRACE http://a/ HTTP/1.1\r\nHost: a\r\nCookie: secret\r\nMax-Forwards: 0\r\n\r\n");
  CHECK(trace_text(trace.parser.head()) == "TRACE http://a/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
}

TEST_CASE("filter-proxy forwarding: an image is known by its path, by what is accepted, and by its type") {
  const auto asks = [](const std::string& path, const std::string& fields) {
    const Asked asked("GET http://a" + path + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n");
    return asks_for_image(asked.parser.head(), asked.parser.head().path);
  };
  CHECK(asks("/a.PNG?x=1", ""));
  CHECK(asks("/logo", "Accept: image/avif,image/webp,*/*;q=0.8\r\n"));
  CHECK(asks("/logo", "Sec-Fetch-Dest: image\r\n"));
  CHECK_FALSE(asks("/page.html?img=a.png", "Accept: text/html,image/avif\r\n"));
  net::HttpResponseParser parser;
  std::string_view input = "HTTP/1.1 200 OK\r\nContent-Type: IMAGE/gif\r\nContent-Length: 0\r\n\r\n";
  REQUIRE(parser.next(input) == net::HttpEvent::head);
  CHECK(is_image(parser.head()));
}
