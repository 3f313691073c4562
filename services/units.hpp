// Units: durations, sizes and booleans as people write them, in configs and on command lines alike.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tap::services {

/// "300ms", "5s", "5min", "2h", "1d" or a number of seconds ("1.5"), as milliseconds; nullopt when it is none of these.
[[nodiscard]] std::optional<std::uint64_t> parse_duration_ms(std::string_view text);

/// "64KiB", "10MiB", "1GiB" or a number of bytes.
[[nodiscard]] std::optional<std::uint64_t> parse_size_bytes(std::string_view text);

/// "true" or "false".
[[nodiscard]] std::optional<bool> parse_boolean(std::string_view text);

[[nodiscard]] std::optional<std::uint64_t> parse_count(std::string_view text);

/// "2026-11-21T23:25:17Z"
[[nodiscard]] std::string time_text(std::uint64_t ms_since_1970);

/// The shortest of the forms above: 65536 gives "64KiB".
[[nodiscard]] std::string size_text(std::uint64_t bytes);

/// The shortest of the forms above: 10000 gives "10s".
[[nodiscard]] std::string duration_text(std::uint64_t ms);

}  // namespace tap::services
