// tap: what a person sees of archives.
#include <doctest/doctest.h>

#include "tests/end_to_end/daemon.hpp"

using namespace tap::tests;

namespace {

Ended tap_tool(const TemporaryDirectory& directory, std::vector<std::string> words) {
  words.insert(words.begin(), program("tap"));
  return run(words, directory.path());
}

/// An archive whose number is 10^(digits-1).
void make_long(const TemporaryDirectory& directory, std::size_t digits) {
  REQUIRE(tap_tool(directory, {"make", "fibonacci", "--listen", "tcp:0", "-o", "a.tap", "--force"}).code == 0);
  REQUIRE(tap_tool(directory, {"convert", "a.tap", "a.json"}).code == 0);
  std::string json = read_text(directory / "a.json");
  const std::string field = "\"b\": \"1\"";
  REQUIRE(json.find(field) != std::string::npos);
  json.replace(json.find(field), field.size(), "\"b\": \"1" + std::string(digits - 1, '0') + "\"");
  write_text(directory / "a.json", json);
  REQUIRE(tap_tool(directory, {"convert", "a.json", "long.tap"}).code == 0);
}

}  // namespace

TEST_CASE("tap: make does not replace an archive unless it is told to") {
  const TemporaryDirectory directory;
  const std::vector<std::string> words{"make", "fibonacci", "--name", "F", "--listen", "tcp:0"};
  CHECK(tap_tool(directory, words).code == 0);
  const std::string first = read_text(directory / "F.tap");
  CHECK(tap_tool(directory, words).code == 73);
  CHECK(read_text(directory / "F.tap") == first);
  std::vector<std::string> forced = words;
  forced.emplace_back("--force");
  CHECK(tap_tool(directory, forced).code == 0);
  CHECK(read_text(directory / "F.tap") != first);
  CHECK(tap_tool(directory, {"make", "fibonacci"}).code == 64);
  CHECK(tap_tool(directory, {"make", "nothing", "--listen", "tcp:0"}).code == 64);
  CHECK(tap_tool(directory, {"make", "fibonacci", "--listen", "tcp:0", "--framing", "x"}).code == 64);
}

TEST_CASE("tap: convert to JSON and to XML and back gives the same bytes") {
  const TemporaryDirectory directory;
  make_long(directory, 500);
  for (const char* middle : {"m.json", "m.xml"}) {
    CHECK(tap_tool(directory, {"convert", "long.tap", middle}).code == 0);
    CHECK(tap_tool(directory, {"convert", middle, "back.tap"}).code == 0);
    CHECK(read_text(directory / "back.tap") == read_text(directory / "long.tap"));
  }
  CHECK(tap_tool(directory, {"convert", "long.tap", "m.yaml"}).code == 64);
  write_text(directory / "bad.json", "{\"tapd\": 4}");
  CHECK(tap_tool(directory, {"convert", "bad.json", "x.tap"}).code == 65);
  CHECK_FALSE(exists(directory / "x.tap"));
}

TEST_CASE("tap: show shortens from the 80th digit in the table only") {
  const TemporaryDirectory directory;
  const auto number = [](std::size_t digits) { return "1" + std::string(digits - 1, '0'); };
  make_long(directory, 79);
  CHECK(count_of(tap_tool(directory, {"show", "long.tap"}).out, number(79)) == 1);
  make_long(directory, 80);
  const Ended table = tap_tool(directory, {"show", "long.tap"});
  CHECK(count_of(table.out, number(80)) == 0);
  CHECK(count_of(table.out, "(80 digits") == 1);
  CHECK(count_of(tap_tool(directory, {"show", "long.tap", "--full"}).out, number(80)) == 1);
  CHECK(count_of(tap_tool(directory, {"show", "--json", "long.tap"}).out, "\"" + number(80) + "\"") == 1);
}

TEST_CASE("tap: show, list and verify work on a store and tell what is bad") {
  const TemporaryDirectory directory;
  for (int i = 0; i < 2; ++i) {
    Daemon daemon(directory, fibonacci_lines());
    CHECK_FALSE(ask(daemon.port()).empty());
    CHECK(daemon.stop());
  }
  CHECK(count_of(tap_tool(directory, {"show", "Fibonacci.state"}).out, "generation        3") == 1);
  CHECK(count_of(tap_tool(directory, {"list", "Fibonacci.state"}).out, "Fibonacci-") == 2);
  CHECK(tap_tool(directory, {"verify", "Fibonacci.state"}).code == 0);
  write_text(directory / "Fibonacci.state/Fibonacci-3.tap", "");
  const Ended bad = tap_tool(directory, {"verify", "Fibonacci.state"});
  CHECK(bad.code == 65);
  CHECK(count_of(bad.out, "Fibonacci-3.tap: BAD: ") == 1);
  CHECK(tap_tool(directory, {"show", "Fibonacci.state"}).code == 65);
  CHECK(tap_tool(directory, {"show", "missing"}).code == 66);
  CHECK(tap_tool(directory, {"list", "missing"}).code == 66);
  CHECK(tap_tool(directory, {"frobnicate"}).code == 64);
}

TEST_CASE("tap: diff compares definition and state, not generation or times") {
  const TemporaryDirectory directory;
  Daemon first(directory, fibonacci_lines());
  CHECK(first.stop());
  write_text(directory / "before.tap", read_text(directory / "Fibonacci-shutdown.tap"));
  {
    Daemon daemon(directory, fibonacci_lines());
    CHECK(daemon.stop());
  }
  CHECK(read_text(directory / "before.tap") != read_text(directory / "Fibonacci-shutdown.tap"));
  CHECK(tap_tool(directory, {"diff", "before.tap", "Fibonacci-shutdown.tap"}).code == 0);
  {
    Daemon daemon(directory, fibonacci_lines());
    CHECK(ask(daemon.port()) == "2");
    CHECK(daemon.stop());
  }
  const Ended different = tap_tool(directory, {"diff", "before.tap", "Fibonacci-shutdown.tap"});
  CHECK(different.code == 1);
  CHECK(count_of(different.out, "state[fibonacci].state.b") == 2);
  CHECK(tap_tool(directory, {"diff", "before.tap", "missing.tap"}).code == 2);
  CHECK(tap_tool(directory, {"diff", "before.tap"}).code == 2);
}
