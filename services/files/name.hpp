// Names of files as clients give them: which are looked up at all, and what stands for them in HTTP.
//
// What leaves the root is refused by the kernel when the file is opened (opening.hpp); here is refused what no honest
// client asks for, so that a name means one file and is the same to everybody who reads it.
//
// Tests: tests/services/files/name_test.cpp
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace tap::services::files {

/// Longer names are refused. Linux takes 4,095 (PATH_MAX).
inline constexpr std::size_t kNameBytesMax = 2'048;

/// Whether it is a relative path of components that are not empty, "." or "..", without a NUL.
[[nodiscard]] bool is_plain_name(std::string_view name);
/// Whether one of its components begins with a dot.
[[nodiscard]] bool is_hidden_name(std::string_view name);

/// "%41" is "A". Done once: what comes out is not looked at again. nullopt: a '%' without two hexadecimal digits.
[[nodiscard]] std::optional<std::string> percent_decoded(std::string_view text);
/// What has a meaning in a URL, or none in ASCII, as "%41". Slashes stay.
[[nodiscard]] std::string percent_encoded(std::string_view name);

/// By the ending of the name; "application/octet-stream" for others.
[[nodiscard]] std::string_view content_type_of(std::string_view name);

}  // namespace tap::services::files
