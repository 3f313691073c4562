// The log's lines, and what is told to whoever started us.
#include "daemon/log.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "daemon/notify.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::daemon;
using tap::tests::read_text;
using tap::tests::TemporaryDirectory;

namespace {

LogPlan file_plan(const std::string& path, const std::string& level = "info") {
  LogPlan plan;
  plan.target = LogPlan::Target::file;
  plan.path = path;
  plan.level = level;
  return plan;
}

Log open_log(const LogPlan& plan) {
  Result<Fd> fd = Log::open_file(plan);
  REQUIRE(fd.ok());
  return {plan, std::move(fd).value()};
}

/// Whether `text` looks like `shape`, in which 0 stands for any digit and + for a sign.
bool has_shape(const std::string& text, const std::string& shape) {
  if (text.size() != shape.size()) return false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    const bool sign = text[i] == '+' || text[i] == '-';
    if (shape[i] == '0' ? !digit : shape[i] == '+' ? !sign : text[i] != shape[i]) return false;
  }
  return true;
}

/// A file's lines, each without its time; a line that does not begin with a time stays whole.
std::vector<std::string> lines_of(const std::string& path) {
  const std::string time = "0000-00-00T00:00:00.000+00:00 ";
  std::vector<std::string> lines;
  std::string text = read_text(path);
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string line = text.substr(0, end);
    lines.push_back(has_shape(line.substr(0, time.size()), time) ? line.substr(time.size()) : line);
    text.erase(0, end == std::string::npos ? end : end + 1);
  }
  return lines;
}

/// What one message becomes in a file.
std::string logged(const std::string& message) {
  const TemporaryDirectory directory;
  open_log(file_plan(directory / "log")).write(LogLevel::info, "fib", message);
  const std::vector<std::string> lines = lines_of(directory / "log");
  REQUIRE(lines.size() == 1);
  REQUIRE(lines[0].substr(0, 10) == "info fib: ");
  return lines[0].substr(10);
}

/// What a child logs to standard error.
std::string on_stderr(LogPlan::Target target, const std::string& level) {
  const tests::ChildEnd end = tests::in_child([&] {
    LogPlan plan;
    plan.target = target;
    plan.level = level;
    Log log(plan, Fd());
    log.write(LogLevel::debug, "fib", "d");
    log.write(LogLevel::info, "fib", "i");
    log.write(LogLevel::warning, "fib", "w");
    log.write(LogLevel::error, "tapd", "e");
  });
  CHECK(end.code == 0);
  return end.err;
}

}  // namespace

TEST_CASE("log: a line has time, level, service and message") {
  const TemporaryDirectory directory;
  {
    Log log = open_log(file_plan(directory / "log", "debug"));
    log.write(LogLevel::debug, "fib", "one");
    log.write(LogLevel::info, "fib", "two");
    log.write(LogLevel::warning, "tapd", "three");
    log.write(LogLevel::error, "echo", "four: {} %s");
    CHECK(log.fd() >= 0);
  }
  CHECK(lines_of(directory / "log") ==
        std::vector<std::string>{"debug fib: one", "info fib: two", "warning tapd: three", "error echo: four: {} %s"});
}

TEST_CASE("log: says nothing below its level") {
  const std::vector<std::string> levels{"debug", "info", "warning", "error"};
  for (std::size_t i = 0; i < levels.size(); ++i) {
    CAPTURE(levels[i]);
    const TemporaryDirectory directory;
    Log log = open_log(file_plan(directory / "log", levels[i]));
    log.write(LogLevel::debug, "x", "m");
    log.write(LogLevel::info, "x", "m");
    log.write(LogLevel::warning, "x", "m");
    log.write(LogLevel::error, "x", "m");
    std::vector<std::string> expected;
    for (std::size_t j = i; j < levels.size(); ++j) expected.push_back(levels[j] + " x: m");
    CHECK(lines_of(directory / "log") == expected);
  }
}

TEST_CASE("log: knows its levels") {
  for (const char* level : {"debug", "info", "warning", "error"}) CHECK(is_log_level(level));
  for (const char* level : {"", "warn", "Info", "trace", "off", "critical"}) CHECK(!is_log_level(level));
}

TEST_CASE("log: a message cannot forge a line or drive a terminal") {
  CHECK(logged("two\nlines") == "two | lines");
  CHECK(logged("\r\n") == "? | ");
  CHECK(logged("\x1b[31mred\x1b[0m") == "?[31mred?[0m");
  CHECK(logged("tab\tbell\adel\x7f") == "tab?bell?del?");
  CHECK(logged(std::string("nul\0nul", 7)) == "nul?nul");
  CHECK(logged("caf\xC3\xA9 \xE2\x82\xAC") == "caf\xC3\xA9 \xE2\x82\xAC");
  CHECK(logged("").empty());
}

TEST_CASE("log: the control characters above 127 are no different") {
  CHECK(logged("\xC2\x9B[31mred").find('\x9B') == std::string::npos);  // U+009B begins a sequence as ESC [ does
}

TEST_CASE("log: appends to what was there, and is nobody else's to read") {
  const TemporaryDirectory directory;
  const std::string path = directory / "log";
  open_log(file_plan(path)).write(LogLevel::info, "x", "first");
  struct stat found {};
  REQUIRE(::stat(path.c_str(), &found) == 0);
  CHECK((found.st_mode & 0777) == 0600);
  open_log(file_plan(path)).write(LogLevel::info, "x", "second");
  CHECK(lines_of(path) == std::vector<std::string>{"info x: first", "info x: second"});
}

TEST_CASE("log: exchange goes on in another file, at once and without a line lost") {
  const TemporaryDirectory directory;
  const std::string path = directory / "log";
  Log log = open_log(file_plan(path));
  log.write(LogLevel::info, "x", "old");
  REQUIRE(::rename(path.c_str(), (directory / "log.1").c_str()) == 0);
  log.write(LogLevel::info, "x", "still old");
  Result<Fd> fresh = Log::open_file(file_plan(path));
  REQUIRE(fresh.ok());
  log.exchange(std::move(fresh).value());
  log.write(LogLevel::info, "x", "new");
  CHECK(lines_of(directory / "log.1") == std::vector<std::string>{"info x: old", "info x: still old"});
  CHECK(lines_of(path) == std::vector<std::string>{"info x: new"});
}

TEST_CASE("log: many threads write whole lines, also while the file is exchanged") {
  const TemporaryDirectory directory;
  const std::string path = directory / "log";
  Log log = open_log(file_plan(path));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) log.write(LogLevel::info, "x", "a line that should stay whole");
    });
  }
  for (int i = 0; i < 20; ++i) {
    Result<Fd> same = Log::open_file(file_plan(path));
    REQUIRE(same.ok());
    log.exchange(std::move(same).value());
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<std::string> lines = lines_of(path);
  CHECK(lines.size() == 800);
  for (const std::string& line : lines) CHECK(line == "info x: a line that should stay whole");
}

TEST_CASE("log: a file that cannot be opened is told with its path") {
  const TemporaryDirectory directory;
  const Result<Fd> missing = Log::open_file(file_plan(directory / "none/log"));
  REQUIRE(!missing.ok());
  CHECK(missing.error().exit_code() == 73);
  CHECK(missing.error().message.find("opening the log file " + (directory / "none/log")) == 0);
  CHECK(Log::open_file(file_plan(directory.path())).error().exit_code() == 73);
  REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
  CHECK(!Log::open_file(file_plan(directory / "fifo")).ok());  // and does not wait for a reader
  LogPlan other;
  const Result<Fd> none = Log::open_file(other);
  REQUIRE(none.ok());
  CHECK(!none->open());
}

TEST_CASE("log: a file that cannot be written to stops nobody") {
  Log log(file_plan("/dev/full"), Fd(::open("/dev/full", O_WRONLY | O_CLOEXEC)));
  log.write(LogLevel::error, "x", "lost");
}

TEST_CASE("log: on standard error the lines are those of a file") {
  const TemporaryDirectory directory;
  tests::write_text(directory / "err", on_stderr(LogPlan::Target::standard_error, "info"));
  CHECK(lines_of(directory / "err") == std::vector<std::string>{"info fib: i", "warning fib: w", "error tapd: e"});
}

TEST_CASE("log: for the journal a line has its priority, and neither time nor level") {
  CHECK(on_stderr(LogPlan::Target::journal, "debug") == "<7>fib: d\n<6>fib: i\n<4>fib: w\n<3>tapd: e\n");
  CHECK(on_stderr(LogPlan::Target::journal, "warning") == "<4>fib: w\n<3>tapd: e\n");
}

TEST_CASE("log: standard error is the journal's exactly when $JOURNAL_STREAM names it") {
  const auto is_journal = [](const std::function<void(const std::string&)>& set_environment) {
    return tests::in_child([&] {
             struct stat found {};
             ::fstat(STDERR_FILENO, &found);
             set_environment(std::to_string(found.st_dev) + ":" + std::to_string(found.st_ino));
             ::_exit(stderr_is_journal() ? 1 : 0);
           }).code == 1;
  };
  CHECK(is_journal([](const std::string& name) { ::setenv("JOURNAL_STREAM", name.c_str(), 1); }));
  CHECK(!is_journal([](const std::string& name) { ::setenv("JOURNAL_STREAM", (name + "1").c_str(), 1); }));
  CHECK(!is_journal([](const std::string&) { ::unsetenv("JOURNAL_STREAM"); }));
}

TEST_CASE("notify: systemd's socket gets the state, by path and by abstract name") {
  const TemporaryDirectory directory;
  for (const std::string& name : {directory / "notify", "@tapd-test-" + std::to_string(::getpid())}) {
    CAPTURE(name);
    const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, name.size());
    if (name[0] == '@') address.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0);
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
    notify_systemd("READY=1\nSTATUS=serving");
    ::unsetenv("NOTIFY_SOCKET");
    char text[64];
    const ssize_t got = ::recv(socket.get(), text, sizeof text, 0);
    CHECK(got == 22);
    if (got > 0) CHECK(std::string(text, static_cast<std::size_t>(got)) == "READY=1\nSTATUS=serving");
  }
}

TEST_CASE("notify: without a socket, or with a bad name, nothing happens") {
  notify_systemd("READY=1");
  for (const std::string& name :
       {std::string("relative"), std::string(""), "/" + std::string(200, 'x'), std::string("/none/x")}) {
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
    notify_systemd("READY=1");
  }
  ::unsetenv("NOTIFY_SOCKET");
}

TEST_CASE("notify: a descriptor gets a newline, and is closed, once") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const Fd read_end(ends[0]);
  int fd = ends[1];
  notify_descriptor(fd);
  CHECK(fd == -1);
  char bytes[4];
  CHECK(::read(read_end.get(), bytes, sizeof bytes) == 1);
  CHECK(bytes[0] == '\n');
  CHECK(::read(read_end.get(), bytes, sizeof bytes) == 0);
  notify_descriptor(fd);
}
