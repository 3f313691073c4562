// What is wrong with a config, and where. What a good one says is in config_values_test.cpp.
#include "daemon/config.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/daemon/kinds.hpp"

using namespace tap;
using tap::daemon::ConfigReading;
using tap::daemon::read_config;

namespace {

/// The problems, a line each, without the file's name.
std::string problems_of(const std::string& text, const std::string& file = "t.toml") {
  const services::Registry kinds = tests::test_kinds();
  const ConfigReading reading = read_config(text, file, kinds);
  std::string all;
  for (const daemon::ConfigProblem& problem : reading.problems) {
    CHECK(problem.text() ==
          file + ":" + std::to_string(problem.line) + ":" + std::to_string(problem.column) + ": " + problem.message);
    all += (all.empty() ? "" : "\n") + problem.text().substr(file.size() + 1);
  }
  return all;
}

/// A config in which only the keys of one service are of interest; they begin at line 5.
std::string service_with(const std::string& keys) {
  return "[[service]]\nname = \"a\"\nkind = \"full\"\nlisten = [\"tcp:1\"]\n" + keys + "\n";
}

/// A config in which only the keys of [application] are of interest; they begin at line 2.
std::string application_with(const std::string& keys) {
  return "[application]\n" + keys + "\n[[service]]\nname = \"a\"\nkind = \"echo\"\nlisten = [\"tcp:1\"]\n";
}

constexpr char kNotAName[] = " is not a name (letters, digits, '.', '_', '-'; at most 64)";
constexpr char kNotADuration[] = " is a duration such as \"300ms\", \"5s\", \"5min\" or a number of seconds";

}  // namespace

TEST_CASE("config: what TOML cannot be is told with its place, once") {
  CHECK(problems_of("a = ").find("1:5: ") == 0);
  CHECK(problems_of("[application]\nname = \"open\nstop_timeout = 5\n").substr(0, 5) == "2:13:");
  CHECK(problems_of("[[service]]\nname = \"x\"\nname = \"y\"\n").find("3:") == 0);
  CHECK(problems_of("x = \"\xff\"\n").find("1:5: ") == 0);
  CHECK(problems_of(std::string("a\0b", 3)).find("1:2: ") == 0);
}

TEST_CASE("config: without a service there is nothing to run") {
  CHECK(problems_of("") == "1:1: there is no [[service]]");
  CHECK(problems_of("# only a comment\n\n") == "1:1: there is no [[service]]");
  CHECK(problems_of("service = 5\n") == "1:11: 'service' is an array of tables: write [[service]]");
  CHECK(problems_of("service = []\n") == "1:11: 'service' is an array of tables: write [[service]]");
  CHECK(problems_of("service = [1]\n") == "1:11: 'service' is an array of tables: write [[service]]");
  CHECK(problems_of("[service]\nname = \"x\"\n") == "1:1: 'service' is an array of tables: write [[service]]");
}

TEST_CASE("config: a service that says nothing of itself misses three things") {
  CHECK(problems_of("[[service]]\n") ==
        "1:1: this [[service]] has no name\n"
        "1:1: this [[service]] has no kind\n"
        "1:1: this [[service]] has no 'listen', for example listen = [\"tcp:8888\"]");
}

TEST_CASE("config: wrong limits are told at their places, with what would be right") {
  CHECK(problems_of(service_with("connect_rate = \"fast\"")) ==
        "5:16: 'connect_rate': it is a string, not a whole number from 1 to 1000000, or 0 for none");
  CHECK(problems_of(service_with("max_connections_per_peer = -1")) ==
        "5:28: 'max_connections_per_peer': '-1' is not a whole number from 1 to 1000000, or 0 for none");
  CHECK(problems_of(service_with("read_rate = true")) ==
        "5:13: 'read_rate': it is a boolean, not a size from 1 to 1024GiB, or 0 for none");
  CHECK(problems_of(service_with("write_buffer = \"16MiB\"")) ==
        "5:16: 'write_buffer': '16MiB' is not a size from 1KiB to 8MiB, or 0 for none");
  CHECK(problems_of(service_with("request_timeout = \"soon\"\nkeepalive = [1]")) ==
        "5:19: 'request_timeout': 'soon' is not a duration from 1ms to 1440min, or 0 for none\n"
        "6:13: 'keepalive': it is an array, not a duration from 1s to 32767s, or 0 for none");
  CHECK(problems_of(service_with("connect_burst = 5")).find("5:17: 'connect_burst' says how many") == 0);
  CHECK(problems_of(service_with("connect_burst = 5\nconnect_rate = \"x\"")).find("6:16: ") == 0);
  CHECK(problems_of(service_with("memory_budget = \"1GiB\""))
            .find("5:1: there is no key 'memory_budget' in [[service]]") == 0);
  CHECK(problems_of(application_with("memory_budget = 5")) ==
        "2:17: 'memory_budget': '5' is not a size from 1MiB to 1024GiB, or 0 for none");
  CHECK(problems_of(service_with("read_rat = 5")).find("did you mean 'read_rate'?") != std::string::npos);
}

TEST_CASE("config: unknown keys are errors at every level, with the nearest known one") {
  CHECK(problems_of("x = 1\n" + application_with("")) == "1:1: there is no key 'x' at the top level");
  CHECK(problems_of("[applicaton]\n" + service_with("")) ==
        "1:2: there is no key 'applicaton' at the top level; did you mean 'application'?");
  CHECK(problems_of(application_with("stop_timeot = 5")) ==
        "2:1: there is no key 'stop_timeot' in [application]; did you mean 'stop_timeout'?");
  CHECK(problems_of(service_with("lisen = [\"tcp:2\"]")) ==
        "5:1: there is no key 'lisen' in [[service]]; did you mean 'listen'?");
  CHECK(problems_of(service_with("max-connections = 5")) ==
        "5:1: there is no key 'max-connections' in [[service]]; did you mean 'max_connections'?");
  CHECK(problems_of(service_with("[service.options]\nframin = \"line\"")) ==
        "6:1: there is no key 'framin' among the options of kind 'full'; did you mean 'framing'?");
  CHECK(problems_of(service_with("[service.option]\nx = 1")) ==
        "5:10: there is no key 'option' in [[service]]; did you mean 'options'?");
}

TEST_CASE("config: each key of [application] has its type") {
  CHECK(problems_of("application = 7\n" + service_with("")) == "1:15: 'application' is a table: write [application]");
  CHECK(problems_of(application_with("name = 5")) == "2:8: 'name' is a string, not a whole number");
  CHECK(problems_of(application_with("name = [\"a\"]")) == "2:8: 'name' is a string, not an array");
  CHECK(problems_of(application_with("durability = true")) == "2:14: 'durability' is a string, not a boolean");
  CHECK(problems_of(application_with("durability = 1.5")) == "2:14: 'durability' is a string, not a number");
  CHECK(problems_of(application_with("durability = {}")) == "2:14: 'durability' is a string, not a table");
  CHECK(problems_of(application_with("durability = 1979-05-27")) ==
        "2:14: 'durability' is a string, not a date or time");
  for (const char* value : {"\"soon\"", "\"\"", "true", "[5]", "{}", "1979-05-27", "-5", "inf", "nan", "1e300"}) {
    CAPTURE(value);
    CHECK(problems_of(application_with(std::string("stop_timeout = ") + value)) ==
          std::string("2:16: 'stop_timeout'") + kNotADuration);
  }
  CHECK(problems_of(application_with("stop_timeout = \"61min\"")) == "2:16: 'stop_timeout' is at most an hour");
}

TEST_CASE("config: each key of [[service]] has its type") {
  const std::string other = "[[service]]\nlisten = [\"tcp:1\"]\n";
  CHECK(problems_of(other + "kind = \"echo\"\nname = 5\n") == "4:8: 'name' is a string, not a whole number");
  CHECK(problems_of(other + "name = \"a\"\nkind = 5\n") == "4:8: 'kind' is a string, not a whole number");
  const std::string named = "[[service]]\nname = \"a\"\nkind = \"echo\"\n";
  const std::string no_array = "4:10: 'listen' is an array of endpoints, for example [\"tcp:8888\"]";
  CHECK(problems_of(named + "listen = \"tcp:8888\"\n") == no_array);
  CHECK(problems_of(named + "listen = []\n") == no_array);
  CHECK(problems_of(named + "listen = 8888\n") == no_array);
  CHECK(problems_of(named + "listen = [8888, \"tcp:1\", [\"tcp:2\"]]\n") ==
        "4:11: an endpoint is a string, not a whole number\n"
        "4:26: an endpoint is a string, not an array");
  CHECK(problems_of(service_with("durability = []")) == "5:14: 'durability' is a string, not an array");
  for (const char* value : {"0", "-1", "1.5", "\"5\"", "true", "[1]"}) {
    CAPTURE(value);
    CHECK(problems_of(service_with(std::string("max_connections = ") + value)) ==
          "5:19: 'max_connections' is a whole number above 0");
  }
  CHECK(problems_of(service_with("idle_timeout = true")) == std::string("5:16: 'idle_timeout'") + kNotADuration);
  CHECK(problems_of(service_with("options = 5")) == "5:11: 'options' is a table: write [service.options]");
}

TEST_CASE("config: each option of a kind has its type") {
  const auto option = [](const std::string& line) { return problems_of(service_with("[service.options]\n" + line)); };
  CHECK(option("framing = \"lin\"") == "6:11: 'framing': 'lin' is not one of none|line; did you mean 'line'?");
  CHECK(option("framing = 5") == "6:11: 'framing': '5' is not one of none|line");
  CHECK(option("framing = [\"line\"]") == "6:11: 'framing': it is an array");
  CHECK(option("framing = {}") == "6:11: 'framing': it is a table");
  CHECK(option("greeting = 1979-05-27") == "6:12: 'greeting': it is a date or time");
  CHECK(option("verbose = \"yes\"") == "6:11: 'verbose': 'yes' is not true or false");
  CHECK(option("limit = -5") == "6:9: 'limit': '-5' is not a whole number");
  CHECK(option("limit = 1.5") == "6:9: 'limit': '1.5' is not a whole number");
  CHECK(option("push_every = \"often\"") ==
        "6:14: 'push_every': 'often' is not a duration such as 300ms, 5s, 5min or a number of seconds");
  CHECK(option("buffer = \"64KB\"") == "6:10: 'buffer': '64KB' is not a size such as 64KiB or a number of bytes");
}

TEST_CASE("config: names are names, and each service has its own") {
  CHECK(problems_of(application_with("name = \"a/b\"")) == std::string("2:8: 'a/b'") + kNotAName);
  CHECK(problems_of(application_with("name = \"\"")) == std::string("2:8: ''") + kNotAName);
  CHECK(problems_of(service_with("[[service]]\nname = \"-x\"\nkind = \"echo\"\nlisten = [\"tcp:2\"]")) ==
        std::string("6:8: '-x'") + kNotAName);
  const std::string longest(64, 'x');
  CHECK(problems_of(application_with("name = \"" + longest + "\"")).empty());
  CHECK(problems_of(application_with("name = \"" + longest + "x\"")) == "2:8: '" + longest + "x'" + kNotAName);
  CHECK(problems_of(service_with("[[service]]\nname = \"a\"\nkind = \"echo\"\nlisten = [\"tcp:2\"]")) ==
        "6:8: there are two services named 'a'");
}

TEST_CASE("config: a file whose name is none asks for a name of the application") {
  const std::string text = service_with("");
  CHECK(problems_of(text, "/etc/my app.toml") == "1:1: 'my app' cannot name an application; give [application] a name");
  CHECK(problems_of("[application]\nname = \"App\"\n" + text, "/etc/my app.toml").empty());
}

TEST_CASE("config: an unknown kind is named with the nearest, and its options are not held against it") {
  CHECK(problems_of("[[service]]\nname = \"a\"\nkind = \"fibonaci\"\nlisten = [\"tcp:1\"]\n"
                    "[service.options]\nanything = 1\n") ==
        "3:8: there is no kind 'fibonaci'; did you mean 'fibonacci'?");
}

TEST_CASE("config: bad endpoints are each told at their place") {
  CHECK(problems_of("[[service]]\nname = \"a\"\nkind = \"echo\"\n"
                    "listen = [\n  \"tcp:99999\",\n  \"unix:\",\n  \"tls:443\",\n]\n") ==
        "5:3: endpoint 'tcp:99999': the port is a number from 0 to 65535, not '99999'\n"
        "6:3: endpoint 'unix:': it needs a path, as in unix:/run/tapd/fib.sock\n"
        "7:3: endpoint 'tls:443': it needs privateKey=FILE (PEM)");
}

TEST_CASE("config: two services in one place are told, also when one of them listens everywhere") {
  const auto second = [](const std::string& endpoint) {
    return problems_of(
        "[[service]]\nname = \"a\"\nkind = \"echo\"\nlisten = [\"tcp:8888\", \"unix:/run/x\"]\n"
        "[[service]]\nname = \"b\"\nkind = \"echo\"\nlisten = [\"tcp:0\", \"" +
        endpoint + "\"]\n");
  };
  CHECK(second("tcp:8888") == "8:20: service 'a' already listens on tcp:8888");
  CHECK(second("tcp:8888:interface=127.0.0.1") == "8:20: service 'a' already listens on tcp:8888");
  CHECK(second("unix:/run/x:mode=660") == "8:20: service 'a' already listens on unix:/run/x");
  CHECK(second("tcp:0").empty());
  CHECK(second("tcp6:8888").empty());
  CHECK(second("tcp:8889").empty());
}

TEST_CASE("config: a durability that there is not is told with its place") {
  CHECK(problems_of(application_with("durability = \"strict\"")).empty());
  CHECK(problems_of(service_with("durability = \"interval:1s\"")).empty());
  CHECK(problems_of(application_with("durability = \"interval:0\"")) ==
        "2:14: durability 'interval:0': what follows interval: is a duration from 1ms to 1h, such as interval:500ms");
  CHECK(problems_of(service_with("durability = \"sometimes\"")) ==
        "5:14: 'sometimes' is not a durability (there are strict, interval:TIME, shutdown, and reserve for counters)");
}

TEST_CASE("config: everything wrong is told at once, from top to bottom") {
  CHECK(problems_of("[application]\n"
                    "stop_timeot = 5\n"
                    "name = \"a/b\"\n"
                    "[[service]]\n"
                    "listen = [\"tpc:1\", \"tcp:1\"]\n"
                    "kind = \"fibonacci\"\n"
                    "name = \"x\"\n"
                    "[service.options]\n"
                    "framing = \"lines\"\n"
                    "[[service]]\n"
                    "name = \"x\"\n"
                    "listen = [\"tcp:1\"]\n") ==
        "2:1: there is no key 'stop_timeot' in [application]; did you mean 'stop_timeout'?\n"
        "3:8: 'a/b' is not a name (letters, digits, '.', '_', '-'; at most 64)\n"
        "5:11: endpoint 'tpc:1': there is no endpoint type 'tpc' (endpoints look like tcp:8888 or unix:/run/x.sock); "
        "did you mean 'tcp'?\n"
        "9:11: 'framing': 'lines' is not one of none|line; did you mean 'line'?\n"
        "10:1: this [[service]] has no kind\n"
        "11:8: there are two services named 'x'\n"
        "12:11: service 'x' already listens on tcp:1");
}

TEST_CASE("config: a udp endpoint for a kind that speaks no datagrams is told at its place") {
  const std::string begin = "[[service]]\nname = \"a\"\n";
  CHECK(problems_of(begin + "kind = \"echo\"\nlisten = [\"tcp:7000\", \"udp:7000\"]\n").empty());
  CHECK(problems_of(begin + "kind = \"fibonacci\"\nlisten = [\"tcp:7000\", \"udp:7000\"]\n") ==
        "4:23: endpoint 'udp:7000': the kind 'fibonacci' does not speak datagrams; give it tcp: or unix: endpoints");
}

namespace {

std::string strict_with(const std::string& rest) {
  return problems_of("[[service]]\nname = \"a\"\nkind = \"strict\"\nlisten = [\"tcp:1\", \"tcp:2\"]\n" + rest);
}

}  // namespace

TEST_CASE("config: an option that has to be given is missed where it should stand") {
  CHECK(strict_with("") == "1:1: the kind 'strict' needs the option 'root': what to serve");
  CHECK(strict_with("[service.options]\n") == "5:1: the kind 'strict' needs the option 'root': what to serve");
  CHECK(strict_with("[service.options]\nroot = \"\"\n") == "6:8: 'root': it is empty");
  CHECK(strict_with("[service.options]\nroot = \"x\"\n").empty());
}

TEST_CASE("config: a list is an array of strings, and what does not go with the endpoints is told at its place") {
  const std::string root = "[service.options]\nroot = \"x\"\n";
  CHECK(strict_with(root + "names = [\"tcp:2\", \"tcp:1\"]\n").empty());
  CHECK(strict_with(root + "names = \"tcp:2\"\n").empty());
  CHECK(strict_with(root + "names = []\n").empty());
  CHECK(strict_with(root + "names = [\"tcp:2\", \"tcp:3\"]\n") == "7:9: 'names': tcp:3 is not listened on");
  CHECK(strict_with(root + "names = [2]\n") == "7:9: 'names': it is an array");
  CHECK(strict_with(root + "names = 2\n") == "7:9: 'names': it is a whole number");
}
