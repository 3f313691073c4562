// Reading a file that may not be there yet, and may be anything.
#pragma once

#include <cstddef>
#include <string>

#include "state/base/result.hpp"

namespace tap::services {

/// A larger file is no mail.
inline constexpr std::size_t kMailBytesMax = std::size_t{1} << 20U;

/// Thread: it blocks, so any but the loop's. Errors: no_input, when it is not there; permission; internal, when it is
/// too large, not a file or cannot be read.
[[nodiscard]] Result<std::string> read_mail(const std::string& path);

}  // namespace tap::services
