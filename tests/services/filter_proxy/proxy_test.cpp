// The proxy between a played client and a played origin, over real sockets of this process.
#include <doctest/doctest.h>

#include "services/filter_proxy/filter_proxy.hpp"
#include "tests/services/client.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::tests;

namespace {

using Given = std::map<std::string, std::string>;

/// A proxy with a client, and an origin that writes down what it gets.
struct World {
  Loop loop;
  std::string asked;                     ///< all that came to the origin
  std::vector<net::Transport*> origins;  ///< its connections, those that are there
  int made = 0;
  ScriptedFactory factory;
  std::unique_ptr<Server> origin;
  std::unique_ptr<Service> service;
  std::unique_ptr<Server> proxy;
  std::unique_ptr<Peer> client;

  explicit World(Given given = {{"allow_private", "true"}}) {
    factory.script.made = [this](net::Transport& transport) {
      origins.push_back(&transport);
      ++made;
    };
    factory.script.data = [this](net::Transport&, std::string_view data) { asked.append(data); };
    factory.script.lost = [this](net::Transport& transport, const Error&) { std::erase(origins, &transport); };
    origin = std::make_unique<Server>(loop, factory);
    service = make_service(filter_proxy_kind(), given);
    REQUIRE(service->start(loop.reactor).ok());
    proxy = std::make_unique<Server>(loop, *service);
    client = std::make_unique<Peer>(Peer::tcp(proxy->port()));
  }
  ~World() {
    proxy.reset();
    service->stop();
    service.reset();
    origin.reset();
    loop.turn(3);
  }

  [[nodiscard]] std::string place(const std::string& host = "127.0.0.1") const {
    return host + ":" + std::to_string(origin->port());
  }
  /// A request's head without its empty line.
  [[nodiscard]] std::string head(const std::string& method, const std::string& path = "/") const {
    return method + " http://" + place() + path + " HTTP/1.1\r\nHost: " + place() + "\r\n";
  }
  /// What the client gets until `holds`, or it fails.
  std::string answer(const std::string& until) {
    CHECK(loop.turn_until([&] {
      client->read_now();
      return client->received().find(until) != std::string::npos || client->gone();
    }));
    return client->take_received();
  }
  /// What the origin gets until there is `until` in it.
  std::string request(const std::string& until = "\r\n\r\n") {
    CHECK(loop.turn_until([&] { return asked.find(until) != std::string::npos; }));
    return std::exchange(asked, {});
  }
  void answer_with(const std::string& text) {
    REQUIRE_FALSE(origins.empty());
    origins.back()->write(text);
  }
};

constexpr char kOk[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

int status_of(const std::string& answer) { return answer.size() < 12 ? 0 : std::stoi(answer.substr(9, 3)); }

std::string rules_file(const TemporaryDirectory& directory, const std::string& text) {
  write_text(directory / "rules.toml", text);
  return directory / "rules.toml";
}

}  // namespace

TEST_CASE("filter-proxy: options that are wrong are refused") {
  const Kind kind = filter_proxy_kind();
  for (const Given& given :
       {Given{{"allow_clients", "10.0.0.1/8"}}, Given{{"connect_ports", "0"}}, Given{{"upstreams_max", "0"}},
        Given{{"response_timeout", "10ms"}}, Given{{"allow_private", "maybe"}}}) {
    CHECK_FALSE(kind.check(given).ok());
  }
  Loop loop;
  const std::unique_ptr<Service> service = make_service(kind, {{"rules", "/nowhere/rules.toml"}});
  CHECK_FALSE(service->start(loop.reactor).ok());
}

TEST_CASE("filter-proxy: a request goes on with a head of its own, and its answer comes back") {
  World world;
  world.client->send(world.head("GET", "/p?q=1") + "A: 1\r\nConnection: b\r\nB: 2\r\n\r\n");
  const std::string asked = world.request();
  CHECK(asked.find("GET /p?q=1 HTTP/1.1\r\nHost: " + world.place() + "\r\nA: 1\r\nVia: 1.1 tapd-") == 0);
  CHECK(asked.find("B: 2") == std::string::npos);
  world.answer_with("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: c\r\nC: 3\r\nD: 4\r\n\r\nok");
  const std::string got = world.answer("ok");
  CHECK(got.find("D: 4\r\nVia: 1.1 tapd-") != std::string::npos);
  CHECK(got.find("C: 3") == std::string::npos);
}

TEST_CASE("filter-proxy: the connection to the origin is kept, and one that has ended meanwhile is replaced once") {
  World world;
  for (int i = 0; i < 3; ++i) {
    world.client->send(world.head("GET") + "\r\n");
    world.request();
    world.answer_with(kOk);
    world.answer("ok");
  }
  CHECK(world.made == 1);
  world.factory.script.data = [&](net::Transport& transport, std::string_view data) {
    // As an origin that ended an idle connection while the request was on its way.
    if (world.made == 1) transport.abort_connection();
    world.asked.append(data);
  };
  world.client->send(world.head("GET", "/again") + "\r\n");
  CHECK(world.loop.turn_until([&] { return world.made == 2; }));
  world.asked.clear();
  world.request();
  world.answer_with(kOk);
  CHECK(status_of(world.answer("ok")) == 200);
}

TEST_CASE("filter-proxy: what may not be repeated is not, and neither is a request on a new connection") {
  World world;
  world.client->send(world.head("GET") + "\r\n");
  world.request();
  world.answer_with(kOk);
  world.answer("ok");
  world.factory.script.data = [](net::Transport& transport, std::string_view) { transport.abort_connection(); };
  world.client->send(world.head("POST") + "Content-Length: 2\r\n\r\nhi");
  CHECK(status_of(world.answer("</html>")) == 502);
  CHECK(world.made == 1);
  world.client->send(world.head("GET") + "\r\n");
  CHECK(status_of(world.answer("</html>")) == 502);
  CHECK(world.made == 2);
}

TEST_CASE("filter-proxy: idle connections end after a while") {
  World world({{"allow_private", "true"}, {"pool_idle", "5s"}});
  world.client->send(world.head("GET") + "\r\n");
  world.request();
  world.answer_with(kOk);
  world.answer("ok");
  world.loop.clock.advance(4'000);
  world.loop.turn(5);
  CHECK(world.origins.size() == 1);
  world.loop.clock.advance(2'000);
  CHECK(world.loop.turn_until([&] { return world.origins.empty(); }));
}

TEST_CASE("filter-proxy: bodies pass both ways, chunked or counted, as they come") {
  World world;
  world.client->send(world.head("POST") + "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
  CHECK(world.answer("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(world.request().find("Transfer-Encoding: chunked\r\n\r\n") != std::string::npos);
  world.client->send("3\r\nabc\r\n");
  CHECK(world.request("abc\r\n") == "3\r\nabc\r\n");
  world.client->send("0\r\n\r\n");
  CHECK(world.request("0\r\n\r\n") == "0\r\n\r\n");
  world.answer_with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
  CHECK(world.answer("hi\r\n").find("Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n") != std::string::npos);
  world.answer_with("0\r\n\r\n");
  CHECK(world.answer("0\r\n\r\n") == "0\r\n\r\n");
}

TEST_CASE("filter-proxy: a client that does not read stops the origin, an origin that does not read stops the client") {
  World world;
  const std::string piece(100'000, 'x');
  world.client->send(world.head("GET") + "\r\n");
  world.request();
  world.answer_with("HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n");
  std::size_t written = 0;
  for (int i = 0; i < 3000 && !world.origins.back()->congested(); ++i) {
    world.answer_with(piece);
    written += piece.size();
    world.loop.turn();
  }
  CHECK(world.origins.back()->congested());
  CHECK(written < 60'000'000);
  std::size_t read = 0;
  CHECK(world.loop.turn_until([&] {
    read += world.client->read_now();
    return read >= written;
  }));

  World other;
  other.client->send(other.head("POST") + "Content-Length: 90000000\r\n\r\n");
  other.request();
  other.origins.back()->pause_reading();
  std::size_t sent = 0;
  for (int quiet = 0; quiet < 50 && sent < 80'000'000;) {
    const std::size_t more = other.client->send_some(piece);
    quiet = more == 0 ? quiet + 1 : 0;
    sent += more;
    other.loop.turn();
  }
  CHECK(sent < 60'000'000);
}

TEST_CASE("filter-proxy: an answer that breaks off resets the client, one that is none is a 502, none in time a 504") {
  World world({{"allow_private", "true"}, {"response_timeout", "3s"}});
  world.client->send(world.head("GET") + "\r\n");
  world.request();
  world.answer_with("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n");
  CHECK(status_of(world.answer("</html>")) == 502);
  world.client->send(world.head("GET") + "\r\n");
  world.request();
  world.loop.clock.advance(2'000);
  world.loop.turn(3);
  CHECK(world.client->read_now() == 0);
  world.loop.clock.advance(2'500);
  CHECK(status_of(world.answer("</html>")) == 504);
  world.client->send(world.head("GET") + "\r\n");
  world.request();
  world.answer_with("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf");
  world.answer("half");
  world.origins.back()->abort_connection();
  CHECK(world.loop.turn_until([&] {
    world.client->read_now();
    return world.client->gone();
  }));
  CHECK(world.client->error() == ECONNRESET);
}

TEST_CASE("filter-proxy: without allow_private nothing leads to this machine, whatever it is called") {
  World world(Given{});
  for (const std::string host : {"127.0.0.1", "localhost", "127.0.0.2", "[::ffff:127.0.0.1]", "0.0.0.0"}) {
    CAPTURE(host);
    const std::string at = world.place(host);
    world.client->send("GET http://" + at + "/ HTTP/1.1\r\nHost: " + at + "\r\n\r\n");
    CHECK(status_of(world.answer("</html>")) == 403);
  }
  world.client->send("CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n");
  CHECK(status_of(world.answer("</html>")) == 403);
  CHECK(world.made == 0);
}

TEST_CASE("filter-proxy: clients of elsewhere are sent away") {
  World world({{"allow_private", "true"}, {"allow_clients", "10.0.0.0/8"}});
  world.client->send(world.head("GET") + "\r\n");
  CHECK(status_of(world.answer("</html>")) == 403);
  CHECK(world.made == 0);
  CHECK(world.loop.log.count("not one of allow_clients") == 1);
}

TEST_CASE("filter-proxy: rules block connections, images and cookies, are counted, and may change") {
  const TemporaryDirectory directory;
  const std::string file =
      rules_file(directory, "[[rule]]\nname='here'\nhosts=['127.0.0.1']\nblock=['images', 'cookies']\n");
  World world({{"allow_private", "true"}, {"rules", file}});
  world.client->send(world.head("GET", "/a.png") + "\r\n");
  CHECK(world.answer("</html>").find("rule &#39;here&#39;") != std::string::npos);
  CHECK(world.made == 0);
  world.client->send(world.head("GET") + "Cookie: a=b\r\n\r\n");
  CHECK(world.request().find("Cookie") == std::string::npos);
  world.answer_with("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok");
  CHECK(world.answer("ok").find("Set-Cookie") == std::string::npos);
  world.client->send(world.head("GET", "/logo") + "\r\n");
  world.request();
  world.answer_with("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 2\r\n\r\nok");
  CHECK(status_of(world.answer("</html>")) == 403);

  rules_file(directory, "[[rule]\n");
  world.service->reload();
  CHECK(world.loop.turn_until([&] { return world.loop.log.count("the old rules are kept") == 1; }));
  rules_file(directory, "[[rule]]\nname='all'\nhosts=['*']\nblock=['connections']\n");
  world.service->reload();
  CHECK(world.loop.turn_until([&] { return world.loop.log.count("new rules: 1 for 1 hosts") == 1; }));
  world.client->send(world.head("GET") + "\r\n");
  CHECK(status_of(world.answer("</html>")) == 403);
  world.loop.clock.advance(1'000);
  world.loop.turn(3);
  std::string status;
  for (const std::string& line : world.service->status()) status += line + "\n";
  CHECK(status.find("rule here: 0 connections, 2 images, 1 cookies blocked, 0 requests let pass") != std::string::npos);
  CHECK(status.find("rule all: 1 connections") != std::string::npos);
}

TEST_CASE("filter-proxy: pipelined requests are answered in their order, HEAD and 304 without a body") {
  World world;
  world.client->send(world.head("HEAD") + "\r\n" + world.head("GET", "/2") + "\r\n" + world.head("OPTIONS") +
                     "Max-Forwards: 0\r\n\r\n");
  world.request();
  world.answer_with("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
  CHECK(world.request().find("GET /2 ") == 0);
  world.answer_with("HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n");
  const std::string got = world.answer("Allow:");
  CHECK(got.find("Content-Length: 1000\r\n") < got.find("304 Not Modified"));
  CHECK(got.find("304 Not Modified") < got.find("Allow:"));
}

TEST_CASE("filter-proxy: upstreams_per_host is a limit, and answered with 503") {
  World world({{"allow_private", "true"}, {"upstreams_per_host", "1"}});
  world.client->send(world.head("GET") + "\r\n");
  world.request();
  Peer second = Peer::tcp(world.proxy->port());
  second.send(world.head("GET") + "\r\n");
  CHECK(world.loop.turn_until([&] { return second.read_now() > 0; }));
  CHECK(status_of(second.received()) == 503);
}

TEST_CASE("filter-proxy: a client that leaves takes its request to the origin along") {
  World world;
  world.client->send(world.head("GET") + "\r\n");
  world.request();
  CHECK(world.origins.size() == 1);
  world.client->reset();
  CHECK(world.loop.turn_until([&] { return world.origins.empty(); }));
}

TEST_CASE("filter-proxy: a tunnel passes bytes and ends both ways, to allowed ports only") {
  World world;
  world.client->send("CONNECT " + world.place() + " HTTP/1.1\r\nHost: " + world.place() + "\r\n\r\n");
  CHECK(status_of(world.answer("</html>")) == 403);

  const TemporaryDirectory directory;
  Loop loop;
  ScriptedFactory factory;
  bool ended = false;
  factory.script.made = [](net::Transport& transport) { transport.write("first"); };
  factory.script.data = [](net::Transport& transport, std::string_view data) {
    transport.write("<" + std::string(data) + ">");
  };
  factory.script.end = [&](net::Transport& transport) {
    ended = true;
    transport.write("last");
    transport.lose_connection();
  };
  Server origin(loop, factory);
  const std::string port = std::to_string(origin.port());
  const std::unique_ptr<Service> service =
      make_service(filter_proxy_kind(), {{"allow_private", "true"}, {"connect_ports", port}, {"tunnel_timeout", "5s"}});
  REQUIRE(service->start(loop.reactor).ok());
  {
    Server proxy(loop, *service);
    const auto open = [&] {
      Peer peer = Peer::tcp(proxy.port());
      peer.send("CONNECT 127.0.0.1:" + port + " HTTP/1.1\r\nHost: 127.0.0.1:" + port + "\r\n\r\nearly");
      CHECK(loop.turn_until([&] { return peer.read_now(), peer.received().find("<early>") != std::string::npos; }));
      CHECK(peer.take_received().find("HTTP/1.1 200 OK\r\n") == 0);
      return peer;
    };
    Peer peer = open();
    peer.finish_sending();
    CHECK(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
    CHECK(ended);
    CHECK(peer.received() == "last");
    Peer idle = open();
    loop.clock.advance(4'000);
    loop.turn(5);
    CHECK_FALSE((idle.read_now(), idle.gone()));
    loop.clock.advance(2'000);
    CHECK(loop.turn_until([&] { return idle.read_now(), idle.gone(); }));
  }
  service->stop();
  loop.turn(3);
}
