#include "services/net/http/client_protocol.hpp"

#include <exception>
#include <utility>

#include "services/net/http/syntax.hpp"

namespace tap::net {

HttpRequest::HttpRequest(HttpClientProtocol& protocol) : protocol_(&protocol) { protocol.request_ = this; }

HttpRequest::HttpRequest(HttpRequest&& other) noexcept : protocol_(std::exchange(other.protocol_, nullptr)) {
  if (protocol_ != nullptr) protocol_->request_ = this;
}

HttpRequest& HttpRequest::operator=(HttpRequest&& other) noexcept {
  if (this == &other) return *this;
  let_go();
  protocol_ = std::exchange(other.protocol_, nullptr);
  if (protocol_ != nullptr) protocol_->request_ = this;
  return *this;
}

HttpRequest::~HttpRequest() { let_go(); }

void HttpRequest::let_go() {
  if (protocol_ == nullptr) return;
  HttpClientProtocol& protocol = *std::exchange(protocol_, nullptr);
  protocol.request_ = nullptr;
  protocol.request_dropped();
}

bool HttpRequest::alive() const { return protocol_ != nullptr && !protocol_->transport().ending(); }

void HttpRequest::write(std::string_view bytes) {
  if (!alive() || protocol_->request_sent_) return;
  const char* wrong = protocol_->body_.write(protocol_->transport(), bytes);
  if (wrong != nullptr) protocol_->transport().fail(wrong);
}

void HttpRequest::end() {
  if (alive() && !protocol_->request_sent_) protocol_->end_body();
}

bool HttpRequest::congested() { return alive() && protocol_->transport().congested(); }

void HttpRequest::when_room(std::function<void()> more) {
  if (!alive()) return;
  protocol_->room_ = std::move(more);
  if (!protocol_->transport().congested()) protocol_->go_on_later();
}

void HttpRequest::pause_body() {
  if (protocol_ != nullptr) protocol_->body_paused_ = true;
}

void HttpRequest::resume_body() {
  if (protocol_ != nullptr && std::exchange(protocol_->body_paused_, false)) protocol_->go_on_later();
}

HttpClientProtocol::~HttpClientProtocol() { detach(); }

void HttpClientProtocol::detach() {
  room_ = nullptr;
  reader_ = nullptr;
  if (request_ != nullptr) std::exchange(request_, nullptr)->protocol_ = nullptr;
}

void HttpClientProtocol::request_dropped() {
  detach();
  if (busy_) transport().abort_connection();
}

Result<HttpRequest> HttpClientProtocol::send(const HttpOutgoing& request, HttpResponseReader& reader) {
  TAP_ASSERT(idle());
  if (!is_token(request.method) || request.method == "CONNECT") {
    return Error{Fault::usage, "'" + std::string(request.method) + "' is no method for a request"};
  }
  if (request.target.empty() || !all_of_class(request.target, http_bytes::kTarget)) {
    return Error{Fault::usage, "the target '" + std::string(request.target) + "' cannot be sent"};
  }
  if (!parse_authority(request.host)) {
    return Error{Fault::usage, "'" + std::string(request.host) + "' is neither a host nor a host and a port"};
  }
  using Form = HttpBodyWriter::Form;
  Form form = Form::none;
  if (request.chunked) form = Form::chunked;
  else if (request.body_bytes) form = Form::length;
  body_.begin(form, request.body_bytes.value_or(0));
  std::string head;
  head.append(request.method).append(" ").append(request.target).append(" HTTP/1.1\r\nHost: ").append(request.host);
  head.append("\r\n");
  if (request.fields != nullptr) head.append(request.fields->text());
  if (form == Form::chunked) head.append("Transfer-Encoding: chunked\r\n");
  if (form == Form::length) {
    head.append("Content-Length: ");
    append_decimal(head, *request.body_bytes);
    head.append("\r\n");
  }
  transport().write(head.append("\r\n"));
  parser_.answering_head(request.method == "HEAD");
  reader_ = &reader;
  busy_ = true;
  body_paused_ = false;
  interim_ = 0;
  request_sent_ = form == Form::none;
  return HttpRequest(*this);
}

void HttpClientProtocol::end_body() {
  const char* wrong = body_.end(transport());
  if (wrong != nullptr) transport().fail(wrong);
  request_sent_ = true;
  room_ = nullptr;
}

void HttpClientProtocol::connection_made() {
  connected_ = true;
  became_idle();
}

void HttpClientProtocol::data_received(std::string_view data) {
  if (!waiting_.empty()) {
    waiting_.append(data);
    go_on();
  } else {
    keep(pump(data));
  }
}

void HttpClientProtocol::end_received() {
  peer_ended_ = true;
  go_on();
}

void HttpClientProtocol::output_drained() { go_on(); }

void HttpClientProtocol::connection_lost(const Error& reason) {
  resume_.cancel();
  HttpResponseReader* reader = reader_;
  detach();
  if (std::exchange(busy_, false) && reader != nullptr) reader->response_failed(reason);
  ended(reason);
}

std::string_view HttpClientProtocol::pump(std::string_view input) {
  while (!transport().ending()) {
    if (!busy_) {
      if (!input.empty()) fail("the server speaks without having been asked");
      break;
    }
    if (body_paused_) break;
    const HttpEvent event = parser_.next(input);
    if (event == HttpEvent::need_more) break;
    if (event == HttpEvent::end && parser_.head().status >= 200 && !input.empty()) {
      // It was whole, and is told so; but who sends more than was asked for may have meant another request.
      reusable_ = false;
    }
    take(event);
  }
  return input;
}

void HttpClientProtocol::take(HttpEvent event) {
  const int status = parser_.head().status;
  switch (event) {
    case HttpEvent::head:
      if (status >= 200) reader_->response_received(parser_.head());
      else if (status == 101) fail("the server switches to a protocol that nobody has asked for");
      break;
    case HttpEvent::body:
      reader_->body_received(parser_.body());
      break;
    case HttpEvent::end:
      if (status >= 200) response_over();
      else if (++interim_ > kInterimMax) fail("the server sends one interim response after another");
      else parser_.restart();
      break;
    case HttpEvent::failed:
      fail(parser_.failure().reason);
      break;
    case HttpEvent::need_more:
      break;
  }
}

/// The connection is used again only when both sides have said all and neither wants it to end.
void HttpClientProtocol::response_over() {
  HttpResponseReader* reader = reader_;
  if (!parser_.head().keep_alive || !request_sent_ || peer_ended_) reusable_ = false;
  detach();
  reader->response_ended();
  busy_ = false;
  if (transport().ending()) return;
  if (!reusable_) {
    transport().lose_connection();
    return;
  }
  parser_.restart();
  became_idle();
}

void HttpClientProtocol::fail(std::string reason) {
  HttpResponseReader* reader = reader_;
  busy_ = reusable_ = false;
  detach();
  transport().fail(reason);
  if (reader != nullptr) reader->response_failed(Error{Fault::damaged, std::move(reason)});
}

void HttpClientProtocol::keep(std::string_view rest) {
  if (rest.data() != waiting_.data()) waiting_.assign(rest);
  if (waiting_.empty() && waiting_.capacity() > std::string().capacity()) waiting_ = std::string();
  if (transport().ending()) return;
  const bool pause = !waiting_.empty();
  if (pause != reading_paused_) {
    reading_paused_ = pause;
    if (pause) transport().pause_reading();
    else transport().resume_reading();
  }
  if (!peer_ended_ || pause || body_paused_) return;
  if (!busy_) {
    transport().lose_connection();
    return;
  }
  switch (parser_.finish()) {
    case HttpEvent::end:
      take(HttpEvent::end);
      break;
    case HttpEvent::failed:
      fail(parser_.failure().reason);
      break;
    default:
      fail("the server has ended the connection without a response");
      break;
  }
}

void HttpClientProtocol::go_on() {
  resume_.cancel();
  if (room_ && !transport().ending() && !transport().congested()) std::exchange(room_, nullptr)();
  const std::size_t left = pump(waiting_).size();
  waiting_.erase(0, waiting_.size() - left);
  keep(waiting_);
}

void HttpClientProtocol::go_on_later() {
  if (resume_.active()) return;
  resume_ = reactor_.call_later(0, [this] {
    if (transport().ending()) return;
    try {
      go_on();
    } catch (const std::exception& thrown) {
      transport().fail(std::string("the protocol threw: ") + thrown.what());
    } catch (...) {
      transport().fail("the protocol threw something that is no exception");
    }
  });
}

}  // namespace tap::net
