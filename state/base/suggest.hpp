// "Did you mean": the nearest of the words that would have been right.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tap {

/// "; did you mean 'framing'?" or, when nothing is near enough, "".
/// Source: Damerau and Levenshtein's distance (optimal string alignment),
/// with a third of the word's length as the limit.
[[nodiscard]] std::string did_you_mean(std::string_view word, const std::vector<std::string>& known);

}  // namespace tap
