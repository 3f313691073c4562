// HTTP over real sockets: our server with curl, Python's http.client and our own client.
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include <unistd.h>

#include "services/net/http/client_protocol.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/services/net/http/peer.hpp"
#include "tests/support/process.hpp"
#include "tests/support/socket.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::tests;

namespace {

/// An HttpPeer in a process of its own.
class Running {
 public:
  Running() : process_({program("../tests/http_peer")}, "/") {
    port_ = static_cast<std::uint16_t>(std::strtoul(process_.read_line().c_str(), nullptr, 10));
    REQUIRE(port_ != 0);
  }

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::string url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }

 private:
  Process process_;
  std::uint16_t port_ = 0;
};

Ended curl(const std::vector<std::string>& options) {
  std::vector<std::string> words{"curl", "-sS", "--max-time", "20", "--noproxy", "*"};
  words.insert(words.end(), options.begin(), options.end());
  return run(words, "/");
}

}  // namespace

TEST_CASE("http wire: curl gets, posts, streams, expects 100, and keeps its connection") {
  const Running peer;
  const TemporaryDirectory directory;
  CHECK(curl({peer.url("/hello")}).out == std::string(1'024, 'h'));
  CHECK(curl({"-0", peer.url("/hello")}).out == std::string(1'024, 'h'));
  CHECK(curl({peer.url("/later")}).out == "later");
  CHECK(curl({peer.url("/stream/3000000")}).out == std::string(3'000'000, 's'));
  CHECK(curl({"-0", peer.url("/stream/300000")}).out == std::string(300'000, 's'));
  CHECK(curl({peer.url("/length/3000000")}).out == std::string(3'000'000, 's'));
  CHECK(curl({"-I", peer.url("/length/5")}).out.find("Content-Length: 5\r\n") != std::string::npos);
  const std::string body = numbered_bytes(900'000);
  write_text(directory / "body", body);
  const std::string from_file = "@" + (directory / "body");
  CHECK(curl({"--data-binary", from_file, peer.url("/echo")}).out == body);
  CHECK(curl({"-H", "Transfer-Encoding: chunked", "--data-binary", from_file, peer.url("/echo")}).out == body);
  CHECK(curl({"-T", directory / "body", peer.url("/echo")}).out == body);
  CHECK(curl({"-H", "Expect: 100-continue", "--expect100-timeout", "15", "--data-binary", "small", peer.url("/echo")})
            .out == "small");
  // Two requests, one connection.
  const Ended two =
      curl({"-w", "%{num_connects} ", "-o", "/dev/null", peer.url("/hello"), "-o", "/dev/null", peer.url("/later")});
  CHECK(two.out == "1 0 ");
  const Ended all = curl({"-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "x", "-H",
                          "Content-Length: 2000000", peer.url("/echo")});
  CHECK(all.out == "413");
  const Ended long_target = curl({"-o", "/dev/null", "-w", "%{http_code}", peer.url("/" + std::string(9'000, 'x'))});
  CHECK(long_target.out == "414");
}

TEST_CASE("http wire: curl goes through our CONNECT to itself") {
  const Running peer;
  // The tunnel echoes: curl reads its own request back and does not take it for a response.
  const Ended ended = curl({"-p", "-x", peer.url(""), "--noproxy", "nobody", "http://a.example/"});
  CHECK(ended.code != 0);
  CHECK(ended.err.find("HTTP/0.9") != std::string::npos);
}

TEST_CASE("http wire: Python's http.client sends everything over one connection") {
  const Running peer;
  const std::string script = R"(
import http.client, sys
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
def ask(*a, **k):
    c.request(*a, **k)
    r = c.getresponse()
    return r.status, r.read()
c.connect()
local = c.sock.getsockname()
assert ask("GET", "/hello") == (200, b"h" * 1024)
assert ask("HEAD", "/hello") == (200, b"")
assert ask("POST", "/echo", b"x" * 200000) == (200, b"x" * 200000)
chunks = iter([b"ab", b"", b"cd"])
assert ask("POST", "/echo", chunks, encode_chunked=True, headers={"Transfer-Encoding": "chunked"}) == (200, b"abcd")
assert ask("GET", "/stream/100000") == (200, b"s" * 100000)
assert ask("GET", "/none") == (404, b"no such page\n")
assert ask("GET", "/later") == (200, b"later")
assert c.sock.getsockname() == local
print("good")
)";
  const Ended ended = run({"python3", "-c", script, std::to_string(peer.port())}, "/");
  CHECK(ended.out == "good\n");
  CHECK(ended.err.empty());
}

TEST_CASE("http wire: Twisted's agent gets, posts and streams over connections that it keeps") {
  if (run({"/usr/bin/python3", "-c", "import twisted"}, "/").code != 0) {
    MESSAGE("Twisted is not installed; tools/setup --test installs it");
    return;
  }
  const Running peer;
  const std::string script = R"(
import sys
from twisted.internet import defer, reactor, task
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
from io import BytesIO

pool = HTTPConnectionPool(reactor, persistent=True)
pool.maxPersistentPerHost = 2
agent = Agent(reactor, pool=pool)
url = "http://127.0.0.1:" + sys.argv[1]

@defer.inlineCallbacks
def ask(method, path, body=None):
    producer = FileBodyProducer(BytesIO(body)) if body is not None else None
    response = yield agent.request(method, (url + path).encode(), bodyProducer=producer)
    text = yield readBody(response)
    return response.code, text

@defer.inlineCallbacks
def everything(reactor):
    assert (yield ask(b"GET", "/hello")) == (200, b"h" * 1024)
    assert (yield ask(b"HEAD", "/hello")) == (200, b"")
    assert (yield ask(b"POST", "/echo", b"x" * 200000)) == (200, b"x" * 200000)
    assert (yield ask(b"GET", "/stream/300000")) == (200, b"s" * 300000)
    assert (yield ask(b"GET", "/none")) == (404, b"no such page\n")
    many = yield defer.gatherResults([ask(b"GET", "/later") for _ in range(20)])
    assert many == [(200, b"later")] * 20
    yield pool.closeCachedConnections()
    print("good")

task.react(everything)
)";
  const Ended ended = run({"/usr/bin/python3", "-c", script, std::to_string(peer.port())}, "/");
  CHECK(ended.out == "good\n");
  CHECK_MESSAGE(ended.code == 0, ended.err);
}

TEST_CASE("http wire: wrk and ab load it without an error") {
  const Running peer;
  const auto there = [](const std::string& name) { return run({"sh", "-c", "command -v " + name}, "/").code == 0; };
  if (there("wrk")) {
    const Ended wrk = run({"wrk", "-t1", "-c20", "-d1s", peer.url("/hello")}, "/");
    CHECK(wrk.code == 0);
    CHECK(wrk.out.find("requests in") != std::string::npos);
    CHECK(wrk.out.find("Non-2xx") == std::string::npos);
    CHECK(wrk.out.find("Socket errors") == std::string::npos);
  } else {
    MESSAGE("wrk is not installed; tools/setup --test installs it");
  }
  if (!there("ab")) {
    MESSAGE("ab is not installed; tools/setup --test installs it (apache2-utils)");
    return;
  }
  for (const std::string keep : {"-k", "-q"}) {  // HTTP/1.0, with connections that are kept and without
    CAPTURE(keep);
    const Ended ab = run({"ab", "-q", keep, "-n", "2000", "-c", "20", peer.url("/hello")}, "/");
    CHECK_MESSAGE(ab.code == 0, ab.err);
    CHECK(ab.out.find("Complete requests:      2000") != std::string::npos);
    CHECK(ab.out.find("Failed requests:        0") != std::string::npos);
    CHECK((ab.out.find("Keep-Alive requests:    2000") != std::string::npos) == (keep == "-k"));
  }
}

TEST_CASE("http wire: the refusal arrives although the client is still sending") {
  const Running peer;
  Client client = Client::tcp(peer.port());
  REQUIRE(
      client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n" + std::string(300'000, 'x')));
  client.finish_sending();
  const std::string answer = client.read_all();
  CHECK(answer.substr(0, 12) == "HTTP/1.1 413");
  CHECK_FALSE(client.failed());
}

TEST_CASE("http wire: a thousand pipelined requests are answered in order to a peer that reads late") {
  const Running peer;
  Client client = Client::tcp(peer.port());
  std::string requests;
  for (int i = 0; i < 1'000; ++i) {
    requests += "GET /" + std::string(i % 3 == 0 ? "hello" : "headers") +
                " HTTP/1.1\r\nHost: a\r\nX: " + std::to_string(i) + "\r\n\r\n";
  }
  requests += "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  REQUIRE(client.send(requests));
  const std::string answers = client.read_all();
  std::size_t at = 0;
  int found = 0;
  for (int i = 0; i < 1'000; ++i) {
    if (i % 3 == 0) continue;
    at = answers.find("X: " + std::to_string(i) + "\n", at);
    if (at != std::string::npos) ++found;
  }
  CHECK(found == 666);
  CHECK_FALSE(client.failed());
}

namespace {

/// Sends one request after another and adds up what comes.
class Asking final : public net::HttpClientProtocol, private net::HttpResponseReader {
 public:
  Asking(net::Reactor& reactor, std::vector<std::string> targets, const net::HttpLimits& limits)
      : HttpClientProtocol(reactor, limits), targets_(std::move(targets)) {}
  std::size_t bytes = 0;
  std::size_t responses = 0;
  std::string failure;

 private:
  void became_idle() override {
    if (responses == targets_.size()) return;
    net::HttpOutgoing outgoing;
    outgoing.target = targets_[responses];
    outgoing.host = "a";
    Result<net::HttpRequest> sent = send(outgoing, *this);
    TAP_ASSERT(sent.ok());
    request_ = std::move(*sent);
  }
  void response_received(const net::HttpResponseHead&) override {}
  void body_received(std::string_view piece) override { bytes += piece.size(); }
  void response_ended() override { ++responses; }
  void response_failed(const Error& reason) override { failure = reason.message; }

  std::vector<std::string> targets_;
  net::HttpRequest request_;
};

class AskingFactory final : public net::Factory {
 public:
  AskingFactory(net::Reactor& reactor, std::vector<std::string> targets)
      : reactor_(reactor), targets_(std::move(targets)) {}
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override {
    net::HttpLimits limits;
    limits.body_bytes_max = net::HttpLimits::kAnyBody;
    auto made = std::make_unique<Asking>(reactor_, targets_, limits);
    asking = made.get();
    return made;
  }
  Asking* asking = nullptr;

 private:
  net::Reactor& reactor_;
  std::vector<std::string> targets_;
};

}  // namespace

TEST_CASE("http wire: our client uses one connection for everything") {
  const Running peer;
  Loop loop;
  AskingFactory factory(loop.reactor, {"/hello", "/stream/2000000", "/later", "/length/2000000", "/none"});
  net::ConnectionSet connections(loop.reactor, factory, "client", {});
  const Client connected = Client::tcp(peer.port());
  REQUIRE(connections.adopt(Fd(::dup(connected.fd())), net::StreamKind::tcp).ok());
  CHECK(loop.turn_until([&] { return factory.asking->responses == 5 || !factory.asking->failure.empty(); }));
  CHECK(factory.asking->failure.empty());
  CHECK(factory.asking->bytes == 1'024 + 4'000'000 + 5 + 13);
  CHECK(factory.asking->idle());
}
