// tap: what a person sees of archives.
#include <doctest/doctest.h>
#include <signal.h>

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
  CHECK(count_of(tap_tool(directory, {"list", "Fibonacci.state"}).out, ".tap") == 2);
  CHECK(tap_tool(directory, {"verify", "Fibonacci.state"}).code == 0);
  std::string bytes = read_text(directory / "Fibonacci.state/Fibonacci-3.tap");
  bytes[bytes.rfind("fibonacci") + 9] ^= 4;
  write_text(directory / "Fibonacci.state/Fibonacci-3.tap", bytes);
  const Ended bad = tap_tool(directory, {"verify", "Fibonacci.state"});
  CHECK(bad.code == 65);
  CHECK(count_of(bad.out, "Fibonacci-3.tap: BAD: ") == 1);
  const Ended shown = tap_tool(directory, {"show", "Fibonacci.state"});
  CHECK(shown.code == 0);  // the journal leads on from the archive before
  CHECK(count_of(shown.out, "; Fibonacci-2.tap and the journal since it are used instead") == 1);
  write_text(directory / "Fibonacci.state/Fibonacci-2.tap", "");
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

namespace {

/// A store of the fibonacci service that was killed after `given` numbers: keeper and worker, nothing is sealed.
void make_unclean_store(const TemporaryDirectory& directory, int given) {
  Daemon daemon(directory, fibonacci_lines());
  REQUIRE(daemon.started());
  for (int i = 0; i < given; ++i) REQUIRE_FALSE(ask(daemon.port()).empty());
  // The keeper first, stopped: nobody replaces the worker, and the worker has no time to save.
  const pid_t worker = daemon.worker();
  daemon.signal(SIGSTOP);
  send_signal(worker, SIGKILL);
  daemon.signal(SIGKILL);
  REQUIRE(wait_until_gone(worker));
}

constexpr char kStore[] = "Fibonacci.state";

/// Flips a bit of the n-th batch in the only segment.
void damage_batch(const TemporaryDirectory& directory, std::size_t batch) {
  const std::string path = directory / (std::string(kStore) + "/Fibonacci-1.wal");
  std::string bytes = read_text(path);
  const std::size_t block = static_cast<unsigned char>(bytes[17]) == 16 ? 4096 : 512;
  REQUIRE(bytes.substr(4096 + batch * block, 4) == "BATC");
  bytes[4096 + batch * block + 50] = static_cast<char>(bytes[4096 + batch * block + 50] ^ 1);
  write_text(path, bytes);
}

}  // namespace

TEST_CASE("tap: show, verify and list tell what the journal has, and change nothing") {
  const TemporaryDirectory directory;
  make_unclean_store(directory, 3);
  const std::string before = read_text(directory / "Fibonacci.state/Fibonacci-1.wal");
  const Ended shown = tap_tool(directory, {"show", kStore});
  CHECK(shown.code == 0);
  CHECK(count_of(shown.out, "3 changes in 3 batches since the archive, up to LSN 3, not sealed") == 1);
  CHECK(count_of(shown.out, "given           3") == 1);
  const Ended json = tap_tool(directory, {"show", kStore, "--json"});
  CHECK(count_of(json.out, "\"given\": 3") == 1);
  const Ended verified = tap_tool(directory, {"verify", kStore});
  CHECK(verified.code == 0);
  CHECK(count_of(verified.out, "journal: ok, 3 changes") == 1);
  CHECK(count_of(tap_tool(directory, {"list", kStore}).out, "Fibonacci-1.wal") == 1);
  CHECK(count_of(tap_tool(directory, {"repair", kStore}).out, "nothing to repair") == 1);
  CHECK(read_text(directory / "Fibonacci.state/Fibonacci-1.wal") == before);
}

TEST_CASE("tap: damage in the journal is refused by tapd, found by verify, and repaired in a copy") {
  const TemporaryDirectory directory;
  make_unclean_store(directory, 4);
  damage_batch(directory, 2);
  const std::string damaged = read_text(directory / "Fibonacci.state/Fibonacci-1.wal");
  CHECK(tap_tool(directory, {"verify", kStore}).code == 65);
  std::vector<std::string> words = fibonacci_lines();
  words.insert(words.begin(), program("tapd"));
  const Ended refused = run(words, directory.path());
  CHECK(refused.code == 65);
  CHECK(count_of(refused.err, "is damaged at offset") == 1);
  CHECK(count_of(refused.err, "tap repair") == 1);

  const Ended explained = tap_tool(directory, {"repair", kStore});
  CHECK(explained.code == 0);
  CHECK(count_of(explained.out, "  1  generation 1") == 1);
  CHECK(count_of(explained.out, "up to LSN 2; what came after LSN 2 is lost") == 1);
  CHECK(tap_tool(directory, {"repair", kStore, "--to", "new.state", "--choice", "9"}).code == 64);
  CHECK(tap_tool(directory, {"repair", kStore, "--to", "new.state", "--choice", "1"}).code == 0);
  CHECK(tap_tool(directory, {"repair", kStore, "--to", "new.state", "--choice", "1"}).code == 73);
  CHECK(read_text(directory / "Fibonacci.state/Fibonacci-1.wal") == damaged);
  CHECK(read_text(directory / "new.state/quarantine/Fibonacci-1.wal") == damaged);
  CHECK(tap_tool(directory, {"edit", "new.state", "--set", "fibonacci.given=4"}).code == 0);

  words = fibonacci_lines();
  words.insert(words.end(), {"--state-dir", "new.state"});
  Daemon daemon(directory, words);
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  CHECK(ask(daemon.port()) == "5");
  CHECK(daemon.stop());
}

TEST_CASE("tap: edit changes a stopped store, by --set and in an editor, and refuses nonsense and a running one") {
  const TemporaryDirectory directory;
  make_unclean_store(directory, 3);
  const auto edit = [&](const std::vector<std::string>& set) {
    std::vector<std::string> words{"edit", kStore};
    for (const std::string& one : set) words.insert(words.end(), {"--set", one});
    return tap_tool(directory, words).code;
  };
  CHECK(edit({"fibonacci.given=seven"}) == 64);
  CHECK(edit({"fibonacci.nothing=7"}) == 64);
  CHECK(edit({"nobody.given=7"}) == 64);
  CHECK(edit({"fibonacci=7"}) == 64);
  CHECK(edit({"fibonacci.b=12x"}) == 65);
  CHECK_FALSE(exists(directory / "Fibonacci.state/Fibonacci-2.tap"));
  CHECK(edit({"fibonacci.given=3"}) == 0);  // as it is
  CHECK_FALSE(exists(directory / "Fibonacci.state/Fibonacci-2.tap"));
  CHECK(edit({"fibonacci.a=1000", "fibonacci.b=2000"}) == 0);
  CHECK(exists(directory / "Fibonacci.state/quarantine/Fibonacci-1.tap"));
  const Ended edited =
      run({program("tap"), "edit", kStore}, directory.path(), {"VISUAL=", "EDITOR=sed -i s/2000/3000/"});
  CHECK(edited.code == 0);
  CHECK(run({program("tap"), "edit", kStore}, directory.path(), {"VISUAL=false"}).code == 64);
  CHECK(run({program("tap"), "edit", kStore}, directory.path(), {"VISUAL=sed -i s/{/x/"}).code == 65);

  Daemon daemon(directory, fibonacci_lines());
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  CHECK(ask(daemon.port()) == "4000");
  CHECK(edit({"fibonacci.given=9"}) == 73);
  CHECK(daemon.stop());
}

TEST_CASE("tap: an edited copy is a child lineage, which the store of its parent refuses") {
  const TemporaryDirectory directory;
  {
    Daemon daemon(directory, fibonacci_lines());
    REQUIRE(daemon.started());
    CHECK(ask(daemon.port()) == "2");
    CHECK(daemon.stop());
  }
  CHECK(tap_tool(directory, {"edit", "Fibonacci-shutdown.tap", "--set", "fibonacci.b=100"}).code == 0);
  CHECK(run({program("tapd"), "-f", "Fibonacci-shutdown.tap"}, directory.path()).code == 73);
  Daemon daemon(directory, {"--rewind", "-f", "Fibonacci-shutdown.tap"});
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  CHECK(ask(daemon.port()) == "101");
  CHECK(daemon.stop());
}

TEST_CASE("tap: purge forgets a service that has left the config, and no other") {
  const TemporaryDirectory directory;
  const std::string head = "[application]\nname = \"A\"\n";
  const auto service = [](const std::string& name) {
    return "[[service]]\nname = \"" + name +
           "\"\nkind = \"fibonacci\"\nlisten = [\"tcp:0:interface=127.0.0.1\"]\n[service.options]\nframing = "
           "\"line\"\n";
  };
  const auto run_with = [&](const std::string& config, std::size_t asked, const std::string& expected) {
    write_text(directory / "a.toml", head + config);
    Daemon daemon(directory, {"-c", "a.toml"});
    REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
    CHECK(ask(daemon.port(asked)) == expected);
    CHECK(daemon.stop());
  };
  run_with(service("a") + service("b"), 1, "2");
  CHECK(tap_tool(directory, {"purge", "A.state", "b"}).code == 73);
  run_with(service("a"), 0, "2");
  CHECK(count_of(tap_tool(directory, {"list", "A.state"}).out, "(b)") >= 1);
  CHECK(tap_tool(directory, {"purge", "A.state", "c"}).code == 66);
  CHECK(tap_tool(directory, {"purge", "A.state", "b"}).code == 0);
  run_with(service("a") + service("b"), 1, "2");
  run_with(service("a") + service("b"), 0, "3");
}

TEST_CASE("tap: convert writes the one format version there is, and refuses others") {
  const TemporaryDirectory directory;
  REQUIRE(tap_tool(directory, {"make", "fibonacci", "--listen", "tcp:0", "-o", "a.tap"}).code == 0);
  CHECK(tap_tool(directory, {"convert", "a.tap", "b.tap", "--format-version", "1"}).code == 0);
  CHECK(read_text(directory / "a.tap") == read_text(directory / "b.tap"));
  CHECK(tap_tool(directory, {"convert", "a.tap", "c.tap", "--format-version", "2"}).code == 78);
}
