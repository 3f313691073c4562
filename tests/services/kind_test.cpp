#include "services/kind.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <string>
#include <vector>

#include "services/standard_kinds.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::services;
using Type = OptionSpec::Type;

namespace {

OptionSpec spec_of(Type type) { return {"option", type, {"none", "line", "netstring"}, "", "a sentence"}; }

/// A kind with an option of each type.
Kind full_kind() {
  Kind kind;
  kind.name = "full";
  kind.options = {
      {"greeting", Type::text, {}, "hello", "what to say"},  {"framing", Type::choice, {"none", "line"}, "none", "how"},
      {"verbose", Type::boolean, {}, "false", "whether"},    {"limit", Type::count, {}, "10", "how many"},
      {"push_every", Type::duration, {}, "5s", "how often"}, {"buffer", Type::size, {}, "64KiB", "how much"}};
  return kind;
}

std::string refusal(Type type, const std::string& text) {
  const Result<std::string> value = spec_of(type).canonical(text);
  if (value.ok()) return "accepted";
  CHECK(value.error().fault == Fault::config);
  return value.error().message;
}

}  // namespace

TEST_CASE("option: each type takes its values, as they were written") {
  const std::vector<std::pair<Type, const char*>> good{
      {Type::text, ""},         {Type::text, "any thing"}, {Type::choice, "line"}, {Type::boolean, "true"},
      {Type::boolean, "false"}, {Type::count, "0"},        {Type::count, "42"},    {Type::duration, "5min"},
      {Type::duration, "1.5"},  {Type::size, "64KiB"},     {Type::size, "0"}};
  for (const auto& given : good) {
    const std::string text = given.second;
    CAPTURE(text);
    const Result<std::string> value = spec_of(given.first).canonical(text);
    REQUIRE(value.ok());
    CHECK(*value == text);
  }
}

TEST_CASE("option: each type says what it takes") {
  CHECK(refusal(Type::choice, "lines") == "'lines' is not one of none|line|netstring; did you mean 'line'?");
  CHECK(refusal(Type::choice, "") == "'' is not one of none|line|netstring");
  CHECK(refusal(Type::choice, "LINE") == "'LINE' is not one of none|line|netstring");
  CHECK(refusal(Type::boolean, "yes") == "'yes' is not true or false");
  CHECK(refusal(Type::count, "-1") == "'-1' is not a whole number");
  CHECK(refusal(Type::count, "1.5") == "'1.5' is not a whole number");
  CHECK(refusal(Type::duration, "soon") == "'soon' is not a duration such as 300ms, 5s, 5min or a number of seconds");
  CHECK(refusal(Type::size, "64KB") == "'64KB' is not a size such as 64KiB or a number of bytes");
}

TEST_CASE("option: the hint for the help says what to write") {
  CHECK(spec_of(Type::text).value_hint() == "text");
  CHECK(spec_of(Type::choice).value_hint() == "none|line|netstring");
  CHECK(spec_of(Type::boolean).value_hint() == "true|false");
  CHECK(spec_of(Type::count).value_hint() == "number");
  CHECK(spec_of(Type::duration).value_hint() == "duration");
  CHECK(spec_of(Type::size).value_hint() == "size");
  CHECK(spec_of(Type::list).value_hint() == "text, repeatable");
}

TEST_CASE("kind: what is not given has its default, what is given counts") {
  const Kind kind = full_kind();
  const Result<Options> defaults = kind.check({});
  REQUIRE(defaults.ok());
  CHECK(defaults->text("greeting") == "hello");
  CHECK(!defaults->boolean("verbose"));
  CHECK(defaults->count("limit") == 10);
  CHECK(defaults->duration_ms("push_every") == 5000);
  const Result<Options> given =
      kind.check({{"verbose", "true"}, {"limit", "3"}, {"push_every", "300ms"}, {"framing", "line"}});
  REQUIRE(given.ok());
  CHECK(given->boolean("verbose"));
  CHECK(given->count("limit") == 3);
  CHECK(given->duration_ms("push_every") == 300);
  CHECK(given->text("framing") == "line");
  CHECK(given->text("buffer") == "64KiB");
}

TEST_CASE("kind: an unknown option and a wrong value are named") {
  const Kind kind = full_kind();
  const Result<Options> unknown = kind.check({{"framin", "line"}});
  REQUIRE(!unknown.ok());
  CHECK(unknown.error().fault == Fault::config);
  CHECK(unknown.error().message == "the kind 'full' has no option 'framin'; did you mean 'framing'?");
  const Result<Options> dashed = kind.check({{"push-every", "5s"}});
  REQUIRE(!dashed.ok());
  CHECK(dashed.error().message == "the kind 'full' has no option 'push-every'; did you mean 'push_every'?");
  const Result<Options> wrong = kind.check({{"limit", "many"}});
  REQUIRE(!wrong.ok());
  CHECK(wrong.error().message == "limit: 'many' is not a whole number");
}

namespace {

/// A kind with an option that has to be given, a list, and a rule for both.
Kind strict_kind() {
  Kind kind;
  kind.name = "strict";
  kind.options = {{"root", Type::text, {}, "/srv", "what to serve", true},
                  {"names", Type::list, {}, "", "which", false, [](const std::string& name) -> Result<void> {
                     if (name == "bad") return Error{Fault::config, "'bad' is no name"};
                     return {};
                   }}};
  kind.check_together = [](const Options& options,
                           const std::vector<std::string>& listen) -> std::optional<OptionProblem> {
    for (const std::string& name : options.list("names")) {
      if (std::find(listen.begin(), listen.end(), name) == listen.end())
        return OptionProblem{"names", name + " is nowhere"};
    }
    return std::nullopt;
  };
  return kind;
}

std::string refusal(const Kind& kind, const std::map<std::string, std::string>& given,
                    const std::vector<std::string>& listen) {
  const Result<Options> options = kind.check(given, listen);
  return options.ok() ? "accepted" : options.error().message;
}

}  // namespace

TEST_CASE("kind: an option that has to be given is missed, also when it is given empty") {
  CHECK(refusal(strict_kind(), {}, {}) == "root is missing: what to serve");
  CHECK(refusal(strict_kind(), {{"root", ""}}, {}) == "root: it is empty");
  CHECK(refusal(strict_kind(), {{"root", "x"}}, {}) == "accepted");
}

TEST_CASE("kind: the values of a list are looked at one by one, and all options with the endpoints") {
  const Result<Options> options = strict_kind().check({{"root", "x"}, {"names", "one\ntwo"}});
  REQUIRE(options.ok());
  CHECK(options->list("names") == std::vector<std::string>{"one", "two"});
  CHECK(strict_kind().check({{"root", "x"}})->list("names").empty());
  CHECK(refusal(strict_kind(), {{"root", "x"}, {"names", "one\nbad"}}, {"one", "bad"}) == "names: 'bad' is no name");
  CHECK(refusal(strict_kind(), {{"root", "x"}, {"names", "one\ntwo"}}, {"one"}) == "names: two is nowhere");
  CHECK(refusal(strict_kind(), {{"root", "x"}, {"names", "one\ntwo"}}, {"two", "one"}) == "accepted");
}

TEST_CASE("kind: relative paths begin where the program was started") {
  Result<Options> options = strict_kind().check({{"root", "www"}});
  REQUIRE(options.ok());
  CHECK(options->path("root") == "www");
  options->set_directory("/home/me");
  CHECK(options->path("root") == "/home/me/www");
  options = strict_kind().check({{"root", "/www"}});
  options->set_directory("/home/me");
  CHECK(options->path("root") == "/www");
  CHECK(options->path("names").empty());
}

TEST_CASE("kind: asking for an option that it does not have is a bug") {
  const tests::ChildEnd end = tests::in_child([] { (void)full_kind().check({})->text("nonsense"); });
  CHECK(end.signal == SIGABRT);
  CHECK(end.err.find("kind.cpp") != std::string::npos);
}

TEST_CASE("registry: finds a kind by its name, and suggests one for another") {
  const Registry kinds = standard_kinds();
  REQUIRE(kinds.find("fibonacci") != nullptr);
  CHECK(kinds.find("fibonacci")->name == "fibonacci");
  CHECK(kinds.find("fibonacci")->state != nullptr);
  CHECK(kinds.find("echo")->state == nullptr);
  CHECK(kinds.find("Fibonacci") == nullptr);
  CHECK(kinds.find("") == nullptr);
  CHECK(kinds.unknown("fibonaci") == "there is no kind 'fibonaci'; did you mean 'fibonacci'?");
  CHECK(kinds.unknown("web") == "there is no kind 'web'");
}

TEST_CASE("standard kinds: each has a name, a sentence, sound defaults, and can be made") {
  const Registry kinds = standard_kinds();
  for (const Kind& kind : kinds.all()) {
    CAPTURE(kind.name);
    CHECK(!kind.summary.empty());
    for (const OptionSpec& spec : kind.options) {
      CAPTURE(spec.name);
      CHECK(spec.canonical(spec.default_value).ok());
      CHECK(!spec.doc.empty());
      CHECK(spec.name.find('-') == std::string::npos);
    }
    std::map<std::string, std::string> needed;
    for (const OptionSpec& spec : kind.options) {
      if (spec.required) needed[spec.name] = spec.default_value;
    }
    const Result<Options> options = kind.check(needed);
    REQUIRE(options.ok());
    const std::unique_ptr<Service> service = kind.create(*options);
    REQUIRE(service != nullptr);
    CHECK((service->state() != nullptr) == (kind.state != nullptr));
    tap::tests::Loop loop;
    REQUIRE(service->start(loop.reactor).ok());
    CHECK(service->build_protocol() != nullptr);
    service->stop();
  }
}
