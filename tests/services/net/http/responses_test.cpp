// Responses, well-formed and hostile, each cut at every byte.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/services/net/http/transcript.hpp"

using tap::net::HttpLimits;
using tap::tests::every_byte;
using tap::tests::response_transcript;

namespace {

/// The transcript up to the end of the stream; fails the test when it depends on how the bytes are cut.
std::string understood(const std::string& input, bool to_head = false, const HttpLimits& limits = {}) {
  const std::string whole = response_transcript(input, {}, true, to_head, limits);
  CAPTURE(input);
  bool same = response_transcript(input, every_byte(input.size()), true, to_head, limits) == whole;
  for (std::size_t cut = 1; same && cut < input.size(); ++cut) {
    same = response_transcript(input, {cut}, true, to_head, limits) == whole;
  }
  CHECK(same);
  return whole;
}

bool refused(const std::string& input, bool to_head = false) {
  return understood(input, to_head).find('!') != std::string::npos;
}

struct Good {
  const char* input;
  const char* transcript;
  bool to_head = false;
};

const Good kGood[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200 OK 1.1 keep\n  Content-Length=2\n  body(2)=hi\nend\n"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 OK 1.1 keep\n  Content-Length=0\nend\n"},
    {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200  1.1 keep\n  Content-Length=0\nend\n"},
    {"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "200  1.1 keep\n  Content-Length=0\nend\n"},
    {"HTTP/1.1 404 Not  Found, caf\xC3\xA9\r\nContent-Length: 0\r\n\r\n",
     "404 Not  Found, caf\xC3\xA9 1.1 keep\n  Content-Length=0\nend\n"},
    {"HTTP/1.1 599 x\r\nContent-Length: 0\r\n\r\n", "599 x 1.1 keep\n  Content-Length=0\nend\n"},
    {"HTTP/1.1 200 OK\r\n\r\nuntil\r\nthe end", "200 OK 1.1 close\n  body(14)=until\r\nthe end\nend\n"},
    {"HTTP/1.0 200 OK\r\n\r\nx", "200 OK 1.0 close\n  body(1)=x\nend\n"},
    {"HTTP/1.0 200 OK\r\n\r\n", "200 OK 1.0 close\nend\n"},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx",
     "200 OK 1.0 keep\n  Content-Length=1\n  Connection=keep-alive\n  body(1)=x\nend\n"},
    {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
     "200 OK 1.1 close\n  Connection=close\n  Content-Length=1\n  body(1)=x\nend\n"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
     "200 OK 1.1 keep\n  Transfer-Encoding=chunked\n  body(3)=abc\nend\n"},
    {"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
     "204 No Content 1.1 keep\nend\n200 OK 1.1 keep\n  Content-Length=0\nend\n"},
    {"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "204 No Content 1.1 keep\n  Content-Length=0\nend\n"},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304 Not Modified 1.1 keep\n  Content-Length=5\nend\n"},
    {"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
     "304 Not Modified 1.1 keep\n  Transfer-Encoding=chunked\nend\n"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", "200 OK 1.1 keep\n  Content-Length=500\nend\n", true},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 OK 1.1 keep\n  Transfer-Encoding=chunked\nend\n",
     true},
    {"HTTP/1.1 200 OK\r\n\r\n", "200 OK 1.1 keep\nend\n", true},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
     "100 Continue 1.1 keep\nend\n200 OK 1.1 keep\n  Content-Length=1\n  body(1)=x\nend\n"},
    {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 x\r\n\r\n",
     "103 Early Hints 1.1 keep\n  Link=</a>\nend\n204 x 1.1 keep\nend\n"},
    {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
     "101 Switching Protocols 1.1 keep upgrade\n  Connection=upgrade\n  Upgrade=x\nend\n"},
    {"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2; x, y\r\nContent-Length: 0\r\n\r\n",
     "200 OK 1.1 keep\n  Set-Cookie=a=1\n  Set-Cookie=b=2; x, y\n  Content-Length=0\nend\n"},
    {"HTTP/1.1 200 OK\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
     "200 OK 1.1 keep\n  Host=a\n  Host=b\n  Content-Length=0\nend\n"},
};

std::vector<std::string> bad_responses() {
  std::vector<std::string> bad;
  for (const char* line : {"",
                           "HTTP/1.1",
                           "HTTP/1.1 ",
                           "HTTP/1.1 20",
                           "HTTP/1.1 20 OK",
                           "HTTP/1.1 2000 OK",
                           "HTTP/1.1 0 OK",
                           "HTTP/1.1 099 OK",
                           "HTTP/1.1 600 OK",
                           "HTTP/1.1 999 OK",
                           "HTTP/1.1  200 OK",
                           "HTTP/1.1 -20 OK",
                           "HTTP/1.1 2x0 OK",
                           "HTTP/1.1 200OK",
                           "HTTP/1.1\t200 OK",
                           "HTTP/1.1 200\tOK",
                           " HTTP/1.1 200 OK",
                           "http/1.1 200 OK",
                           "HTTP/2.0 200 OK",
                           "HTTP/1.2 200 OK",
                           "HTTP/0.9 200 OK",
                           "HTTP/1.1x200 OK",
                           "HTTP/11 200 OK",
                           "ICY 200 OK",
                           "GET / HTTP/1.1",
                           "HTTP/2 200",
                           "RTSP/1.0 200 OK",
                           "HTTP/1.1 200 a\rb",
                           "HTTP/1.1 200 a\x01",
                           "HTTP/1.1 200 a\x7F",
                           "HTTP/1.1 200 a\n",
                           "HTTP/1.1 +20 OK",
                           "HTTPS/1.1 200"}) {
    bad.push_back(std::string(line) + "\r\nContent-Length: 0\r\n\r\n");
  }
  for (const char* lines : {"Content-Length: 1\r\nContent-Length: 1",
                            "Content-Length: 1\r\nContent-Length: 2",
                            "Content-Length: 1, 1",
                            "Content-Length: -1",
                            "Content-Length: +1",
                            "Content-Length: 0x1",
                            "Content-Length: 1a",
                            "Content-Length: ",
                            "Content-Length : 1",
                            "Content-Length: 1\r\nTransfer-Encoding: chunked",
                            "Transfer-Encoding: chunked\r\nContent-Length: 1",
                            "Transfer-Encoding: gzip",
                            "Transfer-Encoding: chunked, gzip",
                            "Transfer-Encoding: gzip, chunked",
                            "Transfer-Encoding: xchunked",
                            "Transfer-Encoding: identity",
                            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                            "Transfer-Encoding: ",
                            "Transfer-Encoding: chunked, chunked",
                            "X : y",
                            " X: y",
                            "X: y\r\n folded",
                            "X: y\r\n\tfolded",
                            "no colon",
                            ": x",
                            "X: a\rb",
                            "X: a\nY: b",
                            "X y: z",
                            "X: a\x01",
                            "X: a\x7F",
                            "Connection: content-length"}) {
    bad.push_back("HTTP/1.1 200 OK\r\n" + std::string(lines) + "\r\n\r\nx");
  }
  bad.push_back("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  bad.push_back("HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n");
  bad.push_back("HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  bad.push_back("HTTP/1.1 100 x\r\nContent-Length: 5\r\n\r\n");
  bad.push_back("HTTP/1.1 101 x\r\nTransfer-Encoding: chunked\r\n\r\n");
  bad.push_back("HTTP/1.1 304 x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n");
  bad.push_back("\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  bad.push_back("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
  bad.push_back("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore");
  bad.push_back("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx");
  bad.push_back("HTTP/1.1 200 OK\r\nContent-Le");
  for (const char* body : {"x\r\n", "1\r\nxy\r\n", "1\r\nx\r\n", "1 \r\nx\r\n0\r\n\r\n", "0x1\r\nx\r\n0\r\n\r\n",
                           "1\nx\n0\n\n", "-1\r\n", "0\r\nContent-Length: 1\r\n\r\n", "0\r\n folded\r\n\r\n", "0\r\n",
                           "1\r\n", "ffffffffffffffffff\r\n", "1;\x01\r\nx\r\n0\r\n\r\n"}) {
    bad.push_back("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(body));
  }
  for (int value = 0; value < 0x20; ++value) {
    if (value == '\t') continue;
    const std::string byte(1, static_cast<char>(value));
    bad.push_back("HTTP/1.1 200 OK\r\nX: a" + byte + "b\r\nContent-Length: 0\r\n\r\n");
    bad.push_back("HTTP/1.1 200 O" + byte + "K\r\nContent-Length: 0\r\n\r\n");
    bad.push_back("HTTP/1.1 200 OK\r\nX" + byte + ": b\r\nContent-Length: 0\r\n\r\n");
  }
  return bad;
}

}  // namespace

TEST_CASE("http responses: well-formed ones are understood, however they are cut") {
  for (const Good& good : kGood) CHECK(understood(good.input, good.to_head) == good.transcript);
}

TEST_CASE("http responses: bad ones are refused, however they are cut") {
  for (const std::string& input : bad_responses()) {
    CAPTURE(input);
    CHECK(refused(input));
  }
}

TEST_CASE("http responses: what follows a response to HEAD is no body of it") {
  CHECK(refused("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", true));
  CHECK_FALSE(refused("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nHTTP/1.1 204 x\r\n\r\n", true));
}

TEST_CASE("http responses: a body up to the end of the connection has a limit too") {
  HttpLimits limits;
  limits.body_bytes_max = 3;
  CHECK(understood("HTTP/1.1 200 OK\r\n\r\nabc", false, limits) == "200 OK 1.1 close\n  body(3)=abc\nend\n");
  CHECK(understood("HTTP/1.1 200 OK\r\n\r\nabcd", false, limits) ==
        "200 OK 1.1 close\n  part(3)=abc\n!413 the body is too long\n");
}
