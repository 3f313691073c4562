#include "state/lock.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>

#include "state/files.hpp"
#include "tests/state/child.hpp"
#include "tests/state/says.hpp"
#include "tests/state/weak.hpp"
#include "tests/support/socket.hpp"
#include "tests/support/temporary_directory.hpp"

using tap::Error;
using tap::Fault;
using tap::Fd;
using tap::state::LockHolder;
using tap::state::StoreLock;
using tap::tests::error_of;
using tap::tests::in_child;
using tap::tests::read_text;
using tap::tests::says;
using tap::tests::TemporaryDirectory;
using tap::tests::Unprivileged;
using tap::tests::write_text;

namespace {

using Clock = std::chrono::steady_clock;

Fd open_dir(const TemporaryDirectory& directory) {
  auto fd = tap::state::open_directory(AT_FDCWD, directory.path());
  REQUIRE(fd.ok());
  return std::move(fd).value();
}

StoreLock acquired(const Fd& dir) {
  auto lock = StoreLock::acquire(dir.get(), "x.state");
  REQUIRE(lock.ok());
  return std::move(lock).value();
}

/// What LOCK holds after an announcement.
std::string content(int pid, const std::string& stopping, const std::string& stop_timeout_ms,
                    const std::string& clean) {
  return "pid " + std::to_string(pid) + "\nstopping " + stopping + "\nstop_timeout_ms " + stop_timeout_ms + "\nclean " +
         clean + "\n";
}

bool is_held(const Fd& dir) {
  LockHolder holder;
  const auto held = StoreLock::held(dir.get(), holder);
  REQUIRE(held.ok());
  return *held;
}

std::uint64_t ms_since(Clock::time_point start) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count());
}

/// Waits until LOCK has been opened `times` times: somebody keeps trying to get it.
void wait_for_openings(const Fd& watch, int times) {
  while (times > 0) {
    pollfd ready{watch.get(), POLLIN, 0};
    if (::poll(&ready, 1, tap::tests::kPatienceMs) <= 0) ::_exit(3);
    inotify_event event{};
    if (::read(watch.get(), &event, sizeof event) != sizeof event) ::_exit(4);
    --times;
  }
}

/// A process that holds the lock, says so with one byte, and gives it up after it has seen so many attempts.
struct Holder {
  pid_t pid = -1;
  Fd said;
};

[[noreturn]] void hold_and_let_go(const TemporaryDirectory& directory, const LockHolder& announced, int attempts,
                                  const Fd& say) {
  const Fd dir(::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto lock = StoreLock::acquire(dir.get(), "x.state");
  if (!lock.ok()) ::_exit(1);
  LockHolder self = announced;
  self.pid = static_cast<int>(::getpid());
  lock->announce(self);
  const Fd watch(::inotify_init1(IN_CLOEXEC));
  if (::inotify_add_watch(watch.get(), (directory / "LOCK").c_str(), IN_OPEN) < 0) ::_exit(2);
  if (::write(say.get(), "h", 1) != 1) ::_exit(5);
  wait_for_openings(watch, attempts);
  ::_exit(0);
}

Holder start_holder(const TemporaryDirectory& directory, const LockHolder& announced, int attempts) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  Holder holder;
  holder.said.reset(ends[0]);
  const Fd say(ends[1]);
  holder.pid = ::fork();
  REQUIRE(holder.pid >= 0);
  if (holder.pid == 0) hold_and_let_go(directory, announced, attempts, say);
  return holder;
}

void wait_until_holding(const Holder& holder) {
  pollfd ready{holder.said.get(), POLLIN, 0};
  REQUIRE(::poll(&ready, 1, tap::tests::kPatienceMs) == 1);
  char byte = 0;
  REQUIRE(::read(holder.said.get(), &byte, 1) == 1);
}

int exit_code(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

TEST_CASE("lock: the first one gets it, and LOCK says who") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  {
    const StoreLock lock = acquired(dir);
    CHECK(read_text(directory / "LOCK") == content(::getpid(), "0", "0", "1"));
    LockHolder holder;
    REQUIRE(StoreLock::held(dir.get(), holder).ok());
    CHECK(is_held(dir));
    CHECK(holder.pid == ::getpid());
    CHECK_FALSE(holder.stopping);
  }
  CHECK_FALSE(is_held(dir));
  CHECK(tap::tests::exists(directory / "LOCK"));
}

TEST_CASE("lock: another process is refused after the second look, 73, and told the pid") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  const StoreLock lock = acquired(dir);
  const auto start = Clock::now();
  const auto end = in_child([&] {
    const Fd own = open_dir(directory);
    const Error error = error_of(StoreLock::acquire(own.get(), "x.state"));
    return std::to_string(error.exit_code()) + " " + error.message;
  });
  CHECK(ms_since(start) >= StoreLock::kSecondLookMs);
  CHECK(end.code == 0);
  CHECK(end.said == "73 the store x.state is in use by tapd with pid " + std::to_string(::getpid()));
}

TEST_CASE("lock: it lives as long as any process that inherited it") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  int go[2];
  REQUIRE(::pipe2(go, O_CLOEXEC) == 0);
  const Fd wait_here(go[0]);
  Fd let_go(go[1]);
  pid_t child = -1;
  {
    StoreLock lock = acquired(dir);
    child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      let_go.reset();
      char byte = 0;
      ::_exit(::read(wait_here.get(), &byte, 1) == 0 ? 0 : 1);
    }
  }
  CHECK(is_held(dir));
  let_go.reset();
  CHECK(exit_code(child) == 0);
  CHECK_FALSE(is_held(dir));
}

TEST_CASE("lock: an inherited descriptor is the lock") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  {
    const StoreLock inherited = [&] {
      const StoreLock lock = acquired(dir);
      return StoreLock::inherited(Fd(::fcntl(lock.fd(), F_DUPFD_CLOEXEC, 3)));
    }();
    CHECK(is_held(dir));
    inherited.announce({7, false, 0, false});
    CHECK(read_text(directory / "LOCK").rfind("pid 7\n", 0) == 0);
  }
  CHECK_FALSE(is_held(dir));
}

TEST_CASE("lock: a holder that is stopping is waited for, beyond the second look") {
  const TemporaryDirectory directory;
  // An attempt every 5 ms at most: the 80th comes after 395 ms, when a serving holder would have been given up.
  const Holder holder = start_holder(directory, {0, true, 20'000, false}, 80);
  wait_until_holding(holder);
  const Fd dir = open_dir(directory);
  const auto start = Clock::now();
  const auto lock = StoreLock::acquire(dir.get(), "x.state");
  const auto waited = ms_since(start);
  CHECK(exit_code(holder.pid) == 0);
  REQUIRE_MESSAGE(lock.ok(), error_of(lock).message);
  CHECK(waited > StoreLock::kSecondLookMs);
  CHECK(read_text(directory / "LOCK").rfind("pid " + std::to_string(::getpid()) + "\nstopping 0\n", 0) == 0);
}

TEST_CASE("lock: a holder that lets go before the second look is waited for") {
  const TemporaryDirectory directory;
  const Holder holder = start_holder(directory, {0, false, 0, false}, 3);
  wait_until_holding(holder);
  const Fd dir = open_dir(directory);
  CHECK(StoreLock::acquire(dir.get(), "x.state").ok());
  CHECK(exit_code(holder.pid) == 0);
}

TEST_CASE("lock: a holder that is stopping for too long is given up") {
  if (std::getenv("TAP_LONG") == nullptr) return;  // the grace for saving is five seconds
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  const StoreLock lock = acquired(dir);
  lock.announce({77, true, 0, false});
  const auto start = Clock::now();
  const Error error = error_of(StoreLock::acquire(dir.get(), "x.state"));
  CHECK(ms_since(start) >= StoreLock::kSavingGraceMs);
  CHECK(error.fault == Fault::cannot_create);
  CHECK(says(error, "pid 77, which is stopping but has not ended in time"));
}

TEST_CASE("lock: what an unlocked LOCK says means nothing") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  write_text(directory / "LOCK", "pid 1\nstopping 1\nstop_timeout_ms 3600000\nclean 1\n");
  CHECK_FALSE(is_held(dir));
  const StoreLock lock = acquired(dir);
  CHECK(read_text(directory / "LOCK") == content(::getpid(), "0", "0", "1"));
}

TEST_CASE("lock: what a holder announces is read, unknown and broken lines are passed over") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  const StoreLock lock = acquired(dir);
  const auto read = [&](const std::string& content) {
    write_text(directory / "LOCK", content);
    LockHolder holder{-1, false, 1, true};
    const auto held = StoreLock::held(dir.get(), holder);
    REQUIRE(held.ok());
    CHECK(*held);
    return std::to_string(holder.pid) + " " + (holder.stopping ? "stopping " : "serving ") +
           std::to_string(holder.stop_timeout_ms) + (holder.clean ? " clean" : "");
  };
  CHECK(read("pid 12\nstopping 1\nstop_timeout_ms 2500\n") == "12 stopping 2500");
  CHECK(read("clean 1\npid 12\nstopping 1\nstop_timeout_ms 2500\n") == "12 stopping 2500 clean");
  CHECK(read("colour blue\npid 12\n\nnothing\nstop_timeout_ms 5\nstopping 0") == "12 serving 5");
  CHECK(read("") == "0 serving 0");
  CHECK(read("pid\nstopping\n") == "0 serving 0");
  CHECK(read("pid x\nstopping yes\nstop_timeout_ms -1\n") == "0 serving 0");
  CHECK(read(std::string(5000, 'x')) == "0 serving 0");
  CHECK(read(std::string("pid 3\n\0\0\0\n", 10)) == "3 serving 0");
}

TEST_CASE("lock: whether the holder before ended cleanly is told to the next one, also when that one ends as well") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  {
    const StoreLock first = acquired(dir);
    CHECK(first.was_clean());
    first.announce({1, false, 0, false});
  }
  for (int times = 0; times < 2; ++times) CHECK_FALSE(acquired(dir).was_clean());
  {
    const StoreLock saved = acquired(dir);
    saved.announce({1, true, 0, true});
  }
  CHECK(acquired(dir).was_clean());
  CHECK(acquired(dir).was_clean());
}

TEST_CASE("lock: a shorter announcement leaves nothing of a longer one") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  const StoreLock lock = acquired(dir);
  lock.announce({1'234'567, true, 1'000'000, false});
  CHECK(read_text(directory / "LOCK") == content(1'234'567, "1", "1000000", "0"));
  lock.announce({1, false, 2, true});
  CHECK(read_text(directory / "LOCK") == content(1, "0", "2", "1"));
}

TEST_CASE("lock: without a LOCK nobody holds anything, and looking makes none") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  LockHolder holder;
  CHECK(error_of(StoreLock::held(dir.get(), holder)).fault == Fault::no_input);
  CHECK_FALSE(tap::tests::exists(directory / "LOCK"));
}

TEST_CASE("lock: looking does not take it away from anybody") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  write_text(directory / "LOCK", "");
  CHECK_FALSE(is_held(dir));
  const StoreLock lock = acquired(dir);
  CHECK(is_held(dir));
  CHECK(is_held(dir));
}

TEST_CASE("lock: a LOCK that is a link, a FIFO or a directory is refused with 73") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  const auto refused = [&] { return error_of(StoreLock::acquire(dir.get(), "x.state")).fault == Fault::cannot_create; };
  write_text(directory / "victim", "precious");
  REQUIRE(::symlink("victim", (directory / "LOCK").c_str()) == 0);
  CHECK(refused());
  CHECK(read_text(directory / "victim") == "precious");
  REQUIRE(::unlink((directory / "LOCK").c_str()) == 0);
  REQUIRE(::mkfifo((directory / "LOCK").c_str(), 0600) == 0);
  CHECK(refused());
  REQUIRE(::unlink((directory / "LOCK").c_str()) == 0);
  REQUIRE(::mkdir((directory / "LOCK").c_str(), 0700) == 0);
  CHECK(refused());
}

TEST_CASE("lock: a directory that may not be written is 77 and named") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  const Unprivileged nobody(directory.path());
  const Error error = error_of(StoreLock::acquire(dir.get(), "x.state"));
  CHECK(error.fault == Fault::permission);
  CHECK(says(error, "x.state: opening the store's LOCK"));
}
