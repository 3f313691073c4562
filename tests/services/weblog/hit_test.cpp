// Lines of a log, taken apart and told as XML.
#include "services/weblog/hit.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace tap::services::weblog;

namespace {

constexpr char kLine[] =
    R"x(127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)")x";

std::string attribute(std::string_view value) {
  std::string out;
  append_attribute(out, value);
  return out;
}

}  // namespace

TEST_CASE("weblog hit: the line of Apache's manual is taken apart and told") {
  const auto hit = parse_hit(kLine);
  REQUIRE(hit.has_value());
  std::string xml;
  append_hit(xml, *hit);
  CHECK(xml ==
        "\n<hit \n  ip=\"127.0.0.1\" \n  timestamp=\"10/Oct/2000:13:55:36 -0700\" \n  request=\"GET /apache_pb.gif "
        "HTTP/1.0\" \n  status=\"200\" \n  bytes=\"2326\" \n  referrer=\"http://www.example.com/start.html\" \n  "
        "agent=\"Mozilla/4.08 [en] (Win98; I ;Nav)\"/>");
}

TEST_CASE("weblog hit: what is not in the format is none, wherever the line is cut") {
  const std::string line = kLine;
  for (std::size_t size = 0; size < line.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(parse_hit(line.substr(0, size)));
  }
  CHECK(parse_hit(line));
  CHECK(parse_hit(line + "\r"));
  CHECK(parse_hit(line + " \"more\" 0.003"));
  CHECK_FALSE(parse_hit(line + "x"));
  for (const std::string& wrong :
       std::vector<std::string>{R"( - - [t] "r" 200 1 "-" "-")", R"(1.1.1.1 - [t] "r" 200 1 "-" "-")",
                                R"(1.1.1.1 - - [] "r" 200 1 "-" "-")", R"(1.1.1.1 - - [t] r 200 1 "-" "-")",
                                R"(1.1.1.1 - - [t] "r" 20 1 "-" "-")", R"(1.1.1.1 - - [t] "r" 2000 1 "-" "-")",
                                R"(1.1.1.1 - - [t] "r" 2x0 1 "-" "-")", R"(1.1.1.1 - - [t] "r" 200 x "-" "-")",
                                R"(1.1.1.1 - - [t] "r" 200  "-" "-")", R"(1.1.1.1 - - [t] "r" 200 1 - "-")",
                                R"(1.1.1.1 - - [t] "r" 200 1 "-" -)", R"(1.1.1.1 - - [t] "r\" 200 1 "-" "-")"}) {
    CAPTURE(wrong);
    CHECK_FALSE(parse_hit(wrong));
  }
}

TEST_CASE("weblog hit: quotes that were escaped do not end a field, a user may have blanks, bytes may be none") {
  const auto hit = parse_hit(R"(::1 - john doe [t] "GET /\"x\\" 304 - "" "a\"b")");
  REQUIRE(hit.has_value());
  CHECK(hit->ip == "::1");
  CHECK(hit->request == R"(GET /\"x\\)");
  CHECK(hit->bytes == "-");
  CHECK(hit->referrer.empty());
  CHECK(hit->agent == R"(a\"b)");
}

// What Python's xml.sax.saxutils.quoteattr gives; the end-to-end test compares with Python itself.
TEST_CASE("weblog hit: attributes are quoted as Python does it") {
  CHECK(attribute("") == "\"\"");
  CHECK(attribute("a'b") == "\"a'b\"");
  CHECK(attribute("a\"b") == "'a\"b'");
  CHECK(attribute("a\"b'c") == "\"a&quot;b'c\"");
  CHECK(attribute("a<b>&\n\r\t;") == "\"a&lt;b&gt;&amp;&#10;&#13;&#9;;\"");
  CHECK(attribute("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80 \xe2\x82\xac") ==
        "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80 \xe2\x82\xac\"");
}

TEST_CASE("weblog hit: what XML cannot hold is replaced, byte by byte") {
  const std::string replaced = "\xef\xbf\xbd";
  for (const std::string& byte : std::vector<std::string>{std::string(1, '\0'), "\x01", "\x1b", "\x1f", "\x80", "\xff",
                                                          "\xc3", "\xef\xbf\xbe", "\xef\xbf\xbf"}) {
    CHECK(attribute("a" + byte + "b") == "\"a" + replaced + "b\"");
  }
  CHECK(attribute("\x7f") == "\"\x7f\"");
  CHECK(attribute("\xc0\x80") == "\"" + replaced + replaced + "\"");                 // overlong
  CHECK(attribute("\xed\xa0\x80") == "\"" + replaced + replaced + replaced + "\"");  // a surrogate
  CHECK(attribute("\xf4\x90\x80\x80") == "\"" + replaced + replaced + replaced + replaced + "\"");
  CHECK(attribute("\xe2\x82") == "\"" + replaced + replaced + "\"");  // cut
}
