// The poetry-proxy service: fetches a poem from a poetry server, once, keeps it, and tells it to whoever connects.
//
// After the proxies of Dave Peticolas' "Twisted Introduction" (parts 14 and 18), which keep the poem as long as the
// process lives. Here it is the service's state. Those who come while it is fetched share the fetch. A fetch goes on
// when they have all left: the next one has use for it, and its limits end it in any case.
//
// Tests: tests/services/poetry/proxy_test.cpp, tests/end_to_end/poetry_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "services/kind.hpp"
#include "services/rfc/clocks.hpp"

namespace tap::services {

inline constexpr std::size_t kPoetryProxyBytesMax = std::size_t{16} << 20U;  ///< of size_max
inline constexpr std::uint64_t kPoetryProxyTimeoutMsMax = 3'600'000;
/// However steadily a poem comes, no fetch takes longer.
inline constexpr std::uint64_t kPoetryProxyFetchMsMax = 3'600'000;

/// `clock` tells how old the poem is: that goes on while the process does not.
[[nodiscard]] Kind poetry_proxy_kind(WallClock clock = system_wall_clock_us);

}  // namespace tap::services
