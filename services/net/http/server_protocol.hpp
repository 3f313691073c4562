// HttpServerProtocol: a server's side of an HTTP/1.1 connection; HttpAnswer: what one request is answered with.
//
//     class Hello final : public HttpServerProtocol {
//       using HttpServerProtocol::HttpServerProtocol;
//       void request_received(const HttpRequestHead& request, HttpAnswer answer) override {
//         answer.send(200, "text/plain", "hello, " + std::string(request.path) + "\n");
//       }
//     };
//
// Tests: tests/services/net/http/server_test.cpp, server_answers_test.cpp, wire_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "services/net/http/answer_head.hpp"
#include "services/net/http/body_writer.hpp"
#include "services/net/http/parser.hpp"
#include "services/net/http/site.hpp"
#include "services/net/protocol.hpp"
#include "services/net/timer_queue.hpp"

namespace tap::net {

class HttpServerProtocol;

/// Stands for the answer to one request. Whoever holds it owes the answer, and may give it later.
///
/// Lifetime: as long as one likes. When the connection ends first, it is not alive() any more and what is said to it is
///           dropped. Dropping one that has not begun answers 500, one that has not ended resets the connection, so
///           that no client takes a part for the whole.
/// Thread:   the loop's. Nothing here calls back before it returns.
class HttpAnswer {
 public:
  HttpAnswer() = default;
  HttpAnswer(HttpAnswer&& other) noexcept;
  HttpAnswer& operator=(HttpAnswer&& other) noexcept;
  HttpAnswer(const HttpAnswer&) = delete;
  HttpAnswer& operator=(const HttpAnswer&) = delete;
  ~HttpAnswer();

  /// Whether it still can be given: it has not ended, and neither has the connection.
  [[nodiscard]] bool alive() const;
  [[nodiscard]] bool begun() const;

  /// The whole answer. To HEAD, and with a status that has no body, the body is only counted.
  void send(const HttpAnswerHead& head, std::string_view body);
  void send(int status, std::string_view content_type, std::string_view body);

  /// The head; then write() as often as wanted, then end(). Without a `length` the body is chunked, or for HTTP/1.0
  /// ends with the connection.
  void begin(const HttpAnswerHead& head, std::optional<std::uint64_t> length = std::nullopt);
  /// REQUIRES: begun. More than was announced ends the connection.
  void write(std::string_view bytes);
  /// Bytes of an open file, as Transport::write_file() sends them: what was not taken is offered again when_room().
  /// REQUIRES: begun with a length, and that so much is left of it.
  [[nodiscard]] Result<std::size_t> write_file(int file, std::uint64_t offset, std::size_t bytes);
  /// REQUIRES: begun. Less than was announced ends the connection with a reset.
  void end();

  /// Whether so much is unsent that one should wait for room.
  [[nodiscard]] bool congested();
  /// Calls `more` once, from a later turn, when there is room. It goes with the connection, uncalled.
  void when_room(std::function<void()> more);

  /// Resets the connection and says why in the log: the rest of the answer will not come.
  void abort(std::string_view why);

  /// Answers CONNECT with a 2xx, or an Upgrade with 101, and leaves the connection to `next`: connection_made() is
  /// called from the loop, with a transport that has all the bytes that followed the request.
  /// REQUIRES: not begun.
  void take_over(const HttpAnswerHead& head, std::unique_ptr<Protocol> next);

 private:
  friend class HttpServerProtocol;
  explicit HttpAnswer(HttpServerProtocol& protocol);
  void let_go();

  HttpServerProtocol* protocol_ = nullptr;
};

/// A protocol derives from it and answers request_received(), and the others where it wants a body.
///
/// Requests may be pipelined: the next one is looked at when the answer to this one is over and the peer reads. What is
/// malformed is answered with an error page and the connection then ends, gently, so that the page arrives. A Refusal
/// thrown before the answer has begun is answered with 503.
///
/// Lifetime: the site outlives it.   Invariants: at most one request is under way; of the input at most one read waits.
class HttpServerProtocol : public Protocol {
 public:
  explicit HttpServerProtocol(HttpSite& site);
  ~HttpServerProtocol() override;

  void connection_made() final;
  void data_received(std::string_view data) final;
  void end_received() final;
  void output_drained() final;
  void connection_lost(const Error& reason) final;
  [[nodiscard]] bool owes_answer() const final;
  void service_stops() final;
  void before_stop() final;
  /// What a derived class holds itself is added by overriding it, with this.
  [[nodiscard]] std::size_t buffered_bytes() const override;

 protected:
  /// A request's head is there; its views last until the answer is over. `100 Continue`, where the client waits for it,
  /// is sent when this returns without an answer begun and the body not paused.
  virtual void request_received(const HttpRequestHead& request, HttpAnswer answer) = 0;
  /// A piece of its body. By default it is dropped.
  virtual void body_received(std::string_view piece) { (void)piece; }
  /// The request is whole; also when it has no body.
  virtual void body_ended() {}
  /// The connection has ended, or the rest of the body cannot be understood, before the answer was over.
  virtual void request_lost(const Error& reason) { (void)reason; }

  /// Until resume_body() no more of the body is handed on, and when the buffers on the way are full the client stops.
  void pause_body() { body_paused_ = true; }
  void resume_body();

  [[nodiscard]] HttpSite& site() { return site_; }
  /// Of the request under way.
  [[nodiscard]] const HttpRequestHead& request() const { return parser_.head(); }

 private:
  friend class HttpAnswer;
  enum class Mode : std::uint8_t {
    serving,
    switching,  ///< to the protocol that took over, which has not been told yet
    switched,
    lingering,  ///< nothing more is answered; what comes is dropped until the peer ends too
  };

  // The input's side.
  [[nodiscard]] std::string_view pump(std::string_view input);
  [[nodiscard]] bool may_go_on();
  void take(HttpEvent event);
  void begin_exchange();
  template <class Code>
  void call(Code code);
  void send_continue();
  void end_exchange(bool more_input);
  void refuse();
  void answer_for_nobody(int status, const char* reason);
  void go_on();
  void go_on_later();
  void keep(std::string_view rest);
  void hand_over(std::string_view rest);
  void linger();

  // The answer's side.
  void answer_begin(const HttpAnswerHead& head, std::optional<std::uint64_t> length);
  void answer_head_text(const HttpAnswerHead& head, std::string& out);
  void answer_write(std::string_view bytes);
  void answer_end();
  void answer_dropped();
  void answer_over();
  void answer_taken_over(const HttpAnswerHead& head, std::unique_ptr<Protocol> next);
  void send_page(int status, std::string_view reason);
  void detach_answer();

  // Deadlines.
  void tell_request();
  void watch();
  void watch_until(std::uint64_t deadline_ms);
  void deadline_passed();

  HttpSite& site_;
  HttpRequestParser parser_;
  std::string waiting_;           ///< input that cannot be looked at yet
  HttpAnswer* answer_ = nullptr;  ///< the one that is owed, wherever it is
  std::unique_ptr<Protocol> next_;
  std::function<void()> room_;
  Timer resume_;
  Timer deadline_;
  std::uint64_t deadline_ms_ = 0;          ///< 0: none
  std::uint64_t deadline_set_for_ms_ = 0;  ///< what the timer waits for, perhaps less than the deadline
  std::uint64_t dropped_bytes_ = 0;
  Mode mode_ = Mode::serving;
  HttpBodyWriter answer_body_;
  bool exchange_ = false;       ///< a request is under way
  bool request_whole_ = false;  ///< all of it has come
  bool answer_begun_ = false;
  bool answer_done_ = false;
  bool close_after_ = false;
  bool body_paused_ = false;
  bool continue_due_ = false;
  bool in_pump_ = false;
  bool in_call_ = false;  ///< of the author's code
  bool answer_forgotten_ = false;
  bool head_timed_ = false;
  bool reading_paused_ = false;
  bool request_told_ = false;  ///< the transport knows that a request has begun
  bool peer_ended_ = false;
};

}  // namespace tap::net
