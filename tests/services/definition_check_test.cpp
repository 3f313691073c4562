#include "services/definition_check.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "services/standard_kinds.hpp"

using namespace tap;
using namespace tap::services;

namespace {

state::Definition good_definition() {
  state::Definition definition;
  definition.name = "Shop";
  state::ServiceDefinition service;
  service.name = "fib";
  service.kind = "fibonacci";
  service.listen = {"tcp:8888", "unix:/run/fib.sock"};
  service.options = {{"framing", "line"}};
  definition.services = {service};
  service.name = "echo";
  service.kind = "echo";
  service.listen = {"tcp:0"};
  service.options.clear();
  definition.services.push_back(service);
  return definition;
}

/// What is said of a definition that was good before `spoil`.
std::string refusal(const std::function<void(state::Definition&)>& spoil) {
  state::Definition definition = good_definition();
  spoil(definition);
  const Result<void> checked = check_definition(definition, standard_kinds());
  if (checked.ok()) return "accepted";
  CHECK(checked.error().exit_code() == 78);
  return checked.error().message;
}

using Definition = state::Definition;

}  // namespace

TEST_CASE("definition check: a good one is good") {
  CHECK(refusal([](Definition&) {}) == "accepted");
  CHECK(refusal([](Definition& d) { d.stop_timeout_ms = kStopTimeoutMsMax; }) == "accepted");
}

TEST_CASE("definition check: what the application says of itself is checked") {
  CHECK(refusal([](Definition& d) { d.name = "a/b"; }) == "'a/b' cannot name an application");
  CHECK(refusal([](Definition& d) { d.name.clear(); }) == "'' cannot name an application");
  CHECK(refusal([](Definition& d) { d.durability = "often"; }).find("'often' is not a durability") == 0);
  CHECK(refusal([](Definition& d) { ++(d.stop_timeout_ms = kStopTimeoutMsMax); }) == "stop_timeout is at most an hour");
}

TEST_CASE("definition check: what a service says of itself is checked, under its name") {
  CHECK(refusal([](Definition& d) { d.services[0].name = ".."; }) == "service '..': this is not a name");
  CHECK(refusal([](Definition& d) { d.services[0].kind = "fibonaci"; }) ==
        "service 'fib': there is no kind 'fibonaci'; did you mean 'fibonacci'?");
  CHECK(refusal([](Definition& d) { d.services[0].options["framing"] = "lin"; }) ==
        "service 'fib': framing: 'lin' is not one of none|line; did you mean 'line'?");
  CHECK(refusal([](Definition& d) { d.services[1].options["framing"] = "line"; }) ==
        "service 'echo': the kind 'echo' has no option 'framing'");
  CHECK(refusal([](Definition& d) { d.services[0].durability = "always"; }) ==
        "service 'fib': 'always' is not a durability (there are strict, interval:TIME, shutdown, and reserve for "
        "counters)");
  CHECK(refusal([](Definition& d) { d.services[0].durability = "reserve"; }) ==
        "service 'fib': durability 'reserve' is for counters, and kind 'fibonacci' is none");
  CHECK(refusal([](Definition& d) { d.services[1].durability = "reserve"; }) == "accepted");  // it keeps no state
  CHECK(refusal([](Definition& d) { d.services[0].connections_max = 0; }) == "service 'fib': max_connections is 0");
  CHECK(refusal([](Definition& d) { d.services[0].limits["reed_rate"] = 1; }) ==
        "service 'fib': this program knows no limit 'reed_rate'");
  CHECK(refusal([](Definition& d) { d.services[0].limits["write_buffer"] = 1; }) ==
        "service 'fib': write_buffer: '1' is not a size from 1KiB to 8MiB, or 0 for none");
  CHECK(refusal([](Definition& d) {
          d.services[0].limits["connect_burst"] = 1;
        }).find("service 'fib': 'connect_burst'") == 0);
  CHECK(refusal([](Definition& d) { d.limits["memory_budget"] = 1; }).find("memory_budget: '1' is not a size") == 0);
  CHECK(refusal([](Definition& d) { d.limits["read_rate"] = 1; }) == "this program knows no limit 'read_rate'");
  CHECK(refusal([](Definition& d) { d.services[0].listen.clear(); }) == "service 'fib': it listens nowhere");
  CHECK(refusal([](Definition& d) { d.services[1].listen = {"tcp:x"}; }) ==
        "service 'echo': endpoint 'tcp:x': the port is a number from 0 to 65535, not 'x'");
}

TEST_CASE("definition check: two services have two names, and two places") {
  CHECK(refusal([](Definition& d) { d.services[1].name = "fib"; }) == "there are two services named 'fib'");
  CHECK(refusal([](Definition& d) { d.services[1].listen = {"tcp:8888:interface=127.0.0.1"}; }) ==
        "service 'echo': tcp:8888:interface=127.0.0.1 and tcp:8888 are one place");
  CHECK(refusal([](Definition& d) {
          d.services[0].listen = {"tcp:1", "tcp:1"};
        }) == "service 'fib': tcp:1 and tcp:1 are one place");
}

TEST_CASE("state check: every state of a known kind decodes, the others are let be") {
  const Registry kinds = standard_kinds();
  const Result<Bytes> initial = kinds.find("fibonacci")->state->initial();
  REQUIRE(initial.ok());
  state::Archive archive;
  archive.sections = {{"fib", "fibonacci", 1, state::PayloadCodec::cereal, *initial},
                      {"web", "web", 99, state::PayloadCodec::cereal, "anything"},
                      {"echo", "echo", 1, state::PayloadCodec::cereal, "anything"}};
  CHECK(check_states(archive, kinds).ok());
  archive.sections[0].schema_version = 2;
  CHECK(check_states(archive, kinds).error().exit_code() == 78);
  archive.sections[0].schema_version = 1;
  archive.sections[0].payload += 'x';
  const Result<void> damaged = check_states(archive, kinds);
  REQUIRE(!damaged.ok());
  CHECK(damaged.error().exit_code() == 65);
  CHECK(damaged.error().message.find("the state of service 'fib': ") == 0);
}

TEST_CASE("definition check: a udp endpoint is for kinds that speak datagrams") {
  CHECK(refusal([](Definition& d) { d.services[1].listen.push_back("udp:7000"); }) == "accepted");
  CHECK(refusal([](Definition& d) { d.services[0].listen.push_back("udp:7000"); }) ==
        "service 'fib': endpoint 'udp:7000': the kind 'fibonacci' does not speak datagrams; give it tcp: or unix: "
        "endpoints");
}
