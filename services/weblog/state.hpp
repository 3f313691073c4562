// WeblogState: what the weblog service must never forget: where it is in the log, and the last hits.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "state/base/bytes.hpp"
#include "state/state_codec.hpp"

namespace tap::services::weblog {

/// No more hits are kept than this, whatever the options say.
inline constexpr std::uint64_t kKeepMax = 10'000;
/// As many files are known at once: the present log, and older ones that have something new, or may get it.
inline constexpr std::size_t kFilesMax = 64;

/// A place in a file that is known by more than its name, for logs are renamed, copied and cut.
struct LogPlace {
  static constexpr std::uint32_t kBeginBytesMax = 256;

  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t offset = 0;       ///< where the next line begins
  std::uint32_t begin_bytes = 0;  ///< how many of its first bytes are known: all that was read, up to kBeginBytesMax
  std::uint32_t begin_sum = 0;    ///< CRC-32C of these
  bool skipping = false;          ///< `offset` is inside of a line that was too long

  bool operator==(const LogPlace&) const = default;
  template <class Archive>
  void serialize(Archive& archive);
};

/// One look at the log: how far it is read now, and what was found. It says how many hits are kept, because that is an
/// option, and options change.
struct HitsRead {
  std::vector<LogPlace> files;
  std::vector<std::string> lines;  ///< of the hits found the last ones, as they stand in the log: at most `keep`
  std::uint64_t hits = 0;          ///< how many were found
  std::uint64_t malformed = 0;     ///< lines that were none
  std::uint64_t keep = 0;

  template <class Archive>
  void serialize(Archive& archive);
};

struct WeblogState {
  static constexpr std::uint32_t kSchemaVersion = 1;
  using Change = HitsRead;

  /// In the order in which they are read: the present log is the last. Empty until there was a log.
  std::vector<LogPlace> files;
  std::uint64_t hits = 0;        ///< how many have been told
  std::uint64_t malformed = 0;   ///< lines that were no hits
  std::deque<std::string> kept;  ///< the last hits, as they stand in the log

  bool operator==(const WeblogState&) const = default;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version);
};

/// May not throw; a line for which there is no memory ends the process, as every allocation here.
void apply(WeblogState& state, const HitsRead& change) noexcept;

[[nodiscard]] const state::StateCodec<WeblogState>& weblog_codec();

}  // namespace tap::services::weblog
