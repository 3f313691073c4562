// Place: what the connections of one file service share.
#pragma once

#include <cstdint>
#include <string>

#include "services/files/tree.hpp"

namespace tap::services::files {

struct FilesCounts {
  std::uint64_t requests = 0;
  std::uint64_t files = 0;      ///< sent, or begun to
  std::uint64_t parts = 0;      ///< of them, ranges
  std::uint64_t unchanged = 0;  ///< 304
  std::uint64_t missing = 0;
  std::uint64_t refused = 0;  ///< names that leave the root, or what may not be read
  std::uint64_t bad_requests = 0;
  std::uint64_t broken_off = 0;  ///< a file could not be sent to its end
};

/// Lifetime: outlives the connections.
struct Place {
  FileTree& tree;
  bool hidden = false;     ///< names that begin with a dot are served too
  bool index = false;      ///< directories are listed (HTTP)
  std::string index_file;  ///< served in the place of a directory (HTTP); empty: none
  FilesCounts counts = {};
};

}  // namespace tap::services::files
