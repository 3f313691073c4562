#include <doctest/doctest.h>

#include <optional>

#include "tests/services/net/http/server_fixture.hpp"

using namespace tap;
using namespace tap::tests;
using net::HttpAnswer;
using net::HttpAnswerHead;
using net::HttpRequestHead;

namespace {

const std::string kOld = "GET / HTTP/1.0\r\n\r\n";
const std::string kHead = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";

void stream(const HttpRequestHead&, HttpAnswer answer) {
  answer.begin(HttpAnswerHead(200));
  answer.write("hello");
  answer.write("");
  answer.write(std::string(17, 'x'));
  answer.end();
}

std::string post(const std::string& fields, const std::string& body = "") {
  return "POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + body;
}

}  // namespace

TEST_CASE("http answers: a streamed one is chunked, ends with the connection for HTTP/1.0, and is a head for HEAD") {
  HttpTalk talk;
  talk.script.request = stream;
  const std::string chunks = "5\r\nhello\r\n11\r\nxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n";
  CHECK(talk.say(kGet) == "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks);
  CHECK(talk.say(kHead) == "HTTP/1.1 200 OK\r\n\r\n");
  CHECK(talk.say(kOld) == "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhelloxxxxxxxxxxxxxxxxx");
  CHECK(talk.transport.lost());
}

TEST_CASE("http answers: HTTP/1.0 keeps the connection when it asks for it and the length is known") {
  HttpTalk talk;
  CHECK(talk.say("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n") == ok("GET /", "Connection: keep-alive\r\n"));
  CHECK_FALSE(talk.transport.lost());
  CHECK(talk.say(kOld) == ok("GET /", "Connection: close\r\n"));
  CHECK(talk.transport.lost());
}

TEST_CASE("http answers: an announced length has to be kept") {
  HttpTalk exact;
  exact.script.request = [](const HttpRequestHead&, HttpAnswer answer) {
    answer.begin(HttpAnswerHead(206), 4);
    answer.write("ab");
    answer.write("cd");
    answer.end();
  };
  CHECK(exact.say(kGet) == "HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\n\r\nabcd");
  HttpTalk longer;
  longer.script.request = [](const HttpRequestHead&, HttpAnswer answer) {
    answer.begin(HttpAnswerHead(200), 3);
    answer.write("abcd");
    answer.end();
  };
  CHECK(longer.say(kGet) == "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
  CHECK(longer.transport.failure() == "the body is longer than it was announced");
  HttpTalk shorter;
  shorter.script.request = [](const HttpRequestHead&, HttpAnswer answer) {
    answer.begin(HttpAnswerHead(200), 3);
    answer.write("ab");
    answer.end();
  };
  CHECK(shorter.say(kGet) == "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab");
  CHECK(shorter.transport.failure() == "the body is shorter than it was announced");
}

TEST_CASE("http answers: a status without a body has none, whatever is written") {
  HttpTalk talk;
  int status = 204;
  talk.script.request = [&](const HttpRequestHead&, HttpAnswer answer) {
    answer.send(HttpAnswerHead(status), "ignored");
  };
  CHECK(talk.say(kGet) == "HTTP/1.1 204 No Content\r\n\r\n");
  status = 304;
  CHECK(talk.say(kGet) == "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n");
  status = 299;
  CHECK(talk.say(kGet) == "HTTP/1.1 299 \r\nContent-Length: 7\r\n\r\nignored");
}

TEST_CASE("http answers: fields cannot break out of their line, and cannot change what frames the message") {
  HttpTalk talk;
  talk.script.request = [](const HttpRequestHead&, HttpAnswer answer) {
    HttpAnswerHead head(200);
    head.add("X", "a\r\nContent-Length: 0\r\n\r\nb").add("Bad name", "x").add("", "x").add("Y\r\n", "x");
    head.add("content-LENGTH", "5").add("Transfer-Encoding", "gzip").add("Connection", "x").add("Keep-Alive", "x");
    head.add("Z", std::string("\0\x7f", 2));
    answer.send(head, "body");
  };
  CHECK(talk.say(kGet) == "HTTP/1.1 200 OK\r\nX: a  Content-Length: 0    b\r\nZ:   \r\nContent-Length: 4\r\n\r\nbody");
}

TEST_CASE("http answers: there is one Date, the author's where he gives one") {
  HttpTalk talk;
  talk.protocol->data_received(kGet);
  const std::string out = talk.transport.take_written();
  const std::size_t at = out.find("\r\nDate: ");
  REQUIRE(at != std::string::npos);
  CHECK(out.substr(at + 2 + 35, 2) == "\r\n");
  CHECK(out.substr(at + 2 + 32, 3) == "GMT");
  talk.script.request = [](const HttpRequestHead&, HttpAnswer answer) {
    answer.send(HttpAnswerHead(200).add("date", "long ago"), "");
  };
  talk.protocol->data_received(kGet);
  CHECK(talk.transport.take_written() == "HTTP/1.1 200 OK\r\ndate: long ago\r\nContent-Length: 0\r\n\r\n");
  char date[30];
  net::write_http_date(784'887'151, date);
  CHECK(std::string(date) == "Tue, 15 Nov 1994 08:12:31 GMT");
}

TEST_CASE("http answers: whoever streams is asked for more when there is room") {
  HttpTalk talk;
  std::optional<HttpAnswer> kept;
  int left = 5;
  std::function<void()> more = [&] {
    while (left > 0 && !kept->congested()) {
      kept->write(std::to_string(left--));
      talk.transport.set_congested(left % 2 == 0);
    }
    if (left == 0) kept->end();
    else kept->when_room(more);
  };
  talk.script.request = [&](const HttpRequestHead&, HttpAnswer answer) {
    kept = std::move(answer);
    kept->begin(HttpAnswerHead(200), 5);
    more();
  };
  CHECK(talk.say(kGet + kGet) == "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n5");
  talk.loop.turn(3);
  CHECK(talk.take().empty());
  talk.drain();
  CHECK(talk.take() == "43");
  left = 1;
  talk.drain();
  CHECK(talk.transport.failure() == "the body is shorter than it was announced");
}

TEST_CASE("http answers: room that is there already is told from a later turn") {
  HttpTalk talk;
  std::optional<HttpAnswer> kept;
  talk.script.request = [&](const HttpRequestHead&, HttpAnswer answer) { kept = std::move(answer); };
  CHECK(talk.say(kGet).empty());
  bool called = false;
  kept->when_room([&] { called = true; });
  CHECK_FALSE(called);
  talk.loop.turn(2);
  CHECK(called);
  kept->send(200, "text/plain", "x");
  CHECK(talk.take() == ok("x"));
}

TEST_CASE("http answers: a body is handed on as it comes, stops when it is paused, and goes on") {
  HttpTalk talk;
  std::optional<HttpAnswer> kept;
  std::string body;
  talk.script.request = [&](const HttpRequestHead&, HttpAnswer answer) { kept = std::move(answer); };
  talk.script.body = [&](std::string_view piece) {
    body += piece;
    talk.protocol->pause_body();
  };
  talk.script.body_ended = [&] { kept->send(200, "text/plain", body); };
  CHECK(talk.say(post("Transfer-Encoding: chunked\r\n", "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n") + kGet).empty());
  CHECK(body == "a");
  CHECK_FALSE(talk.transport.reading());
  talk.protocol->resume_body();
  CHECK(body == "a");  // not from inside
  talk.loop.turn(2);
  CHECK(body == "abc");
  CHECK(talk.take().empty());
  talk.protocol->resume_body();
  talk.loop.turn(2);
  CHECK(talk.take() == ok("abc") + ok("abc"));
  CHECK(talk.transport.reading());
}

TEST_CASE("http answers: 100 Continue is sent when the body is wanted, and not when there is an answer already") {
  const std::string ask = post("Content-Length: 2\r\nExpect: 100-continue\r\n");
  const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
  std::optional<HttpAnswer> kept;
  HttpTalk talk;
  talk.script.request = [&](const HttpRequestHead&, HttpAnswer answer) { kept = std::move(answer); };
  talk.script.body_ended = [&] { kept->send(200, "text/plain", "x"); };
  CHECK(talk.say(ask) == go_on);
  CHECK(talk.say("ab") == ok("x"));

  HttpTalk paused;
  paused.script.request = [&](const HttpRequestHead&, HttpAnswer answer) {
    kept = std::move(answer);
    paused.protocol->pause_body();
  };
  CHECK(paused.say(ask).empty());
  paused.protocol->resume_body();
  CHECK(paused.take() == go_on);
  kept.reset();

  HttpTalk refusing;
  CHECK(refusing.say(ask) == ok("POST /", "Connection: close\r\n"));
  CHECK(refusing.transport.half_closed());
  CHECK(refusing.say("ab" + kGet).empty());  // whichever of the two it was
}

TEST_CASE("http answers: of a body that nobody wanted so much is read, then the connection ends") {
  net::HttpServerLimits limits;
  limits.discard_bytes_max = 10;
  HttpTalk small(limits);
  CHECK(small.say(post("Content-Length: 10\r\n")) == ok("POST /"));
  CHECK(small.say("0123456789" + kGet) == ok("GET /"));
  HttpTalk large(limits);
  CHECK(large.say(post("Content-Length: 11\r\n")) == ok("POST /", "Connection: close\r\n"));
  CHECK(large.transport.half_closed());
  HttpTalk chunked(limits);
  CHECK(chunked.say(post("Transfer-Encoding: chunked\r\n")) == ok("POST /"));
  CHECK(chunked.say("b\r\n0123456789a\r\n").empty());
  CHECK(chunked.transport.half_closed());
}

TEST_CASE("http answers: a body that turns bad after the answer ends the connection, before it is refused") {
  HttpTalk before;
  std::optional<HttpAnswer> kept;
  before.script.request = [&](const HttpRequestHead&, HttpAnswer answer) { kept = std::move(answer); };
  CHECK(before.say(post("Transfer-Encoding: chunked\r\n", "x\r\n")) ==
        page(400, "a chunk's size is not a hexadecimal number"));
  CHECK_FALSE(kept->alive());
  HttpTalk amid;
  amid.script.request = [&](const HttpRequestHead&, HttpAnswer answer) {
    kept = std::move(answer);
    kept->begin(HttpAnswerHead(200), 5);
  };
  CHECK_FALSE(amid.say(post("Transfer-Encoding: chunked\r\n", "x\r\n")).empty());
  CHECK(amid.transport.failure() == "a chunk's size is not a hexadecimal number");
  HttpTalk after;
  CHECK(after.say(post("Transfer-Encoding: chunked\r\n", "x\r\n")) == ok("POST /"));
  CHECK(after.transport.half_closed());
}

TEST_CASE("http answers: an answer may close, and aborting one resets") {
  HttpTalk talk;
  talk.script.request = [](const HttpRequestHead&, HttpAnswer answer) {
    answer.send(HttpAnswerHead(200).close(), "x");
  };
  CHECK(talk.say(kGet + kGet) == "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
  CHECK(talk.transport.half_closed());  // the second one is on its way: a plain end might reset
  HttpTalk other;
  other.script.request = [](const HttpRequestHead&, HttpAnswer answer) {
    answer.begin(HttpAnswerHead(200));
    answer.abort("upstream broke off");
  };
  CHECK_FALSE(other.say(kGet).empty());
  CHECK(other.transport.failure() == "upstream broke off");
}

TEST_CASE("http answers: a tunnel gets every byte that follows the request, at once or later") {
  for (const bool later : {false, true}) {
    CAPTURE(later);
    Script tunnel;
    std::string heard;
    tunnel.made = [&](net::Transport& transport) {
      heard += "made;";
      transport.write("hi");
    };
    tunnel.data = [&](net::Transport&, std::string_view bytes) { heard += bytes; };
    tunnel.end = [&](net::Transport& transport) {
      heard += ";end";
      transport.lose_connection();
    };
    tunnel.lost = [&](net::Transport&, const Error&) { heard += ";lost"; };
    tunnel.drained = [&](net::Transport&) { heard += ";drained;"; };
    HttpTalk talk;
    std::optional<HttpAnswer> kept;
    talk.script.request = [&](const HttpRequestHead& head, HttpAnswer answer) {
      CHECK(head.authority == "b:443");
      kept = std::move(answer);
      if (!later) kept->take_over(HttpAnswerHead(200), std::make_unique<ScriptedProtocol>(tunnel));
    };
    const std::string established = "HTTP/1.1 200 OK\r\n\r\n";
    std::string out = talk.say("CONNECT b:443 HTTP/1.1\r\nHost: b\r\n\r\n\x16\x03GET");
    if (later) {
      CHECK(out.empty());
      CHECK_FALSE(talk.transport.reading());
      kept->take_over(HttpAnswerHead(200), std::make_unique<ScriptedProtocol>(tunnel));
      CHECK(heard.empty());
      talk.loop.turn(2);
      out = talk.take();
    }
    CHECK(out == established + "hi");
    CHECK(talk.transport.reading());
    CHECK_FALSE(kept->alive());
    talk.protocol->data_received(" more");
    talk.protocol->output_drained();
    talk.loop.clock.advance(1'000'000);
    talk.loop.turn(2);
    talk.protocol->end_received();
    CHECK(talk.transport.lost());
    talk.lose();
    CHECK(heard == "made;\x16\x03GET more;drained;;end;lost");
  }
}

TEST_CASE("http answers: an upgrade may be taken up or passed over") {
  const std::string ask = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
  HttpTalk over;
  CHECK(over.say(ask + kGet) == ok("GET /ws") + ok("GET /"));
  HttpTalk up;
  Script echo = echo_script();
  up.script.request = [&](const HttpRequestHead& head, HttpAnswer answer) {
    CHECK(head.upgrade);
    answer.take_over(HttpAnswerHead(101).add("Upgrade", "echo"), std::make_unique<ScriptedProtocol>(echo));
  };
  CHECK(up.say(ask + "hello") ==
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nhello");
}
