#include "services/net/stream.hpp"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <exception>

#include "services/net/address.hpp"
#include "services/net/memory_budget.hpp"
#include "services/net/refusal.hpp"

namespace tap::net {

/// The libuv handle and the way back. After the owner has forgotten it, only the loop knows it, until it frees it.
struct StreamTransport::Box {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  StreamTransport* owner = nullptr;
};

/// The bytes belong to the loop from uv_write to its callback, whoever else goes meanwhile.
struct StreamTransport::WriteRequest {
  uv_write_t request{};
  Box* box = nullptr;
  std::string bytes;
};

namespace {

/// So much written at once, with nothing before it that waits, goes to the kernel at once: there is nothing to gain by
/// collecting it, and the copy of it would be the largest part of what forwarding costs.
constexpr std::size_t kDirectBytesMin = std::size_t{16} * 1024;

Error uv_failure(int status, const char* what) {
  return Error{Fault::internal, std::string(what) + ": " + uv_strerror(status)};
}

}  // namespace

StreamTransport::StreamTransport(Reactor& reactor, StreamOwner& owner)
    : reactor_(reactor), owner_(owner), rules_(owner.rules()), gate_(owner.gate()) {}

StreamTransport::~StreamTransport() {
  if (budgeted_bytes_ != 0) rules_.budget->changed(-static_cast<std::ptrdiff_t>(budgeted_bytes_));
  if (dirty_) reactor_.forget(*this);
  if (waiting_) gate_->forget(*this);
  if (held_accounted_ != 0) gate_->hold(-static_cast<std::ptrdiff_t>(held_accounted_));
  if (box_ != nullptr) {
    box_->owner = nullptr;
    uv_close(&box_->handle, [](uv_handle_t* handle) { delete reinterpret_cast<Box*>(handle); });
  }
}

/// The door to the protocol: what it throws ends this connection and nothing else.
template <class Code>
void StreamTransport::call_protocol(Code&& code) {
  const Reactor::Charge charge(reactor_, rules_.account);
  try {
    code();
  } catch (const Refusal&) {
    lose_connection();  // the answer to a request that cannot be told no
  } catch (const std::exception& thrown) {
    reactor_.count_exception(rules_.account);
    end_badly(std::string("the protocol threw: ") + thrown.what());
  } catch (...) {
    reactor_.count_exception(rules_.account);
    end_badly("the protocol threw something that is no exception");
  }
}

/// Said also when the connection has ended already: an exception is news at any time.
void StreamTransport::end_badly(std::string_view why) {
  reactor_.log().write(LogLevel::warning, owner_.service(), "connection of " + peer() + " closed: " + std::string(why));
  abort_connection();
}

Result<void> StreamTransport::make_box(StreamKind kind) {
  TAP_ASSERT(box_ == nullptr);
  auto box = std::make_unique<Box>();
  const int status =
      kind == StreamKind::tcp ? uv_tcp_init(reactor_.loop(), &box->tcp) : uv_pipe_init(reactor_.loop(), &box->pipe, 0);
  if (status != 0) return uv_failure(status, "making a handle");
  box->owner = this;
  box_ = box.release();
  return {};
}

Result<void> StreamTransport::open(Fd socket, StreamKind kind) {
  if (Result<void> made = make_box(kind); !made) return made;
  const int fd = socket.release();
  const int status = kind == StreamKind::tcp ? uv_tcp_open(&box_->tcp, fd) : uv_pipe_open(&box_->pipe, fd);
  if (status != 0) {
    const Fd closed(fd);
    return uv_failure(status, "taking over a socket");
  }
  return {};
}

Result<void> StreamTransport::accept(uv_stream_s* listener, StreamKind kind) {
  if (Result<void> made = make_box(kind); !made) return made;
  const int status = uv_accept(listener, &box_->stream);
  if (status != 0) return uv_failure(status, "accepting");
  if (kind == StreamKind::tcp) uv_tcp_nodelay(&box_->tcp, 1);
  TAP_ASSERT(uv_fileno(&box_->handle, &fd_) == 0);
  return {};
}

void StreamTransport::start(std::unique_ptr<Protocol> protocol) {
  TAP_ASSERT(box_ != nullptr && protocol != nullptr);
  TAP_ASSERT(uv_fileno(&box_->handle, &fd_) == 0);
  protocol_ = std::move(protocol);
  protocol_->attach(*this);
  call_protocol([this] { protocol_->connection_made(); });
  update_reading();
}

/// Reads exactly when somebody wants to and nothing speaks against it.
void StreamTransport::update_reading() {
  const bool want = phase_ == Phase::open && reading_wanted_ && !throttled_ && !read_ended_ && !draining_ &&
                    !rate_paused_ && !budget_stopped_;
  if (want == reading_ || box_ == nullptr) return;
  reading_ = want;
  if (!want) {
    uv_read_stop(&box_->stream);
    return;
  }
  const int status = uv_read_start(
      &box_->stream,
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        const std::span<char> shared = static_cast<Reactor*>(handle->loop->data)->receive_buffer();
        StreamTransport* owner = reinterpret_cast<Box*>(handle)->owner;
        const std::size_t size = owner == nullptr ? shared.size() : owner->readable_now();
        *buffer = uv_buf_init(shared.data(), static_cast<unsigned>(size));
      },
      [](uv_stream_t* stream, ssize_t got, const uv_buf_t* buffer) {
        StreamTransport* owner = reinterpret_cast<Box*>(stream)->owner;
        if (owner == nullptr || got == 0) return;
        Reactor& reactor = owner->reactor_;
        if (got > 0) owner->received({buffer->base, static_cast<std::size_t>(got)});
        else if (got == UV_ENOBUFS) owner->wait_to_read();
        else owner->read_failed(static_cast<int>(got));
        reactor.settle_if_due();  // the owner may be gone
      });
  if (status != 0) end(uv_failure(status, "reading"));
}

void StreamTransport::received(std::string_view data) {
  owner_.stream_active(*this);
  if (rules_.rated()) spend_rate(data.size());
  call_protocol([&] { protocol_->data_received(data); });
  account_buffers();
}

void StreamTransport::read_failed(int status) {
  if (status != UV_EOF) {
    end(uv_failure(status, "reading"));
    return;
  }
  read_ended_ = true;
  update_reading();
  call_protocol([this] { protocol_->end_received(); });
  if (half_closed_ && phase_ == Phase::open) end(Error{Fault::unavailable, "both sides have ended the connection"});
}

void StreamTransport::write(std::string_view bytes) {
  if (phase_ != Phase::open || half_close_wanted_) return;
  mark();
  if (bytes.size() >= kDirectBytesMin && out_.empty() && writing_bytes_ == 0 && marks_.empty()) {
    const ssize_t sent = send_now(bytes.data(), bytes.size());
    if (sent < 0) {
      end(uv_failure(static_cast<int>(sent), "writing"));
      return;
    }
    if (sent > 0) owner_.stream_active(*this);
    bytes.remove_prefix(static_cast<std::size_t>(sent));
    out_end_ += static_cast<std::size_t>(sent);
    if (bytes.empty()) {
      flush_at_turn_end();
      return;
    }
  }
  if (out_.empty() && bytes.size() > out_.capacity()) out_ = reactor_.take_buffer();
  out_.append(bytes);
  out_end_ += bytes.size();
  if (unsent_bytes() > kUnsentBytesMax) {
    fail("more than " + std::to_string(kUnsentBytesMax) + " bytes wait to be sent to a peer that does not read");
    return;
  }
  if (!throttled_ && should_throttle()) {
    throttled_ = true;
    update_reading();
  }
  flush_at_turn_end();
}

bool StreamTransport::should_throttle() {
  if (held() && gate_->crowded()) return true;
  return !read_while_congested_ && unsent_bytes() > rules_.write_buffer_bytes;
}

void StreamTransport::end_throttle() {
  if (!throttled_ || (held() && gate_->crowded())) return;
  throttled_ = false;
  update_reading();
}

void StreamTransport::read_while_congested(bool wanted) {
  read_while_congested_ = wanted;
  if (wanted) end_throttle();
}

void StreamTransport::flush_at_turn_end() {
  if (dirty_) return;
  dirty_ = true;
  reactor_.flush_later(*this);
}

/// What is said next may reveal everything that has happened up to now.
void StreamTransport::mark() {
  if (gate_ == nullptr || !gate_->closed()) return;
  const std::uint64_t position = gate_->last();
  if (!marks_.empty()) {
    Mark& newest = marks_.back();
    if (newest.position == position) return;
    if (newest.position > gate_->sealed()) {  // they will be passed together
      newest.position = position;
      return;
    }
  }
  marks_.push_back({out_end_, position});
}

/// How much of out_ may leave now.
std::size_t StreamTransport::sendable() {
  while (!marks_.empty() && marks_.front().position <= gate_->passed()) marks_.erase(marks_.begin());
  if (marks_.empty()) return out_.size() - out_sent_;
  if (!waiting_) {
    waiting_ = true;
    gate_->wait(*this);
  }
  const std::uint64_t sent_end = out_end_ - (out_.size() - out_sent_);
  return static_cast<std::size_t>(marks_.front().begin - std::min(marks_.front().begin, sent_end));
}

void StreamTransport::gate_passed() {
  waiting_ = false;
  flush_at_turn_end();
}

void StreamTransport::account_held() {
  const auto held_now = static_cast<std::uint32_t>(held() ? out_.size() - out_sent_ : 0);
  if (held_now == held_accounted_) return;
  gate_->hold(static_cast<std::ptrdiff_t>(held_now) - static_cast<std::ptrdiff_t>(held_accounted_));
  held_accounted_ = held_now;
}

/// What the kernel takes at once, by the shortest way: uv_try_write would come to write(2) in the end, which does more than
/// send(2) for a socket. A negative answer is libuv's error code.
ssize_t StreamTransport::send_now(const char* bytes, std::size_t size) const {
  for (;;) {
    const ssize_t sent = ::send(fd_, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return sent;
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : uv_translate_sys_error(errno);
  }
}

void StreamTransport::flush() {
  dirty_ = false;
  if (box_ == nullptr) return;
  if (writing_bytes_ != 0) {
    account_buffers();  // what was written meanwhile waits, and is counted
    owner_.output_waits(*this);
    return;
  }
  const std::size_t may = sendable();
  if (may != 0) {
    const ssize_t sent = send_now(out_.data() + out_sent_, may);
    if (sent < 0) {
      end(uv_failure(static_cast<int>(sent), "writing"));
      return;
    }
    if (sent > 0) {
      owner_.stream_active(*this);
      out_sent_ += static_cast<std::uint32_t>(sent);
    }
    const std::size_t rest = may - static_cast<std::size_t>(sent);
    if (rest != 0) {
      send_piece(rest);
      owner_.output_waits(*this);
      account_buffers();
      return;
    }
    if (out_sent_ != out_.size() && out_sent_ > out_.size() / 2) out_.erase(0, std::exchange(out_sent_, 0));
  }
  if (out_sent_ == out_.size()) {
    // An idle connection keeps no buffer, whether the kernel took the last of it at once or piece by piece.
    if (out_.capacity() > std::string().capacity()) reactor_.give_buffer(std::exchange(out_, std::string()));
    out_.clear();
    out_sent_ = 0;
  }
  account_held();
  account_buffers();
  after_output();
}

/// Leaves the next piece to the loop, which tells when it is sent. Not all of the rest: libuv says nothing of a write
/// that is half through, and a peer that reads slowly is not idle.
void StreamTransport::send_piece(std::size_t bytes_max) {
  auto* request = new WriteRequest;
  request->request.data = request;
  request->box = box_;
  request->bytes = out_.substr(out_sent_, std::min(bytes_max, kPieceBytesMax));
  writing_bytes_ = static_cast<std::uint32_t>(request->bytes.size());
  out_sent_ += writing_bytes_;
  if (out_sent_ > out_.size() / 2) out_.erase(0, std::exchange(out_sent_, 0));
  const uv_buf_t buffer = uv_buf_init(request->bytes.data(), writing_bytes_);
  const int status = uv_write(&request->request, &box_->stream, &buffer, 1, [](uv_write_t* done, int result) {
    const std::unique_ptr<WriteRequest> finished(static_cast<WriteRequest*>(done->data));
    StreamTransport* owner = finished->box->owner;
    if (owner != nullptr) owner->written(finished->bytes.size(), result);
  });
  if (status != 0) {
    delete request;
    writing_bytes_ = 0;
    end(uv_failure(status, "writing"));
    return;
  }
}

void StreamTransport::written(std::size_t bytes, int status) {
  TAP_ASSERT(bytes == writing_bytes_);
  writing_bytes_ = 0;
  if (status != 0) {
    end(uv_failure(status, "writing"));
    return;
  }
  owner_.stream_active(*this);
  flush();
}

/// Something was sent, or there was nothing to send: goes on with whatever waited for that.
void StreamTransport::after_output() {
  if (phase_ == Phase::ended) return;
  if (read_while_congested_) end_throttle();
  if (unsent_bytes() > rules_.write_buffer_bytes / 4) return;
  end_throttle();
  if (drain_wanted_) {
    drain_wanted_ = file_waits_ = false;
    call_protocol([this] { protocol_->output_drained(); });
  }
  if (phase_ == Phase::ended || unsent_bytes() != 0 || held()) return;
  if (phase_ == Phase::finishing) {
    end_gently("the connection was ended by us");
    return;
  }
  if (half_close_wanted_ && !half_closed_) {
    half_closed_ = true;
    int fd = -1;
    if (uv_fileno(&box_->handle, &fd) == 0) ::shutdown(fd, SHUT_WR);
    if (read_ended_) end(Error{Fault::unavailable, "both sides have ended the connection"});
  }
  if (draining_ && phase_ == Phase::open && !protocol_->owes_answer()) end_drained();
}

/// Once what was owed is sent, the protocol may say a last thing; then this comes again.
void StreamTransport::end_drained() {
  if (!stop_told_) {
    stop_told_ = true;
    call_protocol([this] { protocol_->before_stop(); });
    if (phase_ == Phase::open && (unsent_bytes() != 0 || held())) return;
  }
  if (phase_ == Phase::open) end_gently("the service stops");
}

void StreamTransport::lose_connection() {
  if (phase_ != Phase::open) return;
  mark();  // an end tells something too
  phase_ = Phase::finishing;
  update_reading();
  flush_at_turn_end();  // the end comes from there, not from inside this call
}

void StreamTransport::lose_write_connection() {
  if (phase_ != Phase::open) return;
  mark();
  half_close_wanted_ = true;
  flush_at_turn_end();
}

/// The way to a reset: with a zero linger, close(2) drops what is unsent (socket(7)).
void StreamTransport::linger_hard(bool hard) const {
  int fd = -1;
  if (uv_fileno(&box_->handle, &fd) != 0) return;
  const linger zero{hard ? 1 : 0, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &zero, sizeof zero);
}

/// The kernel closes the sockets of a process that dies, and does with each as was said before.
void StreamTransport::require_clean_end() {
  if (phase_ == Phase::ended || clean_end_required_) return;
  clean_end_required_ = true;
  linger_hard(true);
}

void StreamTransport::abort_connection() {
  if (phase_ == Phase::ended) return;
  aborted_ = true;
  linger_hard(true);
  end(Error{Fault::unavailable, "the connection was aborted by us"});
}

void StreamTransport::fail(std::string_view why) {
  if (phase_ != Phase::ended) end_badly(why);
}

void StreamTransport::pause_reading() {
  reading_wanted_ = false;
  update_reading();
}

void StreamTransport::resume_reading() {
  reading_wanted_ = true;
  update_reading();
}

bool StreamTransport::congested() {
  if (unsent_bytes() <= rules_.write_buffer_bytes && !file_waits_) return false;
  drain_wanted_ = true;
  return true;
}

std::string StreamTransport::peer() const {
  int fd = -1;
  if (box_ == nullptr || uv_fileno(&box_->handle, &fd) != 0) return ending_ ? ending_->peer : "a peer that has gone";
  return peer_address_text(fd);
}

bool StreamTransport::peer_took_bytes() {
  int fd = -1;
  int unsent = 0;
  if (uv_fileno(&box_->handle, &fd) != 0 || ::ioctl(fd, SIOCOUTQ, &unsent) != 0) return false;
  return std::exchange(kernel_unsent_, unsent) != unsent;
}

void StreamTransport::drain() {
  if (phase_ == Phase::ended || draining_) return;
  draining_ = true;
  update_reading();
  if (phase_ == Phase::open) call_protocol([this] { protocol_->service_stops(); });
  flush_at_turn_end();
}

/// Everything is handed to the kernel, which goes on sending after us. What the peer has sent meanwhile is read and
/// dropped: closing a socket with unread bytes sends a reset, which can overtake our last answer (RFC 1122, 4.2.2.13).
void StreamTransport::end_gently(std::string_view why) {
  if (clean_end_required_) linger_hard(false);
  int fd = -1;
  if (uv_fileno(&box_->handle, &fd) == 0) {
    // A connection that both sides have closed has no peer any more (getpeername(2), ENOTCONN).
    ending_ = std::make_unique<Ending>(Ending{Error{Fault::unavailable, std::string(why)}, peer()});
    ::shutdown(fd, SHUT_WR);
    const std::span<char> scratch = reactor_.receive_buffer();
    for (int i = 0; !read_ended_ && i < 16 && ::recv(fd, scratch.data(), scratch.size(), MSG_DONTWAIT) > 0; ++i)
      continue;
  }
  end(Error{Fault::unavailable, std::string(why)});
}

/// Lets go of the handle and tells the owner. The protocol hears of it from the owner's next turn.
void StreamTransport::end(Error reason) {
  if (phase_ == Phase::ended) return;
  phase_ = Phase::ended;
  if (unsent_bytes() != 0 && !aborted_) {
    reactor_.log().write(LogLevel::info, owner_.service(),
                         "connection of " + peer() + " was lost with " + std::to_string(unsent_bytes()) +
                             " bytes unsent: " + reason.message);
  }
  if (ending_ == nullptr) ending_ = std::make_unique<Ending>(Ending{Error{Fault::internal, ""}, peer()});
  ending_->reason = std::move(reason);
  box_->owner = nullptr;
  uv_close(&box_->handle, [](uv_handle_t* handle) { delete reinterpret_cast<Box*>(handle); });
  box_ = nullptr;
  account_buffers();
  owner_.stream_ended(*this);
}

void StreamTransport::tell_protocol_lost() {
  TAP_ASSERT(phase_ == Phase::ended);
  if (protocol_ == nullptr) return;
  call_protocol([this] { protocol_->connection_lost(ending_->reason); });
}

}  // namespace tap::net
