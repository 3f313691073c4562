#include "services/plugins.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "services/command_line.hpp"
#include "services/echo/echo.hpp"
#include "services/plugin.hpp"
#include "services/units.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::tests;

namespace {

/// A registry with one kind, and plugins for it; the sample plugin lies in a directory of the test's own.
struct World {
  TemporaryDirectory directory;
  Registry registry{{echo_kind()}};
  Plugins plugins{registry};
  std::string path = put(TAP_SAMPLE_PLUGIN, "sample.so");

  std::string put(const std::string& from, const std::string& name) const {
    std::filesystem::copy_file(from, directory / name, std::filesystem::copy_options::overwrite_existing);
    ::chmod((directory / name).c_str(), 0644);
    return directory / name;
  }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(directory / name) << text;
    ::chmod((directory / name).c_str(), 0644);
    return directory / name;
  }
  /// The sentence of the refusal; nothing is registered by a plugin that is refused.
  std::string refusal(const std::string& of) {
    const Result<void> loaded = plugins.load(of);
    CHECK_FALSE(loaded.ok());
    if (loaded.ok()) return "";
    CHECK(loaded.error().fault == Fault::config);
    CHECK(loaded.error().message.find("the plugin " + of) == 0);
    CHECK(registry.all().size() == 1);
    CHECK(plugins.kept().empty());
    return loaded.error().message;
  }
  std::string refusal_when(const char* wrong) {
    ::setenv("TAP_SAMPLE", wrong, 1);
    std::string sentence = refusal(path);
    ::unsetenv("TAP_SAMPLE");
    return sentence;
  }
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("plugins: files that cannot be plugins are refused, each with a reason") {
  World world;
  CHECK(has(world.refusal(world.directory / "none.so"), "it cannot be opened: No such file"));
  CHECK(has(world.refusal("sample.so"), "this is no absolute path"));
  CHECK(has(world.refusal(world.directory.path()), "it is not a regular file"));
  CHECK(has(world.refusal(world.write("empty.so", "")), "it is empty"));
  CHECK(has(world.refusal(world.write("text.so", "not an object")), "it cannot be loaded: "));
  const std::string fifo = world.directory / "fifo.so";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(has(world.refusal(fifo), "it is not a regular file"));
}

TEST_CASE("plugins: a file that others could have written is refused") {
  World world;
  REQUIRE(::chmod(world.path.c_str(), 0666) == 0);
  CHECK(has(world.refusal(world.path), "others may write to it"));
  REQUIRE(::chmod(world.path.c_str(), 0644) == 0);
  if (::geteuid() == 0) {
    REQUIRE(::chown(world.path.c_str(), 12345, 0) == 0);
    CHECK(has(world.refusal(world.path), "it belongs to user 12345"));
    REQUIRE(::chown(world.path.c_str(), 0, 12345) == 0);
    REQUIRE(::chmod(world.path.c_str(), 0664) == 0);
    CHECK(has(world.refusal(world.path), "others may write to it"));
    REQUIRE(::chown(world.path.c_str(), 0, 0) == 0);
  }
  CHECK(world.plugins.load(world.path).ok());
}

TEST_CASE("plugins: shared objects that are no plugins of tapd are refused") {
  World world;
  CHECK(has(world.refusal(world.put(TAP_UNRESOLVED_PLUGIN, "unresolved.so")), "undefined symbol: "));
  CHECK(has(world.refusal_when("nothing"), "it is no plugin of tapd"));
  CHECK(has(world.refusal_when("magic"), "it is no plugin of tapd"));
}

TEST_CASE("plugins: what was compiled for another program is refused, and told why") {
  World world;
  CHECK(has(world.refusal_when("abi"), "it speaks version 2 of the plugin interface, this program version 1"));
  CHECK(has(world.refusal_when("stamp"),
            "it was compiled by tcc 1, libtiny 1, this program by " + std::string(plugin_stamp())));
  CHECK(has(world.refusal_when("no stamp"), "it was compiled by (nothing)"));
  CHECK(has(world.refusal_when("layout"), "the headers of another tapd (0.0.1)"));
}

TEST_CASE("plugins: kinds that cannot be are refused, all or none") {
  World world;
  CHECK(has(world.refusal_when("no kinds"), "it lists 2 kinds"));
  CHECK(has(world.refusal_when("count"), "it lists 0 kinds"));
  CHECK(has(world.refusal_when("fewer"), "it lists 1 kinds and announces 2"));
  CHECK(has(world.refusal_when("taken"), "there is a kind 'echo' already"));
  CHECK(has(world.refusal_when("twice"), "there is a kind 'sample' already"));
  CHECK(has(world.refusal_when("name"), "'no name' is not a name for a kind"));
  CHECK(has(world.refusal_when("create"), "its kind 'sample' cannot make a service"));
  CHECK(has(world.refusal_when("default"),
            "the default of option 'times' of its kind 'sample': 'many' is not a whole number"));
  CHECK(has(world.refusal_when("throw"), "listing its kinds threw an exception: there is no kind today"));
  CHECK(has(world.refusal_when("throw a number"), "listing its kinds threw something that is no exception"));
}

TEST_CASE("plugins: the kinds of one are known beside the program's, and use the program's code") {
  World world;
  const Result<void> loaded = world.plugins.load(world.path);
  REQUIRE_MESSAGE(loaded.ok(), (loaded.ok() ? "" : loaded.error().message));
  CHECK(world.registry.find("echo") != nullptr);
  const Kind* kind = world.registry.find("sample-2");
  REQUIRE(kind != nullptr);
  CHECK(kind->summary == std::to_string(reinterpret_cast<std::uintptr_t>(&parse_duration_ms)));
  CHECK(kind->create(*kind->check({}))->build_protocol() != nullptr);
  REQUIRE(world.plugins.kept().size() == 1);
  CHECK(world.plugins.kept()[0].path == world.path);
}

TEST_CASE("plugins: a path that is loaded stays what it is, whatever lies there now") {
  World world;
  REQUIRE(world.plugins.load(world.path).ok());
  world.write("sample.so", "not an object");
  CHECK(world.plugins.load(world.path).ok());
  CHECK(world.registry.all().size() == 3);
}

TEST_CASE("plugins: what is kept is the code of the beginning, also when the file is overwritten in place") {
  World world;
  REQUIRE(world.plugins.load(world.path).ok());
  world.write("sample.so", "not an object");
  Registry other{{echo_kind()}};
  Plugins later(other);
  const KeptPlugin& kept = world.plugins.kept()[0];
  REQUIRE(later.load_kept({kept.path, ::dup(kept.fd)}).ok());
  CHECK(other.find("sample") != nullptr);
  const char byte = 'x';
  CHECK(::pwrite(kept.fd, &byte, 1, 0) == -1);  // sealed
}

TEST_CASE("plugins: one that is refused is not taken for the next one") {
  World world;
  CHECK(has(world.refusal_when("abi"), "it speaks version 2"));
  const Result<void> loaded = world.plugins.load(world.put(TAP_SAMPLE_PLUGIN, "right.so"));
  CHECK_MESSAGE(loaded.ok(), (loaded.ok() ? "" : loaded.error().message));
  CHECK(world.registry.find("sample") != nullptr);
}

TEST_CASE("plugins: a running program takes in no new code") {
  World world;
  world.plugins.freeze();
  CHECK(has(world.refusal(world.path), "a running tapd takes in no new code"));
}

TEST_CASE("plugins: --plugin is taken out of a command line wherever it is an option, and loaded") {
  World world;
  const std::vector<OptionShape> shapes{{"--name"}, {"--nodaemon", 'n', false}, {"--file", 'f'}};
  const auto take = [&](const std::vector<std::string>& words) {
    return load_plugin_options(words, shapes, world.plugins);
  };
  const Result<std::vector<std::string>> rest = take({"-n", "--name", "--plugin", "--plugin", world.path, "x"});
  REQUIRE_MESSAGE(rest.ok(), (rest.ok() ? "" : rest.error().message));
  CHECK(*rest == std::vector<std::string>{"-n", "--name", "--plugin", "x"});
  CHECK(world.registry.find("sample") != nullptr);
  CHECK(take({"--plugin=" + world.path}).ok());
  CHECK(*take({"-nf", "--plugin=x"}) == std::vector<std::string>{"-nf", "--plugin=x"});
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"--plugin"}, {"--plugin="}, {"--plugin", ""}}) {
    const Result<std::vector<std::string>> refused = take(words);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().fault == Fault::usage);
  }
  const Result<std::vector<std::string>> refused = take({"--plugin", world.directory / "none.so"});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().fault == Fault::config);
}
