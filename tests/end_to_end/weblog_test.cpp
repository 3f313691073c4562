// The weblog service with a real nginx that writes its log, rotations, kills of the worker, and Python's XML parsers as
// clients. TAP_LONG=1: a minute with 1,000 lines a second, 200 push clients and 50 pull clients.
#include <doctest/doctest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/end_to_end/daemon.hpp"

using namespace tap::tests;

namespace {

/// One worker, so that the lines of the log are in the order of the requests.
void write_nginx_config(const TemporaryDirectory& directory) {
  std::string temporary;
  for (const char* what : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    temporary += std::string("  ") + what + "_temp_path " + directory / what + ";\n";
  }
  write_text(directory / "nginx.conf", "daemon off;\nuser root root;\nworker_processes 1;\npid " +
                                           directory / "nginx.pid" + ";\nevents { worker_connections 64; }\nhttp {\n" +
                                           temporary + "  access_log " + directory / "access.log" +
                                           " combined;\n  keepalive_requests 10000000;\n  server {\n    listen unix:" +
                                           directory / "nginx.sock" + ";\n    location / { return 204; }\n  }\n}\n");
}

void write_tapd_config(const TemporaryDirectory& directory, const std::string& push_every) {
  std::string config = "[application]\nname = \"Weblogs\"\n";
  for (const std::string mode : {"push", "pull"}) {
    config += "[[service]]\nname = \"" + mode + "\"\nkind = \"weblog\"\nlisten = [\"tcp:0:interface=127.0.0.1\"]\n" +
              "[service.options]\nmode = \"" + mode + "\"\nlog = \"access.log\"\npush_every = \"" + push_every + "\"\n";
  }
  write_text(directory / "weblogs.toml", config);
}

struct Run {
  int pushed;
  int pulling;
  int rate;
  int seconds;
  std::string rotate;
  std::string push_every;
};

}  // namespace

TEST_CASE("weblog: each hit of a busy nginx once to everybody, through rotations and kills, in whole documents") {
  const Run run = long_run() ? Run{200, 50, 1000, 60, "5", "5s"} : Run{20, 5, 500, 6, "1", "1s"};
  const TemporaryDirectory directory;
  write_nginx_config(directory);
  Process nginx({"nginx", "-p", directory.path(), "-c", directory / "nginx.conf", "-e", directory / "error.log"},
                directory.path());
  write_tapd_config(directory, run.push_every);
  Daemon daemon(directory, {"-c", "weblogs.toml"});
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  std::vector<std::string> words{"python3",
                                 std::string(std::getenv("TAP_SOURCE")) + "/tests/end_to_end/weblog_clients.py",
                                 directory.path(), directory / "nginx.sock"};
  for (const long number :
       {static_cast<long>(nginx.pid()), static_cast<long>(daemon.keeper()), static_cast<long>(daemon.port(0)),
        static_cast<long>(daemon.port(1)), static_cast<long>(run.pushed), static_cast<long>(run.pulling),
        static_cast<long>(run.rate), static_cast<long>(run.seconds)}) {
    words.push_back(std::to_string(number));
  }
  words.push_back(run.rotate);
  Process clients(words, directory.path());
  std::string line = clients.read_line();
  while (long_run() && line.empty() && children_of(clients.pid()).size() > 1) line = clients.read_line();
  CHECK(line == "stop");
  CHECK(daemon.stop());
  std::string last;
  while (!(line = clients.read_line()).empty()) {
    MESSAGE(line);
    last = line;
  }
  CHECK_MESSAGE(last == "good", clients.wait().err);
  CHECK(count_of(daemon.log(), "was killed by signal 9") == 2);
  CHECK(count_of(daemon.log(), "error push") + count_of(daemon.log(), "error pull") == 0);
  CHECK(count_of(daemon.log(), "is not told") == 0);
  nginx.signal(SIGTERM);
  CHECK(nginx.wait().code == 0);
}

namespace {

std::string log_line(int number) {
  return "::1 - - [t] \"GET /" + std::to_string(number) + " HTTP/1.1\" 200 1 \"-\" \"-\"\n";
}

/// The numbers in the requests of a document, "1 2 3 ".
std::string numbers_in(const std::string& xml) {
  std::string numbers;
  for (std::size_t at = xml.find("GET /"); at != std::string::npos; at = xml.find("GET /", at + 1)) {
    numbers += xml.substr(at + 5, xml.find(' ', at + 5) - at - 5) + " ";
  }
  return numbers;
}

/// Asks until so many hits have come, then ends.
std::string pulled_document(std::uint16_t port, std::size_t hits) {
  Client client = Client::tcp(port);
  std::string xml;
  while (count_of(xml, "<hit ") < hits && !client.failed() && client.send("x\n")) xml += client.read_some();
  client.finish_sending();
  return xml + client.read_all();
}

}  // namespace

TEST_CASE("weblog: a stop and a start with a rotation in between lose nothing and tell nothing twice") {
  const TemporaryDirectory directory;
  const auto append = [&](const std::string& name, const std::string& text) {
    std::ofstream(directory / name, std::ios::app) << text;
  };
  const std::vector<std::string> words{
      "weblog", "--listen", "tcp:0:interface=127.0.0.1", "--log", "access.log", "--mode", "pull", "--from-start"};
  append("access.log", log_line(0));
  {
    Daemon daemon(directory, words);
    REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
    CHECK(numbers_in(pulled_document(daemon.port(), 1)) == "0 ");
    append("access.log", log_line(1) + log_line(2));
    const std::string xml = pulled_document(daemon.port(), 3);
    CHECK(numbers_in(xml) == "0 1 2 ");
    CHECK(xml.substr(xml.size() - 8) == "</hits>\n");
    CHECK(daemon.stop());
  }
  std::filesystem::rename(directory / "access.log", directory / "access.log.1");
  append("access.log.1", log_line(3));
  append("access.log", log_line(4));
  Daemon daemon(directory, words);
  REQUIRE(daemon.started());
  CHECK(numbers_in(pulled_document(daemon.port(), 5)) == "0 1 2 3 4 ");
  CHECK(daemon.stop());
}

TEST_CASE("mailwatch: a subscriber gets the lines of a file that comes, another is told that none came in time") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, {"mailwatch", "--listen", "tcp:0:interface=127.0.0.1", "--path", "mail", "--poll-every",
                            "50ms", "--timeout", "500ms"});
  REQUIRE(daemon.started());
  Client early = Client::tcp(daemon.port());
  CHECK(early.read_all() == "error: no mail within 500ms\n");
  Client waiting = Client::tcp(daemon.port());
  write_text(directory / "mail", "one\ntwo\n");
  CHECK(waiting.read_all() == "one\ntwo\n");
  CHECK(daemon.stop());
}
