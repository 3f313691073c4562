#include "services/net/http/server_protocol.hpp"

#include <exception>
#include <utility>

#include "services/net/refusal.hpp"

namespace tap::net {
namespace {

/// Sets a flag for the length of a scope, whichever way it is left.
class During {
 public:
  explicit During(bool& flag) : flag_(flag) { flag_ = true; }
  During(const During&) = delete;
  During& operator=(const During&) = delete;
  ~During() { flag_ = false; }

 private:
  bool& flag_;
};

}  // namespace

HttpServerProtocol::HttpServerProtocol(HttpSite& site) : site_(site), parser_(site.limits().message) {}

HttpServerProtocol::~HttpServerProtocol() { detach_answer(); }

void HttpServerProtocol::connection_made() {
  head_timed_ = true;
  watch_until(site_.reactor().now_ms() + site_.limits().head_timeout_ms);
}

void HttpServerProtocol::data_received(std::string_view data) {
  if (mode_ == Mode::switched) {
    next_->data_received(data);
  } else if (!waiting_.empty()) {
    waiting_.append(data);
    go_on();
  } else {
    keep(pump(data));
  }
}

void HttpServerProtocol::end_received() {
  peer_ended_ = true;
  if (mode_ == Mode::switched) next_->end_received();
  else if (mode_ == Mode::lingering) transport().lose_connection();
  else go_on();
}

void HttpServerProtocol::output_drained() {
  if (mode_ == Mode::switched) next_->output_drained();
  else go_on();
}

void HttpServerProtocol::connection_lost(const Error& reason) {
  resume_.cancel();
  deadline_.cancel();
  detach_answer();
  room_ = nullptr;
  if (mode_ == Mode::switched) next_->connection_lost(reason);
  else if (std::exchange(exchange_, false) && !answer_done_) request_lost(reason);
}

bool HttpServerProtocol::owes_answer() const {
  if (mode_ == Mode::switched) return next_->owes_answer();
  if (mode_ == Mode::lingering) return false;
  if (resume_.active() || (exchange_ && request_whole_)) return true;
  return !exchange_ && waiting_.find("\r\n\r\n") != std::string::npos;
}

void HttpServerProtocol::service_stops() {
  if (mode_ == Mode::switched) next_->service_stops();
}

void HttpServerProtocol::before_stop() {
  if (mode_ == Mode::switched) next_->before_stop();
}

std::size_t HttpServerProtocol::buffered_bytes() const {
  const std::size_t waiting = waiting_.capacity() > std::string().capacity() ? waiting_.capacity() : 0;
  return waiting + parser_.buffered_bytes() + (next_ != nullptr ? next_->buffered_bytes() : 0);
}

/// Takes from `input` what can be handled now and returns the rest.
std::string_view HttpServerProtocol::pump(std::string_view input) {
  const During pumping(in_pump_);
  while (!transport().ending()) {
    if (mode_ == Mode::lingering) {
      dropped_bytes_ += input.size();
      input = {};
      if (dropped_bytes_ > site_.limits().linger_bytes_max) transport().lose_connection();
      break;
    }
    if (mode_ != Mode::serving) break;
    if (exchange_ && answer_done_) {
      if (request_whole_) end_exchange(!input.empty());
      else if (close_after_ || dropped_bytes_ > site_.limits().discard_bytes_max) linger();
      if (!exchange_ || mode_ != Mode::serving) continue;
    }
    if (!may_go_on()) break;
    const HttpEvent event = parser_.next(input);
    if (event == HttpEvent::need_more) break;
    take(event);
  }
  return input;
}

bool HttpServerProtocol::may_go_on() {
  if (!exchange_) return !transport().congested();
  return !request_whole_ && (!body_paused_ || answer_done_);
}

void HttpServerProtocol::take(HttpEvent event) {
  switch (event) {
    case HttpEvent::head:
      begin_exchange();
      break;
    case HttpEvent::body:
      if (answer_done_) dropped_bytes_ += parser_.body().size();
      else call([this] { body_received(parser_.body()); });
      break;
    case HttpEvent::end:
      request_whole_ = true;
      if (!answer_done_) call([this] { body_ended(); });
      break;
    case HttpEvent::failed:
      refuse();
      break;
    case HttpEvent::need_more:
      break;
  }
}

void HttpServerProtocol::begin_exchange() {
  const HttpRequestHead& head = parser_.head();
  ++site_.counts().requests;
  exchange_ = true;
  request_whole_ = answer_begun_ = answer_done_ = body_paused_ = false;
  close_after_ = !head.keep_alive;
  continue_due_ = head.expects_continue;
  dropped_bytes_ = 0;
  if (!head.has_body()) {
    std::string_view nothing;
    request_whole_ = parser_.next(nothing) == HttpEvent::end;
  }
  call([&] { request_received(head, HttpAnswer(*this)); });
  if (!request_whole_) send_continue();
  else if (exchange_ && !answer_done_ && mode_ == Mode::serving) call([this] { body_ended(); });
}

/// The door to the author's code. What it throws but a Refusal goes on to the transport, which ends the connection.
template <class Code>
void HttpServerProtocol::call(Code code) {
  answer_forgotten_ = false;
  try {
    const During calling(in_call_);
    code();
  } catch (const Refusal& refusal) {
    if (answer_begun_ || mode_ != Mode::serving) throw;
    detach_answer();
    send_page(503, refusal.what());
    return;
  }
  if (std::exchange(answer_forgotten_, false)) answer_dropped();
}

void HttpServerProtocol::send_continue() {
  if (!continue_due_ || answer_begun_ || body_paused_ || mode_ != Mode::serving) return;
  continue_due_ = false;
  transport().write("HTTP/1.1 100 Continue\r\n\r\n");
}

void HttpServerProtocol::resume_body() {
  if (!std::exchange(body_paused_, false) || !exchange_) return;
  send_continue();
  if (!in_pump_) go_on_later();
}

void HttpServerProtocol::end_exchange(bool more_input) {
  exchange_ = false;
  if (!close_after_) {
    parser_.restart();
    head_timed_ = false;
  } else if (more_input) {
    linger();
  } else {
    transport().lose_connection();
  }
}

/// The peer has sent what cannot be understood.
void HttpServerProtocol::refuse() {
  const HttpFailure failure = parser_.failure();
  ++site_.counts().refused;
  if (exchange_ && answer_done_) {
    linger();
    return;
  }
  if (exchange_) {
    detach_answer();
    call([&] { request_lost(Error{Fault::damaged, failure.reason}); });
    if (answer_begun_) {
      transport().fail(failure.reason);
      return;
    }
  }
  answer_for_nobody(failure.status, failure.reason);
}

/// The last answer of this connection, to what never became a request, or stopped being one.
void HttpServerProtocol::answer_for_nobody(int status, const char* reason) {
  Reactor& reactor = site_.reactor();
  reactor.log().write(LogLevel::info, reactor.name_of(reactor.charged()),
                      "refused a request of " + transport().peer() + " with " + std::to_string(status) + ": " + reason);
  exchange_ = close_after_ = true;
  answer_begun_ = answer_done_ = request_whole_ = false;
  send_page(status, reason);
  linger();
}

/// Goes on with what waited: for room, for an answer, for the author.
void HttpServerProtocol::go_on() {
  resume_.cancel();
  if (room_ && !transport().ending() && !transport().congested()) call(std::exchange(room_, nullptr));
  const std::size_t left = pump(waiting_).size();
  waiting_.erase(0, waiting_.size() - left);
  keep(waiting_);
}

/// From a turn of its own: nobody is called back from inside of what he calls.
void HttpServerProtocol::go_on_later() {
  if (resume_.active()) return;
  resume_ = site_.reactor().call_later(0, [this] {
    if (transport().ending()) return;
    try {
      go_on();
    } catch (const Refusal&) {
      transport().lose_connection();
    } catch (const std::exception& thrown) {
      transport().fail(std::string("the protocol threw: ") + thrown.what());
    } catch (...) {
      transport().fail("the protocol threw something that is no exception");
    }
  });
}

/// After each pump(): what is left waits, and reading with it.
void HttpServerProtocol::keep(std::string_view rest) {
  if (rest.data() != waiting_.data()) waiting_.assign(rest);
  if (waiting_.empty() && waiting_.capacity() > std::string().capacity()) waiting_ = std::string();
  if (transport().ending()) return;
  const bool pause = !waiting_.empty() && mode_ == Mode::serving;
  if (pause != reading_paused_) {
    reading_paused_ = pause;
    if (pause) transport().pause_reading();
    else transport().resume_reading();
  }
  if (mode_ == Mode::switching) {
    hand_over(std::exchange(waiting_, std::string()));
    return;
  }
  if (peer_ended_ && waiting_.empty() && mode_ == Mode::serving) {
    if (!exchange_) transport().lose_connection();
    else if (!request_whole_ && parser_.finish() == HttpEvent::failed) refuse();
  }
  watch();
}

void HttpServerProtocol::hand_over(std::string_view rest) {
  mode_ = Mode::switched;
  tell_request();
  deadline_.cancel();
  next_->attach(transport());
  next_->connection_made();
  if (!rest.empty() && !transport().ending()) next_->data_received(rest);
  if (peer_ended_ && !transport().ending()) next_->end_received();
}

/// We have said our last word. The peer hears it only if we go on reading what it sends: a reset would overtake it
/// (RFC 9112 section 9.6).
void HttpServerProtocol::linger() {
  mode_ = Mode::lingering;
  exchange_ = false;
  dropped_bytes_ = 0;
  if (peer_ended_) {
    transport().lose_connection();
    return;
  }
  tell_request();
  transport().lose_write_connection();
  if (std::exchange(reading_paused_, false)) transport().resume_reading();
  watch_until(site_.reactor().now_ms() + site_.limits().linger_ms);
}

/// A request that has begun has the deadline of its transport, until its last byte. While we do not want its body it is
/// not the peer who is slow.
void HttpServerProtocol::tell_request() {
  const bool open = mode_ == Mode::serving && (exchange_ ? !request_whole_ && !body_paused_ : parser_.inside_head());
  if (open == request_told_) return;
  request_told_ = open;
  if (open) transport().request_begins();
  else transport().request_ends();
}

void HttpServerProtocol::watch() {
  tell_request();
  if (mode_ != Mode::serving) return;
  if (exchange_) {
    deadline_ms_ = 0;
  } else if (!parser_.inside_head()) {
    if (!head_timed_) watch_until(site_.reactor().now_ms() + site_.limits().keep_alive_ms);
  } else if (!std::exchange(head_timed_, true)) {
    watch_until(site_.reactor().now_ms() + site_.limits().head_timeout_ms);
  }
}

/// The timer is left alone when it comes first anyway: a deadline moves with every request, a timer costs.
void HttpServerProtocol::watch_until(std::uint64_t deadline_ms) {
  deadline_ms_ = deadline_ms;
  if (deadline_.active() && deadline_set_for_ms_ <= deadline_ms) return;
  deadline_set_for_ms_ = deadline_ms;
  const std::uint64_t now = site_.reactor().now_ms();
  deadline_ = site_.reactor().call_later(deadline_ms > now ? deadline_ms - now : 0, [this] { deadline_passed(); });
}

void HttpServerProtocol::deadline_passed() {
  if (deadline_ms_ == 0 || transport().ending()) return;
  if (site_.reactor().now_ms() < deadline_ms_) {
    watch_until(deadline_ms_);
    return;
  }
  if (mode_ == Mode::lingering || !parser_.inside_head()) {
    transport().lose_connection();
    return;
  }
  ++site_.counts().timed_out;
  answer_for_nobody(408, "the head did not come in time");
}

}  // namespace tap::net
