// The clocks: time (the article's greeting), daytime (RFC 867) and time868 (RFC 868), by TCP and UDP.
//
// Each tells the time once: to whoever connects, and ends the connection; to whoever sends a datagram,
// whatever it says.
//
// Tests: tests/services/rfc/clocks_test.cpp, tests/end_to_end/rfc_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "services/kind.hpp"

namespace tap::services {

/// Microseconds since 1970, UTC.
using WallClock = std::function<std::uint64_t()>;
[[nodiscard]] std::uint64_t system_wall_clock_us();

/// "Hello. The time is 1732455991.123456": what Twisted's article answers, with all six digits.
[[nodiscard]] std::string greeting_text(std::uint64_t us_since_1970);
/// "Tue Nov 24 13:46:31 2026\r\n": the form that inetd gives; always UTC.
[[nodiscard]] std::string daytime_text(std::uint64_t us_since_1970);
/// Seconds since 1900, four bytes, the highest first. The number begins again at 0 on 7 February 2036, 06:28:16 UTC.
[[nodiscard]] std::string time868_bytes(std::uint64_t us_since_1970);

[[nodiscard]] Kind time_kind(WallClock clock = system_wall_clock_us);
[[nodiscard]] Kind daytime_kind(WallClock clock = system_wall_clock_us);
[[nodiscard]] Kind time868_kind(WallClock clock = system_wall_clock_us);

}  // namespace tap::services
