// Starts that must fail: with one clear sentence, the right exit code, and nothing touched.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <fstream>

#include "state/base/crc32c.hpp"
#include "tests/end_to_end/daemon.hpp"

using namespace tap::tests;

namespace {

Ended start(const TemporaryDirectory& directory, const std::vector<std::string>& words) {
  std::vector<std::string> command{program("tapd")};
  command.insert(command.end(), words.begin(), words.end());
  return run(command, directory.path());
}

std::vector<std::string> with(std::vector<std::string> words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// A good archive to damage.
std::string make_archive(const TemporaryDirectory& directory) {
  const Ended made = run({program("tap"), "make", "fibonacci", "--listen", "tcp:0"}, directory.path());
  REQUIRE(made.code == 0);
  return read_text(directory / "Fibonacci.tap");
}

}  // namespace

TEST_CASE("start: a damaged, foreign or missing archive is refused with its exit code and left as it is") {
  const TemporaryDirectory directory;
  const std::string good = make_archive(directory);
  std::string flipped = good;
  flipped[good.size() / 2] = static_cast<char>(flipped[good.size() / 2] ^ 1);
  const struct {
    const char* what;
    std::string content;
    const char* says;
  } cases[] = {{"empty.tap", "", "empty"},
               {"cut.tap", good.substr(0, good.size() - 10), "cut off"},
               {"flipped.tap", flipped, "damaged"},
               {"text.tap", "this is some text\n", "not a tap archive"}};
  for (const auto& bad : cases) {
    CAPTURE(std::string(bad.what));
    write_text(directory / bad.what, bad.content);
    const Ended ended = start(directory, {"-f", bad.what});
    CHECK(ended.code == 65);
    CHECK(count_of(ended.err, bad.says) >= 1);
    CHECK(count_of(ended.err, bad.what) == 1);
    CHECK(read_text(directory / bad.what) == bad.content);
  }
  REQUIRE(::mkdir((directory / "directory.tap").c_str(), 0700) == 0);
  REQUIRE(::mkfifo((directory / "fifo.tap").c_str(), 0600) == 0);
  for (const char* name : {"directory.tap", "fifo.tap", "missing.tap", "missing-shutdown.tap"}) {
    CAPTURE(std::string(name));
    CHECK(start(directory, {"-f", name}).code == 66);
  }
  CHECK_FALSE(exists(directory / "Fibonacci.state"));
}

TEST_CASE("start: a newer format is refused with 78") {
  const TemporaryDirectory directory;
  std::string newer = make_archive(directory);
  newer[8] = 2;  // the format version; the last four bytes of the 192 are the header's checksum (FORMAT.md)
  std::string checksum;
  tap::put_le(checksum, tap::crc32c(newer.substr(0, 188)));
  newer.replace(188, 4, checksum);
  write_text(directory / "newer.tap", newer);
  const Ended ended = start(directory, {"-f", "newer.tap"});
  CHECK(ended.code == 78);
  CHECK(count_of(ended.err, "format version 2") == 1);
  CHECK(read_text(directory / "newer.tap") == newer);
}

TEST_CASE("start: a taken port is 69 and names endpoint and reason") {
  const TemporaryDirectory directory;
  Daemon first(directory, fibonacci_lines());
  REQUIRE(first.started());
  const TemporaryDirectory other;
  const std::string endpoint = "tcp:" + std::to_string(first.port()) + ":interface=127.0.0.1";
  const Ended ended = start(other, {"fibonacci", "--listen", endpoint});
  CHECK(ended.code == 69);
  CHECK(count_of(ended.err, endpoint) == 1);
  CHECK(count_of(ended.err, "in use") == 1);
  CHECK_FALSE(exists(other / "tapd.pid"));
  CHECK(first.stop());
}

TEST_CASE("start: a second daemon on one store is 73 and names the holder") {
  const TemporaryDirectory directory;
  Daemon first(directory, fibonacci_lines());
  REQUIRE(first.started());
  const Ended ended = start(directory, with(fibonacci_lines(), {"--pidfile", "other.pid"}));
  CHECK(ended.code == 73);
  CHECK(count_of(ended.err, std::to_string(first.keeper())) == 1);
  CHECK_FALSE(exists(directory / "other.pid"));
  CHECK(first.stop());
}

TEST_CASE("start: of 100 at once on one store one serves and 99 are told 73") {
  const TemporaryDirectory directory;
  std::vector<Process> starters;
  std::vector<std::string> command{program("tapd")};
  for (const std::string& word : fibonacci_lines()) command.push_back(word);
  for (int i = 0; i < 100; ++i) starters.emplace_back(command, directory.path());
  int served = 0;
  int refused = 0;
  std::string listening;
  for (Process& starter : starters) {
    const Ended ended = starter.wait();
    if (ended.code == 0) {
      ++served;
      listening = ended.out;
    } else {
      CHECK_MESSAGE(ended.code == 73, ended.err);
      ++refused;
    }
  }
  CHECK(served == 1);
  CHECK(refused == 99);
  REQUIRE(ports_in(listening).size() == 1);
  CHECK(ask(ports_in(listening)[0]) == "2");
  const pid_t keeper = static_cast<pid_t>(std::stoi(read_text(directory / "tapd.pid")));
  send_signal(keeper, SIGTERM);
  CHECK(wait_until_gone(keeper));
}

TEST_CASE("start: a state directory that cannot be one is 73, a locked pidfile too") {
  const TemporaryDirectory directory;
  write_text(directory / "a-file", "x");
  CHECK(start(directory, with(fibonacci_lines(), {"--state-dir", "a-file"})).code == 73);
  CHECK(start(directory, with(fibonacci_lines(), {"--state-dir", "missing/deeper"})).code == 73);
  CHECK(read_text(directory / "a-file") == "x");

  write_text(directory / "tapd.pid", "1\n");
  const tap::Fd held(::open((directory / "tapd.pid").c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(::flock(held.get(), LOCK_EX) == 0);
  CHECK(start(directory, fibonacci_lines()).code == 73);
  CHECK(read_text(directory / "tapd.pid") == "1\n");
}

TEST_CASE("start: a stale pidfile is overwritten and said, whatever it names; links and FIFOs are refused") {
  const TemporaryDirectory directory;
  write_text(directory / "tapd.pid", std::to_string(::getpid()) + "\n");  // a living foreign process
  Daemon daemon(directory, fibonacci_lines());
  CHECK(daemon.started());
  CHECK(count_of(daemon.launcher().err, "left over") == 1);
  CHECK(daemon.keeper() != ::getpid());
  CHECK(daemon.stop());

  write_text(directory / "precious", "do not touch");
  REQUIRE(::symlink("precious", (directory / "link.pid").c_str()) == 0);
  REQUIRE(::link((directory / "precious").c_str(), (directory / "hard.pid").c_str()) == 0);
  REQUIRE(::mkfifo((directory / "fifo.pid").c_str(), 0600) == 0);
  for (const char* name : {"link.pid", "hard.pid", "fifo.pid"}) {
    CAPTURE(std::string(name));
    CHECK(start(directory, with(fibonacci_lines(), {"--pidfile", name})).code == 73);
  }
  CHECK(read_text(directory / "precious") == "do not touch");
}

TEST_CASE("start: usage errors are 64, config errors 78 with every place at once") {
  const TemporaryDirectory directory;
  CHECK(start(directory, {}).code == 64);
  CHECK(start(directory, {"--frobnicate"}).code == 64);
  CHECK(start(directory, {"fibonacci"}).code == 64);
  CHECK(start(directory, {"fibonaci", "--listen", "tcp:0"}).code == 64);
  CHECK(start(directory, with(fibonacci_lines(), {"--durability", "always"})).code == 78);
  write_text(directory / "bad.toml",
             "[[service]]\nname = \"a\"\nkind = \"echo\"\nlisten = [\"tcp:9\"]\nlisen = 1\n"
             "[[service]]\nname = \"a\"\nkind = \"fibonacci\"\nlisten = [\"tcp:9\"]\n");
  const Ended ended = start(directory, {"-c", "bad.toml"});
  CHECK(ended.code == 78);
  for (const char* place : {"\nbad.toml:5:1: ", "\nbad.toml:7:8: ", "\nbad.toml:9:11: "}) {
    CHECK_MESSAGE(count_of(ended.err, place) == 1, ended.err);
  }
  CHECK(start(directory, {"-c", "missing.toml"}).code == 66);
}

TEST_CASE("start: --check says that a config is valid and starts nothing") {
  const TemporaryDirectory directory;
  write_text(directory / "good.toml", "[[service]]\nname = \"a\"\nkind = \"fibonacci\"\nlisten = [\"tcp:0\"]\n");
  const Ended ended = start(directory, {"--check", "-c", "good.toml"});
  CHECK(ended.code == 0);
  CHECK(count_of(ended.out, "valid") == 1);
  CHECK_FALSE(exists(directory / "tapd.pid"));
  CHECK_FALSE(exists(directory / "good.state"));
}

TEST_CASE("start: --notify-fd gets its newline when the daemon is ready") {
  const TemporaryDirectory directory;
  const Ended ended =
      run({"sh", "-c", "exec 7>ready; \"$TAP_BIN/tapd\" --notify-fd 7 echo --listen tcp:0"}, directory.path());
  CHECK(ended.code == 0);
  CHECK(read_text(directory / "ready") == "\n");
  const pid_t keeper = static_cast<pid_t>(std::stoi(read_text(directory / "tapd.pid")));
  send_signal(keeper, SIGTERM);
  CHECK(wait_until_gone(keeper));
}

TEST_CASE("start: everything may be named: rundir, state, pidfile, log, application") {
  const TemporaryDirectory directory;
  REQUIRE(::mkdir((directory / "run").c_str(), 0700) == 0);
  const Ended ended =
      start(directory, with(fibonacci_lines(), {"-d", "run", "--name", "Numbers", "-l", "here.log", "--pidfile", "p"}));
  REQUIRE_MESSAGE(ended.code == 0, ended.err);
  CHECK(exists(directory / "p"));
  CHECK(exists(directory / "here.log"));
  CHECK(exists(directory / "run/Numbers.state/Numbers-1.tap"));
  const pid_t keeper = static_cast<pid_t>(std::stoi(read_text(directory / "p")));
  send_signal(keeper, SIGTERM);
  CHECK(wait_until_gone(keeper));
  CHECK(exists(directory / "run/Numbers-shutdown.tap"));
}
