// The chargen service: characters without end (RFC 864, TCP and UDP), no faster than they are read and than allowed.
//
// By UDP an answer is never longer than what asked for it: the RFC lets it have any length up to 512.
//
// Tests: tests/services/rfc/chargen_test.cpp
#pragma once

#include <cstdint>
#include <string>

#include "services/kind.hpp"

namespace tap::services {

inline constexpr std::size_t kChargenLineBytes = 74;  ///< 72 characters, CR, LF
inline constexpr std::size_t kChargenDatagramBytesMax = 512;
/// To one client, per second; more is taken for this.
inline constexpr std::uint64_t kChargenRateMax = std::uint64_t{1} << 30U;

/// Line `number` of the pattern: 72 of the 95 printing characters, each line one further.
[[nodiscard]] std::string chargen_line(std::uint64_t number);

[[nodiscard]] Kind chargen_kind();

}  // namespace tap::services
