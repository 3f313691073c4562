// Where an application comes from, and who its services run as.
#include "daemon/source.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "daemon/privileges.hpp"
#include "services/application.hpp"
#include "state/files.hpp"
#include "state/lock.hpp"
#include "tests/daemon/kinds.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::daemon;
using tap::tests::TemporaryDirectory;
using tap::tests::write_text;

namespace {

const services::Registry& kinds() {
  static const services::Registry all = tests::test_kinds();
  return all;
}

/// Sets $STATE_DIRECTORY for a test's length.
class StateDirectory {
 public:
  explicit StateDirectory(const std::string& value) { ::setenv("STATE_DIRECTORY", value.c_str(), 1); }
  StateDirectory(const StateDirectory&) = delete;
  StateDirectory& operator=(const StateDirectory&) = delete;
  ~StateDirectory() { ::unsetenv("STATE_DIRECTORY"); }
};

state::Definition definition_of(const std::string& name) {
  state::Definition definition;
  definition.name = name;
  state::ServiceDefinition service;
  service.name = "fib";
  service.kind = "fibonacci";
  service.listen = {"tcp:0"};
  definition.services = {service};
  return definition;
}

/// The bytes of an application's first archive.
Bytes archive_bytes(const std::string& name) {
  const Result<state::Archive> archive = services::initial_archive(definition_of(name), kinds());
  REQUIRE(archive.ok());
  return state::encode_archive(*archive);
}

Options from_file(const TemporaryDirectory& directory, const std::string& file) {
  Options options;
  options.rundir = directory.path();
  options.file = directory / file;
  options.file_given = file;
  return options;
}

Error refusal(const Options& options) {
  Result<Source> source = load_source(options, kinds());
  REQUIRE(!source.ok());
  return std::move(source).error();
}

}  // namespace

TEST_CASE("source: the one-service form makes an application of that kind") {
  Options options;
  options.kind = "fibonacci";
  options.service.listen = {"tcp:0"};
  options.service.options = {{"framing", "line"}};
  const Result<Source> source = load_source(options, kinds());
  REQUIRE(source.ok());
  CHECK(source->definition.name == "Fibonacci");
  CHECK(source->definition.services[0].options.at("framing") == "line");
  CHECK(!source->archive.has_value());
  options.service.listen.clear();
  CHECK(refusal(options).exit_code() == 64);
}

TEST_CASE("source: --name and --stop-timeout win over what the source says") {
  Options options;
  options.kind = "fibonacci";
  options.service.listen = {"tcp:0"};
  options.name = "Shop";
  options.stop_timeout = "3s";
  const Result<Source> source = load_source(options, kinds());
  REQUIRE(source.ok());
  CHECK(source->definition.name == "Shop");
  CHECK(source->definition.stop_timeout_ms == 3000);
  options.stop_timeout = "soon";
  CHECK(refusal(options).exit_code() == 64);
  CHECK(refusal(options).message == "--stop-timeout: 'soon' is not a duration of at most an hour");
  options.stop_timeout = "61min";
  CHECK(refusal(options).exit_code() == 64);
}

TEST_CASE("source: an archive brings its definition, its bytes and its digest") {
  const TemporaryDirectory directory;
  const Bytes bytes = archive_bytes("Fibonacci");
  write_text(directory / "a.tap", bytes);
  const Result<Source> source = load_source(from_file(directory, "a.tap"), kinds());
  REQUIRE(source.ok());
  CHECK(source->definition == definition_of("Fibonacci"));
  REQUIRE(source->archive.has_value());
  CHECK(source->archive->file == "a.tap");
  CHECK(source->archive->digest == state::archive_digest(bytes));
  CHECK(source->archive_bytes == bytes);
}

TEST_CASE("source: with a config and an archive the services come from the config") {
  const TemporaryDirectory directory;
  write_text(directory / "a.tap", archive_bytes("FromArchive"));
  write_text(directory / "shop.toml", "[[service]]\nname = \"e\"\nkind = \"echo\"\nlisten = [\"tcp:0\"]\n");
  Options options = from_file(directory, "a.tap");
  options.config = directory / "shop.toml";
  options.config_given = "shop.toml";
  const Result<Source> source = load_source(options, kinds());
  REQUIRE(source.ok());
  CHECK(source->definition.name == "shop");
  CHECK(source->definition.services[0].kind == "echo");
  CHECK(source->archive.has_value());
}

TEST_CASE("source: an archive that is none is refused, with its name as it was typed") {
  const TemporaryDirectory directory;
  CHECK(refusal(from_file(directory, "none.tap")).exit_code() == 66);
  CHECK(refusal(from_file(directory, "none.tap")).message.find("-f none.tap: ") == 0);
  write_text(directory / "empty.tap", "");
  CHECK(refusal(from_file(directory, "empty.tap")).exit_code() == 65);
  write_text(directory / "text.tap", "just some text, long enough to hold a header of whatever length there may be");
  CHECK(refusal(from_file(directory, "text.tap")).exit_code() == 65);
  const Bytes bytes = archive_bytes("Fibonacci");
  write_text(directory / "cut.tap", bytes.substr(0, bytes.size() - 1));
  CHECK(refusal(from_file(directory, "cut.tap")).exit_code() == 65);
  REQUIRE(::mkfifo((directory / "fifo.tap").c_str(), 0600) == 0);
  CHECK(refusal(from_file(directory, "fifo.tap")).exit_code() == 66);
  CHECK(refusal(from_file(directory, ".")).exit_code() == 66);
}

TEST_CASE("source: an archive whose states or generation could not go on is refused before anything is touched") {
  const TemporaryDirectory directory;
  Result<state::Archive> archive = services::initial_archive(definition_of("Fibonacci"), kinds());
  REQUIRE(archive.ok());
  const auto refused = [&](const state::Archive& changed) {
    write_text(directory / "a.tap", state::encode_archive(changed));
    return refusal(from_file(directory, "a.tap"));
  };
  state::Archive newer = *archive;
  newer.sections[0].schema_version = 99;
  CHECK(refused(newer).exit_code() == 78);
  CHECK(refused(newer).message.find("-f a.tap: the state of service 'fib': ") == 0);
  state::Archive damaged = *archive;
  damaged.sections[0].payload += 'x';
  CHECK(refused(damaged).exit_code() == 65);
  state::Archive last = *archive;
  last.generation = std::numeric_limits<std::uint64_t>::max();
  CHECK(refused(last).exit_code() == 65);
  state::Archive unknown = *archive;
  unknown.definition.services[0].kind = "fibonaci";
  CHECK(refused(unknown).exit_code() == 78);
  CHECK(refused(unknown).message.find("did you mean 'fibonacci'?") != std::string::npos);
}

TEST_CASE("source: standard input and output need a foreground") {
  Options options;
  options.kind = "echo";
  options.service.listen = {"stdio:"};
  CHECK(refusal(options).exit_code() == 78);
  CHECK(refusal(options).message == "service 'echo' uses stdio:, which a daemon has not; give -n");
  options.nodaemon = true;
  CHECK(load_source(options, kinds()).ok());
}

TEST_CASE("source: a reload reads the config alone, with what the command line says on top") {
  const TemporaryDirectory directory;
  Options options;
  options.config = directory / "shop.toml";
  options.config_given = "shop.toml";
  options.name = "Shop";
  options.stop_timeout = "3s";
  options.file = directory / "gone.tap";  // is not looked at again
  write_text(options.config, "[[service]]\nname = \"e\"\nkind = \"echo\"\nlisten = [\"tcp:0\"]\n");
  const Result<state::Definition> reloaded = reload_definition(options, kinds());
  REQUIRE(reloaded.ok());
  CHECK(reloaded->name == "Shop");
  CHECK(reloaded->stop_timeout_ms == 3000);
  write_text(options.config, "half = ");
  CHECK(reload_definition(options, kinds()).error().exit_code() == 78);
}

TEST_CASE("source: a config that is wrong or missing is refused") {
  const TemporaryDirectory directory;
  Options options;
  options.config = directory / "none.toml";
  options.config_given = "none.toml";
  CHECK(refusal(options).exit_code() == 66);
  options.config = directory / "bad.toml";
  options.config_given = "bad.toml";
  write_text(options.config, "nonsense = 1\n");
  CHECK(refusal(options).exit_code() == 78);
  CHECK(refusal(options).message.find("\nbad.toml:1:1: there is no key 'nonsense'") != std::string::npos);
}

TEST_CASE("source: the shutdown archive of one that stops is waited for") {
  const TemporaryDirectory directory;
  Result<Fd> store = state::make_directory(AT_FDCWD, directory / "Fibonacci.state");
  REQUIRE(store.ok());
  Result<state::StoreLock> lock = state::StoreLock::acquire(store->get(), "the store");
  REQUIRE(lock.ok());
  lock->announce({static_cast<int>(::getpid()), true, 60'000});
  const Bytes bytes = archive_bytes("Fibonacci");
  std::thread stopping([&, held = std::optional(std::move(lock).value())]() mutable {
    write_text(directory / "saved", bytes);
    REQUIRE(::rename((directory / "saved").c_str(), (directory / "Fibonacci-shutdown.tap").c_str()) == 0);
    held.reset();
  });
  const Result<Source> source = load_source(from_file(directory, "Fibonacci-shutdown.tap"), kinds());
  stopping.join();
  REQUIRE(source.ok());
  CHECK(source->archive_bytes == bytes);
}

TEST_CASE("source: the shutdown archive of one that goes on serving is not waited for long") {
  const TemporaryDirectory directory;
  Result<Fd> store = state::make_directory(AT_FDCWD, directory / "Fibonacci.state");
  REQUIRE(store.ok());
  Result<state::StoreLock> lock = state::StoreLock::acquire(store->get(), "the store");
  REQUIRE(lock.ok());
  CHECK(refusal(from_file(directory, "Fibonacci-shutdown.tap")).exit_code() == 66);
}

TEST_CASE("store path: --state-dir, else $STATE_DIRECTORY, else NAME.state in the run directory") {
  Options options;
  options.rundir = "/run/here";
  CHECK(store_path(options, "Shop") == "/run/here/Shop.state");
  CHECK(shutdown_directory(options) == "/run/here");
  {
    const StateDirectory systemd("/var/lib/tapd/shop");
    CHECK(store_path(options, "Shop") == "/var/lib/tapd/shop");
    CHECK(shutdown_directory(options) == "/var/lib/tapd/shop");
    options.state_dir = "/elsewhere";
    CHECK(store_path(options, "Shop") == "/elsewhere");
    options.state_dir.clear();
  }
  {
    const StateDirectory several("/var/lib/a:/var/lib/b");
    CHECK(store_path(options, "Shop") == "/var/lib/a");
  }
  for (const char* nothing : {"", "relative/path"}) {
    const StateDirectory ignored(nothing);
    CHECK(store_path(options, "Shop") == "/run/here/Shop.state");
    CHECK(shutdown_directory(options) == "/run/here");
  }
  options.state_dir = "/elsewhere";
  CHECK(store_path(options, "Shop") == "/elsewhere");
  CHECK(shutdown_directory(options) == "/run/here");
}

TEST_CASE("differences: what a reload would change is told, a sentence each") {
  const state::Definition running = definition_of("Fibonacci");
  CHECK(differences(running, running).empty());
  state::Definition wanted = running;
  wanted.name = "Shop";
  wanted.stop_timeout_ms = 5000;
  wanted.durability = "shutdown";
  wanted.services[0].connections_max = 5;
  state::ServiceDefinition added = running.services[0];
  added.name = "echo";
  wanted.services.push_back(added);
  CHECK(differences(running, wanted) == std::vector<std::string>{
                                            "the application's name 'Fibonacci' -> 'Shop'",
                                            "stop_timeout 10s -> 5s",
                                            "durability strict -> shutdown",
                                            "service 'fib' would change",
                                            "service 'echo' would start",
                                        });
  wanted = running;
  wanted.services[0].name = "other";
  CHECK(differences(running, wanted) == std::vector<std::string>{
                                            "service 'fib' would end (its state stays)",
                                            "service 'other' would start",
                                        });
}

TEST_CASE("identity: nobody is asked for, so nobody changes") {
  const Result<std::optional<Identity>> identity = find_identity("", "");
  REQUIRE(identity.ok());
  CHECK(!identity->has_value());
}

TEST_CASE("identity: an unknown user or group is a usage error") {
  CHECK(find_identity("no-such-user", "").error().exit_code() == 64);
  CHECK(find_identity("no-such-user", "").error().message == "-u: there is no user 'no-such-user'");
  CHECK(find_identity("", "no-such-group").error().message == "-g: there is no group 'no-such-group'");
  CHECK(find_identity("4294967295", "").error().exit_code() == 64);
  CHECK(find_identity("-1", "").error().exit_code() == 64);
}

TEST_CASE("identity: names and numbers are found, by root") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: not root");
    return;
  }
  const Result<std::optional<Identity>> root = find_identity("root", "");
  REQUIRE(root.ok());
  CHECK((*root)->uid == 0);
  CHECK((*root)->gid == 0);
  CHECK(find_identity("54321", "").error().message ==
        "-u 54321: this user has no entry, so no group; give one with -g");
  const Result<std::optional<Identity>> number = find_identity("12345", "23456");
  REQUIRE(number.ok());
  CHECK((*number)->uid == 12345);
  CHECK((*number)->gid == 23456);
}

TEST_CASE("identity: only root may run services as another") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: not root");
    return;
  }
  const tests::ChildEnd end = tests::in_child([] {
    if (::setgid(23456) != 0 || ::setuid(12345) != 0) ::_exit(1);
    if (find_identity("root", "").ok() || find_identity("root", "").error().exit_code() != 77) ::_exit(2);
    if (!find_identity("12345", "23456").ok()) ::_exit(3);
  });
  CHECK(end.code == 0);
}

TEST_CASE("privileges: are dropped for good, with groups and capabilities, and the root directory changes") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: not root");
    return;
  }
  const TemporaryDirectory directory;
  REQUIRE(::chmod(directory.path().c_str(), 0755) == 0);
  write_text(directory / "inside", "x");
  const tests::ChildEnd end = tests::in_child([&] {
    if (!drop_privileges(Identity{12345, 23456}, directory.path()).ok()) ::_exit(1);
    if (::getuid() != 12345 || ::geteuid() != 12345 || ::getgid() != 23456 || ::getegid() != 23456) ::_exit(2);
    gid_t groups[64];
    if (::getgroups(64, groups) != 1 || groups[0] != 23456) ::_exit(3);
    if (::setuid(0) == 0 || ::setgid(0) == 0) ::_exit(4);
    if (::access("/inside", F_OK) != 0) ::_exit(5);
  });
  CHECK(end.code == 0);
  CHECK(end.err.empty());
}

TEST_CASE("privileges: a chroot that is not there is refused") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: not root");
    return;
  }
  const Result<void> dropped = drop_privileges(std::nullopt, "/none/such");
  REQUIRE(!dropped.ok());
  CHECK(dropped.error().exit_code() == 77);
  CHECK(dropped.error().message == "entering --chroot /none/such: No such file or directory");
}
