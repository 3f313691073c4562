// What the fuzz targets of HTTP share: where the input is cut.
#pragma once

#include <cstdint>
#include <string_view>

#include "services/net/http/parser.hpp"
#include "state/base/assert.hpp"
#include "tests/services/net/http/transcript.hpp"

namespace tap::tests {

/// Small, so that they are met.
inline net::HttpLimits fuzz_limits() {
  net::HttpLimits limits;
  limits.start_line_bytes_max = 200;
  limits.head_bytes_max = 600;
  limits.fields_max = 12;
  limits.body_bytes_max = 300;
  limits.chunk_extension_bytes_max = 40;
  limits.trailer_bytes_max = 60;
  return limits;
}

/// The input: one byte of flags, one that says where it is cut (every N+1 bytes), then what the peer sends.
/// `transcript(bytes, cuts)` has to be the same for every way of cutting.
template <class Transcript>
void compare_cuts(const std::uint8_t* data, std::size_t size, Transcript transcript) {
  if (size < 2) return;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string whole = transcript(bytes, std::vector<std::size_t>());
  TAP_ASSERT(transcript(bytes, every_byte(bytes.size(), std::size_t{data[1]} + 1)) == whole);
  TAP_ASSERT(transcript(bytes, every_byte(bytes.size())) == whole);
}

}  // namespace tap::tests
