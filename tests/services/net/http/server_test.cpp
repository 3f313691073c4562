#include <doctest/doctest.h>

#include <optional>
#include <stdexcept>

#include "services/net/refusal.hpp"
#include "tests/services/net/http/server_fixture.hpp"

using namespace tap;
using namespace tap::tests;
using net::HttpAnswer;
using net::HttpAnswerHead;
using net::HttpRequestHead;

TEST_CASE("http server: requests are answered in order, however their bytes come") {
  const std::string input = kGet + "HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n" +
                            "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" +
                            "PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n" +
                            "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  const std::string expected = ok("GET /") +
                               "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\n" +
                               ok("POST /p") + ok("PUT /c") + ok("GET /last", "Connection: close\r\n");
  for (std::size_t step = 1; step <= input.size(); ++step) {
    HttpTalk talk;
    REQUIRE(talk.say(input, step) == expected);
    REQUIRE(talk.transport.lost());
    REQUIRE(talk.site.counts().requests == 5);
  }
}

TEST_CASE("http server: a request is handled when the answer to the one before is over, and reading waits") {
  HttpTalk talk;
  std::vector<HttpAnswer> owed;
  std::vector<std::string> asked;
  talk.script.request = [&](const HttpRequestHead& head, HttpAnswer answer) {
    asked.emplace_back(head.path);
    owed.push_back(std::move(answer));
  };
  CHECK(talk.say("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTT").empty());
  CHECK(asked == std::vector<std::string>{"/1"});
  CHECK(talk.protocol->owes_answer());
  CHECK_FALSE(talk.transport.reading());
  owed[0].send(200, "text/plain", "one");
  CHECK(asked.size() == 1);  // not from inside of send()
  CHECK(talk.protocol->owes_answer());
  talk.loop.turn(2);
  CHECK(talk.take() == ok("one"));
  CHECK(asked == std::vector<std::string>{"/1", "/2"});
  CHECK_FALSE(talk.transport.reading());
  owed[1].send(200, "text/plain", "two");
  talk.loop.turn(2);
  CHECK(talk.transport.reading());
  CHECK_FALSE(talk.protocol->owes_answer());
  CHECK(talk.say("P/1.1\r\nHost: a\r\n\r\n") == ok("two"));
  CHECK(asked.back() == "/3");
}

TEST_CASE("http server: an answer may outlive its connection, and may be dropped before and after") {
  std::optional<HttpAnswer> kept;
  Error why;
  {
    HttpTalk talk;
    talk.script.request = [&](const HttpRequestHead&, HttpAnswer answer) { kept = std::move(answer); };
    talk.script.lost = [&](const Error& reason) { why = reason; };
    CHECK(talk.say(kGet).empty());
    CHECK(kept->alive());
    talk.lose();
    CHECK(why.message == "gone");
    CHECK_FALSE(kept->alive());
    kept->begin(HttpAnswerHead(200));
    kept->write("x");
    kept->end();
    kept->send(200, "a", "b");
    kept->when_room([] {});
    kept->abort("x");
    CHECK_FALSE(kept->congested());
    CHECK(talk.take().empty());
  }
  CHECK_FALSE(kept->alive());
  kept.reset();

  HttpTalk talk;
  talk.script.request = [&](const HttpRequestHead&, HttpAnswer answer) { kept = std::move(answer); };
  CHECK(talk.say(kGet).empty());
  HttpAnswer moved = std::move(*kept);
  kept.reset();
  CHECK(moved.alive());
  moved = HttpAnswer();  // nobody will answer now
  CHECK(talk.take() == page(500, "the service gave no answer", false));
  CHECK(talk.say(kGet).empty());
  kept->begin(HttpAnswerHead(200), 10);
  kept->write("12345");
  kept.reset();
  CHECK(talk.transport.failure() == "the answer was not finished");
}

TEST_CASE("http server: an answer dropped inside the call is a 500, and a refusal a 503 with its reason") {
  HttpTalk talk;
  talk.script.request = [](const HttpRequestHead&, HttpAnswer) {};
  CHECK(talk.say(kGet) == page(500, "the service gave no answer", false));
  talk.script.request = [](const HttpRequestHead&, HttpAnswer) { throw net::Refusal("the disk is full"); };
  CHECK(talk.say(kGet + kGet) == page(503, "the disk is full", false) + page(503, "the disk is full", false));
  std::optional<HttpAnswer> kept;
  talk.script.request = [&](const HttpRequestHead&, HttpAnswer answer) { kept = std::move(answer); };
  talk.script.body_ended = [] { throw net::Refusal("too late"); };
  CHECK(talk.say(kGet) == page(503, "too late", false));
  CHECK_FALSE(kept->alive());
  CHECK_FALSE(talk.transport.ending());
}

TEST_CASE("http server: an exception goes on to the transport, and a refusal in the middle of an answer too") {
  HttpTalk talk;
  talk.script.request = [](const HttpRequestHead&, HttpAnswer) { throw std::runtime_error("broken"); };
  CHECK_THROWS_WITH_AS(talk.protocol->data_received(kGet), "broken", std::runtime_error);
  CHECK(talk.take().empty());
  HttpTalk other;
  other.script.request = [](const HttpRequestHead&, HttpAnswer answer) {
    answer.begin(HttpAnswerHead(200), 5);
    throw net::Refusal("half");
  };
  CHECK_THROWS_AS(other.protocol->data_received(kGet), net::Refusal);
}

TEST_CASE("http server: an exception in what is called later ends that connection with one line") {
  HttpTalk talk;
  std::optional<HttpAnswer> kept;
  talk.script.request = [&](const HttpRequestHead&, HttpAnswer answer) { kept = std::move(answer); };
  CHECK(talk.say(kGet).empty());
  kept->when_room([] { throw std::runtime_error("broken"); });
  talk.loop.turn(2);
  CHECK(talk.transport.failure() == "the protocol threw: broken");
}

TEST_CASE("http server: what is malformed is answered, and the answer arrives before the end") {
  struct Case {
    std::string input;
    int status;
    const char* reason;
  };
  net::HttpServerLimits limits;
  limits.message.start_line_bytes_max = 100;
  limits.message.head_bytes_max = 300;
  const Case cases[] = {
      {"GET / HTTP/1.1\r\n\r\n", 400, "there is no Host"},
      {"GET /" + std::string(200, 'x') + " HTTP/1.1\r\n", 414, "the start line is too long"},
      {"GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(400, 'x'), 431, "the head is too long"},
      {"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "the method is not known"},
      {"GET / HTTP/2.0\r\n", 505, "the version is not HTTP/1.1 or HTTP/1.0"},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n", 413, "the body is too long"},
      {"\x16\x03\x01", 400, "there is a control byte in a line"},
  };
  for (const Case& one : cases) {
    HttpTalk talk(limits);
    CHECK(talk.say(kGet + one.input) == ok("GET /") + page(one.status, one.reason));
    CHECK(talk.transport.half_closed());
    CHECK_FALSE(talk.transport.ending());
    CHECK(talk.say("more that nobody reads" + kGet).empty());
    talk.protocol->end_received();
    CHECK(talk.transport.lost());
    CHECK(talk.site.counts().refused == 1);
  }
}

TEST_CASE("http server: lingering ends with its time, and with too many bytes") {
  HttpTalk talk;
  CHECK(talk.say("BAD\r\n") == page(400, "the request has no target"));
  talk.loop.clock.advance(talk.site.limits().linger_ms - 1);
  talk.loop.turn();
  CHECK_FALSE(talk.transport.lost());
  talk.loop.clock.advance(1);
  talk.loop.turn();
  CHECK(talk.transport.lost());

  HttpTalk flood;
  CHECK_FALSE(flood.say("BAD\r\n").empty());
  const std::string piece(65'536, 'x');
  for (int i = 0; i < 16; ++i) flood.protocol->data_received(piece);
  CHECK_FALSE(flood.transport.lost());
  flood.protocol->data_received(piece);
  CHECK(flood.transport.lost());
}

TEST_CASE("http server: a head has to come in time, and its bytes do not extend it") {
  HttpTalk talk;
  const std::uint64_t timeout = talk.site.limits().head_timeout_ms;
  for (int i = 0; i < 9; ++i) {
    CHECK(talk.say(i == 0 ? "GET / HTTP/1.1\r\nX: " : "y").empty());
    talk.loop.clock.advance(timeout / 10);
    talk.loop.turn();
  }
  CHECK(talk.take().empty());
  talk.loop.clock.advance(timeout / 10);
  talk.loop.turn();
  CHECK(talk.take() == page(408, "the head did not come in time"));
  CHECK(talk.transport.half_closed());
  CHECK(talk.site.counts().timed_out == 1);
}

TEST_CASE("http server: a second head has the same time, counted from its first byte") {
  HttpTalk talk;
  const std::uint64_t timeout = talk.site.limits().head_timeout_ms;
  talk.loop.clock.advance(timeout - 1);
  CHECK(talk.say(kGet) == ok("GET /"));
  talk.loop.clock.advance(5 * timeout);
  talk.loop.turn();
  CHECK(talk.say("G").empty());
  talk.loop.clock.advance(timeout - 1);
  talk.loop.turn();
  CHECK(talk.say("E").empty());
  talk.loop.clock.advance(1);
  talk.loop.turn();
  CHECK(talk.take() == page(408, "the head did not come in time"));
}

TEST_CASE("http server: a connection without a request ends silently, sooner when there never was one") {
  HttpTalk fresh;
  fresh.loop.clock.advance(fresh.site.limits().head_timeout_ms);
  fresh.loop.turn();
  CHECK(fresh.transport.lost());
  CHECK(fresh.take().empty());

  HttpTalk used;
  CHECK(used.say(kGet) == ok("GET /"));
  used.loop.clock.advance(used.site.limits().keep_alive_ms - 1);
  used.loop.turn();
  CHECK_FALSE(used.transport.lost());
  used.loop.clock.advance(1);
  used.loop.turn();
  CHECK(used.transport.lost());
  CHECK(used.take().empty());
}

TEST_CASE("http server: while an answer is owed no deadline of the head runs") {
  HttpTalk talk;
  std::optional<HttpAnswer> kept;
  talk.script.request = [&](const HttpRequestHead&, HttpAnswer answer) { kept = std::move(answer); };
  CHECK(talk.say(kGet).empty());
  talk.loop.clock.advance(10 * talk.site.limits().keep_alive_ms);
  talk.loop.turn(3);
  CHECK(kept->alive());
  kept->send(200, "text/plain", "late");
  CHECK(talk.take() == ok("late"));
  talk.loop.clock.advance(talk.site.limits().keep_alive_ms);
  talk.loop.turn(2);
  CHECK(talk.transport.lost());
}

TEST_CASE("http server: the end of the stream waits for the answers, and is no answer to half a request") {
  HttpTalk talk;
  std::optional<HttpAnswer> kept;
  talk.script.request = [&](const HttpRequestHead&, HttpAnswer answer) { kept = std::move(answer); };
  CHECK(talk.say(kGet + kGet + "GET /par").empty());
  talk.protocol->end_received();
  for (int i = 0; i < 2; ++i) {
    CHECK_FALSE(talk.transport.lost());
    CHECK(talk.protocol->owes_answer());
    kept->send(200, "text/plain", "x");
    talk.loop.turn(2);
    CHECK(talk.take() == ok("x"));
  }
  CHECK(talk.transport.lost());

  HttpTalk half;
  Error why;
  half.script.request = talk.script.request;
  half.script.lost = [&](const Error& reason) { why = reason; };
  CHECK(half.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc").empty());
  half.protocol->end_received();
  CHECK(half.take() == page(400, "the connection ended inside a body"));
  CHECK(why.message == "the connection ended inside a body");
  CHECK_FALSE(kept->alive());
  CHECK(half.transport.lost());
}

TEST_CASE("http server: pipelined requests wait while the peer does not read") {
  HttpTalk talk;
  talk.script.request = [&](const HttpRequestHead&, HttpAnswer answer) {
    answer.send(200, "text/plain", "x");
    talk.transport.set_congested(true);
  };
  CHECK(talk.say(kGet + kGet + kGet) == ok("x"));
  CHECK(talk.protocol->owes_answer());
  CHECK_FALSE(talk.transport.reading());
  talk.drain();
  CHECK(talk.take() == ok("x"));
  talk.drain();
  CHECK(talk.take() == ok("x"));
  CHECK_FALSE(talk.protocol->owes_answer());
  CHECK(talk.transport.reading());
}

TEST_CASE("http server: a request has its deadline from its first byte to its last, and while its body is wanted") {
  HttpTalk talk;
  net::HttpAnswer owed;
  talk.script.request = [&](const net::HttpRequestHead&, net::HttpAnswer answer) { owed = std::move(answer); };
  CHECK_FALSE(talk.transport.request_open());
  talk.say("POST / HT");
  CHECK(talk.transport.request_open());
  talk.say("TP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
  CHECK(talk.transport.request_open());
  CHECK(talk.protocol->buffered_bytes() > 0);
  talk.say("cd");
  CHECK_FALSE(talk.transport.request_open());
  owed.send(200, "text/plain", "");
  talk.loop.turn(2);
  CHECK_FALSE(talk.transport.request_open());
  talk.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n");  // whole in one read: never open
  CHECK_FALSE(talk.transport.request_open());
}

TEST_CASE("http server: while the body is not wanted it is not the peer who is slow") {
  HttpTalk talk;
  net::HttpAnswer owed;
  talk.script.request = [&](const net::HttpRequestHead&, net::HttpAnswer answer) {
    owed = std::move(answer);
    talk.protocol->pause_body();
  };
  talk.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
  CHECK_FALSE(talk.transport.request_open());
  talk.protocol->resume_body();
  talk.loop.turn(2);
  CHECK(talk.transport.request_open());
}

TEST_CASE("http server: what is refused is said in the log, with the peer and why") {
  HttpTalk talk;
  CHECK(talk.say("GET / HTTP/1.1\r\nHost : a\r\n\r\n").substr(0, 12) == "HTTP/1.1 400");
  CHECK(talk.loop.log.count("refused a request of a test with 400: ") == 1);
}
