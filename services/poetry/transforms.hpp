// Transforms: what the poetry-transform service can do to a poem. The list is in transforms.cpp; a new one is a line
// there.
//
// Text is UTF-8; bytes that are not stay as they are, where they are.
//
// Source: The Unicode Standard, 3.13 (default case algorithms), Unicode data by utf8proc.
// Tests:  tests/services/poetry/transforms_test.cpp
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace tap::services {

/// Takes time in proportion to the poem; the result is at most half as long again. Thread: any.
struct PoemTransform {
  std::string_view name;
  std::string_view does;  ///< for the list in the help
  std::string (*apply)(std::string_view poem);
};

[[nodiscard]] std::span<const PoemTransform> poem_transforms();
/// nullptr: there is none of this name.
[[nodiscard]] const PoemTransform* find_poem_transform(std::string_view name);

/// Lowercase in full, as Unicode has it without a language: one letter may become two, and a sigma at the end of a
/// word is another than inside.
[[nodiscard]] std::string cummingsify(std::string_view poem);
/// The characters that a reader sees, the last one first: marks stay with their letter, CR LF stays one.
[[nodiscard]] std::string backwards(std::string_view poem);
/// Each of the 26 letters becomes the one 13 further; twice is nothing.
[[nodiscard]] std::string rot13(std::string_view poem);

}  // namespace tap::services
