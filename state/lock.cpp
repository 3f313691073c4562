#include "state/lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <thread>

namespace tap::state {
namespace {

constexpr char kLockName[] = "LOCK";
constexpr std::uint64_t kPollEveryMs = 5;

/// "pid 12\nstopping 0\nstop_timeout_ms 10000\n": unknown words are passed over.
LockHolder parse(std::string_view text) {
  LockHolder holder;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) continue;
    const std::string_view word = line.substr(0, space);
    const std::string_view digits = line.substr(space + 1);
    std::uint64_t number = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (word == "pid") holder.pid = static_cast<int>(number);
    if (word == "stopping") holder.stopping = number != 0;
    if (word == "clean") holder.clean = number != 0;
    if (word == "stop_timeout_ms") holder.stop_timeout_ms = number;
  }
  return holder;
}

LockHolder read_holder(int fd) {
  char text[256];
  const ssize_t got = ::pread(fd, text, sizeof text, 0);
  return got > 0 ? parse({text, static_cast<std::size_t>(got)}) : LockHolder{};
}

Result<Fd> open_lock(int dir, int flags) {
  Fd fd(::openat(dir, kLockName, flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!fd.open()) {
    const Fault fault = errno == EACCES || errno == EPERM ? Fault::permission
                        : errno == ENOENT                 ? Fault::no_input
                                                          : Fault::cannot_create;
    return errno_error(fault, "opening the store's LOCK");
  }
  struct stat found {};
  if (::fstat(fd.get(), &found) != 0 || !S_ISREG(found.st_mode)) {
    return Error{Fault::cannot_create, "the store's LOCK is not a regular file"};
  }
  return fd;
}

}  // namespace

Result<StoreLock> StoreLock::acquire(int dir, const std::string& directory_name) {
  using Clock = std::chrono::steady_clock;
  const auto started = Clock::now();
  for (std::uint64_t looks = 1;; ++looks) {
    Result<Fd> fd = open_lock(dir, O_CREAT);
    if (!fd) return std::move(fd.error()).with(directory_name);
    if (::flock(fd->get(), LOCK_EX | LOCK_NB) == 0) {
      StoreLock lock(std::move(fd).value());
      const LockHolder before = read_holder(lock.fd());
      lock.was_clean_ = before.pid == 0 || before.clean;
      lock.announce({static_cast<int>(::getpid()), false, 0, lock.was_clean_});
      return lock;
    }
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return errno_error(Fault::cannot_create, "locking the store " + directory_name);
    }
    const LockHolder holder = read_holder(fd->get());
    const auto waited = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - started).count());
    const std::uint64_t patience = holder.stopping ? holder.stop_timeout_ms + kSavingGraceMs : kSecondLookMs;
    // On a machine so busy that we hardly get to look, the holder hardly gets to end: then it has more time.
    if (waited >= patience && looks * kPollEveryMs >= patience / 2) {
      return Error{Fault::cannot_create, "the store " + directory_name + " is in use by tapd with pid " +
                                             std::to_string(holder.pid) +
                                             (holder.stopping ? ", which is stopping but has not ended in time" : "")};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(kPollEveryMs));
  }
}

Result<bool> StoreLock::held(int dir, LockHolder& holder) {
  Result<Fd> fd = open_lock(dir, 0);
  if (!fd) return std::move(fd).error();
  if (::flock(fd->get(), LOCK_SH | LOCK_NB) == 0) return false;
  holder = read_holder(fd->get());
  return true;
}

void StoreLock::announce(const LockHolder& holder) const {
  const std::string text = "pid " + std::to_string(holder.pid) + "\nstopping " + (holder.stopping ? "1" : "0") +
                           "\nstop_timeout_ms " + std::to_string(holder.stop_timeout_ms) + "\nclean " +
                           (holder.clean ? "1" : "0") + "\n";
  // Never truncated first: a reader sees the old or the new words, and what follows the last newline is zeros or digits
  // of an older, longer text, cut off below.
  if (::pwrite(fd_.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size())) {
    (void)!::ftruncate(fd_.get(), static_cast<off_t>(text.size()));
  }
}

}  // namespace tap::state
