// Files by lines.
#include <sys/resource.h>

#include "tests/services/files/fixture.hpp"

using namespace tap;
using namespace tap::tests;

TEST_CASE("files: get is answered with the length and the bytes, and the next request is waited for") {
  FilesWorld world;
  FilesClient client = FilesClient::lines(world);
  CHECK(client.through("get a.txt\n", "hello\n") == "ok 6\nhello\n");
  CHECK(client.through("get sub/b.html\r\n", "<p>b") == "ok 4\n<p>b");
  world.put("empty", "");
  CHECK(client.line("get empty\n") == "ok 0\n");
  CHECK(!client.pair.peer().lost());
}

TEST_CASE("files: what cannot be sent is told, and the connection goes on") {
  FilesWorld world;
  FilesClient client = FilesClient::lines(world);
  CHECK(client.line("get nothing\n") == "error there is no such file\n");
  CHECK(client.line("get sub\n") == "error this is a directory\n");
  CHECK(client.line("get ../secret\n") == "error this is no name of a file\n");
  CHECK(client.line("get \n") == "error this is no name of a file\n");
  CHECK(client.line("get\n") == "error there is only: get NAME\n");
  CHECK(client.line("\n") == "error there is only: get NAME\n");
  CHECK(client.line("GET / HTTP/1.1\n") == "error there is only: get NAME\n");
  world.link("../secret", "out");
  CHECK(client.line("get out\n") == "error it is not allowed\n");
  world.put(".htpasswd", "x");
  CHECK(client.line("get .htpasswd\n") == "error there is no such file\n");
  if (::geteuid() != 0) {
    REQUIRE(::chmod((world.root + "/a.txt").c_str(), 0) == 0);
    CHECK(client.line("get a.txt\n") == "error it is not allowed\n");
  }
  CHECK(client.through("get sub/b.html\n", "<p>b") == "ok 4\n<p>b");
  const std::string status = world.service->status()[0];
  CHECK(status.find("10 requests, 1 files sent") == 0);
}

TEST_CASE("files: pipelined requests are answered in their order, whatever takes longer") {
  FilesWorld world;
  const std::string big = numbered_bytes(3'000'000);
  world.put("big", big);
  FilesClient client = FilesClient::lines(world);
  std::string wanted;
  std::string requests;
  for (int i = 0; i < 3; ++i) {
    requests += "get a.txt\nget big\nget none\nget a.txt\n";
    wanted += "ok 6\nhello\nok 3000000\n" + big + "error there is no such file\nok 6\nhello\n";
  }
  client.pair.cut([](std::size_t waiting) { return waiting / 2 + 1; });
  CHECK(client.until(requests, [&](const std::string& got) { return got.size() >= wanted.size(); }) == wanted);
}

TEST_CASE("files: a client that ends its side gets all its answers first") {
  FilesWorld world;
  FilesClient client = FilesClient::lines(world);
  client.pair.peer().send("get a.txt\nget sub/b.html\nget a.t");
  client.pair.peer().finish();
  CHECK(world.loop.turn_until([&] { return client.pair.run(), client.pair.peer().lost().has_value(); }));
  CHECK(client.pair.peer().received() == "ok 6\nhello\nok 4\n<p>b");
}

TEST_CASE("files: a line that never ends is closed") {
  FilesWorld world;
  FilesClient client = FilesClient::lines(world);
  client.pair.peer().send("get " + std::string(10'000, 'a'));
  client.pair.run();
  CHECK(client.pair.failure(testing::TransportPair::Side::server) == "a line is longer than 2064 bytes");
}

TEST_CASE("files: a file that shrinks while it is sent breaks the connection off: nobody takes a part for the whole") {
  FilesWorld world;
  world.put("big", numbered_bytes(3'000'000));
  FilesClient client = FilesClient::lines(world);
  client.pair.stop_reading(testing::TransportPair::Side::client);
  client.pair.peer().send("get big\n");
  CHECK(world.loop.turn_until(
      [&] { return client.pair.run(), client.pair.waiting(testing::TransportPair::Side::server) > 0; }));
  REQUIRE(::truncate((world.root + "/big").c_str(), 1'000'000) == 0);
  client.pair.stop_reading(testing::TransportPair::Side::client, false);
  CHECK(world.loop.turn_until([&] { return client.pair.run(), client.pair.peer().lost().has_value(); }));
  CHECK(client.pair.failure(testing::TransportPair::Side::server) ==
        "a file cannot be sent to its end: the file has become shorter");
  CHECK(client.pair.peer().received().size() < 1'100'000);
  CHECK(world.service->status()[0].find("1 broken off") != std::string::npos);
}

TEST_CASE("files: what was opened is believed for a while, and looked at again after it") {
  FilesWorld world;
  FilesClient client = FilesClient::lines(world);
  CHECK(client.through("get a.txt\n", "hello\n") == "ok 6\nhello\n");
  world.put("a.txt", "changed\n");
  CHECK(client.through("get a.txt\n", "hello\n") == "ok 6\nhello\n");
  CHECK(world.service->status()[1].find("1 looked up, 1 known already") == 0);
  world.loop.clock.advance(1000);
  CHECK(client.through("get a.txt\n", "changed\n") == "ok 8\nchanged\n");
  FilesWorld strict(FilesWorld::Given{{"keep", "0"}});
  FilesClient other = FilesClient::lines(strict);
  CHECK(other.through("get a.txt\n", "hello\n") == "ok 6\nhello\n");
  strict.put("a.txt", "changed\n");
  CHECK(other.through("get a.txt\n", "changed\n") == "ok 8\nchanged\n");
}

TEST_CASE("files: many clients that ask for one file at once look it up once") {
  FilesWorld world;
  std::vector<std::unique_ptr<FilesClient>> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(std::make_unique<FilesClient>(world, "tcp:1"));
    clients.back()->pair.peer().send("get a.txt\n");
    clients.back()->pair.run();
  }
  for (const auto& client : clients) CHECK(client->through("", "hello\n") == "ok 6\nhello\n");
  CHECK(world.service->status()[1].find("1 looked up") == 0);
}

TEST_CASE("files: a client that leaves while its file is looked for, or sent, leaves nothing behind") {
  FilesWorld world;
  world.put("big", numbered_bytes(3'000'000));
  for (const char* name : {"a.txt", "big"}) {
    for (int turns : {0, 1, 50}) {
      FilesClient client = FilesClient::lines(world);
      client.pair.peer().send(std::string("get ") + name + "\n");
      client.pair.run();
      world.loop.turn(turns);
      client.pair.lose_after(testing::TransportPair::Side::client, 0);
      client.pair.run();
    }
  }
  world.loop.turn(50);
}

TEST_CASE("files: a stop waits for what was asked completely") {
  FilesWorld world;
  auto protocol = world.service->build_protocol();
  testing::StringTransport transport;
  protocol->attach(transport);
  protocol->connection_made();
  protocol->data_received("get a");
  CHECK(!protocol->owes_answer());
  protocol->data_received(".txt\n");
  CHECK(protocol->owes_answer());
  CHECK(!transport.reading());
  CHECK(world.loop.turn_until([&] { return !protocol->owes_answer(); }));
  CHECK(transport.take_written() == "ok 6\nhello\n");
  CHECK(transport.reading());
  protocol->connection_lost(Error{});
}
