// Conditions: what a request asks of a file besides its name: only if it has changed, only a part of it.
//
// Source: RFC 9110, sections 13 (conditional requests) and 14 (ranges).
// Tests: tests/services/files/http_test.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "services/net/http/head.hpp"

namespace tap::services::files {

/// What of a file is compared with.
struct Validators {
  std::string_view etag;  ///< with its quotes, and W/ when it is weak
  std::int64_t modified_s = 0;
  std::uint64_t size_bytes = 0;
};

/// Seconds since 1970 of any of the three forms of a date (RFC 9110, 5.6.7); nullopt: it is none.
[[nodiscard]] std::optional<std::int64_t> parse_http_date(std::string_view text);

/// 200: go on; 304, 412 (section 13.2.2).
[[nodiscard]] int evaluate_conditions(const net::HttpRequestHead& request, const Validators& file);

struct RangeWanted {
  enum class What : std::uint8_t { whole, part, unsatisfiable };
  What what = What::whole;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};
/// Of a GET. Several ranges at once, and what is malformed, are answered with the whole (section 14.2).
[[nodiscard]] RangeWanted range_wanted(const net::HttpRequestHead& request, const Validators& file);

}  // namespace tap::services::files
