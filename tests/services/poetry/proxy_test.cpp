// The poetry-proxy service: its upstream is played by a script, both over real sockets.
#include "services/poetry/proxy.hpp"

#include <cerrno>

#include "services/poetry/proxy_state.hpp"
#include "services/testing/fake_store.hpp"
#include "tests/services/poetry/fixture.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::tests;

namespace {

using Given = std::map<std::string, std::string>;

std::uint64_t wall_ms = 1'700'000'000'000;
Kind kind() {
  return poetry_proxy_kind([] { return wall_ms * 1000; });
}

/// A poetry server that does as a test says.
struct Upstream {
  Loop& loop;
  ScriptedFactory factory;
  std::unique_ptr<Server> server;

  explicit Upstream(Loop& its) : loop(its) {
    tells("a poem");
    server = std::make_unique<Server>(loop, factory);
  }
  void tells(std::string poem) {
    factory.script.made = [poem = std::move(poem)](net::Transport& transport) {
      transport.write(poem);
      transport.lose_connection();
    };
  }
  /// Begins, and leaves the rest to the test.
  void begins(std::string part) {
    factory.script.made = [this, part = std::move(part)](net::Transport& transport) {
      transport.write(part);
      open = &transport;
    };
    factory.script.lost = [this](net::Transport&, const Error&) { open = nullptr; };
  }
  [[nodiscard]] std::string endpoint() const { return "tcp:127.0.0.1:" + std::to_string(server->port()); }
  net::Transport* open = nullptr;
};

/// A proxy and its upstream on one loop.
struct Proxied {
  Loop loop;
  Upstream upstream{loop};
  std::map<std::string, std::string> options{{"upstream", upstream.endpoint()}};
  std::unique_ptr<Service> service;
  std::unique_ptr<Server> server;

  explicit Proxied(std::map<std::string, std::string> more = {}) {
    options.merge(more);
    start();
  }
  ~Proxied() { stop(); }
  Proxied(const Proxied&) = delete;
  Proxied& operator=(const Proxied&) = delete;
  void start() {
    service = make_service(kind(), options);
    begin();
  }
  void begin() {
    REQUIRE(service->start(loop.reactor).ok());
    server = std::make_unique<Server>(loop, *service);
  }
  void stop() {
    server.reset();
    if (service != nullptr) service->stop();
  }
  Peer connect() const { return Peer::tcp(server->port()); }
  std::string told() {
    Peer peer = connect();
    REQUIRE(loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
    return peer.error() == 0 ? peer.received() : "(reset)";
  }
  bool says(const std::string& part) {
    return loop.turn_until([&] { return service->status()[0].find(part) != std::string::npos; });
  }
  PoetryProxyState state() {
    PoetryProxyState read;
    REQUIRE(poetry_proxy_codec().decode(saved(*service), 1, read).ok());
    return read;
  }
};

}  // namespace

TEST_CASE("poetry-proxy: the poem is fetched once, and told from then on, its server there or not") {
  const std::string poem = long_poem(1'000'000);
  Proxied proxied;
  proxied.upstream.tells(poem);
  CHECK(proxied.told() == poem);
  CHECK(proxied.told() == poem);
  proxied.upstream.server.reset();
  CHECK(proxied.told() == poem);
  CHECK(proxied.upstream.factory.built == 1);
  CHECK(proxied.state() == PoetryProxyState{1, proxied.options["upstream"], poem, wall_ms});
}

TEST_CASE("poetry-proxy: simultaneous requests share one fetch") {
  Proxied proxied;
  proxied.upstream.begins("half, ");
  std::vector<Peer> peers;
  for (int i = 0; i < 50; ++i) peers.push_back(proxied.connect());
  REQUIRE(proxied.says("50 clients wait"));
  REQUIRE(proxied.loop.turn_until([&] { return proxied.upstream.open != nullptr; }));
  proxied.upstream.open->write("whole");
  proxied.upstream.open->lose_connection();
  for (Peer& peer : peers) {
    REQUIRE(proxied.loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
    CHECK(peer.received() == "half, whole");
    CHECK(peer.error() == 0);
  }
  CHECK(proxied.upstream.factory.built == 1);
}

TEST_CASE("poetry-proxy: a truncated poem is never kept: its clients are reset, and the next fetch begins anew") {
  Proxied proxied;
  proxied.upstream.begins("only half of");
  Peer first = proxied.connect();
  Peer second = proxied.connect();
  REQUIRE(proxied.says("2 clients wait"));
  REQUIRE(proxied.loop.turn_until([&] { return proxied.upstream.open != nullptr; }));
  proxied.loop.turn(5);
  proxied.upstream.open->abort_connection();
  for (Peer* peer : {&first, &second}) {
    REQUIRE(proxied.loop.turn_until([&] { return peer->read_now(), peer->gone(); }));
    CHECK(peer->received().empty());
    CHECK(peer->error() == ECONNRESET);
  }
  CHECK(proxied.loop.log.count("the poem broke off after") == 1);
  CHECK(proxied.loop.log.count("its clients get nothing (2 wait)") == 1);
  CHECK(proxied.state() == PoetryProxyState{});
  CHECK(proxied.says("no poem, 0 fetched, 1 fetches failed"));
  proxied.upstream.tells("all of it");
  CHECK(proxied.told() == "all of it");
}

TEST_CASE(
    "poetry-proxy: a silence, a server that is not there and one that says too much are failures, and end in time") {
  Proxied proxied(Given{{"timeout", "5s"}, {"size_max", "100"}});
  proxied.upstream.begins("a");
  Peer waiting = proxied.connect();
  REQUIRE(proxied.loop.turn_until([&] { return proxied.upstream.open != nullptr; }));
  for (int i = 0; i < 4; ++i) {  // it goes on, slowly: that is no failure
    proxied.loop.clock.advance(4'900);
    proxied.loop.turn(5);
    proxied.upstream.open->write("b");
    proxied.loop.turn(5);
  }
  CHECK_FALSE(proxied.loop.log.count("fetching"));
  proxied.loop.clock.advance(5'000);
  REQUIRE(proxied.loop.turn_until([&] { return waiting.read_now(), waiting.gone(); }));
  CHECK(proxied.loop.log.count("not a byte came for 5s; its clients get nothing (1 wait)") == 1);
  REQUIRE(proxied.loop.turn_until([&] { return proxied.upstream.open == nullptr; }));

  proxied.upstream.tells(std::string(101, 'x'));
  CHECK(proxied.told() == "(reset)");
  CHECK(proxied.loop.log.count("the poem has more than 100") == 1);
  proxied.upstream.tells(std::string(100, 'x'));
  CHECK(proxied.told() == std::string(100, 'x'));

  Proxied alone;
  alone.upstream.server.reset();
  CHECK(alone.told() == "(reset)");
  CHECK(alone.loop.log.count("fetching the poem: connecting to " + alone.options["upstream"]) == 1);
}

TEST_CASE("poetry-proxy: clients that leave cost nothing, and the fetch goes on without them") {
  Proxied proxied;
  proxied.upstream.begins("a ");
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 300; ++i) {
    Peer leaving = proxied.connect();
    REQUIRE(proxied.says(std::to_string(1) + " clients wait"));
    leaving.reset();
    REQUIRE(proxied.says("0 clients wait"));
  }
  REQUIRE(proxied.upstream.open != nullptr);
  proxied.upstream.open->write("poem");
  proxied.upstream.open->lose_connection();
  CHECK(proxied.says("a poem of 6 bytes"));
  CHECK(proxied.told() == "a poem");
  CHECK(proxied.upstream.factory.built == 1);
  CHECK(proxied.loop.turn_until([&] { return open_descriptors() <= before; }));
}

TEST_CASE("poetry-proxy: what it keeps survives a crash, for the same upstream only") {
  Proxied proxied;
  testing::FakeStore store(*proxied.service->state());
  CHECK(proxied.told() == "a poem");
  store.sync();
  for (const bool same : {true, false}) {
    std::map<std::string, std::string> options = proxied.options;
    if (!same) options["upstream"] = "tcp:localhost:" + std::to_string(proxied.upstream.server->port());
    std::unique_ptr<Service> next = make_service(kind(), options);
    REQUIRE(store.recover(*next->state()).ok());
    const int before = proxied.upstream.factory.built;
    Served served(std::move(next));
    Peer peer = served.connect();
    REQUIRE(served.loop.turn_until([&] {
      proxied.loop.turn();
      return peer.read_now(), peer.gone();
    }));
    CHECK(peer.received() == "a poem");
    CHECK(proxied.upstream.factory.built == before + (same ? 0 : 1));
  }
}

TEST_CASE("poetry-proxy: with refresh an old poem is fetched again, and told as it is when that fails") {
  Proxied proxied(Given{{"refresh", "1h"}});
  CHECK(proxied.told() == "a poem");
  proxied.upstream.tells("a newer poem");
  wall_ms += 3'599'000;
  CHECK(proxied.told() == "a poem");
  wall_ms += 1'000;
  CHECK(proxied.told() == "a newer poem");
  CHECK(proxied.told() == "a newer poem");
  CHECK(proxied.upstream.factory.built == 2);
  wall_ms += 3'600'000;
  proxied.upstream.server.reset();
  CHECK(proxied.told() == "a newer poem");
  CHECK(proxied.loop.log.count("the old one is told (1 wait)") == 1);
  wall_ms -= 10'000'000;  // a clock that was set back: the age is not known
  CHECK(proxied.told() == "a newer poem");
  CHECK(proxied.loop.log.count("the old one is told (1 wait)") == 2);
}

TEST_CASE("poetry-proxy: on a full disk the poem is told and not kept") {
  Proxied proxied;
  testing::FakeStore store(*proxied.service->state());
  store.set_full(true);
  CHECK(proxied.told() == "a poem");
  CHECK(proxied.told() == "a poem");
  CHECK(proxied.loop.log.count("the poem will not survive the process: the disk is full") == 1);
  CHECK(proxied.state() == PoetryProxyState{});
  CHECK(proxied.upstream.factory.built == 1);
}

TEST_CASE("poetry-proxy: a stop resets those who wait, and an end in the middle of a fetch is clean") {
  for (int turns = 0; turns < 12; ++turns) {
    Proxied proxied;
    proxied.upstream.begins("half");
    Peer peer = proxied.connect();
    proxied.loop.turn(turns);
    if (turns % 2 == 0) continue;
    bool drained = false;
    proxied.server->listener().drain([&] { drained = true; });
    REQUIRE(proxied.loop.turn_until([&] { return drained; }));
    proxied.stop();
    REQUIRE(proxied.loop.turn_until([&] { return peer.read_now(), peer.gone(); }));
    CHECK(peer.received().empty());
  }
}

TEST_CASE("poetry-proxy: a client that does not read its poem holds no more than its buffers of it") {
  Proxied proxied(Given{{"size_max", "16MiB"}});
  const std::string poem = long_poem(12'000'000);
  proxied.upstream.tells(poem);
  CHECK(proxied.told() == poem);
  Peer slow = proxied.connect();
  proxied.loop.turn(50);
  CHECK(proxied.told() == poem);
  REQUIRE(proxied.loop.turn_until([&] { return slow.read_now(), slow.gone(); }));
  CHECK(slow.received() == poem);
}

// golden/poetry-proxy-1.payload is never made again: if this fails, the program reads otherwise what people have saved.
TEST_CASE("poetry-proxy: the golden payload of schema version 1 is read") {
  const Bytes payload = read_text(std::string(TAP_SERVICES_GOLDEN) + "/poetry-proxy-1.payload");
  REQUIRE_FALSE(payload.empty());
  PoetryProxyState state;
  REQUIRE(poetry_proxy_codec().decode(payload, 1, state).ok());
  CHECK(state ==
        PoetryProxyState{7, "tcp:poems.example.org:10000", std::string("a\0 poem\n\xFF", 9), 1'732'455'991'123});
  for (std::size_t size = 0; size < payload.size(); ++size) {
    CHECK_FALSE(poetry_proxy_codec().decode(payload.substr(0, size), 1, state).ok());
  }
}

TEST_CASE("poetry-proxy: options are checked") {
  const auto refused = [](std::map<std::string, std::string> options) {
    const Result<Options> checked = kind().check(options);
    return checked ? std::string("fine") : checked.error().message;
  };
  CHECK(refused({{"upstream", "tcp:localhost:10000"}}) == "fine");
  CHECK(refused({{"upstream", "tls:localhost:10000"}, {"timeout", "1s"}, {"refresh", "1d"}, {"size_max", "2MiB"}}) ==
        "fine");
  CHECK(refused({}).find("upstream") != std::string::npos);
  CHECK(refused({{"upstream", "localhost:1"}}) != "fine");
  CHECK(refused({{"upstream", "unix:/run/poems"}}).find("breaks off looks like a whole one") != std::string::npos);
  CHECK(refused({{"upstream", "tcp:a:1"}, {"timeout", "0"}}).find("is not from 1ms to ") != std::string::npos);
  CHECK(refused({{"upstream", "tcp:a:1"}, {"size_max", "17MiB"}}).find("is not from 1 to 16MiB") != std::string::npos);
}
