// Opening: a name becomes an open file, or the reason why not, without ever leaving the root.
//
// The kernel keeps the name beneath the root: openat2(2) with RESOLVE_BENEATH, so that no "..", no symbolic link and no
// race with somebody who moves directories leads out; symbolic links that stay inside are followed. Where there is no
// openat2 (before Linux 5.6) each component is opened by itself and no symbolic link is followed.
//
// Tests: tests/services/files/name_test.cpp, escape_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "services/net/http/answer_head.hpp"
#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::services::files {

/// A smaller file is read when it is opened, and its descriptor closed.
inline constexpr std::size_t kContentBytesMax = std::size_t{64} * 1024;

/// A regular file as it was when it was opened. Immutable, and shared by those who send it.
struct OpenedFile {
  Fd fd;                ///< not open when `content` is all of it
  std::string content;  ///< of a small file
  std::uint64_t size_bytes = 0;
  std::int64_t modified_s = 0;
  std::string etag;  ///< with its quotes; weak while the file may still change within the resolution of its time
  net::HttpAnswerHead head;  ///< of an answer with all of it

  [[nodiscard]] bool in_memory() const { return !fd.open(); }
  [[nodiscard]] bool weak() const { return etag.front() == 'W'; }
};

/// What a name stands for.
struct Found {
  enum class What : std::uint8_t {
    file,
    directory,
    missing,      ///< there is nothing of that name
    refused,      ///< it leaves the root, or may not be read
    no_file,      ///< a device, a fifo, a socket
    unavailable,  ///< there are no descriptors, or the disk has failed
  };
  What what = What::missing;
  std::shared_ptr<const OpenedFile> file = nullptr;
};

/// How the root is guarded.
enum class Guard : std::uint8_t { openat2, by_component };

/// What this kernel has.
[[nodiscard]] Guard guard_of_kernel(int root);

/// `name` is plain (name.hpp), or empty for the root itself. Blocks: for the pool. `now_s`: seconds since 1970.
[[nodiscard]] Found open_beneath(int root, const std::string& name, Guard guard, std::int64_t now_s);

/// One page in HTML with the names in a directory; those that begin with a dot are left out unless `hidden`. Blocks.
/// Errors: unavailable, when it cannot be read.
[[nodiscard]] Result<std::string> directory_page(int root, const std::string& name, Guard guard, bool hidden);
/// More names are not shown.
inline constexpr std::size_t kPageNamesMax = 10'000;

}  // namespace tap::services::files
