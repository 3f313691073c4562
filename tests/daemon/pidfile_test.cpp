#include "daemon/pidfile.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "tests/support/temporary_directory.hpp"

using namespace tap;
using tap::daemon::Pidfile;
using tap::tests::exists;
using tap::tests::read_text;
using tap::tests::TemporaryDirectory;
using tap::tests::write_text;

namespace {

std::string our_pid() { return std::to_string(::getpid()) + "\n"; }

Pidfile take_well(const std::string& path, std::string& stale) {
  Result<Pidfile> pidfile = Pidfile::take(path, stale);
  if (!pidfile) FAIL_CHECK(pidfile.error().message);
  REQUIRE(pidfile.ok());
  return std::move(pidfile).value();
}

/// The reason for a refusal with 73, after "the pidfile PATH ".
std::string refusal(const std::string& path) {
  std::string stale;
  const Result<Pidfile> pidfile = Pidfile::take(path, stale);
  if (pidfile.ok()) return "accepted";
  CHECK(pidfile.error().exit_code() == 73);
  CHECK(stale.empty());
  const std::string begin = "the pidfile " + path + " ";
  const std::string& message = pidfile.error().message;
  return message.substr(0, begin.size()) == begin ? message.substr(begin.size()) : "otherwise: " + message;
}

/// A process that holds the pidfile until it is told to end.
class Holder {
 public:
  explicit Holder(const std::string& path) {
    int told[2];
    int ready[2];
    REQUIRE(::pipe2(told, O_CLOEXEC) == 0);
    REQUIRE(::pipe2(ready, O_CLOEXEC) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::close(told[1]);
      std::string stale;
      Result<Pidfile> held = Pidfile::take(path, stale);
      char byte = held.ok() ? 'y' : 'n';
      (void)!::write(ready[1], &byte, 1);
      (void)!::read(told[0], &byte, 1);
      ::_exit(0);
    }
    ::close(told[0]);
    ::close(ready[1]);
    tell_.reset(told[1]);
    const Fd ready_end(ready[0]);
    char byte = 'n';
    CHECK(::read(ready_end.get(), &byte, 1) == 1);
    CHECK(byte == 'y');
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  ~Holder() { end(); }

  /// Ends as by SIGKILL: without removing anything.
  void end() {
    if (pid_ < 0) return;
    tell_.reset();
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  [[nodiscard]] std::string pid() const { return std::to_string(pid_); }

 private:
  pid_t pid_ = -1;
  Fd tell_;
};

}  // namespace

TEST_CASE("pidfile: a new one holds our pid and a newline, and goes with remove") {
  const TemporaryDirectory directory;
  const std::string path = directory / "tapd.pid";
  std::string stale;
  Pidfile pidfile = take_well(path, stale);
  CHECK(stale.empty());
  CHECK(read_text(path) == our_pid());
  struct stat found {};
  REQUIRE(::stat(path.c_str(), &found) == 0);
  CHECK((found.st_mode & 022) == 0);  // nobody else may write into it
  pidfile.remove();
  CHECK(!exists(path));
  pidfile.remove();
}

TEST_CASE("pidfile: the end of the object frees it without removing it") {
  const TemporaryDirectory directory;
  const std::string path = directory / "tapd.pid";
  std::string stale;
  { const Pidfile pidfile = take_well(path, stale); }
  CHECK(read_text(path) == our_pid());
  Pidfile again = take_well(path, stale);
  CHECK(stale ==
        "the pidfile " + path + " was left over (it said '" + std::to_string(::getpid()) + "') and is overwritten");
  again.remove();
}

TEST_CASE("pidfile: an unlocked one is left over, whatever it says, and that is told") {
  const TemporaryDirectory directory;
  const std::string path = directory / "tapd.pid";
  const std::string living = std::to_string(::getppid());
  for (const std::string& content :
       {std::string("999999\n"), living + "\n", std::string("1"), std::string("not a pid\nat all\n"),
        std::string(5000, 'x'), std::string("\n"), std::string(3, '\0')}) {
    CAPTURE(content);
    write_text(path, content);
    std::string stale;
    Pidfile pidfile = take_well(path, stale);
    CHECK(read_text(path) == our_pid());
    const std::string first_line = content.substr(0, content.find('\n')).substr(0, 31);
    CHECK(stale == "the pidfile " + path + " was left over (it said '" + first_line + "') and is overwritten");
    pidfile.remove();
  }
}

TEST_CASE("pidfile: an empty one is nothing to tell of") {
  const TemporaryDirectory directory;
  const std::string path = directory / "tapd.pid";
  write_text(path, "");
  std::string stale;
  Pidfile pidfile = take_well(path, stale);
  CHECK(stale.empty());
  CHECK(read_text(path) == our_pid());
}

TEST_CASE("pidfile: one that another process holds is refused, with its pid, until that has ended") {
  const TemporaryDirectory directory;
  const std::string path = directory / "tapd.pid";
  Holder holder(path);
  const std::string content = read_text(path);
  CHECK(content == holder.pid() + "\n");
  CHECK(refusal(path) == "is held by a running tapd (pid " + holder.pid() + ")");
  CHECK(read_text(path) == content);
  const std::string pid = holder.pid();
  holder.end();
  std::string stale;
  Pidfile pidfile = take_well(path, stale);
  CHECK(stale.find("it said '" + pid + "'") != std::string::npos);
  CHECK(read_text(path) == our_pid());
}

TEST_CASE("pidfile: a symbolic link is refused, and what it leads to untouched") {
  const TemporaryDirectory directory;
  const std::string path = directory / "tapd.pid";
  const std::string precious = directory / "precious";
  write_text(precious, "data");
  REQUIRE(::symlink(precious.c_str(), path.c_str()) == 0);
  CHECK(refusal(path) == "is a symbolic link; remove it or name another with --pidfile");
  CHECK(read_text(precious) == "data");
  CHECK(exists(path));
  REQUIRE(::unlink(precious.c_str()) == 0);
  CHECK(refusal(path) == "is a symbolic link; remove it or name another with --pidfile");
  CHECK(!exists(precious));
}

TEST_CASE("pidfile: a hard link is refused, and untouched") {
  const TemporaryDirectory directory;
  const std::string path = directory / "tapd.pid";
  const std::string precious = directory / "precious";
  write_text(precious, "data");
  REQUIRE(::link(precious.c_str(), path.c_str()) == 0);
  CHECK(refusal(path) == "has a second name (a hard link); remove it or name another");
  CHECK(read_text(precious) == "data");
  CHECK(exists(path));
}

TEST_CASE("pidfile: a FIFO, a directory and a device are refused, and nobody waits") {
  const TemporaryDirectory directory;
  const std::string fifo = directory / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(refusal(fifo) == "is not a regular file; remove it or name another with --pidfile");
  CHECK(exists(fifo));
  CHECK(refusal(directory.path()) == "is a directory; name another with --pidfile");
  CHECK(refusal("/dev/null") == "is not a regular file; remove it or name another with --pidfile");
}

TEST_CASE("pidfile: another user's file is refused, and untouched") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: only root can give files away");
    return;
  }
  const TemporaryDirectory directory;
  const std::string path = directory / "tapd.pid";
  write_text(path, "12345\n");
  REQUIRE(::chown(path.c_str(), 12345, 12345) == 0);
  CHECK(refusal(path) == "belongs to another user; remove it or name another");
  CHECK(read_text(path) == "12345\n");
}

TEST_CASE("pidfile: one in a directory that is not there is refused") {
  const TemporaryDirectory directory;
  std::string stale;
  const Result<Pidfile> pidfile = Pidfile::take(directory / "none/tapd.pid", stale);
  REQUIRE(!pidfile.ok());
  CHECK(pidfile.error().exit_code() == 73);
  CHECK(pidfile.error().message.find("No such file or directory") != std::string::npos);
}

TEST_CASE("pidfile: remove leaves a file alone that is not ours any more") {
  const TemporaryDirectory directory;
  const std::string path = directory / "tapd.pid";
  std::string stale;
  Pidfile pidfile = take_well(path, stale);
  REQUIRE(::unlink(path.c_str()) == 0);
  write_text(path, "another's\n");
  pidfile.remove();
  CHECK(read_text(path) == "another's\n");

  Pidfile moved = take_well(directory / "second", stale);
  REQUIRE(::rename((directory / "second").c_str(), (directory / "elsewhere").c_str()) == 0);
  REQUIRE(::symlink("elsewhere", (directory / "second").c_str()) == 0);
  moved.remove();
  CHECK(exists(directory / "second"));
  CHECK(exists(directory / "elsewhere"));
}

TEST_CASE("pidfile: a moved one is the other's to remove") {
  const TemporaryDirectory directory;
  const std::string path = directory / "tapd.pid";
  std::string stale;
  Pidfile first = take_well(path, stale);
  Pidfile second;
  second = std::move(first);
  first.remove();  // NOLINT: that nothing happens is the point
  CHECK(exists(path));
  second.remove();
  CHECK(!exists(path));
}
