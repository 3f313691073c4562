// HttpClientProtocol: a client's side of an HTTP/1.1 connection; HttpRequest: one request on it.
//
// Tests: tests/services/net/http/client_test.cpp, wire_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "services/net/http/answer_head.hpp"
#include "services/net/http/body_writer.hpp"
#include "services/net/http/parser.hpp"
#include "services/net/protocol.hpp"
#include "services/net/reactor.hpp"

namespace tap::net {

class HttpClientProtocol;

/// Hears of the response to one request. All calls come from the loop; each may drop the HttpRequest, after which no
/// other comes. Lifetime: outlives its HttpRequest.
class HttpResponseReader {
 public:
  /// The final head; those with a status below 200 are passed over. Its views last until the response is over.
  virtual void response_received(const HttpResponseHead& head) = 0;
  virtual void body_received(std::string_view piece) = 0;
  /// The last call, or (the connection is idle() after it, not yet inside)
  virtual void response_ended() = 0;
  /// that one: the connection was lost, or the server broke the rules. What came of the body is not all of it.
  virtual void response_failed(const Error& reason) = 0;

 protected:
  ~HttpResponseReader() = default;
};

/// Stands for a request under way. Dropping it before the response is over ends the connection.
/// Thread: the loop's. Nothing here calls back before it returns.
class HttpRequest {
 public:
  HttpRequest() = default;
  HttpRequest(HttpRequest&& other) noexcept;
  HttpRequest& operator=(HttpRequest&& other) noexcept;
  HttpRequest(const HttpRequest&) = delete;
  HttpRequest& operator=(const HttpRequest&) = delete;
  ~HttpRequest();

  /// Whether the response is still to come, or its rest.
  [[nodiscard]] bool alive() const;

  /// The request's body, as it was announced; a wrong length ends the connection. Dropped when the response came first.
  void write(std::string_view bytes);
  void end();
  [[nodiscard]] bool congested();
  /// Calls `more` once, from a later turn, when there is room. It goes with the request, uncalled.
  void when_room(std::function<void()> more);

  /// Until resume_body() no more of the response's body is handed on.
  void pause_body();
  void resume_body();

 private:
  friend class HttpClientProtocol;
  explicit HttpRequest(HttpClientProtocol& protocol);
  void let_go();

  HttpClientProtocol* protocol_ = nullptr;
};

/// What is asked. Lifetime: all of it is read during send().
struct HttpOutgoing {
  std::string_view method = "GET";
  std::string_view target = "/";
  std::string_view host;               ///< host or host:port, for the Host field
  const HttpFields* fields = nullptr;  ///< all others; no Expect, which this client does not wait for
  /// The body: none, so many bytes, or chunked; it follows by HttpRequest::write() and end().
  std::optional<std::uint64_t> body_bytes;
  bool chunked = false;
};

/// One request at a time, any number after each other. A response that may be understood in two ways, or bytes that
/// nobody has asked for, end the connection.
///
/// It has no deadline of its own: whoever cannot wait drops his HttpRequest.
/// Lifetime: the reactor outlives it.
class HttpClientProtocol : public Protocol {
 public:
  /// 100 Continue, 103 Early Hints and the like before one response.
  static constexpr int kInterimMax = 16;

  explicit HttpClientProtocol(Reactor& reactor, const HttpLimits& limits = {}) : reactor_(reactor), parser_(limits) {}
  ~HttpClientProtocol() override;

  /// Whether a request may be sent.
  [[nodiscard]] bool idle() const { return connected_ && !busy_ && reusable_ && !transport().ending(); }
  /// REQUIRES: idle().   Errors: usage, when a part of it would not be what it says (a space in the target, a host that
  /// is none); nothing is sent then.
  [[nodiscard]] Result<HttpRequest> send(const HttpOutgoing& request, HttpResponseReader& reader);

  void connection_made() final;
  void data_received(std::string_view data) final;
  void end_received() final;
  void output_drained() final;
  void connection_lost(const Error& reason) final;
  [[nodiscard]] bool owes_answer() const final { return busy_; }

 protected:
  /// idle() has become true, for the first time or again; a request may be sent from here. By default it waits.
  virtual void became_idle() {}
  /// The connection is over; the reader, if there was one, has been told.
  virtual void ended(const Error& reason) { (void)reason; }

 private:
  friend class HttpRequest;

  [[nodiscard]] std::string_view pump(std::string_view input);
  void take(HttpEvent event);
  void response_over();
  void fail(std::string reason);
  void request_dropped();
  void detach();
  void keep(std::string_view rest);
  void go_on();
  void go_on_later();
  void end_body();

  Reactor& reactor_;
  HttpResponseParser parser_;
  HttpResponseReader* reader_ = nullptr;
  HttpRequest* request_ = nullptr;
  HttpBodyWriter body_;
  std::string waiting_;
  std::function<void()> room_;
  Timer resume_;
  int interim_ = 0;
  bool connected_ = false;
  bool busy_ = false;
  bool reusable_ = true;
  bool request_sent_ = false;  ///< all of its body
  bool body_paused_ = false;
  bool reading_paused_ = false;
  bool peer_ended_ = false;
};

}  // namespace tap::net
