// Files: reading whole files that may be anything, and replacing them so that a power cut leaves the old or the new.
//
// Every function takes a directory descriptor and a name inside it (or AT_FDCWD and a path), so that a store keeps
// working whatever is renamed, mounted or chrooted above it. Names are only for messages beyond that.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "state/base/bytes.hpp"
#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::state {

/// More than any archive: what is larger is refused before memory is taken for it. 64 GiB.
inline constexpr std::size_t kFileBytesMax = std::size_t{64} << 30U;

/// The whole content of a regular file.
/// Errors: damaged above kFileBytesMax; no_input when it is missing or is a directory, FIFO, socket or device;
/// permission; internal on I/O.
[[nodiscard]] Result<Bytes> read_file(int dir, const std::string& name);

/// Makes `bytes` the content of `dir/name`, durably and all at once: written to `name.tmp`, fsync, checked, renamed,
/// directory fsync. On any error the old file is as it was and the temporary one is gone.
///
/// `check` sees the bytes read back before the rename; an error from it stops the replacement.
/// Source: the rename idiom of "All File Systems Are Not Created Equal" (OSDI 2014), section 2.
using ReadBackCheck = std::function<Result<void>(ByteView)>;
[[nodiscard]] Result<void> replace_file(int dir, const std::string& name, ByteView bytes, const ReadBackCheck& check);

/// The same for a path: `bytes` into its directory under its last component.
[[nodiscard]] Result<void> replace_path(const std::string& path, ByteView bytes);

/// Opens a directory, for use as `dir` above.
[[nodiscard]] Result<Fd> open_directory(int dir, const std::string& path);

/// Makes `path` a directory of mode 0700 if it is not there, and opens it. One level only.
[[nodiscard]] Result<Fd> make_directory(int dir, const std::string& path);

/// fsync of a directory: what was renamed in it stays renamed.
[[nodiscard]] Result<void> sync_directory(int dir);

/// The names in a directory, sorted, without "." and "..".
[[nodiscard]] Result<std::vector<std::string>> list_directory(int dir);

/// Writes all of `bytes` to `fd`, going on after short writes and EINTR.
[[nodiscard]] Result<void> write_all(int fd, ByteView bytes);

/// Copies `from_dir/from` to `to_dir/to`, durably and all at once like replace_file. Shares the blocks where the file
/// system can (FICLONE, ioctl_ficlonerange(2)), so that a large archive costs nothing; never a hard link.
[[nodiscard]] Result<void> copy_file(int from_dir, const std::string& from, int to_dir, const std::string& to);

}  // namespace tap::state
