#include "state/files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

namespace tap::state {
namespace {

Fault fault_of(int code, Fault otherwise) {
  if (code == EACCES || code == EPERM) return Fault::permission;
  return otherwise;
}

const char* type_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

/// A file that is being written beside the one it will replace; unlinked unless commit() was reached.
class TemporaryFile {
 public:
  TemporaryFile(int dir, const std::string& name) : dir_(dir), name_(name), temporary_(name + ".tmp") {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (fd_.open()) ::unlinkat(dir_, temporary_.c_str(), 0);
  }

  Result<void> create() {
    // What lies there is the rest of an interrupted write, or a trap (a link, a FIFO): never opened, only removed.
    if (::unlinkat(dir_, temporary_.c_str(), 0) != 0 && errno != ENOENT) {
      return errno_error(fault_of(errno, Fault::cannot_create), "removing an old " + temporary_);
    }
    fd_.reset(::openat(dir_, temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd_.open()) return errno_error(fault_of(errno, Fault::cannot_create), "creating " + temporary_);
    return {};
  }
  Result<void> commit() {
    if (::fsync(fd_.get()) != 0) return errno_error(Fault::internal, "fsync of " + temporary_);
    if (::renameat(dir_, temporary_.c_str(), dir_, name_.c_str()) != 0) {
      return errno_error(fault_of(errno, Fault::cannot_create), "renaming " + temporary_ + " to " + name_);
    }
    fd_.reset();
    return sync_directory(dir_);
  }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& name() const { return temporary_; }

 private:
  int dir_;
  std::string name_;
  std::string temporary_;
  Fd fd_;
};

Result<Bytes> read_all(int fd, std::size_t expected, const std::string& name) {
  if (expected > kFileBytesMax) {
    return Error{Fault::damaged, name + " has " + std::to_string(expected) + " bytes, more than any archive"};
  }
  Bytes bytes;
  bytes.resize(expected);
  std::size_t have = 0;
  char rest[4096];  // where the end is looked for: room for it behind `bytes` would copy all of them
  for (;;) {
    const bool full = have == bytes.size();
    const ssize_t got = full ? ::read(fd, rest, sizeof rest) : ::read(fd, bytes.data() + have, bytes.size() - have);
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(Fault::internal, "reading " + name);
    if (full) bytes.append(rest, static_cast<std::size_t>(got));
    have += static_cast<std::size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

Result<Fd> open_regular(int dir, const std::string& name, struct stat& found) {
  // O_NONBLOCK: opening a FIFO must not wait for somebody to write into it.
  // Inside a directory of ours a link is never ours: who made it may not be allowed to read what it leads to.
  const int follow = dir == AT_FDCWD ? 0 : O_NOFOLLOW;
  Fd fd(::openat(dir, name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | follow));
  if (!fd.open()) {
    if (errno == ELOOP && follow != 0) return Error{Fault::damaged, name + " is a symbolic link, not a file"};
    if (errno == ENXIO) return Error{Fault::no_input, name + " is a socket or a device, not a file"};
    // Only what is about the name: a disk that fails, or descriptors that ran out, say nothing of whether it is there.
    const bool absent = errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENAMETOOLONG;
    return errno_error(fault_of(errno, absent ? Fault::no_input : Fault::internal), "opening " + name);
  }
  if (::fstat(fd.get(), &found) != 0) return errno_error(Fault::internal, "looking at " + name);
  if (!S_ISREG(found.st_mode)) return Error{Fault::no_input, name + " is " + type_of(found.st_mode) + ", not a file"};
  if (dir != AT_FDCWD && found.st_nlink > 1) return Error{Fault::damaged, name + " has a second name (a hard link)"};
  return fd;
}

}  // namespace

Result<Bytes> read_file(int dir, const std::string& name) {
  struct stat found {};
  Result<Fd> fd = open_regular(dir, name, found);
  if (!fd) return std::move(fd).error();
  return read_all(fd->get(), static_cast<std::size_t>(found.st_size), name);
}

Result<void> write_all(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return errno_error(Fault::internal, "writing");
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return {};
}

Result<void> replace_file(int dir, const std::string& name, ByteView bytes, const ReadBackCheck& check) {
  TemporaryFile file(dir, name);
  if (Result<void> created = file.create(); !created) return created;
  if (Result<void> written = write_all(file.fd(), bytes); !written) return std::move(written.error()).with(file.name());
  if (check) {
    if (::lseek(file.fd(), 0, SEEK_SET) != 0) return errno_error(Fault::internal, "reading back " + file.name());
    Result<Bytes> read_back = read_all(file.fd(), bytes.size(), file.name());
    if (!read_back) return std::move(read_back).error();
    if (Result<void> checked = check(*read_back); !checked) {
      return std::move(checked.error()).with("checking " + file.name() + " before it replaces " + name);
    }
  }
  return file.commit();
}

Result<void> replace_path(const std::string& path, ByteView bytes) {
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  Result<Fd> dir = open_directory(AT_FDCWD, directory);
  if (!dir) return std::move(dir).error();
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (Result<void> replaced = replace_file(dir->get(), name, bytes, nullptr); !replaced) {
    return std::move(replaced.error()).with(path);
  }
  return {};
}

Result<Fd> open_directory(int dir, const std::string& path) {
  Fd fd(::openat(dir, path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.open()) return errno_error(fault_of(errno, Fault::cannot_create), "opening directory " + path);
  return fd;
}

Result<Fd> make_directory(int dir, const std::string& path) {
  const bool made = ::mkdirat(dir, path.c_str(), 0700) == 0;
  if (!made && errno != EEXIST) {
    return errno_error(fault_of(errno, Fault::cannot_create), "making directory " + path);
  }
  Result<Fd> fd = open_directory(dir, path);
  if (fd && made) {
    // The new name must survive a power cut too, or everything inside it does not.
    const Fd parent(::openat(fd->get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (parent.open()) {
      if (Result<void> synced = sync_directory(parent.get()); !synced) return std::move(synced).error();
    }
  }
  return fd;
}

Result<void> sync_directory(int dir) {
  if (::fsync(dir) != 0) return errno_error(Fault::internal, "fsync of the directory");
  return {};
}

Result<std::vector<std::string>> list_directory(int dir) {
  const int copy = ::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* stream = copy < 0 ? nullptr : ::fdopendir(copy);
  if (stream == nullptr) {
    const int code = errno;
    if (copy >= 0) ::close(copy);
    return errno_error(fault_of(code, Fault::internal), "listing the directory", code);
  }
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream);
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  const int code = errno;
  ::closedir(stream);
  if (code != 0) return errno_error(Fault::internal, "listing the directory", code);
  std::sort(names.begin(), names.end());
  return names;
}

Result<void> copy_file(int from_dir, const std::string& from, int to_dir, const std::string& to) {
  struct stat found {};
  Result<Fd> source = open_regular(from_dir, from, found);
  if (!source) return std::move(source).error();
  TemporaryFile target(to_dir, to);
  if (Result<void> created = target.create(); !created) return created;
  if (::ioctl(target.fd(), FICLONE, source->get()) != 0) {
    Result<Bytes> bytes = read_all(source->get(), static_cast<std::size_t>(found.st_size), from);
    if (!bytes) return std::move(bytes).error();
    if (Result<void> written = write_all(target.fd(), *bytes); !written) {
      return std::move(written.error()).with(target.name());
    }
  }
  return target.commit();
}

}  // namespace tap::state
