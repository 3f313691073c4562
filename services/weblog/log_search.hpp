// How the files of a log are found again after somebody has renamed or copied them.
//
// Tests: tests/services/weblog/log_look_test.cpp
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/weblog/log_file.hpp"

namespace tap::services::weblog {

/// A directory with more is not searched to its end.
inline constexpr std::size_t kDirectoryEntriesMax = 10'000;

/// Of rotations that nobody saw so many are read, the newest.
inline constexpr std::size_t kBetweenMax = 32;

/// "access.log.1", "access.log-20261124": what programs that rotate logs make of "access.log".
/// Compressed ones are none.
[[nodiscard]] bool is_rotated_name(std::string_view name, std::string_view log);

/// The file with this place in the log's own directory, under whatever name: by its inode, and if there is none by how
/// it begins. Thread: any but the loop's. Errors: unavailable, when nobody can say now whether it is there.
[[nodiscard]] Result<std::optional<LogFile>> find_file(const std::string& log, const LogPlace& place);

/// A copy, another file that begins as this one did and has all that was read: what copytruncate leaves.
[[nodiscard]] std::optional<LogFile> find_copy(const std::string& log, const LogPlace& place);

/// Rotated files that were made after `last`, oldest first, the present log not among them: rotations that nobody saw.
/// By the time of birth, which no rename and no late line changes; a file system that does not keep it gives none.
[[nodiscard]] std::vector<LogFile> find_between(const std::string& log, const LogFile& last);

}  // namespace tap::services::weblog
