#include "daemon/options.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "state/base/fd.hpp"
#include "tests/daemon/kinds.hpp"

using namespace tap;
using tap::daemon::Options;
using tap::daemon::parse_command_line;
using tap::daemon::ParsedCommandLine;
using Words = std::vector<std::string>;

namespace {

Result<ParsedCommandLine> parse(const Words& words) {
  static const services::Registry kinds = tests::test_kinds();
  return parse_command_line(words, kinds);
}

std::string joined(const Words& words) {
  std::string text;
  for (const std::string& word : words) text += word + " ";
  return text;
}

Options good(const Words& words) {
  CAPTURE(joined(words));
  Result<ParsedCommandLine> parsed = parse(words);
  if (!parsed) FAIL_CHECK(parsed.error().message);
  REQUIRE(parsed.ok());
  REQUIRE(parsed->options.has_value());
  return *std::move(parsed->options);
}

std::string printed(const Words& words) {
  const Result<ParsedCommandLine> parsed = parse(words);
  if (!parsed) FAIL_CHECK(parsed.error().message);
  REQUIRE(parsed.ok());
  CHECK(!parsed->options.has_value());
  return parsed->print;
}

/// The message without the hint at its end.
std::string refusal(const Words& words) {
  CAPTURE(joined(words));
  const Result<ParsedCommandLine> parsed = parse(words);
  if (parsed.ok()) return "accepted";
  CHECK(parsed.error().exit_code() == 64);
  return parsed.error().message.substr(0, parsed.error().message.find(" (`tapd"));
}

std::string here(const std::string& name) { return (std::filesystem::current_path() / name).string(); }

/// Words before the kind and after it mean the same.
void anywhere(const Words& words, const std::function<bool(const Options&)>& holds) {
  CAPTURE(joined(words));
  Words before = words;
  before.emplace_back("echo");
  Words after{"echo"};
  after.insert(after.end(), words.begin(), words.end());
  CHECK(holds(good(before)));
  CHECK(holds(good(after)));
  CHECK(good(before).kind == "echo");
  CHECK(good(after).kind == "echo");
}

/// An option with a value, as two words and as one.
void takes_value(const std::string& option, const std::string& value,
                 const std::function<bool(const Options&)>& holds) {
  anywhere({option, value}, holds);
  anywhere({option + "=" + value}, holds);
}

/// A boolean in all the ways in which it may be given.
void is_boolean(const std::string& option, bool Options::*member) {
  anywhere({option}, [&](const Options& options) { return options.*member; });
  anywhere({option, "true"}, [&](const Options& options) { return options.*member; });
  anywhere({option, "false"}, [&](const Options& options) { return !(options.*member); });
  if (option.substr(0, 2) != "--") return;
  anywhere({option + "=true"}, [&](const Options& options) { return options.*member; });
  anywhere({option + "=false"}, [&](const Options& options) { return !(options.*member); });
}

}  // namespace

TEST_CASE("options: booleans may be bare or have true or false, before and after the kind") {
  is_boolean("-n", &Options::nodaemon);
  is_boolean("--nodaemon", &Options::nodaemon);
  is_boolean("-o", &Options::no_save);
  is_boolean("--no-save", &Options::no_save);
  is_boolean("--syslog", &Options::syslog);
  is_boolean("--check", &Options::check);
  is_boolean("--no-keeper", &Options::no_keeper);
  CHECK(good({"-n=true", "echo"}).nodaemon);
}

TEST_CASE("options: values may be a word of their own or stand after '=', before and after the kind") {
  takes_value("--name", "Shop", [](const Options& o) { return o.name == "Shop"; });
  takes_value("--state-dir", "/s", [](const Options& o) { return o.state_dir == "/s"; });
  takes_value("-d", "/r", [](const Options& o) { return o.rundir == "/r"; });
  takes_value("--rundir", "/r", [](const Options& o) { return o.rundir == "/r" && o.pidfile == "/r/tapd.pid"; });
  takes_value("--pidfile", "/p", [](const Options& o) { return o.pidfile == "/p"; });
  takes_value("-l", "/l", [](const Options& o) { return o.logfile == "/l"; });
  takes_value("--logfile", "/l", [](const Options& o) { return o.logfile == "/l"; });
  takes_value("--prefix", "shop", [](const Options& o) { return o.syslog_prefix == "shop"; });
  takes_value("--log-level", "debug", [](const Options& o) { return o.log_level == "debug"; });
  takes_value("-u", "nobody", [](const Options& o) { return o.uid == "nobody"; });
  takes_value("--uid", "nobody", [](const Options& o) { return o.uid == "nobody"; });
  takes_value("-g", "users", [](const Options& o) { return o.gid == "users"; });
  takes_value("--gid", "users", [](const Options& o) { return o.gid == "users"; });
  takes_value("--umask", "022", [](const Options& o) { return o.umask == 022; });
  takes_value("--chroot", "/c", [](const Options& o) { return o.chroot == "/c"; });
  takes_value("--stop-timeout", "5s", [](const Options& o) { return o.stop_timeout == "5s"; });
  takes_value("--listen", "tcp:1", [](const Options& o) { return o.service.listen == Words{"tcp:1"}; });
  takes_value("--durability", "shutdown", [](const Options& o) { return o.service.durability == "shutdown"; });
  takes_value("--max-connections", "5", [](const Options& o) { return o.service.connections_max == "5"; });
  takes_value("--max_connections", "5", [](const Options& o) { return o.service.connections_max == "5"; });
  takes_value("--idle-timeout", "5s", [](const Options& o) { return o.service.idle_timeout == "5s"; });
}

TEST_CASE("options: without any, all have their defaults") {
  const Options options = good({"echo"});
  CHECK(!options.nodaemon);
  CHECK(!options.no_save);
  CHECK(!options.rewind);
  CHECK(options.rundir == here("").substr(0, here("").size() - 1));
  CHECK(options.pidfile == here("tapd.pid"));
  CHECK(options.logfile.empty());
  CHECK(options.state_dir.empty());
  CHECK(options.chroot.empty());
  CHECK(options.syslog_prefix == "tapd");
  CHECK(options.log_level == "info");
  CHECK(options.umask == 077);
  CHECK(options.notify_fd == -1);
  CHECK(options.service.listen.empty());
}

TEST_CASE("options: an empty pidfile is none, in each way of writing it") {
  CHECK(good({"--pidfile=", "-n", "echo"}).pidfile.empty());
  CHECK(good({"--pidfile=", "-n", "echo"}).nodaemon);
  CHECK(good({"--pidfile", "", "echo"}).pidfile.empty());
  CHECK(good({"echo", "--pidfile="}).pidfile.empty());
  CHECK(good({"echo", "--pidfile", ""}).pidfile.empty());
}

TEST_CASE("options: relative paths are taken from the directory tapd was started in") {
  const Options options = good({"-c", "conf/t.toml", "-f", "./a.tap", "--state-dir", "s/", "-d", "run/../run",
                                "--pidfile", "p", "-l", "logs//l", "--chroot", "c"});
  CHECK(options.config == here("conf/t.toml"));
  CHECK(options.config_given == "conf/t.toml");
  CHECK(options.file == here("a.tap"));
  CHECK(options.file_given == "./a.tap");
  CHECK(options.state_dir == here("s"));
  CHECK(options.rundir == here("run/../run"));  // where `run` leads is not for us to guess
  CHECK(options.pidfile == here("p"));
  CHECK(options.logfile == here("logs/l"));
  CHECK(options.chroot == here("c"));
  CHECK(options.start_dir == std::filesystem::current_path());
  CHECK(good({"-d", ".", "echo"}).rundir == std::filesystem::current_path());
  CHECK(good({"-d", "run", "echo"}).pidfile == here("run/tapd.pid"));
}

TEST_CASE("options: --listen may be repeated, and a kind's own options are long options") {
  const Options options =
      good({"--listen", "tcp:1", "full", "--listen=tcp:2", "--push-every", "5s", "--greeting=", "--limit=3"});
  CHECK(options.kind == "full");
  CHECK(options.service.listen == Words{"tcp:1", "tcp:2"});
  CHECK(options.service.options ==
        std::map<std::string, std::string>{{"push_every", "5s"}, {"greeting", ""}, {"limit", "3"}});
  CHECK(good({"full", "--push_every", "5s"}).service.options.at("push_every") == "5s");
  CHECK(good({"--framing", "line", "fibonacci"}).service.options.at("framing") == "line");
}

TEST_CASE("options: a kind's boolean may be bare too") {
  CHECK(good({"full", "--verbose", "true"}).service.options.at("verbose") == "true");
  CHECK(good({"full", "--verbose=false"}).service.options.at("verbose") == "false");
  const Result<ParsedCommandLine> bare = parse({"full", "--verbose"});
  REQUIRE(bare.ok());
  CHECK(bare->options->service.options.at("verbose") == "true");
}

TEST_CASE("options: a value may look like a kind or like an option") {
  CHECK(good({"--name", "fibonacci", "echo"}).kind == "echo");
  CHECK(good({"--name", "fibonacci", "echo"}).name == "fibonacci");
  CHECK(good({"--prefix=-x", "echo"}).syslog_prefix == "-x");
}

TEST_CASE("options: short options may be joined, as with twistd") {
  const Options options = good({"-nof", "Fibonacci.tap"});
  CHECK(options.nodaemon);
  CHECK(options.no_save);
  CHECK(options.file == here("Fibonacci.tap"));
  CHECK(good({"-no", "echo"}).no_save);
  CHECK(good({"-nl/tmp/log", "echo"}).logfile == "/tmp/log");
}

TEST_CASE("options: what is unknown is a usage error, with the nearest kind") {
  CHECK(refusal({"fibonaci"}) == "there is no kind 'fibonaci'; did you mean 'fibonacci'?");
  CHECK(refusal({"nonsense"}) == "there is no kind 'nonsense'");
  CHECK(refusal({"-"}) == "there is no kind '-'");
  CHECK(refusal({"--nonsense", "echo"}).find("--nonsense") != std::string::npos);
  CHECK(refusal({"echo", "-x"}).find("x") != std::string::npos);
  CHECK(refusal({"echo", "--framing", "line"}).find("--framing") != std::string::npos);
  CHECK(refusal({"echo", "fibonacci"}).find("fibonacci") != std::string::npos);
  CHECK(refusal({"-c", "t.toml", "--framing", "line"}).find("--framing") != std::string::npos);
}

TEST_CASE("options: what lacks its value, or has one too many, is a usage error") {
  for (const char* option : {"-c", "-f", "--pidfile", "--name", "--listen", "--umask"}) {
    CHECK(refusal({"echo", option}) != "accepted");
  }
  CHECK(refusal({"-c", "a", "-c", "b"}) != "accepted");
  CHECK(refusal({"echo", "--nodaemon=maybe"}) != "accepted");
}

TEST_CASE("options: values are checked") {
  for (const char* umask : {"8", "1000", "-1", "0x1f", "u=rwx", "77 "}) {
    CHECK(refusal({"--umask", umask, "echo"}) ==
          "--umask: '" + std::string(umask) + "' is not an octal number from 0 to 0777");
  }
  CHECK(good({"--umask", "0", "echo"}).umask == 0);
  CHECK(good({"--umask", "0777", "echo"}).umask == 0777);
  for (const char* fd : {"x", "-1", "3x", "99999999999"}) {
    CHECK(refusal({"--notify-fd", fd, "echo"}) ==
          "--notify-fd: '" + std::string(fd) + "' is not a descriptor's number");
  }
  CHECK(refusal({"--log-level", "loud", "echo"}) == "--log-level: 'loud' is not debug, info, warning or error");
  CHECK(refusal({"--name", "a/b", "echo"}) ==
        "--name: 'a/b' is not a name (letters, digits, '.', '_', '-'; at most 64)");
  CHECK(refusal({"-l", "-", "echo"}) == "-l -: a daemon has no standard error to log to; give -n or a file");
  CHECK(good({"-n", "-l", "-", "echo"}).logfile == "-");
}

TEST_CASE("options: --notify-fd takes an open descriptor, and keeps it from children") {
  const Fd open_one(::dup(STDERR_FILENO));
  const std::string number = std::to_string(open_one.get());
  takes_value("--notify-fd", number, [&](const Options& o) { return o.notify_fd == open_one.get(); });
  CHECK((::fcntl(open_one.get(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(refusal({"--notify-fd", "999999", "echo"}) == "--notify-fd: descriptor 999999 is not open");
}

TEST_CASE("options: an application comes from one place only") {
  CHECK(refusal({}) == "nothing to run: give a config (-c), an archive (-f) or a kind");
  CHECK(refusal({"-n"}) == "nothing to run: give a config (-c), an archive (-f) or a kind");
  CHECK(refusal({"-c", "t.toml", "echo"}) == "the services come from -c, so the kind 'echo' has no place here");
  CHECK(refusal({"echo", "-f", "a.tap"}) == "the services come from -f, so the kind 'echo' has no place here");
  CHECK(refusal({"-c", "t.toml", "--listen", "tcp:1"}) ==
        "--listen and the other options of a service belong to the one-service form, `tapd KIND ...`");
  CHECK(refusal({"-f", "a.tap", "--max-connections", "1"}).find("one-service form") != std::string::npos);
  CHECK(good({"-c", "t.toml", "-f", "a.tap"}).kind.empty());
}

TEST_CASE("options: one process cannot give up what it must give back") {
  for (const Words& words : {Words{"-u", "nobody"}, Words{"-g", "users"}, Words{"--chroot", "/c"}}) {
    Words all{"--no-keeper", "echo"};
    all.insert(all.end(), words.begin(), words.end());
    CHECK(refusal(all).find("--no-keeper with -u, -g or --chroot") == 0);
  }
}

TEST_CASE("options: --rewind needs an archive, and a store to write to") {
  CHECK(refusal({"--rewind", "echo"}) == "--rewind needs -f: say which archive to go back to");
  CHECK(refusal({"--rewind", "-c", "t.toml"}) == "--rewind needs -f: say which archive to go back to");
  CHECK(refusal({"--rewind", "-o", "-f", "a.tap"}) ==
        "--rewind writes to the store, --no-save forbids it; give one of them");
  CHECK(good({"--rewind", "-f", "a.tap"}).rewind);
  CHECK(good({"--rewind", "-c", "t.toml", "-f", "a.tap"}).rewind);
}

TEST_CASE("options: help, version and the list of kinds are printed") {
  for (const Words& words : {Words{"--help"}, Words{"-h"}, Words{"-n", "--help"}}) {
    const std::string help = printed(words);
    for (const char* option : {"--nodaemon",  "--no-save", "--config",  "--file",     "--name",   "--state-dir",
                               "--rundir",    "--pidfile", "--logfile", "--syslog",   "--prefix", "--log-level",
                               "--uid",       "--gid",     "--umask",   "--chroot",   "--check",  "--list-services",
                               "--notify-fd", "--version", "--rewind",  "--no-keeper"}) {
      CAPTURE(option);
      CHECK(help.find(option) != std::string::npos);
    }
    CHECK(help.find("--framing") == std::string::npos);
  }
  const std::string kind_help = printed({"full", "--help"});
  for (const char* option : {"--framing", "--push-every", "--listen", "--durability", "none|line", "(64KiB)"}) {
    CAPTURE(option);
    CHECK(kind_help.find(option) != std::string::npos);
  }
  CHECK(printed({"--version"}).find("tapd ") == 0);
  CHECK(printed({"echo", "--version"}).find("(archive format 1)\n") != std::string::npos);
  const std::string list = printed({"--list-services"});
  CHECK(list.find("echo       sends back what it receives") == 0);
  CHECK(list.find("\nfibonacci  ") != std::string::npos);
}

TEST_CASE("options: a double dash ends nothing that is needed") {
  CHECK(good({"--", "echo"}).kind == "echo");
  CHECK(good({"echo", "--"}).kind == "echo");
}

TEST_CASE("options: a list is given value by value") {
  const Options options =
      good({"strict", "--listen", "tcp:1", "--names", "tcp:1", "--listen", "tcp:2", "--names=tcp:2", "--root", "x"});
  CHECK(options.service.options.at("names") == "tcp:1\ntcp:2");
  CHECK(options.service.options.at("root") == "x");
}
