#include <utility>

#include "services/net/http/server_protocol.hpp"

namespace tap::net {
namespace {

void append_status_line(std::string& out, int status) {
  if (status == 200) {
    out.append("HTTP/1.1 200 OK\r\n");
    return;
  }
  out.append("HTTP/1.1 ");
  append_decimal(out, static_cast<std::uint64_t>(status));
  out.append(" ").append(http_reason(status)).append("\r\n");
}

}  // namespace

HttpAnswer::HttpAnswer(HttpServerProtocol& protocol) : protocol_(&protocol) { protocol.answer_ = this; }

HttpAnswer::HttpAnswer(HttpAnswer&& other) noexcept : protocol_(std::exchange(other.protocol_, nullptr)) {
  if (protocol_ != nullptr) protocol_->answer_ = this;
}

HttpAnswer& HttpAnswer::operator=(HttpAnswer&& other) noexcept {
  if (this == &other) return *this;
  let_go();
  protocol_ = std::exchange(other.protocol_, nullptr);
  if (protocol_ != nullptr) protocol_->answer_ = this;
  return *this;
}

HttpAnswer::~HttpAnswer() { let_go(); }

void HttpAnswer::let_go() {
  if (protocol_ == nullptr) return;
  HttpServerProtocol& protocol = *std::exchange(protocol_, nullptr);
  protocol.answer_ = nullptr;
  if (protocol.in_call_) protocol.answer_forgotten_ = true;
  else protocol.answer_dropped();
}

bool HttpAnswer::alive() const { return protocol_ != nullptr && !protocol_->transport().ending(); }

bool HttpAnswer::begun() const { return protocol_ == nullptr || protocol_->answer_begun_; }

void HttpAnswer::send(const HttpAnswerHead& head, std::string_view body) {
  if (!alive()) return;
  const HttpServerLimits& limits = protocol_->site_.limits();
  // Nobody will want the rest of a long body any more; better to say so than to read it.
  if (!protocol_->request_whole_ && protocol_->request().content_length.value_or(0) > limits.discard_bytes_max) {
    protocol_->close_after_ = true;
  }
  protocol_->answer_begin(head, body.size());
  protocol_->answer_write(body);
  protocol_->answer_end();
}

void HttpAnswer::send(int status, std::string_view content_type, std::string_view body) {
  send(HttpAnswerHead(status, content_type), body);
}

void HttpAnswer::begin(const HttpAnswerHead& head, std::optional<std::uint64_t> length) {
  if (alive()) protocol_->answer_begin(head, length);
}

void HttpAnswer::write(std::string_view bytes) {
  if (alive()) protocol_->answer_write(bytes);
}

Result<std::size_t> HttpAnswer::write_file(int file, std::uint64_t offset, std::size_t bytes) {
  if (!alive()) return bytes;
  TAP_ASSERT(protocol_->answer_begun_ && !protocol_->answer_done_);
  return protocol_->answer_body_.write_file(protocol_->transport(), file, offset, bytes);
}

void HttpAnswer::end() {
  if (alive()) protocol_->answer_end();
}

bool HttpAnswer::congested() { return alive() && protocol_->transport().congested(); }

void HttpAnswer::when_room(std::function<void()> more) {
  if (!alive()) return;
  protocol_->room_ = std::move(more);
  if (!protocol_->transport().congested()) protocol_->go_on_later();
}

void HttpAnswer::abort(std::string_view why) {
  if (!alive()) return;
  HttpServerProtocol& protocol = *protocol_;
  protocol.detach_answer();
  protocol.transport().fail(why);
}

void HttpAnswer::take_over(const HttpAnswerHead& head, std::unique_ptr<Protocol> next) {
  if (alive()) protocol_->answer_taken_over(head, std::move(next));
}

void HttpServerProtocol::detach_answer() {
  if (answer_ != nullptr) std::exchange(answer_, nullptr)->protocol_ = nullptr;
}

/// Status line, fields, and what frames the body.
void HttpServerProtocol::answer_begin(const HttpAnswerHead& head, std::optional<std::uint64_t> length) {
  TAP_ASSERT(exchange_ && !answer_begun_);
  answer_begun_ = true;
  const int status = head.status();
  const bool no_body = status < 200 || status == 204 || status == 304;
  const bool bodyless = no_body || request().is("HEAD");
  // A client that was not told to go on may send its body or leave it out: nobody knows where the next request begins.
  if (head.closes() || continue_due_) close_after_ = true;
  using Form = HttpBodyWriter::Form;
  Form form = Form::chunked;
  if (length) form = Form::length;
  else if (bodyless) form = Form::none;
  else if (request().minor_version == 0) form = Form::until_close;
  if (form == Form::until_close) close_after_ = true;
  answer_body_.begin(form, length.value_or(0), bodyless);

  std::string& out = site_.scratch();
  answer_head_text(head, out);
  if (length && status >= 200 && status != 204) {
    out.append("Content-Length: ");
    append_decimal(out, *length);
    out.append("\r\n");
  } else if (form == Form::chunked) {
    out.append("Transfer-Encoding: chunked\r\n");
  }
  if (close_after_) out.append("Connection: close\r\n");
  else if (request().minor_version == 0) out.append("Connection: keep-alive\r\n");
  out.append("\r\n");
  transport().write(out);
}

void HttpServerProtocol::answer_head_text(const HttpAnswerHead& head, std::string& out) {
  append_status_line(out, head.status());
  if (!head.fields().has_date()) out.append(site_.date_line());
  out.append(head.fields().text());
}

void HttpServerProtocol::answer_write(std::string_view bytes) {
  TAP_ASSERT(answer_begun_ && !answer_done_);
  const char* wrong = answer_body_.write(transport(), bytes);
  if (wrong != nullptr) transport().fail(wrong);
}

void HttpServerProtocol::answer_end() {
  TAP_ASSERT(answer_begun_ && !answer_done_);
  if (transport().ending()) return;
  const char* wrong = answer_body_.end(transport());
  if (wrong != nullptr) transport().fail(wrong);
  else answer_over();
}

void HttpServerProtocol::answer_over() {
  answer_done_ = true;
  detach_answer();
  room_ = nullptr;
  if (in_pump_ || mode_ != Mode::serving) return;  // the pump goes on by itself
  if (!request_whole_ || !waiting_.empty() || peer_ended_) {
    go_on_later();
    return;
  }
  end_exchange(false);
  watch();
}

/// Whoever had it has let go of it.
void HttpServerProtocol::answer_dropped() {
  if (transport().ending() || answer_done_ || mode_ != Mode::serving) return;
  if (answer_begun_) transport().fail("the answer was not finished");
  else send_page(500, "the service gave no answer");
}

void HttpServerProtocol::send_page(int status, std::string_view reason) {
  HttpAnswerHead head(status, "text/plain");
  std::string body;
  append_decimal(body, static_cast<std::uint64_t>(status));
  body.append(" ").append(http_reason(status)).append(": ").append(reason).append("\n");
  answer_begin(head, body.size());
  answer_write(body);
  answer_end();
}

void HttpServerProtocol::answer_taken_over(const HttpAnswerHead& head, std::unique_ptr<Protocol> next) {
  TAP_ASSERT(exchange_ && !answer_begun_ && next != nullptr);
  if (!request_whole_) {
    transport().fail("the connection is taken over before the request's body has ended");
    return;
  }
  answer_begun_ = answer_done_ = true;
  detach_answer();
  room_ = nullptr;
  std::string& out = site_.scratch();
  answer_head_text(head, out);
  if (head.status() == 101) out.append("Connection: upgrade\r\n");
  out.append("\r\n");
  transport().write(out);
  next_ = std::move(next);
  mode_ = Mode::switching;
  exchange_ = false;
  if (!in_pump_) go_on_later();
}

}  // namespace tap::net
