// Text depth: how deep a JSON or XML text nests, before a parser that recurses gets to see it.
#pragma once

#include <string_view>

#include "state/base/result.hpp"
#include "state/text.hpp"

namespace tap::state {

/// Errors: damaged, when values nest deeper than kTextDepthMax; for XML also when the text is not of the plain shape
/// that `tap convert` writes (elements, attributes and text): comments, CDATA, processing instructions and whatever
/// else a parser might understand differently are refused, so that both agree on what nests.
/// Costs one walk over the text and no memory.
[[nodiscard]] Result<void> check_text_depth(std::string_view text, TextFormat format);

}  // namespace tap::state
