// The poetry service: tells a poem, at once or slowly (fastpoetry.py and slowpoetry.py of Dave Peticolas' "Twisted
// Introduction"). Several poems are several services.
//
// Tests: tests/services/poetry/poetry_test.cpp, tests/end_to_end/poetry_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "services/kind.hpp"

namespace tap::services {

inline constexpr std::uint64_t kPoetryNumBytesMax = 65'536;
inline constexpr std::uint64_t kPoetryDelayMsMax = 3'600'000;
/// What a slow client of a poem that is not in memory has of it in memory; never less than num_bytes.
inline constexpr std::size_t kPoetrySlowPieceBytes = 4096;
/// At a stop a slow client gets the rest at once, when it is no more than this.
inline constexpr std::size_t kPoetryRestBytesMax = 65'536;

[[nodiscard]] Kind poetry_kind();

}  // namespace tap::services
