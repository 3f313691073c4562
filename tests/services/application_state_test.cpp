// An application and its states: made, restored, collected into the next archive.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "services/application.hpp"
#include "services/echo/echo.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/services/probe.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::tests;

namespace {

struct World {
  Loop loop;
  Calls calls;
  Registry kinds{{probe_kind(calls), echo_kind()}};

  Result<std::unique_ptr<Application>> make(const std::vector<state::ServiceDefinition>& services) {
    state::Definition definition;
    definition.name = "Test";
    definition.services = services;
    return Application::create(definition, kinds, loop.reactor);
  }
  std::unique_ptr<Application> made(const std::vector<state::ServiceDefinition>& services) {
    Result<std::unique_ptr<Application>> application = make(services);
    REQUIRE(application.ok());
    return std::move(application).value();
  }
};

state::Section section(const std::string& service, const std::string& kind, const Bytes& payload,
                       std::uint32_t schema = ProbeCodec::kVersion) {
  return {service, kind, schema, state::PayloadCodec::cereal, payload};
}

state::ServiceDefinition echo_definition(const std::string& name) {
  state::ServiceDefinition service;
  service.name = name;
  service.kind = "echo";
  return service;
}

state::Archive collected(const Application& application, const std::optional<state::StoredArchive>& previous = {}) {
  Result<state::Archive> archive = application.collect(previous, 0, previous ? previous->archive.epoch + 1 : 1);
  REQUIRE(archive.ok());
  return std::move(archive).value();
}

state::StoredArchive stored(state::Archive archive) {
  const Bytes bytes = state::encode_archive(archive);
  return {std::move(archive), state::archive_digest(bytes), "Test-1.tap"};
}

}  // namespace

TEST_CASE("application: an unknown kind is an error of the configuration, with a suggestion") {
  World world;
  state::ServiceDefinition service = probe_definition("a");
  service.kind = "prob";
  const auto made = world.make({service});
  REQUIRE(!made.ok());
  CHECK(made.error().exit_code() == 78);
  CHECK(made.error().message == "service 'a': there is no kind 'prob'; did you mean 'probe'?");
}

TEST_CASE("application: a wrong option is an error of the configuration, with the service's name") {
  World world;
  state::ServiceDefinition service = echo_definition("e");
  service.options = {{"framing", "line"}};
  const auto made = world.make({probe_definition("a"), service});
  REQUIRE(!made.ok());
  CHECK(made.error().exit_code() == 78);
  CHECK(made.error().message == "service 'e': the kind 'echo' has no option 'framing'");
}

TEST_CASE("application: restore gives each service its own state, and leaves one without a section new") {
  World world;
  const auto application = world.made({probe_definition("a"), echo_definition("e"), probe_definition("b")});
  state::Archive archive;
  archive.sections = {section("b", "probe", "22"), section("gone", "web", "whatever", 99)};
  CHECK(application->restore(archive).ok());
  const state::Archive next = collected(*application);
  REQUIRE(next.sections.size() == 2);
  CHECK(next.find("a")->payload == "0");
  CHECK(next.find("b")->payload == "22");
}

TEST_CASE("application: a state of another kind under the same name is refused") {
  World world;
  const auto application = world.made({probe_definition("a")});
  state::Archive archive;
  archive.sections = {section("a", "fibonacci", "22")};
  const Result<void> restored = application->restore(archive);
  REQUIRE(!restored.ok());
  CHECK(restored.error().exit_code() == 78);
  CHECK(restored.error().message ==
        "service 'a' is of kind 'probe', but the state saved under this name is of kind 'fibonacci'; give the new "
        "service another name");
  const auto stateless = world.made({echo_definition("a")});
  CHECK(stateless->restore(archive).error().exit_code() == 78);
}

TEST_CASE("application: a newer schema and a damaged state are refused, with the service's name") {
  World world;
  const auto application = world.made({probe_definition("a")});
  state::Archive archive;
  archive.sections = {section("a", "probe", "22", ProbeCodec::kVersion + 1)};
  const Result<void> newer = application->restore(archive);
  REQUIRE(!newer.ok());
  CHECK(newer.error().exit_code() == 78);
  CHECK(newer.error().message == "the state of service 'a': the schema is newer");
  archive.sections = {section("a", "probe", "x")};
  const Result<void> damaged = application->restore(archive);
  REQUIRE(!damaged.ok());
  CHECK(damaged.error().exit_code() == 65);
  CHECK(damaged.error().message == "the state of service 'a': it is no number");
}

TEST_CASE("application: an older schema is taken, and saved as the newer one") {
  World world;
  const auto application = world.made({probe_definition("a")});
  state::Archive archive;
  archive.sections = {section("a", "probe", "22", ProbeCodec::kVersion - 1)};
  REQUIRE(application->restore(archive).ok());
  CHECK(collected(*application).find("a")->schema_version == ProbeCodec::kVersion);
}

TEST_CASE("application: the first archive begins a lineage with every state") {
  World world;
  const auto application = world.made({probe_definition("a"), echo_definition("e")});
  const state::Archive first = collected(*application);
  CHECK(!first.lineage.none());
  CHECK(first.parent.none());
  CHECK(first.generation == 1);
  CHECK(first.epoch == 1);
  CHECK(first.ancestors.empty());
  CHECK(first.definition == application->definition());
  CHECK(first.sections == std::vector<state::Section>{section("a", "probe", "0")});
  CHECK(first.writer == state::writer_name());
  CHECK(first.created_ms > 1'600'000'000'000);
  CHECK(!(collected(*application).lineage == first.lineage));
}

TEST_CASE("application: the next archive follows the one it was restored from") {
  World world;
  const auto first_application = world.made({probe_definition("a")});
  const state::StoredArchive first = stored(collected(*first_application));
  const auto application = world.made({probe_definition("a"), probe_definition("new")});
  REQUIRE(application->restore(first.archive).ok());
  const state::Archive second = collected(*application, first);
  CHECK(second.lineage == first.archive.lineage);
  CHECK(second.generation == 2);
  CHECK(second.epoch == first.archive.epoch + 1);
  REQUIRE(second.ancestors.size() == 1);
  CHECK(second.ancestors[0] == state::make_ancestor(1, first.digest));
  CHECK(second.definition == application->definition());
  CHECK(second.find("new") != nullptr);
}

TEST_CASE("application: sections of services that are not configured are kept bit for bit") {
  World world;
  Bytes opaque;
  for (int value = 0; value < 256; ++value) opaque += static_cast<char>(value);
  state::Archive archive = collected(*world.made({probe_definition("a")}));
  const std::vector<state::Section> foreign{
      section("web", "web", opaque, 77), section("old", "probe", "not a number", 1), section("empty", "nothing", "")};
  archive.sections.insert(archive.sections.end(), foreign.begin(), foreign.end());
  const auto application = world.made({probe_definition("a")});
  std::optional<state::StoredArchive> previous = stored(archive);
  for (int generation = 2; generation <= 4; ++generation) {
    CAPTURE(generation);
    REQUIRE(application->restore(previous->archive).ok());
    state::Archive next = collected(*application, previous);
    for (const state::Section& kept : foreign) {
      REQUIRE(next.find(kept.service) != nullptr);
      CHECK(*next.find(kept.service) == kept);
    }
    CHECK(next.sections.size() == 4);
    previous = stored(next);
  }
}

TEST_CASE("application: a service that comes back finds its kept state") {
  World world;
  const auto with = world.made({probe_definition("a"), probe_definition("b")});
  state::Archive archive;
  archive.sections = {section("a", "probe", "1"), section("b", "probe", "2")};
  REQUIRE(with->restore(archive).ok());
  const state::StoredArchive first = stored(collected(*with));
  const auto without = world.made({probe_definition("a")});
  REQUIRE(without->restore(first.archive).ok());
  const state::StoredArchive second = stored(collected(*without, first));
  const auto again = world.made({probe_definition("b"), probe_definition("a")});
  REQUIRE(again->restore(second.archive).ok());
  CHECK(collected(*again, second).find("b")->payload == "2");
}

TEST_CASE("initial archive: has the definition and each state as nothing has happened to it") {
  World world;
  state::Definition definition;
  definition.name = "Test";
  definition.services = {probe_definition("a"), echo_definition("e"), probe_definition("b")};
  const Result<state::Archive> archive = initial_archive(definition, world.kinds);
  REQUIRE(archive.ok());
  CHECK(archive->definition == definition);
  CHECK(archive->generation == 1);
  CHECK(!archive->lineage.none());
  CHECK(archive->sections == std::vector<state::Section>{section("a", "probe", "0"), section("b", "probe", "0")});
  CHECK(world.calls.empty());
  const auto application = world.made(definition.services);
  CHECK(application->restore(*archive).ok());
  CHECK(collected(*application).sections == archive->sections);
}

TEST_CASE("initial archive: an unknown kind is an error of the configuration") {
  World world;
  state::Definition definition;
  definition.services = {probe_definition("a")};
  definition.services[0].kind = "ecko";
  const Result<state::Archive> archive = initial_archive(definition, world.kinds);
  REQUIRE(!archive.ok());
  CHECK(archive.error().exit_code() == 78);
  CHECK(archive.error().message == "there is no kind 'ecko'; did you mean 'echo'?");
}
