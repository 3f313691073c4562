// Requests, well-formed and hostile, each cut at every byte.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/services/net/http/transcript.hpp"

using tap::net::HttpLimits;
using tap::tests::every_byte;
using tap::tests::request_transcript;

namespace {

/// The transcript; fails the test when it depends on how the bytes are cut.
std::string understood(const std::string& input, const HttpLimits& limits = {}) {
  std::string whole = request_transcript(input, {}, false, limits);
  CAPTURE(input);
  bool same = request_transcript(input, every_byte(input.size()), false, limits) == whole;
  for (std::size_t cut = 1; same && cut < input.size(); ++cut) {
    same = request_transcript(input, {cut}, false, limits) == whole;
    if (!same) MESSAGE("cut at ", cut);
  }
  CHECK(same);
  return whole;
}

/// The status that refuses it; 0 when it is not refused.
int refused(const std::string& input, const HttpLimits& limits = {}) {
  const std::string text = understood(input, limits);
  const std::size_t mark = text.rfind('!');
  return mark == std::string::npos ? 0 : std::stoi(text.substr(mark + 1));
}

std::string with_line(const std::string& line) { return "GET / HTTP/1.1\r\nHost: a\r\n" + line + "\r\n\r\n"; }

std::string chunked(const std::string& body) {
  return "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body;
}

struct Good {
  const char* input;
  const char* transcript;
};

const Good kGood[] = {
    {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / a  1.1 keep\n  Host=a\nend\n"},
    {"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / a  1.1 keep\n  Host=a\nend\n"},
    {"GET / HTTP/1.0\r\n\r\n", "GET /   1.0 close\nend\n"},
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET /   1.0 keep\n  Connection=Keep-Alive\nend\n"},
    {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
     "GET /   1.0 close\n  Connection=keep-alive, close\nend\n"},
    {"GET /a?b=%20&c=|{}^` HTTP/1.1\r\nHOST:a.example:8080\r\n\r\n",
     "GET /a?b=%20&c=|{}^` a.example:8080  1.1 keep\n  HOST=a.example:8080\nend\n"},
    {"GET /x HTTP/1.1\r\nHost: \t a \t \r\n\r\n", "GET /x a  1.1 keep\n  Host=a\nend\n"},
    {"GET /x HTTP/1.1\r\nHost:\r\n\r\n", "GET /x   1.1 keep\n  Host=\nend\n"},
    {"GET /x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET /x [::1]:80  1.1 keep\n  Host=[::1]:80\nend\n"},
    {"GET // HTTP/1.1\r\nHost: a\r\nX:\r\nX-Y: \r\n\r\n", "GET // a  1.1 keep\n  Host=a\n  X=\n  X-Y=\nend\n"},
    {"GET / HTTP/1.1\r\nHost: a\r\nX: caf\xC3\xA9 \xFF\r\n\r\n",
     "GET / a  1.1 keep\n  Host=a\n  X=caf\xC3\xA9 \xFF\nend\n"},
    {"GET / HTTP/1.1\r\nHost: a\r\nX: a\tb\r\n\r\n", "GET / a  1.1 keep\n  Host=a\n  X=a\tb\nend\n"},
    {"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
     "HEAD / a  1.1 close\n  Host=a\n  Connection=close\nend\n"},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: ,, x ,CLOSE\r\n\r\n",
     "GET / a  1.1 close\n  Host=a\n  Connection=,, x ,CLOSE\nend\n"},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n",
     "GET / a  1.1 close\n  Host=a\n  Connection=x\n  Connection=close\nend\n"},
    {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * a  1.1 keep\n  Host=a\nend\n"},
    {"GET http://a.example/p?q HTTP/1.1\r\nHost: a.example\r\n\r\n",
     "GET /p?q a.example http 1.1 keep\n  Host=a.example\nend\n"},
    {"GET http://a.example HTTP/1.1\r\nHost: A.example:80\r\n\r\n",
     "GET / a.example http 1.1 keep\n  Host=A.example:80\nend\n"},
    {"GET HTTPS://a:443/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET / a:443 HTTPS 1.1 keep\n  Host=a\nend\n"},
    {"GET http://a/ HTTP/1.0\r\n\r\n", "GET / a http 1.0 close\nend\n"},
    {"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\nanything",
     "CONNECT  a.example:443  1.1 keep\n  Host=a.example\nend\n"},
    {"CONNECT [::1]:443 HTTP/1.0\r\n\r\n", "CONNECT  [::1]:443  1.0 close\nend\n"},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
     "POST / a  1.1 keep\n  Host=a\n  Content-Length=5\n  body(5)=hello\nend\n"},
    {"POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH:\t005 \r\n\r\nhello",
     "POST / a  1.1 keep\n  Host=a\n  content-LENGTH=005\n  body(5)=hello\nend\n"},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
     "POST / a  1.1 keep\n  Host=a\n  Content-Length=0\nend\n"},
    {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
     "GET / a  1.1 keep\n  Host=a\n  Content-Length=2\n  body(2)=\r\n\nend\nGET /2 b  1.1 keep\n  Host=b\nend\n"},
    {"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
     "POST / a  continue? 1.1 keep\n  Host=a\n  Expect=100-Continue\n  Content-Length=1\n  body(1)=x\nend\n"},
    {"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
     "GET / a  1.1 keep\n  Host=a\n  Expect=100-continue\nend\n"},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.0\r\n\r\n",
     "GET / a  1.1 keep upgrade\n  Host=a\n  Connection=Upgrade\n  Upgrade=websocket\nend\nGET /   1.0 close\nend\n"},
    {"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nhiGET / "
     "HTTP/1.0\r\n\r\n",
     "POST / a  1.1 keep upgrade\n  Host=a\n  Connection=Upgrade\n  Upgrade=x\n  Content-Length=2\n  body(2)=hi\nend\n"
     "GET /   1.0 close\nend\n"},
    {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n", "GET / a  1.1 keep\n  Host=a\n  Upgrade=h2c\nend\n"},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0A\r\n0123456789\r\n0\r\n\r\n",
     "POST / a  1.1 keep\n  Host=a\n  Transfer-Encoding=CHUNKED\n  body(15)=hello0123456789\nend\n"},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /n HTTP/1.0\r\n\r\n",
     "POST / a  1.1 keep\n  Host=a\n  Transfer-Encoding=chunked\nend\nGET /n   1.0 close\nend\n"},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
     "1;a\r\nx\r\n002;a=b\r\nyz\r\n000\r\nX-T: 1\r\nY: \r\n\r\n",
     "POST / a  1.1 keep\n  Host=a\n  Transfer-Encoding=chunked\n  body(3)=xyz\nend\n"},
    {"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\nPATCH / HTTP/1.1\r\nHost: a\r\n\r\nM-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n",
     "PROPFIND / a  1.1 keep\n  Host=a\nend\nPATCH / a  1.1 keep\n  Host=a\nend\nM-SEARCH / a  1.1 keep\n  "
     "Host=a\nend\n"},
    {"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /part HTTP/1.1\r\nHo", "GET / a  1.1 keep\n  Host=a\nend\n...\n"},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel",
     "POST / a  1.1 keep\n  Host=a\n  Content-Length=5\n...\n"},
};

struct Bad {
  std::string input;
  int status = 400;
};

std::vector<Bad> bad_start_lines() {
  std::vector<Bad> bad;
  for (const char* line : {"GET",
                           "GET /",
                           "GET / ",
                           "GET  / HTTP/1.1",
                           " GET / HTTP/1.1",
                           "GET / HTTP/1.1 ",
                           "GET /  HTTP/1.1",
                           "GET\t/ HTTP/1.1",
                           "GET /\tHTTP/1.1",
                           "GET / http/1.1",
                           "GET / HTTP1.1",
                           "GET / HTTP/1",
                           "GET / HTTP/1.",
                           "GET / HTTP/.1",
                           "GET / HTTP/11",
                           "GET / HTTP/1.10",
                           "GET / HTTP/01.1",
                           "GET / HTTP/1,1",
                           "GET / HTTP/1.x",
                           "GET / HTTPS/1.1",
                           "GET / ICE/1.0",
                           "GET / RTSP/1.0",
                           "GET / XHTTP/1.1",
                           "GET /a b HTTP/1.1",
                           "G ET / HTTP/1.1",
                           "GE(T / HTTP/1.1",
                           "G\xC3\x89T / HTTP/1.1",
                           "@ / HTTP/1.1",
                           "/ HTTP/1.1",
                           "HTTP/1.1 200 OK",
                           "\"GET\" / HTTP/1.1",
                           "GET: / HTTP/1.1",
                           "GET,GET / HTTP/1.1",
                           "GET /HTTP/1.1"}) {
    bad.push_back({std::string(line) + "\r\nHost: a\r\n\r\n"});
  }
  for (const char* version : {"HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/1.9", "HTTP/3.0", "HTTP/9.9", "HTTP/0.0"}) {
    bad.push_back({std::string("GET / ") + version + "\r\nHost: a\r\n\r\n", 505});
  }
  bad.push_back({"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505});
  for (const char* method : {"get", "Get", "FOO", "GETT", "GE", "X", "G-T", "SOURCES"}) {
    bad.push_back({std::string(method) + " / HTTP/1.1\r\nHost: a\r\n\r\n", 501});
  }
  for (const char* target : {"a",
                             "a/b",
                             "?q",
                             "#",
                             "/#f",
                             "/a#f",
                             "/\\a",
                             "\\",
                             "/\"",
                             "/<a>",
                             "/\x7F",
                             "/\xC3\xA9",
                             "*",
                             "**",
                             "*/",
                             "a:80",
                             "ftp://a/",
                             "file:///etc",
                             "http:/a",
                             "http:a",
                             "http//a",
                             "http://",
                             "http:///a",
                             "http://?q",
                             "http://a?q",
                             "http://u@a/",
                             "http://u:p@a/",
                             "http://a:/",
                             "http://a:0/",
                             "http://a:65536/",
                             "http://a:x/",
                             "http://a:80:80/",
                             "http://[::1/",
                             "http://[]/",
                             "http://[a]/",
                             "http://[::1]x/",
                             "http://a b/",
                             "http://a%20/",
                             "://a/",
                             "javascript://a/",
                             "http://a,b/",
                             "http://a\\b/",
                             "http://a:+80/",
                             "http://a:080808/"}) {
    bad.push_back({std::string("GET ") + target + " HTTP/1.1\r\nHost: a\r\n\r\n"});
  }
  for (const char* target : {"/", "*", "a", "a:", "a:0", "a:65536", "a:443/", "http://a:443", "a:443:1", ":443",
                             "u@a:443", "[::1]", "[::1:443", "a:44a", "a,b:1"}) {
    bad.push_back({std::string("CONNECT ") + target + " HTTP/1.1\r\nHost: a\r\n\r\n"});
  }
  return bad;
}

std::vector<Bad> bad_fields() {
  std::vector<Bad> bad;
  for (const char* line : {"Content-Length: -1",
                           "Content-Length: +5",
                           "Content-Length: 5, 5",
                           "Content-Length: 5,6",
                           "Content-Length: 0x5",
                           "Content-Length: 5a",
                           "Content-Length: a5",
                           "Content-Length: 5 5",
                           "Content-Length:",
                           "Content-Length: ",
                           "Content-Length: 5;",
                           "Content-Length: \"5\"",
                           "Content-Length: 1e1",
                           "Content-Length: 5.0",
                           "Content-Length: ,5",
                           "Content-Length: 9999999999999999999",
                           "Content-Length: 18446744073709551616",
                           "Content-Length: 00000000000000000000005",
                           "Content-Length: \xC2\xB2",
                           "Content-Length: 5\r\nContent-Length: 5",
                           "Content-Length: 5\r\nContent-Length: 6",
                           "Content-Length: 0\r\ncontent-length: 0",
                           "Content-Length: 5\r\nTransfer-Encoding: chunked",
                           "Transfer-Encoding: chunked\r\nContent-Length: 5",
                           "Transfer-Encoding: chunked\r\nContent-Length: 0",
                           "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                           "Content-Length : 5",
                           "Content-Length\t: 5",
                           "Transfer-Encoding : chunked",
                           "Host : b",
                           " Host: b",
                           "X",
                           "X y: z",
                           "X\ty: z",
                           ": x",
                           ":",
                           " : x",
                           "X(: y",
                           "X): y",
                           "X/: y",
                           "X[: y",
                           "X=: y",
                           "X\"y\": z",
                           "X{: y",
                           "X@: y",
                           "X,: y",
                           "X;: y",
                           "X<: y",
                           "X?: y",
                           "\xC3\xA9: x",
                           "X\xA0: y",
                           " folded",
                           "\tfolded",
                           "X: y\r\n folded",
                           "X: y\r\n\tfolded",
                           "X: y\r\n  Content-Length: 5",
                           "Host: b",
                           "host: a",
                           "HOST: a",
                           "X: a\rb",
                           "X: a\r\r",
                           "X\r: a",
                           "X: a\n",
                           "X: a\nY: b",
                           "X: a\nContent-Length: 5",
                           "Connection: content-length",
                           "Connection: close, Transfer-Encoding",
                           "Connection: host"}) {
    bad.push_back({with_line(line)});
  }
  for (const char* coding : {"xchunked", "chunkedx", "chunked, gzip", "gzip, chunked", "chunked, chunked", "chunked,",
                             ",chunked", "identity", "gzip", "", "chunked;q=1", "\"chunked\"", "'chunked'", "chunke",
                             "chu nked", "x", "identity, chunked", "chunked identity", "chun\xC3\xA9"}) {
    bad.push_back({with_line(std::string("Transfer-Encoding: ") + coding), 501});
  }
  for (const char* host :
       {"a b", "a,b",      "a/b",  "u@a",   "a:",     "a:x",      "a:0", "a:65536", "a:80:80",    "[::1", "::1", "a?b",
        "a#b", "http://a", "a\\b", "a%20b", "[g::1]", "\xC3\xA9", "a;b", "(a)",     "a:80, b:80", "[]",   "*"}) {
    bad.push_back({std::string("GET / HTTP/1.1\r\nHost: ") + host + "\r\n\r\n"});
    bad.push_back({std::string("GET / HTTP/1.0\r\nHost: ") + host + "\r\n\r\n"});
  }
  bad.push_back({"GET / HTTP/1.1\r\n\r\n"});
  bad.push_back({"GET / HTTP/1.1\r\nX-Host: a\r\n\r\n"});
  bad.push_back({"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"});
  bad.push_back({"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"});
  bad.push_back({"GET http://a/ HTTP/1.1\r\nHost: a:81\r\n\r\n"});
  bad.push_back({"GET http://a/ HTTP/1.1\r\nHost: a:443\r\n\r\n"});
  bad.push_back({"GET https://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n"});
  bad.push_back({"GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n"});
  bad.push_back({"GET http://a/ HTTP/1.1\r\n\r\n"});
  bad.push_back({"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"});
  bad.push_back({"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"});
  bad.push_back({"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"});
  bad.push_back({with_line("Expect: 200-ok"), 417});
  bad.push_back({with_line("Expect: 100-continue, x"), 417});
  return bad;
}

std::vector<Bad> bad_bytes() {
  std::vector<Bad> bad;
  for (int value = 0; value < 256; ++value) {
    const std::string byte(1, static_cast<char>(static_cast<unsigned char>(value)));
    if ((value < 0x20 && value != '\t') || value == 0x7F) {
      bad.push_back({with_line("X: a" + byte + "b")});
      bad.push_back({with_line("X" + byte + ": b")});
      bad.push_back({"GET /" + byte + " HTTP/1.1\r\nHost: a\r\n\r\n"});
      bad.push_back({"G" + byte + "T / HTTP/1.1\r\nHost: a\r\n\r\n"});
      bad.push_back({"GET / HTTP/1.1" + byte + "\r\nHost: a\r\n\r\n"});
      bad.push_back({chunked("1;" + byte + "\r\nx\r\n0\r\n\r\n")});
      bad.push_back({chunked("0\r\nX: " + byte + "y\r\n\r\n")});
    }
  }
  for (const char* input :
       {"GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\n\r\n", "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\rHost: a\r\r", "\rGET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\rX", "\x16\x03\x01\x02", "\x80\x2e\x01"}) {
    bad.push_back({input});
  }
  return bad;
}

std::vector<Bad> bad_chunks() {
  std::vector<Bad> bad;
  for (const char* body : {"\r\n",
                           "x\r\n",
                           "g\r\n",
                           "-1\r\n",
                           "+1\r\nx\r\n",
                           "0x1\r\nx\r\n",
                           "1 \r\nx\r\n",
                           " 1\r\nx\r\n",
                           "1\t\r\nx\r\n",
                           "1 ;a\r\nx\r\n",
                           "1,1\r\nx\r\n",
                           "1.\r\nx\r\n",
                           "1\nx\r\n",
                           "1\r\nx\n",
                           "1\r\nx",
                           "1\r\nx0\r\n\r\n",
                           "1\r\nxy\r\n",
                           "1\r\nx\rY",
                           "1\r\nx\r\r\n",
                           "2\r\nx\r\n0\r\n\r\n",
                           "1\rx",
                           "1\r\r\n",
                           ";a\r\nx\r\n",
                           "ffffffffffffffff\r\n",
                           "10000000000000000\r\n",
                           "0000000000000001\r\nx\r\n",
                           "fffffffffffffffff\r\n",
                           "1\r\nx\r\n\r\n",
                           "1\r\nx\r\n0\r\n\n",
                           "0\r\n\rX",
                           "0\n\n",
                           "0\r\nX\r\n\r\n",
                           "0\r\n X: y\r\n\r\n",
                           "0\r\nX : y\r\n\r\n",
                           "0\r\nX: y\r\n Z\r\n\r\n",
                           "0\r\nContent-Length: 5\r\n\r\n",
                           "0\r\nTransfer-Encoding: chunked\r\n\r\n",
                           "0\r\nhost: b\r\n\r\n",
                           "0\r\nX: y\nZ: w\r\n\r\n",
                           "0\r\n: y\r\n\r\n",
                           "0\r\nConnection: close\r\n\r\n",
                           "0 \r\n\r\n",
                           "0;\x01\r\n\r\n",
                           "1;a\nx\r\n",
                           "\xB2\r\nxx\r\n"}) {
    std::string input = chunked(body);
    if (std::string_view(body) == "1\r\nx") input += "zz";
    bad.push_back({input});
  }
  return bad;
}

}  // namespace

TEST_CASE("http requests: well-formed ones are understood, however they are cut") {
  for (const Good& good : kGood) CHECK(understood(good.input) == good.transcript);
}

TEST_CASE("http requests: bad start lines are refused, however they are cut") {
  for (const Bad& bad : bad_start_lines()) {
    CAPTURE(bad.input);
    CHECK(refused(bad.input) == bad.status);
  }
}

TEST_CASE("http requests: bad fields are refused, however they are cut") {
  for (const Bad& bad : bad_fields()) {
    CAPTURE(bad.input);
    CHECK(refused(bad.input) == bad.status);
  }
}

TEST_CASE("http requests: bad bytes and bad line ends are refused, however they are cut") {
  for (const Bad& bad : bad_bytes()) {
    CAPTURE(bad.input);
    CHECK(refused(bad.input) == bad.status);
  }
}

TEST_CASE("http requests: bad chunks and trailers are refused, however they are cut") {
  for (const Bad& bad : bad_chunks()) {
    CAPTURE(bad.input);
    CHECK(refused(bad.input) == bad.status);
  }
}

TEST_CASE("http requests: every limit is met at its byte, and not one byte before") {
  HttpLimits limits;
  limits.start_line_bytes_max = 30;
  limits.head_bytes_max = 80;
  limits.fields_max = 3;
  limits.body_bytes_max = 10;
  limits.chunk_extension_bytes_max = 8;
  limits.trailer_bytes_max = 20;
  const auto request = [&](std::size_t target, std::size_t value) {
    return "GET /" + std::string(target, 'x') + " HTTP/1.1\r\nHost: a\r\nX: " + std::string(value, 'y') + "\r\n\r\n";
  };
  CHECK(refused(request(16, 0), limits) == 0);  // "GET /" + 16 + " HTTP/1.1" are 30
  CHECK(refused(request(17, 0), limits) == 414);
  CHECK(refused(std::string(100, 'G'), limits) == 414);
  CHECK(refused(std::string(31, 'G'), limits) == 0);  // the two bytes after it might be its end
  CHECK(refused(request(16, 80 - 32 - 9 - 7), limits) == 0);
  CHECK(refused(request(16, 80 - 32 - 9 - 6), limits) == 431);
  const std::string start = "GET / HTTP/1.1\r\nHost: a\r\n";
  CHECK(refused(start + "A: b\r\nC: d\r\n\r\n", limits) == 0);
  CHECK(refused(start + "A: b\r\nC: d\r\nE: f\r\n\r\n", limits) == 431);
  const auto length = [&](int bytes) {
    return start + "Content-Length: " + std::to_string(bytes) + "\r\n\r\n" +
           std::string(static_cast<std::size_t>(bytes), 'x');
  };
  CHECK(refused(length(10), limits) == 0);
  CHECK(refused(length(11), limits) == 413);
  limits.head_bytes_max = 200;
  CHECK(refused(chunked("a\r\n0123456789\r\n0\r\n\r\n"), limits) == 0);
  CHECK(refused(chunked("b\r\n"), limits) == 413);
  CHECK(refused(chunked("9\r\n012345678\r\n1\r\nx\r\n1\r\n"), limits) == 413);
  CHECK(refused(chunked("fffffffffffffff\r\n"), limits) == 413);
  CHECK(refused(chunked("1;23456\r\nx\r\n0;a\r\n\r\n"), limits) == 0);
  CHECK(refused(chunked("1;23456\r\nx\r\n0;ab\r\n\r\n"), limits) == 400);
  CHECK(refused(chunked("1;" + std::string(100, 'a')), limits) == 400);
  CHECK(refused(chunked("0\r\nX: 345678901234567\r\n\r\n"), limits) == 0);
  CHECK(refused(chunked("0\r\nX: 3456789012345678\r\n\r\n"), limits) == 431);
}

TEST_CASE("http requests: the end of the stream is clean between messages only") {
  const std::string request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
  CHECK(request_transcript("", {}, true).empty());
  for (std::size_t size = 1; size <= request.size(); ++size) {
    CAPTURE(size);
    const bool failed =
        request_transcript(request.substr(0, size), {}, true).find("!400 the connection ended inside") !=
        std::string::npos;
    CHECK(failed == (size < request.size()));
  }
}
