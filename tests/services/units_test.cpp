#include "services/units.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

using namespace tap::services;

namespace {

struct Row {
  const char* text;
  std::uint64_t value;
};

}  // namespace

TEST_CASE("units: durations are milliseconds, and a bare number is seconds") {
  const std::vector<Row> rows{{"300ms", 300},
                              {"0ms", 0},
                              {"5s", 5000},
                              {"1.5s", 1500},
                              {"5min", 300'000},
                              {"2h", 7'200'000},
                              {"1d", 86'400'000},
                              {"10", 10'000},
                              {"0", 0},
                              {"0.25", 250},
                              {"1.5", 1500},
                              {".5s", 500},
                              {"0.4ms", 0},
                              {"0.5ms", 1},
                              {"007s", 7000},
                              {"0.1min", 6000},
                              {"9000000000000", 9'000'000'000'000'000}};
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(parse_duration_ms(row.text) == row.value);
  }
}

TEST_CASE("units: what is no duration is none") {
  for (const char* text :
       {"",    " ",    "s",        "ms",      "5 s",   " 5s",  "5s ",           "5sec",
        "5S",  "5MIN", "-5s",      "-0",      "+5s",   "5,5s", "1e3",           "0x10",
        "inf", "nan",  "infinity", "5min30s", "1.2.3", "5m",   "9000000000001", "99999999999999999999999999999999d",
        "KiB"}) {
    CAPTURE(text);
    CHECK(!parse_duration_ms(text).has_value());
  }
}

TEST_CASE("units: sizes are bytes") {
  const std::vector<Row> rows{
      {"0", 0},  {"1", 1},         {"64KiB", 65'536},   {"10MiB", 10'485'760},     {"1GiB", 1 << 30},
      {"7B", 7}, {"1.5KiB", 1536}, {"0.5GiB", 1 << 29}, {"123456789", 123'456'789}};
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(parse_size_bytes(row.text) == row.value);
  }
  for (const char* text : {"", "KiB", "64KB", "64K", "64 KiB", "-1", "1TiB", "64kib", "5s", "nan"}) {
    CAPTURE(text);
    CHECK(!parse_size_bytes(text).has_value());
  }
}

TEST_CASE("units: booleans are true and false, and nothing else") {
  CHECK(parse_boolean("true") == true);
  CHECK(parse_boolean("false") == false);
  for (const char* text : {"", "True", "FALSE", "yes", "no", "1", "0", "on", "off", "true "}) {
    CAPTURE(text);
    CHECK(!parse_boolean(text).has_value());
  }
}

TEST_CASE("units: counts are whole numbers of 64 bits") {
  CHECK(parse_count("0") == 0U);
  CHECK(parse_count("18446744073709551615") == std::numeric_limits<std::uint64_t>::max());
  for (const char* text : {"", "18446744073709551616", "-1", "+1", "1.5", " 1", "1 ", "0x1", "1e3", "one"}) {
    CAPTURE(text);
    CHECK(!parse_count(text).has_value());
  }
}

TEST_CASE("units: a time's text is UTC, to the second") {
  CHECK(time_text(0) == "1970-01-01T00:00:00Z");
  CHECK(time_text(1'795'303'517'999) == "2026-11-21T23:25:17Z");
  CHECK(!time_text(std::numeric_limits<std::uint64_t>::max()).empty());
}

TEST_CASE("units: a duration's text is the shortest, and reads as the same duration") {
  CHECK(duration_text(0) == "0s");
  CHECK(duration_text(1) == "1ms");
  CHECK(duration_text(999) == "999ms");
  CHECK(duration_text(1000) == "1s");
  CHECK(duration_text(10'000) == "10s");
  CHECK(duration_text(1500) == "1500ms");
  CHECK(duration_text(60'000) == "1min");
  CHECK(duration_text(90'000) == "90s");
  CHECK(duration_text(3'600'000) == "60min");
  for (const std::uint64_t ms : {0U, 1U, 300U, 1000U, 61'000U, 300'000U, 86'400'000U}) {
    CHECK(parse_duration_ms(duration_text(ms)) == ms);
  }
}
