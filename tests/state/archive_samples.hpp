// Archives to test with: a small complete one, and bytes put together by hand with right checksums.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "state/archive.hpp"

namespace tap::tests {

/// Two services; every member of a definition is used.
[[nodiscard]] state::Definition sample_definition();
/// The same archive for each call: two sections, two ancestors, a parent.
[[nodiscard]] state::Archive sample_archive();

/// A section as it lies in the file, right or wrong (state/FORMAT.md, section 2).
struct SectionImage {
  std::uint32_t type = 2;
  std::uint32_t schema_version = 1;
  std::uint32_t codec = 1;
  std::string service;
  std::string kind;
  Bytes payload;
};

/// An archive's bytes with these sections and right checksums, written without the product's encoder.
[[nodiscard]] Bytes build_archive(const std::vector<SectionImage>& sections);
/// The section of a definition with nothing in it but `name`.
[[nodiscard]] SectionImage definition_image(const std::string& name);

/// Makes every checksum that can be found in `bytes` right, and the length in the trailer.
void repair_checksums(Bytes& bytes);

/// Overwrites the bytes at `at`.
template <class Unsigned>
void patch(Bytes& bytes, std::size_t at, Unsigned value) {
  Bytes raw;
  put_le(raw, value);
  bytes.replace(at, raw.size(), raw);
}

}  // namespace tap::tests
