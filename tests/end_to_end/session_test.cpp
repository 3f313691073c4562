// The session of the articles: make, run, ask, kill, run again, go on.
#include <doctest/doctest.h>
#include <signal.h>

#include "tests/end_to_end/daemon.hpp"

using namespace tap::tests;

namespace {

/// What the articles' client does: send something, read the answer.
std::string ask_unframed(std::uint16_t port) {
  Client client = Client::tcp(port);
  if (!client.open() || !client.send("next, please")) return {};
  return client.read_some();
}

std::string shell(const TemporaryDirectory& directory, const std::string& command) {
  return run({"sh", "-c", "PATH=\"$TAP_BIN:$PATH\"; " + command}, directory.path()).out;
}

}  // namespace

TEST_CASE("session: the articles' commands give 2 3 5 8, and after a kill go on with 13") {
  const TemporaryDirectory directory;
  Ended made = run({program("tap"), "make", "fibonacci", "--name", "Fibonacci", "--listen", "tcp:0"}, directory.path());
  REQUIRE_MESSAGE(made.code == 0, made.err);
  REQUIRE(exists(directory / "Fibonacci.tap"));
  {
    Daemon daemon(directory, {"-f", "Fibonacci.tap"});
    REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
    for (const char* expected : {"2", "3", "5", "8"}) CHECK(ask_unframed(daemon.port()) == expected);
    CHECK(shell(directory, "kill $(cat tapd.pid) && echo sent") == "sent\n");
    const pid_t keeper = daemon.keeper();
    CHECK((keeper < 0 || wait_until_gone(keeper)));
  }
  CHECK(exists(directory / "Fibonacci-shutdown.tap"));
  Daemon again(directory, {"-f", "Fibonacci-shutdown.tap"});
  REQUIRE_MESSAGE(again.started(), again.launcher().err);
  CHECK(ask_unframed(again.port()) == "13");
  CHECK(again.stop());
}

TEST_CASE("session: kill and start typed on one line wait for each other, also the very first time") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, fibonacci_lines());
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  std::uint16_t port = daemon.port();
  const char* expected[] = {"2", "3", "5", "8", "13"};
  for (const char* number : expected) {
    CHECK(ask(port) == number);
    const std::string listening = shell(directory, "kill $(cat tapd.pid); tapd -f Fibonacci-shutdown.tap");
    REQUIRE(ports_in(listening).size() == 1);
    port = ports_in(listening)[0];
  }
  CHECK(ask(port) == "21");
  CHECK(daemon.stop());
}

TEST_CASE("session: a config gives the same life, with several services and endpoints") {
  const TemporaryDirectory directory;
  write_text(directory / "both.toml",
             "[application]\nname = \"Both\"\n"
             "[[service]]\nname = \"fib\"\nkind = \"fibonacci\"\n"
             "listen = [\"tcp:0:interface=127.0.0.1\", \"unix:fib.sock\"]\n"
             "[service.options]\nframing = \"line\"\n"
             "[[service]]\nname = \"echo\"\nkind = \"echo\"\nlisten = [\"tcp:0:interface=127.0.0.1\"]\n");
  for (const char* round : {"2 3", "5 8", "13 21"}) {
    Daemon daemon(directory, {"-c", "both.toml"});
    REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
    CHECK(count_of(daemon.launcher().out, "listening fib ") == 2);
    CHECK(count_of(daemon.launcher().out, "listening echo ") == 1);
    Client local = Client::unix_socket(directory / "fib.sock");
    REQUIRE(local.open());
    const std::string first = ask(daemon.port());
    REQUIRE(local.send("x\n"));
    CHECK(first + " " + local.read_line() == round);
    Client echo = Client::tcp(daemon.port(1));
    REQUIRE(echo.send("hello"));
    CHECK(echo.read_exactly(5) == "hello");
    CHECK(daemon.stop());
    CHECK_FALSE(exists(directory / "fib.sock"));
    CHECK(exists(directory / "Both-shutdown.tap"));
  }
}

TEST_CASE("session: in the foreground, one service, a free port, Ctrl-C saves") {
  const TemporaryDirectory directory;
  for (const char* expected : {"2", "3", "5"}) {
    Process tapd({program("tapd"), "-n", "fibonacci", "--listen", "tcp:0"}, directory.path());
    const std::string line = tapd.read_line();
    const std::vector<std::uint16_t> ports = ports_in(line);
    REQUIRE_MESSAGE(ports.size() == 1, line);
    CHECK(count_of(line, "listening fibonacci tcp:") == 1);
    CHECK(ask_unframed(ports[0]) == expected);
    tapd.signal(SIGINT);
    CHECK(tapd.wait().code == 0);
  }
}

TEST_CASE("session: without a keeper everything is the same, in one process") {
  const TemporaryDirectory directory;
  for (const char* expected : {"2", "3", "5"}) {
    Process tapd({program("tapd"), "-n", "--no-keeper", "fibonacci", "--listen", "tcp:0"}, directory.path());
    const std::vector<std::uint16_t> ports = ports_in(tapd.read_line());
    REQUIRE(ports.size() == 1);
    CHECK(children_of(tapd.pid()).empty());
    CHECK(ask_unframed(ports[0]) == expected);
    tapd.signal(SIGTERM);
    CHECK(tapd.wait().code == 0);
    CHECK(exists(directory / "Fibonacci-shutdown.tap"));
  }
}

TEST_CASE("session: --no-save writes nothing and what was there stays") {
  const TemporaryDirectory directory;
  {
    Daemon daemon(directory, fibonacci_lines());
    CHECK(ask(daemon.port()) == "2");
    CHECK(daemon.stop());
  }
  const std::string before = read_text(directory / "Fibonacci-shutdown.tap");
  for (int i = 0; i < 2; ++i) {
    std::vector<std::string> words = fibonacci_lines();
    words.insert(words.begin(), "-o");
    Daemon daemon(directory, words);
    REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
    CHECK(ask(daemon.port()) == "3");
    CHECK(daemon.stop());
  }
  CHECK(read_text(directory / "Fibonacci-shutdown.tap") == before);

  const TemporaryDirectory empty;
  std::vector<std::string> words = fibonacci_lines();
  words.emplace_back("--no-save");
  Daemon daemon(empty, words);
  CHECK(ask(daemon.port()) == "2");
  CHECK(daemon.stop());
  CHECK_FALSE(exists(empty / "Fibonacci.state"));
  CHECK_FALSE(exists(empty / "Fibonacci-shutdown.tap"));
}

TEST_CASE("session: stdio serves one conversation and ends with it") {
  const TemporaryDirectory directory;
  const std::vector<std::string> words{program("tapd"), "-n", "fibonacci", "--listen", "stdio:", "--framing", "line"};
  const Ended first = run(words, directory.path(), {}, "a\nb\nc\n");
  CHECK(first.code == 0);
  CHECK(first.out == "2\n3\n5\n");
  CHECK(count_of(first.err, "listening fibonacci stdio:") == 1);
  CHECK(run(words, directory.path(), {}, "a\n").out == "8\n");
}
