// A server's protocol made of lambdas, on strings and a virtual clock.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "services/net/http/server_protocol.hpp"
#include "services/testing/string_transport.hpp"
#include "tests/services/net/fixture.hpp"

namespace tap::tests {

/// What a ScriptedServer does; an empty one is the default.
struct HttpScript {
  std::function<void(const net::HttpRequestHead&, net::HttpAnswer)> request;
  std::function<void(std::string_view)> body;
  std::function<void()> body_ended;
  std::function<void(const Error&)> lost;
};

class ScriptedServer final : public net::HttpServerProtocol {
 public:
  ScriptedServer(net::HttpSite& site, const HttpScript& script) : HttpServerProtocol(site), script_(script) {}
  using HttpServerProtocol::pause_body;
  using HttpServerProtocol::request;
  using HttpServerProtocol::resume_body;

 private:
  void request_received(const net::HttpRequestHead& request, net::HttpAnswer answer) override {
    if (script_.request) script_.request(request, std::move(answer));
    else answer.send(200, "text/plain", std::string(request.method) + " " + std::string(request.path));
  }
  void body_received(std::string_view piece) override {
    if (script_.body) script_.body(piece);
  }
  void body_ended() override {
    if (script_.body_ended) script_.body_ended();
  }
  void request_lost(const Error& reason) override {
    if (script_.lost) script_.lost(reason);
  }

  const HttpScript& script_;
};

/// A connection that exists in strings only.
struct HttpTalk {
  explicit HttpTalk(const net::HttpServerLimits& limits = {}) : site(loop.reactor, limits) {
    protocol = std::make_unique<ScriptedServer>(site, script);
    protocol->attach(transport);
    protocol->connection_made();
  }

  /// What the server said to `bytes`, without its Date lines; `step`: so many bytes a read.
  std::string say(std::string_view bytes, std::size_t step = std::string_view::npos) {
    for (std::size_t at = 0; at < bytes.size() && !transport.ending(); at += std::min(step, bytes.size())) {
      protocol->data_received(bytes.substr(at, step));
    }
    return take();
  }
  std::string take() {
    std::string out = transport.take_written();
    for (std::size_t at = out.find("Date: "); at != std::string::npos; at = out.find("Date: ", at)) {
      out.erase(at, out.find("\r\n", at) + 2 - at);
    }
    return out;
  }
  void drain() {
    transport.set_congested(false);
    protocol->output_drained();
  }
  void lose() { protocol->connection_lost(Error{Fault::unavailable, "gone"}); }

  Loop loop;
  HttpScript script;
  net::HttpSite site;
  testing::StringTransport transport;
  std::unique_ptr<ScriptedServer> protocol;
};

/// "HTTP/1.1 200 OK\r\n...text/plain...\r\n\r\nbody"
inline std::string ok(const std::string& body, const std::string& fields = "") {
  return "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         fields + "\r\n" + body;
}
/// One of our own pages.
inline std::string page(int status, const std::string& reason, bool close = true) {
  const std::string body = std::to_string(status) + " " + std::string(net::http_reason(status)) + ": " + reason + "\n";
  return "HTTP/1.1 " + std::to_string(status) + " " + std::string(net::http_reason(status)) +
         "\r\nContent-Type: text/plain\r\nContent-Length: " + std::to_string(body.size()) +
         (close ? "\r\nConnection: close" : "") + "\r\n\r\n" + body;
}

inline const std::string kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

}  // namespace tap::tests
