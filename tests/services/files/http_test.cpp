// The same files by HTTP.
#include "tests/services/files/fixture.hpp"

using namespace tap;
using namespace tap::tests;

TEST_CASE("files: GET and HEAD give the file with its type, its date and its etag") {
  FilesWorld world;
  FilesClient client = FilesClient::http(world);
  const std::string got = client.ask("GET", "/a.txt");
  CHECK(status_of(got) == "200");
  CHECK(body_of(got) == "hello\n");
  CHECK(field_of(got, "Content-Type") == "text/plain");
  CHECK(field_of(got, "Content-Length") == "6");
  CHECK(field_of(got, "X-Content-Type-Options") == "nosniff");
  CHECK(field_of(got, "Accept-Ranges") == "bytes");
  CHECK(field_of(got, "ETag").front() == '"');
  CHECK(field_of(got, "Last-Modified").size() == 29);
  const std::string head = client.ask("HEAD", "/a.txt");
  CHECK(body_of(head).empty());
  CHECK(field_of(head, "Content-Length") == "6");
  CHECK(body_of(client.ask("GET", "/sub/b%2Ehtml?x=../y")) == "<p>b");
  CHECK(client.ask("GET", "http://x/a.txt").ends_with("hello\n"));
}

TEST_CASE("files: other methods, other paths") {
  FilesWorld world;
  FilesClient client = FilesClient::http(world);
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS"}) {
    const std::string got = client.ask(method, "/a.txt");
    CHECK(status_of(got) == "405");
    CHECK(field_of(got, "Allow") == "GET, HEAD");
  }
  CHECK(status_of(client.ask("GET", "/none")) == "404");
  CHECK(status_of(client.ask("GET", "/a.txt/")) == "404");
  CHECK(status_of(client.ask("GET", "/%zz")) == "400");
  world.put(".git", "x");
  CHECK(status_of(client.ask("GET", "/.git")) == "404");
}

TEST_CASE("files: a directory is its index file, or a list where that is wanted, or nothing") {
  FilesWorld world;
  FilesClient client = FilesClient::http(world);
  CHECK(status_of(client.ask("GET", "/")) == "404");
  const std::string moved = client.ask("GET", "/sub?x");
  CHECK(status_of(moved) == "301");
  CHECK(field_of(moved, "Location") == "/sub/");
  world.put("index.html", "<h1>");
  CHECK(body_of(client.ask("GET", "/")) == "<h1>");
  CHECK(field_of(client.ask("GET", "/"), "Content-Type") == "text/html");

  FilesWorld listed({{"index", "true"}, {"index_file", ""}});
  listed.put("<b>&\".txt", "x");
  listed.put(".hidden", "x");
  FilesClient other = FilesClient::http(listed);
  const std::string page = body_of(other.ask("GET", "/"));
  CHECK(page.find("<a href=\"./a.txt\">a.txt</a>") != std::string::npos);
  CHECK(page.find("<a href=\"./sub/\">sub/</a>") != std::string::npos);
  CHECK(page.find("<a href=\"./%3Cb%3E%26%22.txt\">&lt;b&gt;&amp;&quot;.txt</a>") != std::string::npos);
  CHECK(page.find("hidden") == std::string::npos);
  CHECK(page.find("../") == std::string::npos);
  CHECK(body_of(other.ask("GET", "/sub/")).find("<a href=\"../\">") != std::string::npos);
  CHECK(status_of(other.ask("GET", "/none/")) == "404");
  CHECK(status_of(other.ask("GET", "/a.txt/")) == "404");
}

TEST_CASE("files: a redirection never leads to another host") {
  FilesWorld world;
  REQUIRE(::mkdir((world.root + "/evil.com").c_str(), 0755) == 0);
  FilesClient client = FilesClient::http(world);
  CHECK(field_of(client.ask("GET", "/evil.com"), "Location") == "/evil.com/");
  CHECK(status_of(client.ask("GET", "//evil.com")) == "400");
  CHECK(status_of(client.ask("GET", "/%2Fevil.com")) == "400");
}

TEST_CASE("files: ranges, of small files and of big ones") {
  FilesWorld world;
  const std::string big = numbered_bytes(1'000'000);
  world.put("big", big);
  FilesClient client = FilesClient::http(world);
  std::string got = client.ask("GET", "/a.txt", "Range: bytes=1-3\r\n");
  CHECK(status_of(got) == "206");
  CHECK(body_of(got) == "ell");
  CHECK(field_of(got, "Content-Range") == "bytes 1-3/6");
  got = client.ask("GET", "/big", "Range: bytes=-1000\r\n");
  CHECK(field_of(got, "Content-Range") == "bytes 999000-999999/1000000");
  CHECK(body_of(got) == big.substr(999'000));
  CHECK(body_of(client.ask("GET", "/big", "Range: bytes=70000-\r\n")) == big.substr(70'000));
  got = client.ask("GET", "/big", "Range: bytes=1000000-\r\n");
  CHECK(status_of(got) == "416");
  CHECK(field_of(got, "Content-Range") == "bytes */1000000");
  got = client.ask("GET", "/big", "Range: bytes=0-1,3-4\r\n");
  CHECK(status_of(got) == "200");
  CHECK(body_of(got) == big);
  const std::string etag = field_of(got, "ETag");
  CHECK(status_of(client.ask("GET", "/big", "Range: bytes=0-1\r\nIf-Range: " + etag + "\r\n")) == "206");
  CHECK(status_of(client.ask("GET", "/big", "Range: bytes=0-1\r\nIf-Range: \"other\"\r\n")) == "200");
}

TEST_CASE("files: what the client has already is not sent again") {
  FilesWorld world;
  FilesClient client = FilesClient::http(world);
  const std::string got = client.ask("GET", "/a.txt");
  const std::string etag = field_of(got, "ETag");
  const std::string date = field_of(got, "Last-Modified");
  const std::string unchanged = client.ask("GET", "/a.txt", "If-None-Match: " + etag + "\r\n");
  CHECK(status_of(unchanged) == "304");
  CHECK(field_of(unchanged, "ETag") == etag);
  CHECK(field_of(unchanged, "Content-Length").empty());
  CHECK(status_of(client.ask("GET", "/a.txt", "If-Modified-Since: " + date + "\r\n")) == "304");
  CHECK(status_of(client.ask("GET", "/a.txt", "If-None-Match: \"x\"\r\n")) == "200");
  CHECK(status_of(client.ask("GET", "/a.txt", "If-Match: \"x\"\r\n")) == "412");
  world.loop.clock.advance(1000);
  world.put("a.txt", "HELLO, again\n");
  const std::string changed = client.ask("GET", "/a.txt", "If-None-Match: " + etag + "\r\n");
  CHECK(status_of(changed) == "200");
  CHECK(body_of(changed) == "HELLO, again\n");
  write_text(world.root + "/fresh", "just now");
  CHECK(field_of(client.ask("GET", "/fresh"), "ETag").substr(0, 2) == "W/");
}

TEST_CASE("files: pipelined requests for big and small files come in order, in pieces of any size") {
  FilesWorld world;
  const std::string big = numbered_bytes(700'000);
  world.put("big", big);
  FilesClient client = FilesClient::http(world);
  client.pair.cut([](std::size_t waiting) { return waiting / 3 + 1; });
  std::string requests;
  for (const char* path : {"/big", "/a.txt", "/big", "/none"})
    requests += std::string("GET ") + path + " HTTP/1.1\r\nHost: x\r\n\r\n";
  const std::string got = client.through(requests, "404 Not Found\n");
  const std::size_t first = got.find(big);
  REQUIRE(first != std::string::npos);
  const std::size_t small = got.find("hello\n", first + big.size());
  REQUIRE(small != std::string::npos);
  CHECK(got.find(big, small) != std::string::npos);
}

TEST_CASE("files: a file that shrinks while it is sent breaks the answer off") {
  FilesWorld world;
  world.put("big", numbered_bytes(3'000'000));
  FilesClient client = FilesClient::http(world);
  client.pair.stop_reading(testing::TransportPair::Side::client);
  client.pair.peer().send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(world.loop.turn_until(
      [&] { return client.pair.run(), client.pair.waiting(testing::TransportPair::Side::server) > 0; }));
  REQUIRE(::truncate((world.root + "/big").c_str(), 1'000'000) == 0);
  client.pair.stop_reading(testing::TransportPair::Side::client, false);
  CHECK(world.loop.turn_until([&] { return client.pair.run(), client.pair.peer().lost().has_value(); }));
  CHECK(client.pair.failure(testing::TransportPair::Side::server) ==
        "a file cannot be sent to its end: the file has become shorter");
}

TEST_CASE("files: options that mean nothing are refused") {
  const services::Kind kind = services::files_kind();
  CHECK(kind.check({}, {"tcp:1"}).error().message.find("root is missing") == 0);
  CHECK(kind.check({{"root", "."}, {"http", "tcp:2"}}, {"tcp:1"}).error().message ==
        "http: 'tcp:2' is not among the endpoints that it listens on (write it the same way)");
  CHECK(kind.check({{"root", "."}, {"http", "tcp:1"}}, {"tcp:1"}).ok());
  CHECK(kind.check({{"root", "."}, {"index_file", "../x"}}, {"tcp:1"}).error().message ==
        "index_file: '../x' is not the name of a file");
  Loop loop;
  const auto service = make_service(kind, {{"root", "/does/not/exist"}});
  const Result<void> started = service->start(loop.reactor);
  REQUIRE(!started.ok());
  CHECK(started.error().message == "the root /does/not/exist: No such file or directory");
}
