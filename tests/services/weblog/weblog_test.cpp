// The weblog service on a virtual clock: what its clients get, and what it remembers.
#include "services/weblog/weblog.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "services/testing/fake_store.hpp"
#include "services/testing/transport_pair.hpp"
#include "services/weblog/state.hpp"
#include "tests/services/client.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::services::weblog;
using tap::testing::FakeStore;
using tap::testing::TransportPair;
using tap::tests::Loop;
using tap::tests::make_service;
using tap::tests::TemporaryDirectory;

namespace {

constexpr std::uint64_t kPushEveryMs = 3'600'000;  // so that a push comes only when a test wants one

std::string line(int number) {
  return "127.0.0.1 - - [t] \"GET /" + std::to_string(number) + " HTTP/1.1\" 200 1 \"-\" \"-\"\n";
}

std::string lines(int first, int last) {
  std::string all;
  for (int i = first; i <= last; ++i) all += line(i);
  return all;
}

/// The numbers in the hits' requests, "1 2 3"; what is no hit stands between them as it is.
std::string told(const std::string& xml) {
  std::string all;
  const auto say = [&all](const std::string& what) { all += (all.empty() || what.empty() ? "" : " ") + what; };
  std::size_t at = 0;
  for (std::size_t hit = xml.find("\n<hit "); hit != std::string::npos; hit = xml.find("\n<hit ", at)) {
    say(xml.substr(at, hit - at));
    const std::size_t number = xml.find("GET /", hit) + 5;
    say(xml.substr(number, xml.find(' ', number) - number));
    at = xml.find("/>", hit) + 2;
  }
  say(xml.substr(at));
  return all;
}

using Given = std::map<std::string, std::string>;

/// A service with its log.
struct Weblog {
  TemporaryDirectory directory;
  std::string log = directory / "access.log";
  Loop loop;
  Given options{{"log", log}, {"push_every", "1h"}, {"from_start", "true"}};
  std::unique_ptr<Service> service;

  explicit Weblog(const Given& more = {}) {
    for (const auto& [name, value] : more) options[name] = value;
    service = make_service(weblog_kind(), options);
  }
  ~Weblog() {
    if (service != nullptr) service->stop();
    clear();
  }
  void start() { REQUIRE(service->start(loop.reactor).ok()); }
  void clear() { loop.turn(3); }
  void write(const std::string& text) const { std::ofstream(log, std::ios::app | std::ios::binary) << text; }
  /// Until so many hits were read, in all.
  void read_up_to(int hits) {
    REQUIRE(loop.turn_until([&] {
      loop.clock.advance(25);
      return service->status()[0].find(": " + std::to_string(hits) + " hits") != std::string::npos;
    }));
  }
  [[nodiscard]] std::unique_ptr<TransportPair> connect() const {
    return std::make_unique<TransportPair>(service->build_protocol());
  }
  void push() {
    loop.clock.advance(kPushEveryMs);
    loop.turn(2);
  }
};

std::string received(TransportPair& client) {
  REQUIRE(client.run());
  return told(client.peer().take_received());
}

std::string ask(TransportPair& client, const std::string& bytes) {
  client.peer().send(bytes);
  return received(client);
}

}  // namespace

TEST_CASE("weblog push: every client gets each hit once, at a push, and a document in the end") {
  Weblog weblog;
  weblog.start();
  const auto first = weblog.connect();
  const auto second = weblog.connect();
  CHECK(received(*first) == "<hits>");
  weblog.write(lines(1, 3));
  weblog.read_up_to(3);
  CHECK(received(*first).empty());
  weblog.push();
  CHECK(received(*first) == "1 2 3");
  CHECK(received(*second) == "<hits> 1 2 3");
  weblog.push();
  CHECK(received(*first).empty());
  weblog.write(lines(4, 4));
  weblog.read_up_to(4);
  second->peer().finish();
  CHECK(received(*second) == "4 </hits>\n");
  CHECK(second->over(TransportPair::Side::server));
  weblog.push();
  CHECK(received(*first) == "4");
}

TEST_CASE("weblog: a document without a hit is one too, and a client that leaves is forgotten") {
  for (const char* mode : {"push", "pull"}) {
    Weblog weblog(Given{{"mode", mode}});
    weblog.start();
    const auto client = weblog.connect();
    client->peer().finish();
    CHECK(received(*client) == "<hits></hits>\n");
    const auto other = weblog.connect();
    CHECK(received(*other) == "<hits>");
    CHECK(weblog.service->status()[1].substr(0, 9) == "1 clients");
    other->lose_after(TransportPair::Side::client, 0);
    CHECK(other->run());
    CHECK(weblog.service->status()[1].substr(0, 9) == "0 clients");
  }
}

TEST_CASE("weblog pull: any bytes are a request, each client has its own place, two requests have two answers") {
  Weblog weblog(Given{{"mode", "pull"}});
  weblog.start();
  const auto first = weblog.connect();
  const auto second = weblog.connect();
  CHECK(received(*first) == "<hits>");
  CHECK(received(*second) == "<hits>");
  CHECK(ask(*first, "x") == "<none/>");
  weblog.write(lines(1, 2));
  weblog.read_up_to(2);
  CHECK(ask(*first, "x") == "1 2");
  CHECK(ask(*first, "more?\nmore?\n") == "<none/><none/>");
  weblog.write(line(3));
  weblog.read_up_to(3);
  CHECK(ask(*first, "a\nb\nc") == "3 <none/><none/>");
  CHECK(ask(*first, "\n").empty());  // the end of "c"
  CHECK(ask(*first, "\n") == "<none/>");
  CHECK(ask(*first, "d") == "<none/>");
  CHECK(ask(*first, "\r\ne\r\n") == "<none/>");
  CHECK(ask(*second, "x\n") == "1 2 3");
  CHECK(weblog.service->status()[1].find(" 11 requests") != std::string::npos);
}

TEST_CASE("weblog pull: what was asked for is answered before the end of the document") {
  Weblog weblog(Given{{"mode", "pull"}});
  weblog.start();
  const auto client = weblog.connect();
  weblog.write(lines(1, 2));
  weblog.read_up_to(2);
  client->peer().send("x\ny\n");
  client->peer().finish();
  CHECK(received(*client) == "<hits> 1 2 <none/></hits>\n");
}

TEST_CASE("weblog: a client that is new begins with the last hits, as many as are kept") {
  Weblog weblog(Given{{"mode", "pull"}, {"keep", "3"}});
  weblog.write(lines(1, 5));
  weblog.start();
  weblog.read_up_to(5);
  const auto client = weblog.connect();
  CHECK(ask(*client, "x") == "<hits> 3 4 5");
  Weblog none(Given{{"mode", "pull"}, {"keep", "0"}});
  none.write(lines(1, 5));
  none.start();
  none.read_up_to(5);
  const auto other = none.connect();
  CHECK(ask(*other, "x") == "<hits><none/>");
}

TEST_CASE("weblog: at a stop each client gets what is there, and the end of its document") {
  Weblog weblog;
  weblog.start();
  const auto client = weblog.connect();
  weblog.write(lines(1, 2));
  weblog.read_up_to(2);
  const std::unique_ptr<net::Protocol> stopped = weblog.service->build_protocol();
  tap::testing::StringTransport transport;
  stopped->attach(transport);
  stopped->connection_made();
  transport.set_congested(true);
  stopped->service_stops();
  CHECK(stopped->owes_answer());
  CHECK(told(transport.take_written()) == "<hits>");
  transport.set_congested(false);
  stopped->output_drained();
  CHECK(told(transport.take_written()) == "1 2 </hits>\n");
  CHECK_FALSE(stopped->owes_answer());
  CHECK(transport.lost());
}

TEST_CASE("weblog: after a crash nothing is lost and nothing read twice, and the last hits are there for new clients") {
  Weblog weblog(Given{{"mode", "pull"}, {"keep", "4"}});
  std::unique_ptr<Service> before;
  FakeStore store(*weblog.service->state());
  weblog.start();
  weblog.write(lines(1, 6));
  weblog.read_up_to(6);
  store.sync();
  weblog.write(lines(7, 8));
  weblog.read_up_to(8);  // read, and not durable: a crash comes
  std::unique_ptr<Service> next = make_service(weblog_kind(), weblog.options);
  REQUIRE(store.recover(*next->state()).ok());
  weblog.service->stop();
  weblog.write(line(9));
  before = std::exchange(weblog.service, std::move(next));
  weblog.start();
  const auto client = weblog.connect();
  CHECK(ask(*client, "x") == "<hits> 3 4 5 6");
  weblog.read_up_to(9);
  CHECK(ask(*client, "x") == "7 8 9");
}

TEST_CASE("weblog: one look is one record, with no more lines than are kept") {
  Weblog weblog(Given{{"keep", "5"}});
  tests::ListedLog journal;
  weblog.service->state()->attach(&journal);
  weblog.write(lines(1, 1000));
  weblog.start();
  weblog.read_up_to(1000);
  CHECK(journal.changes.size() == 1);
  CHECK(journal.changes[0].size() < 1000);
  weblog.service->state()->attach(nullptr);
}

TEST_CASE("weblog: while the disk is full nothing is told, and then everything, once") {
  Weblog weblog(Given{{"mode", "pull"}});
  FakeStore store(*weblog.service->state());
  store.sync();
  store.set_full(true);
  weblog.write(lines(1, 2));
  weblog.start();
  const auto client = weblog.connect();
  REQUIRE(
      weblog.loop.turn_until([&] { return weblog.loop.log.count("no more hits are told: the disk is full") == 1; }));
  weblog.loop.clock.advance(5000);
  weblog.loop.turn(5);
  CHECK(ask(*client, "x") == "<hits><none/>");
  store.set_full(false);
  weblog.read_up_to(2);
  CHECK(ask(*client, "x") == "1 2");
  CHECK(weblog.loop.log.count("hits are told again") == 1);
  CHECK(weblog.loop.log.count("no more hits are told") == 1);
}

TEST_CASE("weblog: a client that takes nothing is ended when its hits are not kept any more, the others go on") {
  Weblog weblog(Given{{"backlog", "4MiB"}});
  weblog.start();
  const auto stuck = weblog.connect();
  const auto other = weblog.connect();
  stuck->stop_reading(TransportPair::Side::client);
  int hits = 0;
  for (int i = 0; i < 80; ++i) {
    weblog.write(lines(hits + 1, hits + 500));
    hits += 500;
    weblog.read_up_to(hits);
    CHECK(other->run());
    CHECK(stuck->waiting(TransportPair::Side::server) < 200'000);
  }
  weblog.push();
  CHECK(stuck->failure(TransportPair::Side::server).find("(option backlog)") != std::string::npos);
  CHECK(weblog.service->status()[1].find("1 were too slow") != std::string::npos);
  other->peer().finish();
  const std::string all = received(*other);
  CHECK(all.substr(0, 10) == "<hits> 1 2");
  CHECK(all.find(" 40000 </hits>") != std::string::npos);
  CHECK(std::count(all.begin(), all.end(), ' ') == 40'001);
}

TEST_CASE("weblog: without inotify the log is looked at from time to time, when its directory comes it is watched") {
  Weblog weblog;
  weblog.log = weblog.directory / "later/access.log";
  weblog.options["log"] = weblog.log;
  weblog.service = make_service(weblog_kind(), weblog.options);
  weblog.start();
  REQUIRE(weblog.loop.turn_until([&] { return weblog.loop.log.count("the log is looked at every 1s") == 1; }));
  CHECK(weblog.service->status()[0].find("not watched") != std::string::npos);
  std::filesystem::create_directory(weblog.directory / "later");
  weblog.write(lines(1, 2));
  weblog.read_up_to(2);
  CHECK(weblog.loop.turn_until([&] {
    weblog.loop.clock.advance(1);
    return weblog.service->status()[0].find("not watched") == std::string::npos;
  }));
}

TEST_CASE("weblog: with inotify a hit is seen long before the log is looked at anyway") {
  Weblog weblog(Given{{"poll_every", "1d"}});
  weblog.start();
  weblog.write(line(1));
  weblog.read_up_to(1);
  weblog.write(line(2));
  weblog.read_up_to(2);
}

TEST_CASE("weblog: options that are wrong are config errors") {
  const auto wrong = [](const Given& options) {
    const Result<Options> checked = weblog_kind().check(options);
    return checked.ok() ? "" : checked.error().message;
  };
  CHECK(wrong({}) == "log is missing: the file that the web server writes");
  CHECK(wrong({{"log", "a"}}).empty());
  CHECK(wrong({{"log", "a/"}}) == "log: 'a/' is not the path of a file");
  CHECK(wrong({{"log", "a"}, {"mode", "both"}}) == "mode: 'both' is not one of push|pull");
  CHECK(wrong({{"log", "a"}, {"poll_every", "0"}}) == "poll_every: '0' is not between 10ms and 1d");
  CHECK(wrong({{"log", "a"}, {"push_every", "2d"}}) == "push_every: '2d' is not between 10ms and 1d");
  CHECK(wrong({{"log", "a"}, {"keep", "10001"}}) == "keep: '10001' is more than 10000");
  CHECK(wrong({{"log", "a"}, {"backlog", "1"}}) == "backlog: '1' is not between 4MiB and 1GiB");
}

// --- the state ----------------------------------------------------------------------------------------------------

// golden/weblog-1.payload is never made again: if this fails, the program reads otherwise what people have saved.
TEST_CASE("weblog: the golden payload of schema version 1 is read") {
  const Bytes payload = tap::tests::read_text(std::string(TAP_SERVICES_GOLDEN) + "/weblog-1.payload");
  REQUIRE_FALSE(payload.empty());
  WeblogState state;
  REQUIRE(weblog_codec().decode(payload, 1, state).ok());
  WeblogState expected;
  expected.files = {{2049, 11, 5000, 256, 0xdeadbeef, false}, {2049, 12, 100, 100, 7, true}};
  expected.hits = 1234567890123;
  expected.malformed = 3;
  expected.kept = {"1.2.3.4 - - [t] \"GET /\xff HTTP/1.1\" 200 1 \"-\" \"-\"", "::1 - u [t] \"\" 400 - \"\" \"\""};
  CHECK(state == expected);
}

TEST_CASE("weblog: a payload that is damaged, or holds what no log gives, is refused") {
  WeblogState state;
  state.files = {{1, 2, 300, 256, 5, false}};
  state.kept = {"1.2.3.4 - - [t] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\""};
  const Bytes payload = weblog_codec().encode(state).value();
  WeblogState read;
  REQUIRE(weblog_codec().decode(payload, 1, read).ok());
  CHECK(read == state);
  for (std::size_t size = 0; size < payload.size(); ++size) {
    CHECK_FALSE(weblog_codec().decode(payload.substr(0, size), 1, read).ok());
  }
  const auto refused = [&](const WeblogState& wrong) {
    return !weblog_codec().decode(weblog_codec().encode(wrong).value(), 1, read).ok();
  };
  WeblogState wrong = state;
  wrong.files[0].begin_bytes = 301;
  CHECK(refused(wrong));
  wrong = state;
  wrong.files.resize(kFilesMax + 1);
  CHECK(refused(wrong));
  wrong = state;
  wrong.kept.emplace_back("nonsense");
  CHECK(refused(wrong));
  CHECK(weblog_codec().decode(payload, 2, read).error().fault == Fault::config);
}
