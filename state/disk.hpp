// Disk: one directory of files as the store uses it, every call that can lose something being a call of its own.
//
// The store and the journal reach their directory through this only, so that the tests can put a disk below them that
// loses what was not synced, tears a write, or fails at the n-th call.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "state/base/bytes.hpp"
#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::state {

/// An open file. Thread: one at a time, any. Lifetime: closes with the object; closing syncs nothing.
class DiskFile {
 public:
  DiskFile() = default;
  DiskFile(const DiskFile&) = delete;
  DiskFile& operator=(const DiskFile&) = delete;
  virtual ~DiskFile() = default;

  /// Writes all of `bytes` at `offset`. Errors: internal; disk_full() tells a full disk.
  [[nodiscard]] virtual Result<void> write_at(std::uint64_t offset, ByteView bytes) = 0;
  /// Up to `count` bytes at `offset`, fewer at the end of the file.
  [[nodiscard]] virtual Result<Bytes> read_at(std::uint64_t offset, std::size_t count) = 0;
  [[nodiscard]] virtual Result<std::uint64_t> size() = 0;
  /// fdatasync(2): what was written is durable, and the file's length with it. After an error nothing is known of what
  /// was written, and a second call may lie (fsync(2) tells an error once): never try again.
  [[nodiscard]] virtual Result<void> sync() = 0;
};

/// Thread: any, one caller at a time for each name. Names are those of files inside the directory, or
/// "quarantine/NAME".
class Disk {
 public:
  Disk() = default;
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;
  virtual ~Disk() = default;

  /// The names inside, sorted, without "." and "..".
  [[nodiscard]] virtual Result<std::vector<std::string>> list() = 0;
  /// Whether a file of this name is there, of whatever kind.
  [[nodiscard]] virtual Result<bool> exists(const std::string& name) = 0;
  /// The whole content of a regular file, as read_file(). `from_disk`: what memory holds of it is dropped first, so
  /// that a failed sync's bytes are not believed.
  [[nodiscard]] virtual Result<Bytes> read(const std::string& name, bool from_disk = false) = 0;
  /// The same from the disk, without the zeros at the end but for those up to a multiple of kTrimBytes: most of a
  /// journal segment is zeros, and memory that is touched for the first time is what reading it costs.
  struct Trimmed {
    Bytes bytes;
    std::uint64_t file_bytes = 0;
  };
  static constexpr std::size_t kTrimBytes = 4096;
  [[nodiscard]] virtual Result<Trimmed> read_trimmed(const std::string& name);
  /// A new, empty file of mode 0600; what lay there under this name is removed first, never opened.
  [[nodiscard]] virtual Result<std::unique_ptr<DiskFile>> create(const std::string& name) = 0;
  /// An existing regular file, for reading and writing in place.
  [[nodiscard]] virtual Result<std::unique_ptr<DiskFile>> open(const std::string& name) = 0;
  /// Replaces `to` if it is there.
  [[nodiscard]] virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  /// False, and nothing done, when `to` is there.
  [[nodiscard]] virtual Result<bool> rename_to_free_name(const std::string& from, const std::string& to) = 0;
  /// Removing what is not there is no error.
  [[nodiscard]] virtual Result<void> remove(const std::string& name) = 0;
  /// Makes a directory of mode 0700 inside, durably, unless it is there.
  [[nodiscard]] virtual Result<void> make_directory(const std::string& name) = 0;
  /// fsync of the directory, or of one inside it: what was created, renamed or removed in it stays so.
  [[nodiscard]] virtual Result<void> sync_directory(const std::string& name = ".") = 0;
  /// The unit in which the device writes without tearing: 512 or 4096 bytes.
  [[nodiscard]] virtual std::size_t block_bytes() = 0;
  /// Bytes that may still be written by us.
  [[nodiscard]] virtual Result<std::uint64_t> free_bytes() = 0;
};

/// How much of a file is left without the zeros at its end; read piece by piece.
[[nodiscard]] Result<std::uint64_t> used_bytes(DiskFile& file);

/// The real one. Lifetime: owns the descriptor; works on after a chroot.
[[nodiscard]] std::unique_ptr<Disk> open_disk(Fd directory);

/// Writes `bytes` to a temporary file, reads it back, and makes it `name` durably and all at once, as replace_file().
/// On any error the old file is as it was.
[[nodiscard]] Result<void> replace_on_disk(Disk& disk, const std::string& name, ByteView bytes);

/// Whether an operation failed because there is no room (ENOSPC, EDQUOT, EFBIG): it may work again later.
[[nodiscard]] bool is_disk_full(const Error& error);

}  // namespace tap::state
