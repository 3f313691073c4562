// tap_faults: preloaded (LD_PRELOAD) into a tapd under torture, it counts the calls that reach the store and does
// something at the n-th: ends the process before it, tears it, or lets it fail.
//
// The environment tells what:
//     TAPD_TORTURE_STORE     the store's absolute path: only calls on what lies there count
//     TAPD_TORTURE_AT        at which call, from 1; nothing: at none
//     TAPD_TORTURE_CALL      counts calls of this name only ("fdatasync")
//     TAPD_TORTURE_DO        kill (before the call), kill-after, tear (half of a write, then kill; another call: as
//                            kill), or a number: the call is not made and fails with this errno
//     TAPD_TORTURE_ONWARDS   1: every later call as well
//     TAPD_TORTURE_LOG       each call is a line there: NUMBER PID CALL NAME RESULT, and `sent` for replies that leave
//                            after a failed sync
//     TAPD_TORTURE_DELAY_MS  each fdatasync takes so much longer while the file TAPD_TORTURE_SWITCH exists
//
// SIGKILL keeps what the kernel has in memory; what a machine's end loses on top is looked at by recorded.py.
//
// Used by: tests/torture/rig.py
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

constexpr std::size_t kPathBytesMax = 4096;
constexpr std::size_t kSectorBytes = 512;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

struct Plan {
  std::string store = environment("TAPD_TORTURE_STORE");
  long at = std::atol(environment("TAPD_TORTURE_AT").c_str());
  std::string call = environment("TAPD_TORTURE_CALL");
  std::string what = environment("TAPD_TORTURE_DO");
  bool onwards = environment("TAPD_TORTURE_ONWARDS") == "1";
  std::string log = environment("TAPD_TORTURE_LOG");
  long delay_ms = std::atol(environment("TAPD_TORTURE_DELAY_MS").c_str());
  std::string delay_switch = environment("TAPD_TORTURE_SWITCH");
};

const Plan& plan() {
  static const Plan made;
  return made;
}

std::atomic<long> counted{0};
std::atomic<bool> sync_failed{false};

template <class Function>
Function real(const char* name) {
  void* const found = ::dlsym(RTLD_NEXT, name);
  if (found == nullptr) ::abort();
  return reinterpret_cast<Function>(found);
}

/// Opened for each line: a daemon closes what it has not opened itself.
void log_line(const std::string& line) {
  if (plan().log.empty()) return;
  const int saved = errno;
  const long fd = ::syscall(SYS_openat, AT_FDCWD, plan().log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd >= 0) {
    ::syscall(SYS_write, fd, line.data(), line.size());
    ::syscall(SYS_close, fd);
  }
  errno = saved;
}

std::string path_of(int fd) {
  char path[kPathBytesMax];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t got = ::readlink(link.c_str(), path, sizeof path);
  return got <= 0 ? std::string() : std::string(path, static_cast<std::size_t>(got));
}

std::string path_at(int dir, const char* name) {
  if (name[0] == '/' || dir == AT_FDCWD) return name;
  return path_of(dir) + "/" + name;
}

/// The name inside the store; nothing when it is elsewhere.
std::string in_store(const std::string& path) {
  const std::string& store = plan().store;
  if (store.empty() || path.compare(0, store.size(), store) != 0) return {};
  if (path.size() == store.size()) return ".";
  return path[store.size()] == '/' ? path.substr(store.size() + 1) : std::string();
}

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

[[noreturn]] void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

/// One call on the store, from its beginning to its end.
class Call {
 public:
  Call(const char* name, const std::string& path) : name_(name), file_(in_store(path)) {
    if (file_.empty() || (!plan().call.empty() && plan().call != name_)) return;
    number_ = ++counted;
    const bool hit = plan().at > 0 && (plan().onwards ? number_ >= plan().at : number_ == plan().at);
    if (!hit) return;
    what_ = plan().what;
    if (what_ == "kill" || (what_ == "tear" && !tearable())) {
      tell("killed");
      die();
    }
  }

  [[nodiscard]] bool fails() {
    const int code = std::atoi(what_.c_str());
    if (code == 0) return false;
    if (std::string_view(name_) == "fdatasync" && ends_with(file_, ".wal")) sync_failed = true;
    tell("injected-" + std::to_string(code));
    errno = code;
    return true;
  }
  [[nodiscard]] bool tears() const { return what_ == "tear"; }

  template <class Number>
  Number done(Number result) {
    if (number_ == 0) return result;
    tell(result < 0 ? "failed-" + std::to_string(errno) : "ok");
    if (what_ == "kill-after" || what_ == "tear") die();
    return result;
  }

 private:
  [[nodiscard]] bool tearable() const { return std::string_view(name_) == "pwrite"; }
  void tell(const std::string& result) const {
    if (number_ == 0) return;
    log_line(std::to_string(number_) + " " + std::to_string(::getpid()) + " " + name_ + " " + file_ + " " + result +
             "\n");
  }

  const char* name_;
  std::string file_;
  long number_ = 0;
  std::string what_;
};

void delay() {
  if (plan().delay_ms == 0 || ::access(plan().delay_switch.c_str(), F_OK) != 0) return;
  ::poll(nullptr, 0, static_cast<int>(plan().delay_ms));  // a slow disk; nobody waits for this to be over
}

ssize_t write_at(const char* symbol, int fd, const void* bytes, std::size_t count, off_t offset) {
  static const auto call = real<ssize_t (*)(int, const void*, std::size_t, off_t)>(symbol);
  Call self("pwrite", path_of(fd));
  if (self.fails()) return -1;
  if (self.tears()) count = count / 2 / kSectorBytes * kSectorBytes;
  return self.done(call(fd, bytes, count, offset));
}

int open_in(const char* symbol, int dir, const char* path, int flags, mode_t mode) {
  static const auto call = real<int (*)(int, const char*, int, ...)>(symbol);
  Call self((flags & O_CREAT) != 0 ? "create" : "openat", path_at(dir, path));
  if (self.fails()) return -1;
  return self.done(call(dir, path, flags, mode));
}

int sync(const char* symbol, int fd) {
  Call self(symbol, path_of(fd));
  if (self.fails()) return -1;
  delay();
  return self.done(real<int (*)(int)>(symbol)(fd));
}

/// A reply of the line framing that leaves although its batch may not be durable.
void look_at_output(int fd, const void* bytes, std::size_t count) {
  if (!sync_failed || count == 0) return;
  const char first = *static_cast<const char*>(bytes);
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  const bool tcp =
      ::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0 && address.ss_family == AF_INET;
  if (tcp && first >= '0' && first <= '9')
    log_line("0 " + std::to_string(::getpid()) + " sent socket after-failed-sync\n");
}

}  // namespace

extern "C" {

ssize_t pwrite(int fd, const void* bytes, std::size_t count, off_t offset) {
  return write_at("pwrite", fd, bytes, count, offset);
}
ssize_t pwrite64(int fd, const void* bytes, std::size_t count, off_t offset) {
  return write_at("pwrite64", fd, bytes, count, offset);
}

ssize_t write(int fd, const void* bytes, std::size_t count) {
  static const auto call = real<ssize_t (*)(int, const void*, std::size_t)>("write");
  look_at_output(fd, bytes, count);
  Call self("write", path_of(fd));
  if (self.fails()) return -1;
  return self.done(call(fd, bytes, count));
}

ssize_t writev(int fd, const iovec* pieces, int count) {
  static const auto call = real<ssize_t (*)(int, const iovec*, int)>("writev");
  if (count > 0) look_at_output(fd, pieces[0].iov_base, pieces[0].iov_len);
  return call(fd, pieces, count);
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  static const auto call = real<ssize_t (*)(int, const msghdr*, int)>("sendmsg");
  if (message->msg_iovlen > 0) look_at_output(fd, message->msg_iov[0].iov_base, message->msg_iov[0].iov_len);
  return call(fd, message, flags);
}

ssize_t pread(int fd, void* bytes, std::size_t count, off_t offset) {
  static const auto call = real<ssize_t (*)(int, void*, std::size_t, off_t)>("pread");
  Call self("pread", path_of(fd));
  if (self.fails()) return -1;
  return self.done(call(fd, bytes, count, offset));
}

int openat(int dir, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return open_in("openat", dir, path, flags, mode);
}
int openat64(int dir, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return open_in("openat64", dir, path, flags, mode);
}

int fdatasync(int fd) { return sync("fdatasync", fd); }
int fsync(int fd) { return sync("fsync", fd); }

int ftruncate(int fd, off_t bytes) noexcept {
  static const auto call = real<int (*)(int, off_t)>("ftruncate");
  Call self("ftruncate", path_of(fd));
  if (self.fails()) return -1;
  return self.done(call(fd, bytes));
}

int renameat(int from_dir, const char* from, int to_dir, const char* to) noexcept {
  static const auto call = real<int (*)(int, const char*, int, const char*)>("renameat");
  Call self("renameat", path_at(to_dir, to));
  if (self.fails()) return -1;
  return self.done(call(from_dir, from, to_dir, to));
}

int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) noexcept {
  static const auto call = real<int (*)(int, const char*, int, const char*, unsigned)>("renameat2");
  Call self("renameat2", path_at(to_dir, to));
  if (self.fails()) return -1;
  return self.done(call(from_dir, from, to_dir, to, flags));
}

int unlinkat(int dir, const char* path, int flags) noexcept {
  static const auto call = real<int (*)(int, const char*, int)>("unlinkat");
  Call self("unlinkat", path_at(dir, path));
  if (self.fails()) return -1;
  return self.done(call(dir, path, flags));
}

int mkdirat(int dir, const char* path, mode_t mode) noexcept {
  static const auto call = real<int (*)(int, const char*, mode_t)>("mkdirat");
  Call self("mkdirat", path_at(dir, path));
  if (self.fails()) return -1;
  return self.done(call(dir, path, mode));
}

}  // extern "C"
