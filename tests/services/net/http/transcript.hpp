// What a parser made of some bytes, as text: for tables, for comparing one way of cutting with another, for fuzzing.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "services/net/http/parser.hpp"

namespace tap::tests {

/// "GET /path a.example 1.1 keep\n  Host=a.example\n  body(5)=hello\nend\n...!400 reason\n"; the end of the input is
/// told to the parser when `finish`. `cuts`: where one read ends and the next begins, ascending.
[[nodiscard]] std::string request_transcript(std::string_view input, const std::vector<std::size_t>& cuts, bool finish,
                                             const net::HttpLimits& limits = {});
/// The same for responses to GET, or to HEAD; those with a status below 200 are followed by another.
[[nodiscard]] std::string response_transcript(std::string_view input, const std::vector<std::size_t>& cuts, bool finish,
                                              bool to_head = false, const net::HttpLimits& limits = {});

/// Cuts before each byte, which come after the first.
[[nodiscard]] std::vector<std::size_t> every_byte(std::size_t size, std::size_t step = 1);

}  // namespace tap::tests
