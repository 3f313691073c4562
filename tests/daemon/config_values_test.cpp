// What a good config says, how its file is read, and that no text at all brings the reader down.
#include <doctest/doctest.h>
#include <rapidcheck.h>
#include <sys/stat.h>

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "daemon/config.hpp"
#include "tests/daemon/kinds.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using tap::daemon::ConfigReading;
using tap::daemon::load_config;
using tap::daemon::read_config;
using tap::tests::TemporaryDirectory;

namespace {

const services::Registry& kinds() {
  static const services::Registry all = tests::test_kinds();
  return all;
}

state::Definition good(const std::string& text, const std::string& file = "t.toml") {
  ConfigReading reading = read_config(text, file, kinds());
  for (const daemon::ConfigProblem& problem : reading.problems) FAIL_CHECK(problem.text());
  return std::move(reading.definition);
}

constexpr char kMinimal[] = "[[service]]\nname = \"fib\"\nkind = \"fibonacci\"\nlisten = [\"tcp:0\"]\n";

}  // namespace

TEST_CASE("config: limits arrive in their units; 0 is as if it were not there") {
  const state::Definition definition = good(
      "[application]\n"
      "memory_budget = \"64MiB\"\n"
      "[[service]]\n"
      "name = \"fib\"\n"
      "kind = \"fibonacci\"\n"
      "listen = [\"tcp:0\"]\n"
      "max_connections_per_peer = 20\n"
      "connect_rate = 100\n"
      "connect_burst = 200\n"
      "read_rate = \"1MiB\"\n"
      "read_rate_total = 5000000\n"
      "request_timeout = \"10s\"\n"
      "keepalive = 60\n"
      "write_buffer = \"128KiB\"\n"
      "slow_reader_timeout = 0\n");
  CHECK(definition.limits == state::Limits{{"memory_budget", 64 << 20}});
  CHECK(definition.services[0].limits == state::Limits{{"max_connections_per_peer", 20},
                                                       {"connect_rate", 100},
                                                       {"connect_burst", 200},
                                                       {"read_rate", 1 << 20},
                                                       {"read_rate_total", 5'000'000},
                                                       {"request_timeout", 10'000},
                                                       {"keepalive", 60'000},
                                                       {"write_buffer", 128 * 1024}});
}

TEST_CASE("config: every key arrives in the definition") {
  const state::Definition definition = good(
      "[application]\n"
      "name = \"Fibonacci\"\n"
      "durability = \"shutdown\"\n"
      "stop_timeout = \"3s\"\n"
      "[[service]]\n"
      "name = \"fib\"\n"
      "kind = \"full\"\n"
      "listen = [\"tcp:8888\", \"unix:/run/tapd/fib.sock:mode=660\"]\n"
      "durability = \"shutdown\"\n"
      "max_connections = 100\n"
      "idle_timeout = \"5min\"\n"
      "[service.options]\n"
      "framing = \"line\"\n"
      "greeting = \"hello \\\"you\\\"\"\n"
      "verbose = true\n"
      "limit = 3\n"
      "push_every = 0.25\n"
      "buffer = \"64KiB\"\n"
      "[[service]]\n"
      "name = \"echo\"\n"
      "kind = \"echo\"\n"
      "listen = [\"stdio:\"]\n");
  CHECK(definition.name == "Fibonacci");
  CHECK(definition.durability == "shutdown");
  CHECK(definition.stop_timeout_ms == 3000);
  REQUIRE(definition.services.size() == 2);
  const state::ServiceDefinition& fib = definition.services[0];
  CHECK(fib.name == "fib");
  CHECK(fib.kind == "full");
  CHECK(fib.listen == std::vector<std::string>{"tcp:8888", "unix:/run/tapd/fib.sock:mode=660"});
  CHECK(fib.durability == "shutdown");
  CHECK(fib.connections_max == 100);
  CHECK(fib.idle_timeout_ms == 300'000);
  CHECK(fib.options == std::map<std::string, std::string>{{"framing", "line"},
                                                          {"greeting", "hello \"you\""},
                                                          {"verbose", "true"},
                                                          {"limit", "3"},
                                                          {"push_every", "0.25"},
                                                          {"buffer", "64KiB"}});
  CHECK(definition.services[1].name == "echo");
}

TEST_CASE("config: what is not said has its default, and the file names the application") {
  const state::Definition definition = good(kMinimal, "/etc/tapd/shop.toml");
  CHECK(definition.name == "shop");
  CHECK(definition.durability == "strict");
  CHECK(definition.stop_timeout_ms == state::kDefaultStopTimeoutMs);
  REQUIRE(definition.services.size() == 1);
  CHECK(definition.services[0].connections_max == state::kDefaultConnectionsMax);
  CHECK(definition.services[0].idle_timeout_ms == 0);
  CHECK(definition.services[0].durability.empty());
  CHECK(definition.services[0].options.empty());
}

TEST_CASE("config: durations are strings or numbers of seconds") {
  const std::vector<std::pair<const char*, std::uint64_t>> rows{
      {"\"300ms\"", 300}, {"\"5s\"", 5000},      {"5", 5000},        {"1.5", 1500},
      {"0", 0},           {"\"1h\"", 3'600'000}, {"3600", 3'600'000}};
  for (const auto& row : rows) {
    CAPTURE(row.first);
    const std::string text = std::string("[application]\nstop_timeout = ") + row.first + "\n" + kMinimal;
    CHECK(good(text).stop_timeout_ms == row.second);
  }
}

TEST_CASE("config: inline tables, dotted keys and other TOML are TOML") {
  const state::Definition definition = good(
      "application.name = 'A' # a comment\r\n"
      "service = [ { name = 'a', kind = \"echo\", listen = ['tcp:1'] },\n"
      "            { name = 'b', kind = \"fibonacci\", listen = ['tcp:2'], options = { framing = 'line' } } ]\n");
  CHECK(definition.name == "A");
  REQUIRE(definition.services.size() == 2);
  CHECK(definition.services[1].options.at("framing") == "line");
}

TEST_CASE("config: a file is read, with its problems as one error of a line each") {
  const TemporaryDirectory directory;
  const std::string path = directory / "shop.toml";
  tests::write_text(path, kMinimal);
  const Result<state::Definition> loaded = load_config(path, "conf/shop.toml", kinds());
  REQUIRE(loaded.ok());
  CHECK(loaded->name == "shop");
  tests::write_text(path, "[[service]]\nname = \"a\"\nkind = \"echo\"\n");
  const Result<state::Definition> bad = load_config(path, "conf/shop.toml", kinds());
  REQUIRE(!bad.ok());
  CHECK(bad.error().exit_code() == 78);
  CHECK(bad.error().message ==
        "conf/shop.toml has 1 error:\n"
        "conf/shop.toml:1:1: this [[service]] has no 'listen', for example listen = [\"tcp:8888\"]");
  tests::write_text(path, "x = 1\ny = 2\n");
  CHECK(load_config(path, "t", kinds()).error().message ==
        "t has 3 errors:\n"
        "t:1:1: there is no key 'x' at the top level\n"
        "t:1:1: there is no [[service]]\n"
        "t:2:1: there is no key 'y' at the top level");
}

TEST_CASE("config: a file that is not there, or none, is no input") {
  const TemporaryDirectory directory;
  const Result<state::Definition> missing = load_config(directory / "none.toml", "none.toml", kinds());
  REQUIRE(!missing.ok());
  CHECK(missing.error().exit_code() == 66);
  CHECK(missing.error().message.find("the config: ") == 0);
  CHECK(missing.error().message.find("none.toml") != std::string::npos);
  CHECK(load_config(directory.path(), "dir", kinds()).error().exit_code() == 66);
  REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
  CHECK(load_config(directory / "fifo", "fifo", kinds()).error().exit_code() == 66);
}

TEST_CASE("config: ten thousand texts near TOML are definitions or problems") {
  std::istringstream list(
      "[application] [[service]] [service.options] name kind listen durability stop_timeout options max_connections = "
      "\" ' \"\"\" [ ] { } , . # 5 -1 1.5 true inf 1979-05-27 \"fib\" \"5s\" [\"tcp:0\"] \"echo\" \\ \\u0000 \xC3\xA9 "
      "\xff");
  std::vector<std::string> words{"\n", "\n", "\n", " = ", " "};
  for (std::string word; list >> word;) words.push_back(word);
  CHECK(rc::check([&] {
    const auto texts = *rc::gen::container<std::vector<std::vector<std::string>>>(
        100, rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(words)));
    for (const std::vector<std::string>& parts : texts) {
      std::string text;
      for (const std::string& part : parts) text += part;
      const ConfigReading reading = read_config(text, "t.toml", kinds());
      RC_ASSERT(!reading.problems.empty() || !reading.definition.services.empty());
      for (const daemon::ConfigProblem& problem : reading.problems) {
        RC_ASSERT(problem.line >= 1U);
        RC_ASSERT(problem.column >= 1U);
        RC_ASSERT(!problem.message.empty());
      }
    }
  }));
}

TEST_CASE("config: a text nested without end is refused, and costs no stack") {
  const tests::ChildEnd brackets = tests::in_child([] {
    const std::string text = "a = " + std::string(1'000'000, '[');
    ::_exit(read_config(text, "t.toml", kinds()).problems.empty() ? 1 : 0);
  });
  CHECK(brackets.code == 0);
  const tests::ChildEnd dots = tests::in_child([] {
    std::string text = "a";
    for (int i = 0; i < 300'000; ++i) text += ".a";
    ::_exit(read_config(text + " = 1\n", "t.toml", kinds()).problems.empty() ? 1 : 0);
  });
  CHECK(dots.signal == 0);
  CHECK(dots.code == 0);
}
