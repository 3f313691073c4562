#include "state/disk.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "state/base/seeded.hpp"
#include "state/files.hpp"

namespace tap::state {
namespace {

constexpr std::size_t kSmallBlockBytes = 512;
constexpr std::size_t kBlockBytes = 4096;
constexpr std::size_t kPieceBytes = std::size_t{8} << 20U;
constexpr std::size_t kReadBackBytes = std::size_t{256} << 10U;

Fault fault_of(int code) { return code == EACCES || code == EPERM ? Fault::permission : Fault::cannot_create; }

/// What the device of `fd` says of itself in sysfs; anything but 512 is taken for 4096, the safe answer.
std::size_t device_block_bytes(int fd) {
  struct stat found {};
  if (::fstat(fd, &found) != 0) return kBlockBytes;
  const std::string device = std::to_string(major(found.st_dev)) + ":" + std::to_string(minor(found.st_dev));
  // A partition has its queue in the whole device's folder, one above.
  for (const char* where : {"/queue", "/../queue"}) {
    const std::string path = "/sys/dev/block/" + device + where + "/physical_block_size";
    const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char text[32] = {};
    if (!file.open() || ::read(file.get(), text, sizeof text - 1) <= 0) continue;
    return std::strtoul(text, nullptr, 10) == kSmallBlockBytes ? kSmallBlockBytes : kBlockBytes;
  }
  return kBlockBytes;
}

constexpr std::size_t kScanBytes = std::size_t{64} << 10U;

std::uint64_t trimmed_bytes(std::uint64_t used, std::uint64_t size) {
  return std::min((used + Disk::kTrimBytes - 1) / Disk::kTrimBytes * Disk::kTrimBytes, size);
}

class PosixFile final : public DiskFile {
 public:
  PosixFile(Fd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}

  Result<void> write_at(std::uint64_t offset, ByteView bytes) override {
    while (!bytes.empty()) {
      const ssize_t wrote = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) return errno_error(Fault::internal, name_ + ": writing");
      bytes.remove_prefix(static_cast<std::size_t>(wrote));
      offset += static_cast<std::uint64_t>(wrote);
    }
    return {};
  }

  Result<Bytes> read_at(std::uint64_t offset, std::size_t count) override {
    Bytes bytes(count, '\0');
    std::size_t have = 0;
    while (have < count) {
      const ssize_t got = ::pread(fd_.get(), bytes.data() + have, count - have, static_cast<off_t>(offset + have));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return errno_error(Fault::internal, name_ + ": reading");
      if (got == 0) break;
      have += static_cast<std::size_t>(got);
    }
    bytes.resize(have);
    return bytes;
  }

  Result<std::uint64_t> size() override {
    struct stat found {};
    if (::fstat(fd_.get(), &found) != 0) return errno_error(Fault::internal, name_ + ": looking at it");
    return static_cast<std::uint64_t>(found.st_size);
  }

  [[nodiscard]] int fd() const { return fd_.get(); }

  Result<void> sync() override {
    if (::fdatasync(fd_.get()) != 0) return errno_error(Fault::internal, name_ + ": fdatasync");
    return {};
  }

 private:
  Fd fd_;
  std::string name_;
};

class PosixDisk final : public Disk {
 public:
  explicit PosixDisk(Fd directory) : directory_(std::move(directory)) {}

  Result<std::vector<std::string>> list() override { return list_directory(directory_.get()); }

  Result<bool> exists(const std::string& name) override {
    struct stat found {};
    if (::fstatat(directory_.get(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0) return true;
    if (errno == ENOENT) return false;
    return errno_error(Fault::internal, "looking for " + name);
  }

  Result<Bytes> read(const std::string& name, bool from_disk) override {
    if (from_disk) {
      const Fd file(::openat(directory_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
      // Only clean pages are dropped: those that a failed sync left behind were marked clean by the kernel.
      if (file.open()) (void)::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
    }
    return read_file(directory_.get(), name);
  }

  /// The zeros at the end were durable before the segment was used, and may come from memory.
  Result<Trimmed> read_trimmed(const std::string& name) override {
    Result<std::unique_ptr<DiskFile>> file = open(name);
    if (!file) return std::move(file).error();
    Result<std::uint64_t> size = (*file)->size();
    if (!size) return std::move(size).error();
    Result<std::uint64_t> used = used_bytes(**file);
    if (!used) return std::move(used).error();
    const std::uint64_t wanted = trimmed_bytes(*used, *size);
    (void)::posix_fadvise(static_cast<PosixFile&>(**file).fd(), 0, static_cast<off_t>(wanted), POSIX_FADV_DONTNEED);
    Result<Bytes> bytes = (*file)->read_at(0, static_cast<std::size_t>(wanted));
    if (!bytes) return std::move(bytes).error();
    if (bytes->size() != wanted) return Error{Fault::internal, name + " became shorter while it was read"};
    return Trimmed{std::move(bytes).value(), *size};
  }

  Result<std::unique_ptr<DiskFile>> create(const std::string& name) override {
    if (::unlinkat(directory_.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
      return errno_error(fault_of(errno), "removing an old " + name);
    }
    Fd fd(::openat(directory_.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd.open()) return errno_error(fault_of(errno), "creating " + name);
    return std::unique_ptr<DiskFile>(std::make_unique<PosixFile>(std::move(fd), name));
  }

  Result<std::unique_ptr<DiskFile>> open(const std::string& name) override {
    Fd fd(::openat(directory_.get(), name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!fd.open()) return errno_error(fault_of(errno), "opening " + name);
    struct stat found {};
    if (::fstat(fd.get(), &found) != 0) return errno_error(Fault::internal, "looking at " + name);
    if (!S_ISREG(found.st_mode) || found.st_nlink != 1) {
      return Error{Fault::damaged, name + " is no file of the store's own"};
    }
    return std::unique_ptr<DiskFile>(std::make_unique<PosixFile>(std::move(fd), name));
  }

  Result<void> rename(const std::string& from, const std::string& to) override {
    if (::renameat(directory_.get(), from.c_str(), directory_.get(), to.c_str()) == 0) return {};
    return errno_error(fault_of(errno), "renaming " + from + " to " + to);
  }

  Result<bool> rename_to_free_name(const std::string& from, const std::string& to) override {
    if (::renameat2(directory_.get(), from.c_str(), directory_.get(), to.c_str(), RENAME_NOREPLACE) == 0) return true;
    if (errno == EEXIST) return false;
    return errno_error(fault_of(errno), "moving " + from + " to " + to);
  }

  Result<void> remove(const std::string& name) override {
    if (::unlinkat(directory_.get(), name.c_str(), 0) == 0 || errno == ENOENT) return {};
    return errno_error(fault_of(errno), "removing " + name);
  }

  Result<void> make_directory(const std::string& name) override {
    Result<Fd> made = state::make_directory(directory_.get(), name);
    if (!made) return std::move(made).error();
    return {};
  }

  Result<void> sync_directory(const std::string& name) override {
    if (name == ".") return state::sync_directory(directory_.get());
    Result<Fd> inner = open_directory(directory_.get(), name);
    if (!inner) return std::move(inner).error();
    return state::sync_directory(inner->get());
  }

  std::size_t block_bytes() override {
    if (block_bytes_ == 0) block_bytes_ = device_block_bytes(directory_.get());
    return block_bytes_;
  }

  Result<std::uint64_t> free_bytes() override {
    struct statvfs found {};
    if (::fstatvfs(directory_.get(), &found) != 0) return errno_error(Fault::internal, "asking for free space");
    return static_cast<std::uint64_t>(found.f_bavail) * found.f_frsize;
  }

 private:
  Fd directory_;
  std::size_t block_bytes_ = 0;
};

Result<void> write_checked(DiskFile& file, const std::string& temporary, const std::string& name, ByteView bytes) {
  // Synced piece by piece: the journal shares the disk and must not wait behind a gigabyte.
  for (std::size_t at = 0; at < bytes.size(); at += kPieceBytes) {
    if (Result<void> written = file.write_at(at, bytes.substr(at, kPieceBytes)); !written) return written;
    if (bytes.size() - at <= kPieceBytes) break;
    if (Result<void> synced = file.sync(); !synced) return synced;
  }
  // Piece by piece: a second copy of a large archive would cost more than the reading.
  for (std::size_t at = 0; at <= bytes.size(); at += kReadBackBytes) {
    const ByteView piece = bytes.substr(at, kReadBackBytes);
    Result<Bytes> read_back = file.read_at(at, at + piece.size() == bytes.size() ? piece.size() + 1 : piece.size());
    if (!read_back) return std::move(read_back).error();
    if (*read_back != piece) {
      return Error{Fault::internal, "checking " + temporary + " before it replaces " + name +
                                        ": what was read back is not what was written"};
    }
  }
  return file.sync();
}

}  // namespace

Result<Disk::Trimmed> Disk::read_trimmed(const std::string& name) {
  Result<Bytes> bytes = read(name, true);
  if (!bytes) return std::move(bytes).error();
  const std::uint64_t size = bytes->size();
  bytes->resize(static_cast<std::size_t>(trimmed_bytes(bytes->find_last_not_of('\0') + 1, size)));
  return Trimmed{std::move(bytes).value(), size};
}

Result<std::uint64_t> used_bytes(DiskFile& file) {
  std::uint64_t used = 0;
  for (std::uint64_t at = 0;; at += kScanBytes) {
    Result<Bytes> piece = file.read_at(at, kScanBytes);
    if (!piece) return std::move(piece).error();
    if (const std::size_t last = piece->find_last_not_of('\0'); last != Bytes::npos) used = at + last + 1;
    if (piece->size() < kScanBytes) return used;
  }
}

std::unique_ptr<Disk> open_disk(Fd directory) { return std::make_unique<PosixDisk>(std::move(directory)); }

Result<void> replace_on_disk(Disk& disk, const std::string& name, ByteView bytes) {
  const std::string temporary = name + ".tmp";
  Result<std::unique_ptr<DiskFile>> file = disk.create(temporary);
  if (!file) return std::move(file).error();
  Result<void> done;
  if (TAP_SEEDED(rename_before_sync)) {
    done = (*file)->write_at(0, bytes);
    if (done) done = disk.rename(temporary, name);
    if (done) done = disk.sync_directory();
    if (done) done = (*file)->sync();
    return done;
  }
  done = write_checked(**file, temporary, name, bytes);
  if (done) done = disk.rename(temporary, name);
  if (!done) {
    (void)!disk.remove(temporary).ok();
    return done;
  }
  return TAP_SEEDED(no_directory_sync) ? Result<void>() : disk.sync_directory();
}

bool is_disk_full(const Error& error) {
  return error.os_code == ENOSPC || error.os_code == EDQUOT || error.os_code == EFBIG;
}

}  // namespace tap::state
