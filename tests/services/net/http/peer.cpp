#include "tests/services/net/http/peer.hpp"

#include <algorithm>
#include <charconv>
#include <string>

#include "services/net/http/server_protocol.hpp"

namespace tap::tests {
namespace {

using net::HttpAnswer;
using net::HttpAnswerHead;
using net::HttpRequestHead;

const std::string kHello(1'024, 'h');

class Echo final : public net::Protocol {
  void data_received(std::string_view data) override { transport().write(data); }
};

class PeerProtocol final : public net::HttpServerProtocol {
 public:
  using HttpServerProtocol::HttpServerProtocol;

 private:
  void request_received(const HttpRequestHead& request, HttpAnswer answer) override {
    static const HttpAnswerHead plain(200, "text/plain");
    const std::string_view path = request.path;
    if (path == "/hello") {
      answer.send(plain, kHello);
      return;
    }
    answer_ = std::move(answer);
    if (request.is("CONNECT")) answer_.take_over(HttpAnswerHead(200), std::make_unique<Echo>());
    else if (path == "/echo") answer_.begin(plain, request.content_length);
    else if (path == "/headers") answer_.send(plain, describe(request));
    else if (path == "/later")
      later_ = site().reactor().call_later(1, [this] { answer_.send(200, "text/plain", "later"); });
    else if (!stream(path)) answer_.send(404, "text/plain", "no such page\n");
  }

  void body_received(std::string_view piece) override {
    if (!answer_.begun()) return;
    answer_.write(piece);
    if (!answer_.congested()) return;
    pause_body();
    answer_.when_room([this] { resume_body(); });
  }

  void body_ended() override {
    if (request().path == "/echo" && answer_.alive()) answer_.end();
  }

  static std::string describe(const HttpRequestHead& request) {
    std::string text = std::string(request.method) + " " + std::string(request.target) + "\n";
    for (const net::HttpField& field : request.fields) {
      text.append(field.name).append(": ").append(field.value).append("\n");
    }
    return text;
  }

  bool stream(std::string_view path) {
    const bool chunked = path.substr(0, 8) == "/stream/";
    if (!chunked && path.substr(0, 8) != "/length/") return false;
    const std::string_view number = path.substr(8);
    if (std::from_chars(number.data(), number.data() + number.size(), left_).ec != std::errc()) return false;
    const HttpAnswerHead head(200, "application/octet-stream");
    if (chunked) answer_.begin(head);
    else answer_.begin(head, left_);
    more();
    return true;
  }

  void more() {
    static const std::string piece(16'384, 's');
    while (left_ != 0 && !answer_.congested()) {
      const std::size_t size = std::min<std::size_t>(left_, piece.size());
      left_ -= size;
      answer_.write({piece.data(), size});
      if (!answer_.alive()) return;
    }
    if (left_ == 0) answer_.end();
    else answer_.when_room([this] { more(); });
  }

  HttpAnswer answer_;
  net::Timer later_;
  std::size_t left_ = 0;
};

}  // namespace

std::unique_ptr<net::Protocol> HttpPeer::build_protocol() { return std::make_unique<PeerProtocol>(site_); }

}  // namespace tap::tests
