#include "services/net/http/client_protocol.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <stdexcept>

#include "services/testing/string_transport.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::tests;
using net::HttpOutgoing;
using net::HttpRequest;

namespace {

/// Writes down what it hears.
class Listener final : public net::HttpResponseReader {
 public:
  std::string heard;
  std::function<void()> on_head;
  std::function<void()> on_body;
  std::function<void()> on_end;

  void response_received(const net::HttpResponseHead& head) override {
    heard += std::to_string(head.status) + ";";
    if (on_head) on_head();
  }
  void body_received(std::string_view piece) override {
    heard += piece;
    if (on_body) on_body();
  }
  void response_ended() override {
    heard += ";end";
    if (on_end) on_end();
  }
  void response_failed(const Error& reason) override { heard += "!" + reason.message; }
};

class Client final : public net::HttpClientProtocol {
 public:
  using HttpClientProtocol::HttpClientProtocol;
  int times_idle = 0;
  std::string end;
  std::function<void()> on_idle;

 private:
  void became_idle() override {
    ++times_idle;
    if (on_idle) on_idle();
  }
  void ended(const Error& reason) override { end = reason.message; }
};

struct ClientTalk {
  Loop loop;
  testing::StringTransport transport;
  Client protocol{loop.reactor};
  Listener listener;
  HttpRequest request;
  ClientTalk() {
    protocol.attach(transport);
    protocol.connection_made();
  }
  void ask(HttpOutgoing outgoing) {
    if (outgoing.host.empty()) outgoing.host = "a";
    Result<HttpRequest> sent = protocol.send(outgoing, listener);
    REQUIRE(sent.ok());
    request = std::move(*sent);
  }
  void hear(std::string_view bytes, std::size_t step = std::string_view::npos) {
    for (std::size_t at = 0; at < bytes.size() && !transport.ending(); at += std::min(step, bytes.size())) {
      protocol.data_received(bytes.substr(at, step));
    }
  }
  void lose() { protocol.connection_lost(Error{Fault::unavailable, "gone"}); }
};

const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

}  // namespace

TEST_CASE("http client: a request is sent as it is asked for, and the connection is used again") {
  ClientTalk talk;
  CHECK(talk.protocol.idle());
  CHECK(talk.protocol.times_idle == 1);
  net::HttpFields fields;
  fields.add("Accept", "*/*");
  fields.add("Host", "other");
  HttpOutgoing outgoing;
  outgoing.target = "/x?y";
  outgoing.host = "a.example:81";
  outgoing.fields = &fields;
  talk.ask(outgoing);
  CHECK(talk.transport.take_written() == "GET /x?y HTTP/1.1\r\nHost: a.example:81\r\nAccept: */*\r\n\r\n");
  CHECK_FALSE(talk.protocol.idle());
  CHECK(talk.protocol.owes_answer());
  for (std::size_t step = 1; step <= kOk.size(); ++step) {
    talk.listener.heard.clear();
    talk.hear(kOk, step);
    REQUIRE(talk.listener.heard == "200;hello;end");
    REQUIRE(talk.protocol.idle());
    REQUIRE_FALSE(talk.request.alive());
    talk.ask({});
  }
  CHECK(talk.protocol.times_idle == 1 + static_cast<int>(kOk.size()));
}

TEST_CASE("http client: the next request may be sent as soon as the connection is idle") {
  ClientTalk talk;
  talk.listener.on_end = [&] { CHECK_FALSE(talk.protocol.idle()); };
  talk.protocol.on_idle = [&] {
    if (talk.protocol.times_idle < 4) talk.ask({});
  };
  talk.ask({});
  for (int i = 0; i < 3; ++i) talk.hear(kOk);
  CHECK(talk.listener.heard == "200;hello;end200;hello;end200;hello;end");
  CHECK(talk.protocol.times_idle == 4);
  CHECK(talk.protocol.idle());
}

TEST_CASE("http client: bodies of known length and chunked ones are sent, and have to be as announced") {
  ClientTalk talk;
  HttpOutgoing outgoing;
  outgoing.method = "POST";
  outgoing.body_bytes = 5;
  talk.ask(outgoing);
  talk.request.write("he");
  talk.request.write("llo");
  talk.request.end();
  CHECK(talk.transport.take_written() == "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
  talk.hear(kOk);
  outgoing.body_bytes.reset();
  outgoing.chunked = true;
  talk.ask(outgoing);
  talk.request.write("hello");
  talk.request.end();
  CHECK(talk.transport.take_written() ==
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
  talk.hear(kOk);
  CHECK(talk.protocol.idle());
  outgoing.chunked = false;
  outgoing.body_bytes = 2;
  talk.ask(outgoing);
  talk.request.write("abc");
  CHECK(talk.transport.failure() == "the body is longer than it was announced");
  ClientTalk other;
  other.ask(outgoing);
  other.request.end();
  CHECK(other.transport.failure() == "the body is shorter than it was announced");
}

TEST_CASE("http client: what cannot be sent is refused, and nothing is sent") {
  ClientTalk talk;
  const auto error = [&](std::string_view method, std::string_view target, std::string_view host) {
    HttpOutgoing outgoing;
    outgoing.method = method;
    outgoing.target = target;
    outgoing.host = host;
    const Result<HttpRequest> sent = talk.protocol.send(outgoing, talk.listener);
    return sent.ok() ? std::string() : sent.error().message;
  };
  CHECK(error("GE T", "/", "a") == "'GE T' is no method for a request");
  CHECK(error("CONNECT", "a:1", "a") == "'CONNECT' is no method for a request");
  CHECK(error("", "/", "a") == "'' is no method for a request");
  CHECK(error("GET", "/ HTTP/1.1\r\nX: y", "a") == "the target '/ HTTP/1.1\r\nX: y' cannot be sent");
  CHECK(error("GET", "", "a") == "the target '' cannot be sent");
  CHECK(error("GET", "/", "a\r\nX: y") == "'a\r\nX: y' is neither a host nor a host and a port");
  CHECK(error("GET", "/", "") == "'' is neither a host nor a host and a port");
  CHECK(talk.transport.take_written().empty());
  CHECK(talk.protocol.idle());
}

TEST_CASE("http client: HEAD, 204, 304 and interim responses have no body") {
  ClientTalk talk;
  HttpOutgoing head;
  head.method = "HEAD";
  talk.ask(head);
  talk.hear("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
  CHECK(talk.listener.heard == "200;;end");
  talk.ask({});
  talk.hear("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" + kOk);
  CHECK(talk.listener.heard == "200;;end200;hello;end");
  talk.ask({});
  talk.hear("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n");
  talk.ask({});
  talk.hear("HTTP/1.1 204 No Content\r\n\r\n");
  CHECK(talk.listener.heard == "200;;end200;hello;end304;;end204;;end");
  CHECK(talk.protocol.idle());
}

TEST_CASE("http client: interim responses without end, and a protocol that nobody asked for, end the connection") {
  ClientTalk talk;
  talk.ask({});
  for (int i = 0; i < Client::kInterimMax; ++i) talk.hear("HTTP/1.1 100 Continue\r\n\r\n");
  CHECK_FALSE(talk.transport.ending());
  talk.hear("HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(talk.transport.failure() == "the server sends one interim response after another");
  ClientTalk other;
  other.ask({});
  other.hear("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
  CHECK(other.listener.heard == "!the server switches to a protocol that nobody has asked for");
}

TEST_CASE("http client: a response may end with the connection, and then the connection has ended") {
  ClientTalk talk;
  talk.ask({});
  talk.hear("HTTP/1.1 200 OK\r\n\r\nhel");
  talk.hear("lo");
  CHECK(talk.listener.heard == "200;hello");
  talk.protocol.end_received();
  CHECK(talk.listener.heard == "200;hello;end");
  CHECK_FALSE(talk.protocol.idle());
  CHECK(talk.transport.lost());
}

TEST_CASE("http client: a response that is cut short is told as a failure") {
  for (std::size_t size = 0; size < kOk.size(); ++size) {
    CAPTURE(size);
    ClientTalk ended;
    ended.ask({});
    ended.hear(kOk.substr(0, size));
    ended.protocol.end_received();
    CHECK(ended.listener.heard.find('!') != std::string::npos);
    CHECK(ended.transport.aborted());
    ClientTalk lost;
    lost.ask({});
    lost.hear(kOk.substr(0, size));
    lost.lose();
    CHECK(lost.listener.heard.find("!gone") != std::string::npos);
    CHECK(lost.protocol.end == "gone");
    CHECK_FALSE(lost.request.alive());
  }
}

TEST_CASE("http client: bytes that nobody has asked for end the connection, whenever they come") {
  ClientTalk idle;
  idle.hear("H");
  CHECK(idle.transport.failure() == "the server speaks without having been asked");
  ClientTalk after;
  after.ask({});
  after.hear(kOk + kOk);
  CHECK(after.listener.heard == "200;hello;end");
  CHECK(after.transport.lost());
  CHECK(after.protocol.times_idle == 1);
  ClientTalk later;
  later.ask({});
  later.hear(kOk);
  later.hear(kOk);
  CHECK(later.listener.heard == "200;hello;end");
  CHECK(later.transport.aborted());
}

TEST_CASE("http client: a malformed response is told once and ends the connection") {
  ClientTalk talk;
  talk.ask({});
  talk.hear("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello");
  CHECK(talk.listener.heard == "!there is more than one Content-Length");
  CHECK(talk.transport.failure() == "there is more than one Content-Length");
  talk.lose();
  CHECK(talk.listener.heard == "!there is more than one Content-Length");
  CHECK(talk.protocol.end == "gone");
}

TEST_CASE("http client: a connection is not used again when the server closes, or the response came too early") {
  ClientTalk closing;
  closing.ask({});
  closing.hear("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  CHECK(closing.listener.heard == "200;;end");
  CHECK(closing.transport.lost());
  CHECK(closing.protocol.times_idle == 1);
  ClientTalk early;
  HttpOutgoing outgoing;
  outgoing.method = "POST";
  outgoing.body_bytes = 100;
  early.ask(outgoing);
  early.request.write("some");
  early.hear("HTTP/1.1 413 Too Much\r\nContent-Length: 0\r\n\r\n");
  CHECK(early.listener.heard == "413;;end");
  CHECK(early.transport.lost());
  early.request.write("dropped");
  early.request.end();
}

TEST_CASE("http client: dropping a request ends the connection, and nothing more is told") {
  ClientTalk talk;
  talk.ask({});
  talk.request = HttpRequest();
  CHECK(talk.transport.aborted());
  talk.lose();
  CHECK(talk.listener.heard.empty());
  ClientTalk amid;
  amid.ask({});
  amid.listener.on_body = [&] { amid.request = HttpRequest(); };
  amid.hear(kOk);
  CHECK(amid.listener.heard == "200;hello");
  CHECK(amid.transport.aborted());
  ClientTalk at_head;
  at_head.ask({});
  at_head.listener.on_head = [&] { at_head.request = HttpRequest(); };
  at_head.hear(kOk);
  CHECK(at_head.listener.heard == "200;");
  ClientTalk done;
  done.ask({});
  done.hear(kOk);
  done.request = HttpRequest();
  CHECK(done.protocol.idle());
}

TEST_CASE("http client: a request may outlive its connection") {
  HttpRequest kept;
  {
    ClientTalk talk;
    talk.ask({});
    kept = std::move(talk.request);
    CHECK(kept.alive());
    talk.lose();
    CHECK(talk.listener.heard == "!gone");
  }
  CHECK_FALSE(kept.alive());
  kept.write("x");
  kept.end();
  kept.pause_body();
  kept.resume_body();
  kept.when_room([] {});
}

TEST_CASE("http client: a body stops when it is paused, and goes on, up to its end") {
  for (const bool until_close : {false, true}) {
    CAPTURE(until_close);
    ClientTalk talk;
    talk.ask({});
    talk.listener.on_body = [&] { talk.request.pause_body(); };
    if (until_close) {
      talk.hear("HTTP/1.1 200 OK\r\n\r\nab");
      talk.hear("cd");
    } else {
      talk.hear("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n");
    }
    CHECK(talk.listener.heard == "200;ab");
    CHECK_FALSE(talk.transport.reading());
    if (until_close) talk.protocol.end_received();
    talk.request.resume_body();
    CHECK(talk.listener.heard == "200;ab");
    talk.loop.turn(2);
    CHECK(talk.listener.heard == "200;abcd");
    talk.request.resume_body();
    talk.loop.turn(2);
    CHECK(talk.listener.heard == "200;abcd;end");
    CHECK(talk.protocol.idle() == !until_close);
  }
}

TEST_CASE("http client: whoever streams a body is asked for more when there is room") {
  ClientTalk talk;
  HttpOutgoing outgoing;
  outgoing.method = "PUT";
  outgoing.chunked = true;
  talk.ask(outgoing);
  talk.transport.set_congested(true);
  CHECK(talk.request.congested());
  int asked = 0;
  talk.request.when_room([&] { ++asked; });
  talk.loop.turn(2);
  CHECK(asked == 0);
  talk.transport.set_congested(false);
  talk.protocol.output_drained();
  CHECK(asked == 1);
  talk.request.when_room([&] { ++asked; });
  CHECK(asked == 1);
  talk.loop.turn(2);
  CHECK(asked == 2);
  talk.request.when_room([] { throw std::runtime_error("broken"); });
  talk.loop.turn(2);
  CHECK(talk.transport.failure() == "the protocol threw: broken");
}
