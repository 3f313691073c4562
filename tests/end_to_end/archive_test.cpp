// Which state wins: the store's or the archive's that was given. (DESIGN: the table under "Command line".)
#include <doctest/doctest.h>

#include "tests/end_to_end/daemon.hpp"

using namespace tap::tests;

namespace {

/// Serves `count` numbers from an archive, checks the first, stops.
void serve(const TemporaryDirectory& directory, const std::vector<std::string>& words, const std::string& first,
           int count) {
  Daemon daemon(directory, words);
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  CHECK(ask(daemon.port()) == first);
  for (int i = 1; i < count; ++i) CHECK_FALSE(ask(daemon.port()).empty());
  CHECK(daemon.stop());
}

void make(const TemporaryDirectory& directory, const std::string& file) {
  const Ended made = run({program("tap"), "make", "fibonacci", "--listen", "tcp:0", "--framing", "line", "-o", file},
                         directory.path());
  REQUIRE_MESSAGE(made.code == 0, made.err);
}

Ended tapd(const TemporaryDirectory& directory, std::vector<std::string> words) {
  words.insert(words.begin(), program("tapd"));
  return run(words, directory.path());
}

Ended tap_tool(const TemporaryDirectory& directory, std::vector<std::string> words) {
  words.insert(words.begin(), program("tap"));
  return run(words, directory.path());
}

}  // namespace

TEST_CASE("archive: starting from the old archive resumes from the newest state and says so") {
  const TemporaryDirectory directory;
  make(directory, "Fibonacci.tap");
  serve(directory, {"-f", "Fibonacci.tap"}, "2", 4);
  Daemon daemon(directory, {"-f", "Fibonacci.tap"});
  REQUIRE(daemon.started());
  CHECK(count_of(daemon.launcher().err, "resuming from the store") == 1);
  CHECK(count_of(daemon.launcher().err, "--rewind") == 1);
  CHECK(ask(daemon.port()) == "13");
  CHECK(daemon.stop());
}

TEST_CASE("archive: an ancestor hundreds of generations old is still known, and so is the very first") {
  const TemporaryDirectory directory;
  make(directory, "Fibonacci.tap");
  for (int i = 0; i < 3; ++i) {
    Daemon daemon(directory, {"-f", "Fibonacci.tap"});
    REQUIRE(daemon.started());
    CHECK(daemon.stop());
  }
  CHECK(tapd(directory, {"-f", "Fibonacci.tap", "--check"}).code == 0);
}

TEST_CASE("archive: --rewind goes back, keeps the newer state aside, and the next start goes on from there") {
  const TemporaryDirectory directory;
  make(directory, "Fibonacci.tap");
  serve(directory, {"-f", "Fibonacci.tap"}, "2", 5);
  serve(directory, {"--rewind", "-f", "Fibonacci.tap"}, "2", 1);
  serve(directory, {"-f", "Fibonacci.tap"}, "3", 1);
  serve(directory, {"-f", "Fibonacci-shutdown.tap"}, "5", 1);
  // What the store had: the state after five numbers.
  const Ended aside = tap_tool(directory, {"show", "Fibonacci.state/quarantine/Fibonacci-2.tap"});
  CHECK(aside.code == 0);
  CHECK(count_of(aside.out, "given           5") == 1);
}

TEST_CASE("archive: one that does not belong to the store is 73, with both names and both commands") {
  const TemporaryDirectory directory;
  make(directory, "Fibonacci.tap");
  make(directory, "other.tap");
  serve(directory, {"-f", "Fibonacci.tap"}, "2", 1);
  const Ended ended = tapd(directory, {"-f", "other.tap"});
  CHECK(ended.code == 73);
  CHECK(count_of(ended.err, "other.tap (lineage ") == 1);
  CHECK(count_of(ended.err, "tapd --rewind -f other.tap") == 1);
  CHECK(count_of(ended.err, "tapd -f " + directory.path() + "/Fibonacci.state/Fibonacci-2.tap") == 1);
  serve(directory, {"-f", directory.path() + "/Fibonacci.state/Fibonacci-2.tap"}, "3", 1);

  // Newer than the store: its own child, carried back after the store was lost.
  const TemporaryDirectory second;
  write_text(second / "Fibonacci.tap", read_text(directory / "Fibonacci.tap"));
  write_text(second / "newer.tap", read_text(directory / "Fibonacci-shutdown.tap"));
  serve(second, {"-f", "Fibonacci.tap"}, "2", 1);
  CHECK(tapd(second, {"-f", "newer.tap"}).code == 73);
  serve(second, {"--rewind", "-f", "newer.tap"}, "5", 1);
}

TEST_CASE("archive: a damaged newest archive costs nothing when the journal leads on from the one before") {
  const TemporaryDirectory directory;
  serve(directory, fibonacci_lines(), "2", 1);
  serve(directory, fibonacci_lines(), "3", 1);
  std::string bytes = read_text(directory / "Fibonacci.state/Fibonacci-3.tap");
  // In the state: what the archive says of itself is still to be read, and so is how much of the journal it holds.
  const std::size_t payload = bytes.rfind("fibonacci") + 9;
  bytes[payload] = static_cast<char>(bytes[payload] ^ 4);
  write_text(directory / "Fibonacci.state/Fibonacci-3.tap", bytes);
  serve(directory, fibonacci_lines(), "5", 1);
  CHECK(read_text(directory / "Fibonacci.state/quarantine/Fibonacci-3.tap") == bytes);
  CHECK(count_of(read_text(directory / "tapd.log"), "nothing is lost") == 1);
  serve(directory, fibonacci_lines(), "8", 1);
}

TEST_CASE(
    "archive: a damaged store without a journal is refused with 65, nothing is touched, --rewind helps knowingly") {
  const TemporaryDirectory directory;
  std::vector<std::string> unjournaled = fibonacci_lines();
  unjournaled.insert(unjournaled.end(), {"--durability", "shutdown"});
  serve(directory, unjournaled, "2", 1);
  serve(directory, unjournaled, "3", 1);
  std::string bytes = read_text(directory / "Fibonacci.state/Fibonacci-3.tap");
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  write_text(directory / "Fibonacci.state/Fibonacci-3.tap", bytes);
  const std::string older = read_text(directory / "Fibonacci.state/Fibonacci-2.tap");

  Ended ended = tapd(directory, unjournaled);
  CHECK(ended.code == 65);
  CHECK(count_of(ended.err, "Fibonacci-3.tap") == 1);
  CHECK(count_of(ended.err, "Fibonacci-2.tap") == 1);
  CHECK(read_text(directory / "Fibonacci.state/Fibonacci-3.tap") == bytes);
  CHECK(read_text(directory / "Fibonacci.state/Fibonacci-2.tap") == older);
  CHECK_FALSE(exists(directory / "tapd.pid"));

  write_text(directory / "older.tap", older);
  serve(directory, {"--rewind", "-f", "older.tap"}, "3", 1);
  CHECK(read_text(directory / "Fibonacci.state/quarantine/Fibonacci-3.tap") == bytes);
}

TEST_CASE("archive: the state of a service that leaves the config stays and comes back with it") {
  const TemporaryDirectory directory;
  const std::string head = "[application]\nname = \"A\"\n";
  const auto service = [](const std::string& name) {
    return "[[service]]\nname = \"" + name +
           "\"\nkind = \"fibonacci\"\nlisten = [\"tcp:0:interface=127.0.0.1\"]\noptions = {framing = \"line\"}\n";
  };
  write_text(directory / "a.toml", head + service("one") + service("two"));
  serve(directory, {"-c", "a.toml"}, "2", 3);
  write_text(directory / "a.toml", head + service("two"));
  serve(directory, {"-c", "a.toml"}, "2", 1);
  write_text(directory / "a.toml", head + service("one") + service("two"));
  serve(directory, {"-c", "a.toml"}, "8", 1);
  write_text(directory / "a.toml", head + "[[service]]\nname = \"one\"\nkind = \"echo\"\nlisten = [\"tcp:0\"]\n");
  CHECK(tapd(directory, {"-c", "a.toml"}).code == 78);
}

TEST_CASE("archive: under systemd the store and the shutdown copy are in $STATE_DIRECTORY") {
  const TemporaryDirectory directory;
  const TemporaryDirectory state;
  Daemon daemon(directory, fibonacci_lines(), {"STATE_DIRECTORY=" + state.path()});
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  CHECK(daemon.stop());
  CHECK(exists(state / "Fibonacci-2.tap"));
  CHECK(exists(state / "Fibonacci-shutdown.tap"));
  CHECK_FALSE(exists(directory / "Fibonacci.state"));
}
