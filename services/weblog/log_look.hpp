// LogLook: one look at a log: what is new in its files, and whether the log is another file now.
//
// A log is renamed and made anew, or copied and cut, while somebody writes to it, and often while nobody looks. So a
// file is known by its inode and by how it begins; after a rename the old file is read to its end before the new one,
// and for kLingerMs after its last line still looked at, because a web server's processes go on writing to it until
// they have opened the new one.
//
// Tests: tests/services/weblog/log_look_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "services/weblog/log_file.hpp"

namespace tap::services::weblog {

/// A file that is not the log any more is left when it has had nothing new for so long.
inline constexpr std::uint64_t kLingerMs = 60'000;
/// Of those so many at most.
inline constexpr std::size_t kLingeringMax = 24;
/// One look takes in about so much.
inline constexpr std::size_t kLookBytesMax = std::size_t{256} * 1024;

/// What a look has found.
struct LogSeen {
  std::vector<LogFile> files;  ///< those to look at the next time, the log as the last
  HitBatch hits;
  bool more = false;               ///< there is more to read at once
  std::uint64_t rotations = 0;     ///< how often the log became another file
  std::uint64_t cuts = 0;          ///< how often it was truncated
  std::vector<std::string> notes;  ///< what people should know: sentences for the log
  std::string trouble;             ///< why the log cannot be read now; empty: it can, or is not there
};

/// What to look at. Thread: it blocks, so any but the loop's; it is a value that touches nothing else.
class LogLook {
 public:
  std::string path;
  std::vector<LogFile> files;  ///< as the last look left them
  std::uint64_t now_ms = 0;
  std::uint64_t keep = 0;
  bool skip_old = false;  ///< the log, if it is there, is begun at its end: it is seen for the first time

  [[nodiscard]] LogSeen operator()() const;
};

}  // namespace tap::services::weblog
