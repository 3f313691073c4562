#include "services/files/name.hpp"

#include <doctest/doctest.h>

#include "services/files/conditions.hpp"

using namespace tap::services::files;
using namespace std::string_view_literals;

TEST_CASE("files: a plain name has components that are not empty, '.' or '..'") {
  for (const auto good : {"a"sv, "a/b"sv, "..a/b.."sv, "..."sv, "a b/\xC3\xA4"sv, ".hidden"sv, "a\\b"sv}) {
    CAPTURE(good);
    CHECK(is_plain_name(good));
  }
  for (const auto bad :
       {""sv, "/"sv, "/a"sv, "a/"sv, "a//b"sv, "."sv, ".."sv, "a/."sv, "a/../b"sv, "../a"sv, "a\0b"sv}) {
    CAPTURE(bad);
    CHECK(!is_plain_name(bad));
  }
  CHECK(is_plain_name(std::string(kNameBytesMax, 'a')));
  CHECK(!is_plain_name(std::string(kNameBytesMax + 1, 'a')));
}

TEST_CASE("files: what begins with a dot, anywhere on the way, is hidden") {
  CHECK(is_hidden_name(".git"));
  CHECK(is_hidden_name("a/.b/c"));
  CHECK(!is_hidden_name("a.b/c."));
  CHECK(!is_hidden_name(""));
}

TEST_CASE("files: percent signs are decoded once, or not at all") {
  CHECK(percent_decoded("a%20b%2Fc") == "a b/c");
  CHECK(percent_decoded("%252e") == "%2e");
  CHECK(percent_decoded("%00") == std::string(1, '\0'));
  CHECK(!percent_decoded("%"));
  CHECK(!percent_decoded("%2"));
  CHECK(!percent_decoded("%2g"));
  CHECK(percent_encoded("a b/\xC3\xA4?#%\"<") == "a%20b/%C3%A4%3F%23%25%22%3C");
}

TEST_CASE("files: the type comes from the ending, in any case") {
  CHECK(content_type_of("a.html") == "text/html");
  CHECK(content_type_of("x/A.PNG") == "image/png");
  CHECK(content_type_of("7z.7z") == "application/x-7z-compressed");
  CHECK(content_type_of("a.zip") == "application/zip");
  CHECK(content_type_of("a.woff2") == "font/woff2");
  CHECK(content_type_of("zip") == "application/octet-stream");
  CHECK(content_type_of("a.") == "application/octet-stream");
  CHECK(content_type_of("a.html.exe") == "application/octet-stream");
}

TEST_CASE("files: the three forms of a date, and what is none") {
  constexpr std::int64_t kMoment = 784'111'777;  // the example of RFC 9110, 5.6.7
  CHECK(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT") == kMoment);
  CHECK(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT") == kMoment);
  CHECK(parse_http_date("Sun Nov  6 08:49:37 1994") == kMoment);
  CHECK(!parse_http_date(""));
  CHECK(!parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT and more"));
  CHECK(!parse_http_date("784111777"));
}

namespace {

constexpr Validators kFile{"\"v1\"", 784'111'777, 1000};
constexpr Validators kFresh{"W/\"v1\"", 784'111'777, 1000};
constexpr char kSame[] = "Sun, 06 Nov 1994 08:49:37 GMT";
constexpr char kBefore[] = "Sun, 06 Nov 1994 08:49:36 GMT";

tap::net::HttpRequestHead request(std::vector<tap::net::HttpField> fields, std::string_view method = "GET") {
  tap::net::HttpRequestHead head;
  head.method = method;
  head.fields = std::move(fields);
  return head;
}

/// "whole", "none" or "FIRST+BYTES".
std::string range_of(std::string_view range, const Validators& file = kFile) {
  const RangeWanted wanted = range_wanted(request({{"Range", range}}), file);
  if (wanted.what == RangeWanted::What::whole) return "whole";
  if (wanted.what == RangeWanted::What::unsatisfiable) return "none";
  return std::to_string(wanted.offset) + "+" + std::to_string(wanted.bytes);
}

std::string if_range(std::string_view condition, const Validators& file) {
  return range_wanted(request({{"Range", "bytes=0-0"}, {"If-Range", condition}}), file).what == RangeWanted::What::part
             ? "part"
             : "whole";
}

}  // namespace

TEST_CASE("files: a condition is met or not, the etag before the date") {
  const auto evaluated = [](std::vector<tap::net::HttpField> fields, const Validators& file = kFile) {
    return evaluate_conditions(request(std::move(fields)), file);
  };
  CHECK(evaluated({}) == 200);
  CHECK(evaluated({{"If-None-Match", "\"v1\""}}) == 304);
  CHECK(evaluated({{"If-None-Match", "W/\"v1\""}}) == 304);
  CHECK(evaluated({{"If-None-Match", "\"a,b\", \"v1\""}}) == 304);
  CHECK(evaluated({{"If-None-Match", "\"v0\""}, {"if-none-match", "\"v1\""}}) == 304);
  CHECK(evaluated({{"If-None-Match", "*"}}) == 304);
  CHECK(evaluated({{"If-None-Match", "\"v2\""}}) == 200);
  CHECK(evaluated({{"If-None-Match", "v1"}}) == 200);
  CHECK(evaluated({{"If-None-Match", "\"v2\""}, {"If-Modified-Since", kSame}}) == 200);
  CHECK(evaluated({{"If-Modified-Since", kSame}}) == 304);
  CHECK(evaluated({{"If-Modified-Since", kBefore}}) == 200);
  CHECK(evaluated({{"If-Modified-Since", "yesterday"}}) == 200);
  CHECK(evaluated({{"If-Match", "\"v1\""}}) == 200);
  CHECK(evaluated({{"If-Match", "\"v2\""}}) == 412);
  CHECK(evaluated({{"If-Match", "W/\"v1\""}}, kFresh) == 412);
  CHECK(evaluated({{"If-Unmodified-Since", kBefore}}) == 412);
  CHECK(evaluated({{"If-Unmodified-Since", kSame}}) == 200);
}

TEST_CASE("files: one range is a part, several or none that is understood are the whole") {
  CHECK(range_of("bytes=0-0") == "0+1");
  CHECK(range_of("bytes=10-19") == "10+10");
  CHECK(range_of("BYTES=10-") == "10+990");
  CHECK(range_of("bytes=-10") == "990+10");
  CHECK(range_of("bytes=-5000") == "0+1000");
  CHECK(range_of("bytes=999-5000") == "999+1");
  CHECK(range_of("bytes=1000-") == "none");
  CHECK(range_of("bytes=-0") == "none");
  CHECK(range_of("bytes=0-", {"\"e\"", 0, 0}) == "none");
  for (const char* text : {"bytes=0-1,5-6", "bytes=5-4", "bytes=", "bytes=-", "bytes=a-b", "lines=0-1", "bytes 0-1", "",
                           "bytes=0-99999999999999999999", "bytes=0--1", "bytes=+1-2"}) {
    CAPTURE(text);
    CHECK(range_of(text) == "whole");
  }
  CHECK(range_wanted(request({{"Range", "bytes=0-0"}}, "HEAD"), kFile).what == RangeWanted::What::whole);
}

TEST_CASE("files: If-Range wants the same bytes: a strong etag, or the date of a file that has had it for a while") {
  CHECK(if_range("\"v1\"", kFile) == "part");
  CHECK(if_range("\"v2\"", kFile) == "whole");
  CHECK(if_range("W/\"v1\"", kFresh) == "whole");
  CHECK(if_range(kSame, kFile) == "part");
  CHECK(if_range(kBefore, kFile) == "whole");
  CHECK(if_range(kSame, kFresh) == "whole");
}
