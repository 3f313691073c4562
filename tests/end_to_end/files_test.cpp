// The file service in a real tapd, from a config, with nc, curl and Python as its clients.
#include <doctest/doctest.h>

#include <sys/stat.h>

#include <cstdlib>
#include <string>

#include "tests/end_to_end/daemon.hpp"

using namespace tap::tests;

namespace {

constexpr char kConfig[] =
    "[application]\n"
    "name = \"Files\"\n"
    "[[service]]\n"
    "name = \"pub\"\n"
    "kind = \"files\"\n"
    "listen = [\"tcp:0:interface=127.0.0.1\", \"tcp:0:interface=127.0.0.1:backlog=100\"]\n"
    "[service.options]\n"
    "root = \"root\"\n"
    "http = [\"tcp:0:interface=127.0.0.1:backlog=100\"]\n";

}  // namespace

TEST_CASE("files: nc, curl and Python get what is there, nobody stalls another, and what shrinks breaks off") {
  const TemporaryDirectory directory;
  REQUIRE(::mkdir((directory / "root").c_str(), 0755) == 0);
  write_text(directory / "files.toml", kConfig);
  Daemon daemon(directory, {"-c", "files.toml"});
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  const char* source = std::getenv("TAP_SOURCE");
  REQUIRE(source != nullptr);
  Process peers({"python3", "-B", std::string(source) + "/tests/end_to_end/files_peers.py",
                 std::to_string(daemon.port(0)), std::to_string(daemon.port(1)), directory / "root"},
                directory.path());
  std::string said;
  for (std::string line = peers.read_line(); !line.empty(); line = peers.read_line()) said += line + "\n";
  const Ended ended = peers.wait();
  CHECK_MESSAGE(ended.code == 0, said << ended.err);
  CHECK(count_of(said, "done ") == 4);
  MESSAGE(said);
  CHECK(daemon.wait_for_log("a file cannot be sent to its end: the file has become shorter"));
  CHECK(daemon.stop());
}

TEST_CASE(
    "files: an archive serves as a config does, from the directory that tapd is started in; a wrong option is told "
    "with its place") {
  const TemporaryDirectory directory;
  REQUIRE(::mkdir((directory / "root").c_str(), 0755) == 0);
  REQUIRE(::mkdir((directory / "run").c_str(), 0755) == 0);
  write_text(directory / "root/a", "from the archive\n");
  const Ended made = run(
      {program("tap"), "make", "files", "--name", "Files", "--listen", "tcp:0:interface=127.0.0.1", "--root", "root"},
      directory.path());
  REQUIRE_MESSAGE(made.code == 0, made.err);
  {
    Daemon daemon(directory, {"-f", "Files.tap", "-d", "run", "--pidfile", "tapd.pid"});
    REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
    Client client = Client::tcp(daemon.port());
    REQUIRE(client.send("get a\n"));
    CHECK(client.read_line() == "ok 17");
    CHECK(client.read_line() == "from the archive");
    CHECK(daemon.stop());
  }
  write_text(
      directory / "bad.toml",
      "[[service]]\nname = \"f\"\nkind = \"files\"\nlisten = [\"tcp:0\"]\n[service.options]\nhttp = [\"tcp:1\"]\n");
  Ended checked = run({program("tapd"), "--check", "-c", "bad.toml"}, directory.path());
  CHECK(checked.code == 78);
  CHECK(checked.err.find("bad.toml:5:1: the kind 'files' needs the option 'root'") != std::string::npos);
  checked = run({program("tapd"), "--check", "files", "--listen", "tcp:0", "--root", "root", "--http", "tcp:1"},
                directory.path());
  CHECK(checked.code == 64);
  CHECK(checked.err.find("--http: 'tcp:1' is not among the endpoints") != std::string::npos);
}
