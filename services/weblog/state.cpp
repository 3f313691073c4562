#include "services/weblog/state.hpp"

#include <algorithm>

#include "services/weblog/hit.hpp"
#include "state/text_codec.hpp"

namespace tap::services::weblog {
namespace {

/// What is read from outside is believed within the limits only.
template <class Lines>
void check(const std::vector<LogPlace>& files, const Lines& lines) {
  if (files.size() > kFilesMax) throw state::CodecRefusal("there are too many files");
  for (const LogPlace& place : files) {
    if (place.begin_bytes > LogPlace::kBeginBytesMax || place.begin_bytes > place.offset) {
      throw state::CodecRefusal("more of a file's beginning is known than was read");
    }
  }
  if (lines.size() > kKeepMax) throw state::CodecRefusal("there are too many hits");
  for (const std::string& line : lines) {
    if (line.size() > kLineBytesMax || !parse_hit(line)) throw state::CodecRefusal("what should be a hit is none");
  }
}

}  // namespace

template <class Archive>
void LogPlace::serialize(Archive& archive) {
  archive(CEREAL_NVP(device), CEREAL_NVP(inode), CEREAL_NVP(offset), CEREAL_NVP(begin_bytes), CEREAL_NVP(begin_sum),
          CEREAL_NVP(skipping));
}

template <class Archive>
void HitsRead::serialize(Archive& archive) {
  archive(CEREAL_NVP(files), CEREAL_NVP(lines), CEREAL_NVP(hits), CEREAL_NVP(malformed), CEREAL_NVP(keep));
  if constexpr (Archive::is_loading::value) check(files, lines);
}

template <class Archive>
void WeblogState::serialize(Archive& archive, std::uint32_t /*version*/) {
  archive(CEREAL_NVP(files), CEREAL_NVP(hits), CEREAL_NVP(malformed), CEREAL_NVP(kept));
  if constexpr (Archive::is_loading::value) check(files, kept);
}

void apply(WeblogState& state, const HitsRead& change) noexcept {
  state.files = change.files;
  state.hits += change.hits;
  state.malformed += change.malformed;
  state.kept.insert(state.kept.end(), change.lines.begin(), change.lines.end());
  const std::uint64_t keep = std::min(change.keep, kKeepMax);
  while (state.kept.size() > keep) state.kept.pop_front();
}

const state::StateCodec<WeblogState>& weblog_codec() { return state::cereal_codec<WeblogState>(); }

}  // namespace tap::services::weblog
