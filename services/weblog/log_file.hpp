// LogFile: one file of a log, open, and how its lines are read from where the last look ended.
//
// Tests: tests/services/weblog/log_look_test.cpp
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "services/weblog/state.hpp"
#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::services::weblog {

/// Hits that were read together, in their order.
struct HitBatch {
  std::string xml;                  ///< as they are told
  std::vector<std::uint32_t> ends;  ///< where in `xml` each hit ends
  std::deque<std::string> lines;    ///< the last ones as they stand in the log
  std::uint64_t malformed = 0;

  /// A line without its newline. At most `keep` lines are kept.
  void take(std::string_view line, std::uint64_t keep);
};

/// Thread: one at a time; the descriptor is read with pread(2) only.
struct LogFile {
  LogPlace place;
  std::shared_ptr<const Fd> fd;  ///< nullptr: it has to be found
  std::uint64_t grown_ms = 0;    ///< when it last had something new

  /// Reads lines into `batch`, at most about `bytes_max` bytes of them, which become less. What follows the last
  /// newline waits in the file. True: nothing more is there now. Errors: internal.
  [[nodiscard]] Result<bool> read(HitBatch& batch, std::size_t& bytes_max, std::uint64_t keep);
  /// Takes what follows the last newline as a line: nobody will end it any more.
  void take_rest(HitBatch& batch, std::uint64_t keep);
  /// To the begin of the last line that is not complete, or to the end. Errors: internal.
  [[nodiscard]] Result<void> go_to_end();
  /// Whether it is shorter than what was read of it, or begins otherwise: somebody has cut it.
  [[nodiscard]] bool cut() const;

 private:
  void consume(std::string_view chunk, HitBatch& batch, std::uint64_t keep);
  [[nodiscard]] Result<void> know_begin();
};

/// Opens a regular file for reading, whatever else stands there is refused. Errors: no_input; permission; internal.
[[nodiscard]] Result<Fd> open_log(const std::string& path, struct stat& about);

/// Whether the file `fd` begins with what was read at `place`, and is long enough for it.
[[nodiscard]] bool begins_as(int fd, const LogPlace& place);

}  // namespace tap::services::weblog
