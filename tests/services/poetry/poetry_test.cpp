// The poetry service over real sockets: fast and slow, and poems that change.
#include "services/poetry/poetry.hpp"

#include <cerrno>

#include "services/poetry/poem.hpp"
#include "services/poetry/reciter.hpp"
#include "tests/services/poetry/fixture.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::tests;

namespace {

constexpr std::size_t kLong = 3'000'000;  // not in memory, and more than sockets hold
static_assert(kLong > Poem::kInMemoryBytesMax);

std::map<std::string, std::string> slow(const PoemOnDisk& poem) { return {{"poem", poem.path()}, {"mode", "slow"}}; }

}  // namespace

TEST_CASE("poetry: fast tells the whole poem and ends, in memory or not, and an empty one too") {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{70'000}, Poem::kInMemoryBytesMax,
                                 Poem::kInMemoryBytesMax + 1, kLong}) {
    CAPTURE(size);
    const PoemOnDisk poem(long_poem(size));
    Served served(poetry_kind(), {{"poem", poem.path()}});
    CHECK(served.told() == long_poem(size));
    CHECK(served.told() == long_poem(size));
    CHECK(served.comes_to_say("poem: 0 clients, 2 had the whole poem, 0 left before, 0 were cut; 1 versions"));
  }
}

TEST_CASE("poetry: what a client says is not looked at, and one that has ended its side gets the poem all the same") {
  const PoemOnDisk poem(long_poem(kLong));
  Served served(poetry_kind(), {{"poem", poem.path()}});
  Peer peer = served.connect();
  peer.send("GET / HTTP/1.0\r\n\r\n");
  peer.finish_sending();
  REQUIRE(served.read_to_end(peer));
  CHECK(peer.received() == long_poem(kLong));
}

TEST_CASE("poetry: a new version is for new clients, and who is in the middle of one stays with it") {
  PoemOnDisk poem(long_poem(kLong));
  Served served(poetry_kind(), {{"poem", poem.path()}});
  Peer early = served.connect();
  REQUIRE(served.read_until(early, 1));
  for (int i = 1; i <= 3; ++i) {
    poem.replace(long_poem(kLong + static_cast<std::size_t>(i), '!'));
    CHECK(served.told() == long_poem(kLong + static_cast<std::size_t>(i), '!'));
  }
  poem.replace("short");
  CHECK(served.told() == "short");
  poem.write_over("other");
  CHECK(served.told() == "other");
  REQUIRE(served.read_to_end(early));
  CHECK(early.received() == long_poem(kLong));
  CHECK(early.error() == 0);
}

TEST_CASE("poetry: a poem that is changed or cut under its reader ends in a reset, said once") {
  for (const std::size_t rest : {std::size_t{0}, std::size_t{100'000}, kLong, kLong + 1}) {
    CAPTURE(rest);
    PoemOnDisk poem(long_poem(kLong));
    for (const bool slowly : {false, true}) {
      poem.write_over(long_poem(kLong));
      Served served(
          poetry_kind(),
          {{"poem", poem.path()}, {"mode", slowly ? "slow" : "fast"}, {"num_bytes", "50000"}, {"delay", "1ms"}});
      Peer peer = served.connect();
      REQUIRE(served.read_until(peer, 1));
      poem.write_over(long_poem(rest, '!'));
      REQUIRE(served.loop.turn_until([&] {
        served.loop.clock.advance(1);
        return peer.read_now(), peer.gone();
      }));
      CHECK(peer.error() == ECONNRESET);
      CHECK(long_poem(kLong).compare(0, peer.received().size(), peer.received()) == 0);
      CHECK(served.loop.log.count("the poem was changed while it was read to a client") == 1);
      CHECK(served.comes_to_say("poem: 0 clients, 0 had the whole poem, 0 left before, 1 were cut"));
      if (!slowly) CHECK(served.told() == long_poem(rest, '!'));
    }
  }
}

TEST_CASE("poetry: a client that leaves early leaves nothing behind") {
  const PoemOnDisk poem(long_poem(kLong));
  Served served(poetry_kind(), {{"poem", poem.path()}});
  Served slowly(poetry_kind(), slow(poem));
  CHECK(served.comes_to_say("1 versions"));
  CHECK(slowly.comes_to_say("1 versions"));
  served.loop.turn(20);
  slowly.loop.turn(20);
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 20; ++i) {
    for (Served* one : {&served, &slowly}) {
      Peer at_once = one->connect();
      at_once.reset();
      Peer later = one->connect();
      REQUIRE(one->read_until(later, 5));
      later.reset();
    }
  }
  slowly.pass(2'000, 10);
  for (Served* one : {&served, &slowly}) {
    CHECK(one->comes_to_say("poem: 0 clients, 0 had the whole poem, 40 left before, 0 were cut"));
  }
  CHECK(served.loop.turn_until([&] { return slowly.loop.turn(), open_descriptors() <= before; }));
  CHECK(slowly.loop.reactor.backend_timeout_ms() == -1);  // no timer
}

TEST_CASE("poetry: a poem that cannot be read is said when it begins and when it ends, and clients are reset") {
  PoemOnDisk poem("first");
  Served served(poetry_kind(), {{"poem", poem.path()}});
  CHECK(served.told() == "first");
  poem.remove();
  for (int i = 0; i < 3; ++i) CHECK(served.told() == "(reset)");
  CHECK(served.loop.log.count("the poem cannot be read, clients get nothing: opening " + poem.path()) == 1);
  REQUIRE(::mkdir(poem.path().c_str(), 0700) == 0);
  CHECK(served.told() == "(reset)");
  REQUIRE(::rmdir(poem.path().c_str()) == 0);
  REQUIRE(::mkfifo(poem.path().c_str(), 0600) == 0);
  CHECK(served.told() == "(reset)");
  poem.replace("second");
  CHECK(served.told() == "second");
  CHECK(served.loop.log.count("the poem can be read again") == 1);
  CHECK(served.loop.log.lines().size() == 2);
  CHECK(served.comes_to_say("5 looks failed"));
}

TEST_CASE("poetry: a poem that was written just now is told when it has stood for a moment") {
  const PoemOnDisk poem("old");
  Served served(poetry_kind(), {{"poem", poem.path()}});
  CHECK(served.told() == "old");
  // Nothing may come while a change could still have the same time; how long that is, the kernel's clock tells.
  Result<PoemPointer> looked = Error{};
  do {
    write_text(poem.path(), "just now");
    looked = Poem::open(poem.path(), nullptr);
  } while (looked);
  CHECK(looked.error().fault == Fault::temporary);
  while (!Poem::open(poem.path(), nullptr)) continue;
  CHECK(served.told() == "just now");

  write_text(poem.path(), "and again");
  Peer peer = served.connect();
  REQUIRE(served.loop.turn_until([&] {
    if (Poem::open(poem.path(), nullptr)) served.loop.clock.advance(Poem::kSettleMs);
    return peer.read_now(), peer.gone();
  }));
  CHECK(peer.received() == "and again");
}

TEST_CASE("poetry: slow tells num_bytes every delay, and ends") {
  const PoemOnDisk poem(long_poem(95));
  Served served(poetry_kind(), slow(poem));
  Peer peer = served.connect();
  REQUIRE(served.read_until(peer, 10));
  served.pass(690);
  for (std::size_t told = 10; told < 90; told += 10) {
    peer.read_now();
    CHECK(peer.received().size() == told);
    served.pass(25);  // 5 ms before it is due, and 10 after the grid
    peer.read_now();
    CHECK(peer.received().size() == told + 10);
    served.pass(675);
  }
  served.pass(25);
  REQUIRE(served.read_to_end(peer));
  CHECK(peer.received() == long_poem(95));
  CHECK(peer.error() == 0);
}

TEST_CASE("poetry: slow clients have each their own place, also in a poem that is not in memory") {
  const PoemOnDisk poem(long_poem(kLong));
  Served served(poetry_kind(), {{"poem", poem.path()}, {"mode", "slow"}, {"num_bytes", "1000"}, {"delay", "10ms"}});
  std::vector<Peer> peers;
  for (int i = 0; i < 5; ++i) {
    peers.push_back(served.connect());
    REQUIRE(served.read_until(peers.back(), 1000));
    served.pass(100);
  }
  REQUIRE(served.loop.turn_until([&] {
    served.loop.clock.advance(1);
    for (Peer& peer : peers) peer.read_now();
    return peers.back().received().size() >= 20'000;
  }));
  for (std::size_t i = 0; i < peers.size(); ++i) {
    CHECK(long_poem(kLong).compare(0, peers[i].received().size(), peers[i].received()) == 0);
    if (i > 0) CHECK(peers[i].received().size() < peers[i - 1].received().size());
  }
}

TEST_CASE("poetry: a slow client that does not read costs no more than its buffers, and then gets the rest") {
  const PoemOnDisk poem(long_poem(Poem::kInMemoryBytesMax));
  for (const bool in_memory : {true, false}) {
    const PoemOnDisk longer(long_poem(20'000'000));
    Served served(poetry_kind(), {{"poem", in_memory ? poem.path() : longer.path()},
                                  {"mode", "slow"},
                                  {"num_bytes", "60000"},
                                  {"delay", "1ms"}});
    Peer peer = served.connect();
    served.pass(500);
    CHECK(served.loop.log.count("bytes wait to be sent") == 0);
    const std::string whole = long_poem(in_memory ? Poem::kInMemoryBytesMax : 20'000'000);
    REQUIRE(served.loop.turn_until([&] {
      served.loop.clock.advance(1);
      return peer.read_now(), peer.gone();
    }));
    CHECK(peer.error() == 0);
    CHECK(peer.received() == whole);
  }
}

TEST_CASE("poetry: a stop lets fast clients finish, gives slow ones a short rest, and cuts the others visibly") {
  const PoemOnDisk poem(long_poem(500));
  const PoemOnDisk longer(long_poem(kLong));
  Served fast(poetry_kind(), {{"poem", longer.path()}});
  Served little(poetry_kind(), slow(poem));
  Served much(poetry_kind(), slow(longer));
  for (Served* one : {&fast, &little, &much}) {
    Peer peer = one->connect();
    REQUIRE(one->read_until(peer, 10));
    bool drained = false;
    one->server->listener().drain([&] { drained = true; });
    REQUIRE(one->loop.turn_until([&] { return peer.read_now(), peer.gone() && drained; }));
    CHECK(peer.error() == (one == &much ? ECONNRESET : 0));
    if (one != &much) CHECK(peer.received() == long_poem(one == &fast ? kLong : 500));
  }
}

TEST_CASE("poetry: a service that ends in the middle of everything is clean") {
  const PoemOnDisk poem(long_poem(kLong));
  for (const char* mode : {"fast", "slow"}) {
    for (int turns = 0; turns < 40; turns += 3) {
      Served served(poetry_kind(), {{"poem", poem.path()}, {"mode", mode}, {"delay", "1ms"}});
      Peer peer = served.connect();
      served.pass(static_cast<std::uint64_t>(turns));
    }
  }
}

TEST_CASE("poetry: options are checked") {
  const auto refused = [](std::map<std::string, std::string> options) {
    const Result<Options> checked = poetry_kind().check(options);
    return checked ? std::string("fine") : checked.error().message;
  };
  CHECK(refused({{"poem", "p"}}) == "fine");
  CHECK(refused({{"poem", "p"}, {"delay", "0.7"}, {"num_bytes", "65536"}, {"mode", "slow"}}) == "fine");
  CHECK(refused({}).find("poem") != std::string::npos);
  CHECK(refused({{"poem", ""}}).find("empty") != std::string::npos);
  CHECK(refused({{"poem", "p"}, {"mode", "slw"}}).find("did you mean 'slow'") != std::string::npos);
  CHECK(refused({{"poem", "p"}, {"num_bytes", "0"}}).find("is not from 1 to 65536") != std::string::npos);
  CHECK(refused({{"poem", "p"}, {"num_bytes", "65537"}}).find("is not from 1 to 65536") != std::string::npos);
  CHECK(refused({{"poem", "p"}, {"delay", "0"}}).find("is not from 1ms to ") != std::string::npos);
  CHECK(refused({{"poem", "p"}, {"delay", "2h"}}).find("is not from 1ms to ") != std::string::npos);
}
