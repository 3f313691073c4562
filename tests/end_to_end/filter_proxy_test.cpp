// The filtering proxy as people run it: curl, hostile requests, Chromium; its rules and its counts.
#include <doctest/doctest.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <utility>

#include "tests/end_to_end/daemon.hpp"

using namespace tap::tests;

namespace {

constexpr int kSkipped = 77;

std::string script(const std::string& name) {
  const char* source = std::getenv("TAP_SOURCE");
  return std::string(source == nullptr ? "." : source) + "/tests/end_to_end/filter_proxy/" + name;
}

std::vector<std::string> proxy_words(const std::vector<std::string>& more = {}) {
  std::vector<std::string> words{"filter-proxy", "--listen", "tcp:0:interface=127.0.0.1", "--allow-private"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// An origin beside the test, HTTP, or HTTPS with a certificate that is made for it; its first line is its port.
Process start_origin(const TemporaryDirectory& directory, bool encrypted = false) {
  return Process({"python3", script("origin.py"), encrypted ? "https" : "http"}, directory.path());
}

/// What curl gets through the proxy, then its status: "hello 200".
std::string curl(const TemporaryDirectory& directory, const Daemon& daemon, const std::vector<std::string>& words) {
  std::vector<std::string> all{
      "curl", "-sS",           "--max-time", "20",
      "-w",   " %{http_code}", "-x",         "http://127.0.0.1:" + std::to_string(daemon.port())};
  all.insert(all.end(), words.begin(), words.end());
  const Ended ended = run(all, directory.path());
  return ended.code == 0 ? ended.out : "curl ended with " + std::to_string(ended.code) + " " + ended.out;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

constexpr char kRules[] = R"([[rule]]
name = "images"
hosts = ["127.0.0.2"]
block = ["images"]

[[rule]]
name = "cookies"
hosts = ["127.0.0.1"]
block = ["cookies"]

[[rule]]
name = "ads"
hosts = ["*.ads.example"]
block = ["connections"]
)";

}  // namespace

TEST_CASE("filter-proxy: curl goes through it in all its moods") {
  const TemporaryDirectory directory;
  Process origin = start_origin(directory);
  const std::string at = "http://127.0.0.1:" + origin.read_line();
  Daemon daemon(directory, proxy_words());
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  write_text(directory / "body", std::string(3'000'000, 'b'));
  CHECK(curl(directory, daemon, {at + "/hello"}) == "hello 200");
  CHECK(curl(directory, daemon, {at + "/chunked"}) == "one two three 200");
  CHECK(curl(directory, daemon, {at + "/until-close"}) == "until close 200");
  CHECK(curl(directory, daemon, {"-T", "body", at + "/upload"}) == "PUT 3000000 200");
  CHECK(curl(directory, daemon, {"-H", "Transfer-Encoding: chunked", "--data-binary", "@body", at + "/upload"}) ==
        "POST 3000000 200");
  CHECK(curl(directory, daemon, {"-H", "Expect: 100-continue", "--data-binary", "@body", at + "/upload"}) ==
        "POST 3000000 200");
  CHECK(curl(directory, daemon, {"--http2", at + "/hello"}) == "hello 200");
  CHECK(curl(directory, daemon, {"--http1.0", at + "/chunked"}) == "one two three 200");
  CHECK(ends_with(curl(directory, daemon, {"-I", at + "/hello"}), "\r\n\r\n 200"));
  CHECK(curl(directory, daemon, {at + "/204"}) == " 204");
  CHECK(curl(directory, daemon, {"-o", "/dev/null", at + "/hello", at + "/hello", at + "/hello"}).find("200") !=
        std::string::npos);
  CHECK(ends_with(curl(directory, daemon, {"http://nosuch.invalid/"}), " 502"));
  CHECK(ends_with(curl(directory, daemon, {"http://127.0.0.1:1/"}), " 502"));
  // A loop: the proxy's own port as the origin.
  CHECK(ends_with(curl(directory, daemon, {"http://127.0.0.1:" + std::to_string(daemon.port()) + "/"}), " 400"));
  CHECK(daemon.stop());
}

TEST_CASE("filter-proxy: https passes through a tunnel, to allowed ports only") {
  const TemporaryDirectory directory;
  const Ended made =
      run({"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
           "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"},
          directory.path());
  REQUIRE(made.code == 0);
  Process origin = start_origin(directory, true);
  const std::string port = origin.read_line();
  const std::string at = "https://localhost:" + port;
  Daemon daemon(directory, proxy_words({"--connect-ports", "443", "--connect-ports", port}));
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  CHECK(curl(directory, daemon, {"--cacert", "cert.pem", at + "/hello"}) == "hello 200");
  write_text(directory / "body", std::string(3'000'000, 'b'));
  CHECK(curl(directory, daemon, {"--cacert", "cert.pem", "-T", "body", at + "/upload"}) == "PUT 3000000 200");
  CHECK(curl(directory, daemon, {"https://localhost:1/"}).find("curl ended with 56") == 0);
  CHECK(daemon.stop());
}

TEST_CASE("filter-proxy: rules are read again at SIGHUP, counts survive a kill and a stop") {
  const TemporaryDirectory directory;
  Process origin = start_origin(directory);
  const std::string port = origin.read_line();
  write_text(directory / "rules.toml", kRules);
  Daemon daemon(directory, proxy_words({"--rules", "rules.toml"}));
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  CHECK(ends_with(curl(directory, daemon, {"http://x.ads.example/"}), " 403"));
  CHECK(ends_with(curl(directory, daemon, {"http://127.0.0.2:" + port + "/a.png"}), " 403"));
  CHECK(curl(directory, daemon, {"-b", "a=b", "-i", "http://127.0.0.1:" + port + "/cookie"}).find("none 200") !=
        std::string::npos);
  CHECK(curl(directory, daemon, {"-b", "a=b", "-i", "http://localhost:" + port + "/cookie"}).find("a=b 200") !=
        std::string::npos);
  // The counts are durable a second later at the latest; QUIT tells what the state has.
  bool told = false;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (std::size_t i = 1; !told && std::chrono::steady_clock::now() < end; ++i) {
    daemon.signal(SIGQUIT);
    REQUIRE(daemon.wait_for_log("connections to origins", i));
    told = daemon.log().find("rule cookies: 0 connections, 0 images, 1 cookies") != std::string::npos;
  }
  CHECK(told);
  const pid_t worker = daemon.worker();
  REQUIRE(worker > 0);
  send_signal(worker, SIGKILL);
  REQUIRE(daemon.wait_for_log("has taken over"));
  CHECK(ends_with(curl(directory, daemon, {"http://y.ads.example/"}), " 403"));

  write_text(directory / "rules.toml", "[[rule]\n");
  daemon.signal(SIGHUP);
  REQUIRE(daemon.wait_for_log("the old rules are kept, the new ones are refused:"));
  CHECK(daemon.log().find("rules.toml:1:") != std::string::npos);
  CHECK(ends_with(curl(directory, daemon, {"http://y.ads.example/"}), " 403"));
  write_text(directory / "rules.toml", "[[rule]]\nname = 'all'\nhosts = ['*']\nblock = ['connections']\n");
  daemon.signal(SIGHUP);
  REQUIRE(daemon.wait_for_log("new rules: 1 for 1 hosts"));
  CHECK(curl(directory, daemon, {"http://127.0.0.1:" + port + "/hello"}).find("rule &#39;all&#39;") !=
        std::string::npos);
  REQUIRE(daemon.stop());

  Daemon again(directory, proxy_words({"--rules", "rules.toml"}));
  REQUIRE(again.started());
  again.signal(SIGQUIT);
  REQUIRE(again.wait_for_log("rule ads: 3 connections"));
  CHECK(again.log().find("rule all: 1 connections") != std::string::npos);
  CHECK(again.stop());
}

TEST_CASE("filter-proxy: bad rules keep it from starting, and are told with their place") {
  const TemporaryDirectory directory;
  write_text(directory / "rules.toml", "[[rule]]\nname = 'a'\nhost = ['b']\nblock = ['images']\n");
  // A whole path is looked at with the command line, a relative one when the service starts.
  for (const auto& [path, code] : {std::pair(std::string("rules.toml"), 78), std::pair(directory / "rules.toml", 64)}) {
    const Daemon daemon(directory, proxy_words({"--rules", path}));
    CHECK(daemon.launcher().code == code);
    CHECK(daemon.launcher().err.find("rules.toml:3:1: there is no key 'host' in a [[rule]]; did you mean 'hosts'?") !=
          std::string::npos);
  }
}

TEST_CASE("filter-proxy: no hostile request reaches the origin in a form that two servers read differently") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, proxy_words());
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  const Ended ended =
      run({"python3", script("smuggling.py"), std::to_string(daemon.port()), directory.path()}, directory.path());
  CHECK_MESSAGE(ended.code == 0, (ended.out + ended.err));
  MESSAGE(ended.out);
  CHECK(daemon.stop());
}

TEST_CASE("filter-proxy: a browser's page stands without the blocked image, and the cookie is not sent back") {
  const TemporaryDirectory directory;
  write_text(directory / "rules.toml", kRules);
  Daemon daemon(directory, proxy_words({"--rules", "rules.toml"}));
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  const Ended ended =
      run({"python3", script("browser.py"), std::to_string(daemon.port()), directory.path()}, directory.path());
  if (ended.code != kSkipped) CHECK_MESSAGE(ended.code == 0, (ended.out + ended.err));
  MESSAGE(ended.out);
  CHECK(daemon.stop());
}
