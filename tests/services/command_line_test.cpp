// The one-service form. How tapd parses its whole command line is in tests/daemon/options_test.cpp.
#include "services/command_line.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "services/standard_kinds.hpp"

using namespace tap;
using namespace tap::services;
using Words = std::vector<std::string>;

namespace {

const std::vector<OptionShape>& shapes() {
  static const std::vector<OptionShape> all{{"--nodaemon", 'n', false},
                                            {"--check", '\0', false},
                                            {"--config", 'c', true},
                                            {"--pidfile", '\0', true},
                                            {"--listen", '\0', true}};
  return all;
}

/// "first: word word", with an empty word as ''.
std::string regular(const Words& words) {
  const RegularArguments arguments = regular_arguments(words, shapes());
  std::string text = arguments.first + ":";
  for (const std::string& word : arguments.words) text += " " + (word.empty() ? "''" : word);
  return text;
}

ServiceArguments listening(const std::string& endpoint) {
  ServiceArguments arguments;
  arguments.listen = {endpoint};
  return arguments;
}

Result<state::Definition> make(const ServiceArguments& arguments, const std::string& kind = "fibonacci") {
  static const Registry kinds = standard_kinds();
  return one_service_application(*kinds.find(kind), arguments);
}

std::string refusal(const ServiceArguments& arguments, Fault fault = Fault::usage) {
  const Result<state::Definition> made = make(arguments);
  if (made.ok()) return "accepted";
  CHECK(made.error().fault == fault);
  return made.error().message;
}

}  // namespace

TEST_CASE("regular arguments: the first word that is no option and no option's value is taken out") {
  CHECK(regular({"fibonacci"}) == "fibonacci:");
  CHECK(regular({}) == ":");
  CHECK(regular({"--listen", "tcp:1", "fib", "-n"}) == "fib: --listen tcp:1 -n");
  CHECK(regular({"fib", "--listen", "tcp:1"}) == "fib: --listen tcp:1");
  CHECK(regular({"-c", "fib", "echo"}) == "echo: -c fib");
  CHECK(regular({"--config=fib", "echo"}) == "echo: --config fib");
  CHECK(regular({"fib", "another"}) == "fib: another");
}

TEST_CASE("regular arguments: a value after '=' stands by itself, an empty one too") {
  CHECK(regular({"--pidfile=", "-n", "x"}) == "x: --pidfile '' -n");
  CHECK(regular({"--pidfile=a=b"}) == ": --pidfile a=b");
  CHECK(regular({"-c=file"}) == ": --config file");
  CHECK(regular({"--pidfile", "", "x"}) == "x: --pidfile ''");
}

TEST_CASE("regular arguments: the word after an option with a value is its value, whatever it looks like") {
  CHECK(regular({"--pidfile", "-n", "x"}) == "x: --pidfile -n");
  CHECK(regular({"x", "--pidfile"}) == "x: --pidfile");
}

TEST_CASE("regular arguments: a boolean is bare, or has true or false after it") {
  CHECK(regular({"-n", "x"}) == "x: -n");
  CHECK(regular({"-n", "true", "x"}) == "x: --nodaemon=true");
  CHECK(regular({"--nodaemon", "false", "x"}) == "x: --nodaemon=false");
  CHECK(regular({"-n", "maybe"}) == "maybe: -n");
  CHECK(regular({"--nodaemon=true", "true"}) == "true: --nodaemon=true");
  CHECK(regular({"--check"}) == ": --check");
}

TEST_CASE("regular arguments: unknown options pass, for the parser to refuse") {
  CHECK(regular({"--nonsense", "x"}) == "x: --nonsense");
  CHECK(regular({"--nonsense=5", "x"}) == "x: --nonsense=5");
}

TEST_CASE("regular arguments: short options may be joined, the last of them with its value") {
  CHECK(regular({"-nc", "file", "x"}) == "x: -n -c file");
  CHECK(regular({"-cfile", "x"}).substr(0, 2) == "x:");
}

TEST_CASE("service option shapes: every key of a service and every option of a kind, with dashes too") {
  std::vector<std::string> names;
  for (const OptionShape& shape : service_option_shapes(standard_kinds())) names.push_back(shape.long_name);
  for (const char* name : {"--listen", "--durability", "--max-connections", "--max_connections", "--idle-timeout",
                           "--idle_timeout", "--connect-rate", "--read_rate_total", "--keepalive", "--framing"}) {
    CAPTURE(name);
    CHECK(std::find(names.begin(), names.end(), name) != names.end());
  }
}

TEST_CASE("one service: limits are read in their units, and refused with their option's name") {
  ServiceArguments arguments = listening("tcp:8888");
  arguments.limits = {{"read_rate", "64KiB"}, {"request_timeout", "5s"}, {"keepalive", "0"}};
  const Result<state::Definition> made = make(arguments);
  REQUIRE(made.ok());
  CHECK(made->services[0].limits == state::Limits{{"read_rate", 65'536}, {"request_timeout", 5000}});
  arguments.limits = {{"write_buffer", "1"}};
  const Result<state::Definition> wrong = make(arguments);
  REQUIRE_FALSE(wrong.ok());
  CHECK(wrong.error().fault == Fault::usage);
  CHECK(wrong.error().message == "--write-buffer: '1' is not a size from 1KiB to 8MiB, or 0 for none");
  arguments.limits = {{"connect_burst", "1"}};
  CHECK_FALSE(make(arguments).ok());
}

TEST_CASE("one service: both are named after the kind, the application with a capital") {
  ServiceArguments arguments = listening("tcp:8888");
  arguments.listen.emplace_back("unix:/run/x.sock");
  arguments.connections_max = "7";
  arguments.idle_timeout = "5min";
  arguments.durability = "shutdown";
  arguments.options = {{"framing", "line"}};
  const Result<state::Definition> made = make(arguments);
  REQUIRE(made.ok());
  CHECK(made->name == "Fibonacci");
  CHECK(made->durability == "strict");
  REQUIRE(made->services.size() == 1);
  const state::ServiceDefinition& service = made->services[0];
  CHECK(service.name == "fibonacci");
  CHECK(service.kind == "fibonacci");
  CHECK(service.listen == Words{"tcp:8888", "unix:/run/x.sock"});
  CHECK(service.connections_max == 7);
  CHECK(service.idle_timeout_ms == 300'000);
  CHECK(service.options == std::map<std::string, std::string>{{"framing", "line"}});
}

TEST_CASE("one service: what is not given has its default") {
  const Result<state::Definition> made = make(listening("tcp:0"));
  REQUIRE(made.ok());
  CHECK(made->services[0].connections_max == state::kDefaultConnectionsMax);
  CHECK(made->services[0].idle_timeout_ms == 0);
  CHECK(made->services[0].durability.empty());
  CHECK(made->services[0].options.empty());
}

TEST_CASE("one service: what is wrong is named by its option") {
  CHECK(refusal({}) == "--listen is missing: say where, for example --listen tcp:8888");
  CHECK(refusal(listening("tcp:x")) == "--listen: endpoint 'tcp:x': the port is a number from 0 to 65535, not 'x'");
  ServiceArguments twice = listening("tcp:1");
  twice.listen.emplace_back("tcp:1:interface=127.0.0.1");
  CHECK(refusal(twice) == "--listen: tcp:1:interface=127.0.0.1 and tcp:1 are one place");
  for (const char* count : {"0", "-1", "many", "1.5"}) {
    ServiceArguments arguments = listening("tcp:1");
    arguments.connections_max = count;
    CHECK(refusal(arguments) == "--max-connections: '" + std::string(count) + "' is not a number above 0");
  }
  ServiceArguments idle = listening("tcp:1");
  idle.idle_timeout = "soon";
  CHECK(refusal(idle) == "--idle-timeout: 'soon' is not a duration such as 300ms, 5s, 5min or a number of seconds");
  ServiceArguments framing = listening("tcp:1");
  framing.options = {{"framing", "lines"}};
  CHECK(refusal(framing) == "--framing: 'lines' is not one of none|line; did you mean 'line'?");
}

TEST_CASE("durability: the four modes are known, nonsense is nonsense") {
  for (const char* known : {"", "strict", "shutdown", "reserve", "interval:1s", "interval:300ms", "interval:1h"}) {
    CAPTURE(known);
    CHECK(check_durability(known).ok());
  }
  for (const char* wrong :
       {"always", "interval", "interval:", "interval:0", "interval:soon", "interval:2h", "Strict"}) {
    CAPTURE(wrong);
    const Result<void> checked = check_durability(wrong);
    REQUIRE(!checked.ok());
    CHECK(checked.error().fault == Fault::config);
  }
  CHECK(
      check_durability("stict").error().message ==
      "'stict' is not a durability; did you mean 'strict'? (there are strict, interval:TIME, shutdown, and reserve for "
      "counters)");
  ServiceArguments odd = listening("tcp:1");
  odd.durability = "always";
  CHECK(refusal(odd, Fault::config).find("--durability: 'always' is not a durability") == 0);
}
