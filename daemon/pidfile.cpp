#include "daemon/pidfile.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>

#include "state/files.hpp"

namespace tap::daemon {
namespace {

Error refused(const std::string& path, const std::string& why) {
  return Error{Fault::cannot_create, "the pidfile " + path + " " + why};
}

Result<Fd> open_pidfile(const std::string& path, struct stat& found) {
  // Neither follows a link nor waits for a FIFO's other end.
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644));
  if (!fd.open()) {
    const int code = errno;
    if (code == ELOOP) return refused(path, "is a symbolic link; remove it or name another with --pidfile");
    if (code == EISDIR) return refused(path, "is a directory; name another with --pidfile");
    return errno_error(code == EACCES || code == EPERM ? Fault::permission : Fault::cannot_create,
                       "opening the pidfile " + path, code);
  }
  if (::fstat(fd.get(), &found) != 0) return errno_error(Fault::cannot_create, "looking at the pidfile " + path);
  if (!S_ISREG(found.st_mode)) return refused(path, "is not a regular file; remove it or name another with --pidfile");
  if (found.st_uid != ::geteuid()) return refused(path, "belongs to another user; remove it or name another");
  if (found.st_nlink > 1) return refused(path, "has a second name (a hard link); remove it or name another");
  return fd;
}

}  // namespace

Result<Pidfile> Pidfile::take(const std::string& path, std::string& stale) {
  for (;;) {
    struct stat found {};
    Result<Fd> fd = open_pidfile(path, found);
    if (!fd) return std::move(fd).error();
    char text[32] = {};
    const ssize_t got = ::pread(fd->get(), text, sizeof text - 1, 0);
    const std::string content(text, got > 0 ? static_cast<std::size_t>(got) : 0);
    const std::string first_line = content.substr(0, content.find('\n'));
    if (::flock(fd->get(), LOCK_EX | LOCK_NB) != 0) {
      return refused(path, "is held by a running tapd (pid " + first_line + ")");
    }
    // The one who held it may have removed it between our open and our lock: then we hold a file without a name.
    struct stat named {};
    if (::lstat(path.c_str(), &named) != 0 || named.st_dev != found.st_dev || named.st_ino != found.st_ino) continue;
    if (got > 0) stale = "the pidfile " + path + " was left over (it said '" + first_line + "') and is overwritten";
    const std::string pid = std::to_string(::getpid()) + "\n";
    if (::ftruncate(fd->get(), 0) != 0 || ::lseek(fd->get(), 0, SEEK_SET) != 0) {
      return errno_error(Fault::cannot_create, "writing the pidfile " + path);
    }
    if (Result<void> written = state::write_all(fd->get(), pid); !written) {
      ::unlink(path.c_str());
      return Error{Fault::cannot_create, "the pidfile " + path + ": " + written.error().message};
    }
    return Pidfile(path, std::move(fd).value());
  }
}

void Pidfile::remove() {
  if (!fd_.open()) return;
  struct stat ours {};
  struct stat named {};
  if (::fstat(fd_.get(), &ours) == 0 && ::lstat(path_.c_str(), &named) == 0 && ours.st_dev == named.st_dev &&
      ours.st_ino == named.st_ino) {
    ::unlink(path_.c_str());
  }
  fd_.reset();
}

}  // namespace tap::daemon
