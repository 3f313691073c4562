// `plugin` in a config: what is said of it, and where.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>

#include "daemon/config.hpp"
#include "services/plugins.hpp"
#include "tests/daemon/kinds.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::daemon;
using namespace tap::tests;

namespace {

/// A directory with the sample plugin in lib/, and a config beside that.
struct World {
  World() {
    std::filesystem::create_directory(directory / "lib");
    std::filesystem::copy_file(TAP_SAMPLE_PLUGIN, plugin);
    ::chmod(plugin.c_str(), 0644);
  }
  ConfigReading read(const std::string& value) {
    return read_config(
        "[application]\nplugin = " + value + "\n[[service]]\nname = \"a\"\nkind = \"sample\"\nlisten = [\"tcp:0\"]\n",
        "x.toml", kinds, {&plugins, directory.path()});
  }
  std::string problems(const std::string& value) {
    std::string text;
    for (const ConfigProblem& problem : read(value).problems) text += problem.text() + "\n";
    return text;
  }

  TemporaryDirectory directory;
  std::string plugin = directory / "lib/sample.so";
  services::Registry kinds = test_kinds();
  services::Plugins plugins{kinds};
};

const std::string kNoKind = "x.toml:5:8: there is no kind 'sample'";

}  // namespace

TEST_CASE("config: a plugin's kinds are known, by a path that begins at the config or at the root") {
  for (const bool absolute : {false, true}) {
    World world;
    const std::string path = absolute ? world.plugin : "lib/sample.so";
    CHECK(world.problems("\"" + path + "\"").empty());
    CHECK(world.problems("[\"" + path + "\"]").empty());  // loaded already
    CHECK(world.plugins.kept().size() == 1);
    CHECK(world.kinds.find("sample-2") != nullptr);
  }
}

TEST_CASE("config: a plugin that cannot be is told with its place, and its kinds are missing") {
  World world;
  const std::string wrong_type =
      "'plugin' is the path of a shared object, or an array of such paths, not a whole number\n";
  CHECK(world.problems("7") == "x.toml:2:10: " + wrong_type + kNoKind + "\n");
  CHECK(world.problems("[\"\", 7]") ==
        "x.toml:2:11: 'plugin' is an empty path\nx.toml:2:15: " + wrong_type + kNoKind + "\n");
  CHECK(world.problems("\"lib/none.so\"") == "x.toml:2:10: the plugin " + world.directory.path() +
                                                 "/lib/none.so: it cannot be opened: No such file or directory\n" +
                                                 kNoKind + "\n");
  CHECK(world.plugins.kept().empty());
}

TEST_CASE("config: a plugin is refused where none can be loaded, and by a running keeper") {
  World world;
  const ConfigReading reading = read_config(
      "[application]\nplugin = \"x.so\"\n[[service]]\nname = \"a\"\nkind = \"echo\"\n"
      "listen = [\"tcp:0\"]\n",
      "x.toml", world.kinds);
  REQUIRE(reading.problems.size() == 1);
  CHECK(reading.problems[0].text() == "x.toml:2:10: plugins cannot be loaded here");
  world.plugins.freeze();
  CHECK(world.problems("\"lib/sample.so\"")
            .find("x.toml:2:10: the plugin " + world.plugin + ": a running tapd takes in no new code") == 0);
}
