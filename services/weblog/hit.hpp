// Hit: one line of a web server's log, and how it is told as XML.
//
// Source: Apache's mod_log_config, the format "combined": %h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i".
// Tests: tests/services/weblog/hit_test.cpp, tests/fuzz/weblog_fuzz.cpp
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace tap::services::weblog {

/// What is longer is no hit: a line without its newline.
inline constexpr std::size_t kLineBytesMax = std::size_t{8} * 1024;
/// What a hit's XML may take: each byte of a line becomes six at most (&quot;), and the words around them are few.
inline constexpr std::size_t kHitBytesMax = kLineBytesMax * 6 + 256;

/// The fields as they stand in the line: what the server has escaped with backslashes stays so. Lifetime: the line's.
struct Hit {
  std::string_view ip;
  std::string_view timestamp;  ///< without the brackets
  std::string_view request;
  std::string_view status;
  std::string_view bytes;  ///< "-" when there were none
  std::string_view referrer;
  std::string_view agent;
};

/// nullopt: the line, given without its newline, is not in that format. What follows the agent after a blank is not
/// looked at: people append fields.
[[nodiscard]] std::optional<Hit> parse_hit(std::string_view line);

/// Appends `value` as an attribute's value with its quotes, as Python's xml.sax.saxutils.quoteattr does. What XML 1.0
/// cannot hold, control characters and what is not UTF-8, becomes U+FFFD, so that the document is well-formed whatever
/// somebody has sent to the web server.
void append_attribute(std::string& out, std::string_view value);

/// Appends the hit as an element, which begins with a newline.
void append_hit(std::string& out, const Hit& hit);

}  // namespace tap::services::weblog
