#include "services/net/stream.hpp"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>

#include "services/net/address.hpp"
#include "services/net/memory_budget.hpp"
#include "services/net/stream_private.hpp"

namespace tap::net {

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
  clean_end_required_ = rules_.clean_end;
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
        const std::size_t size = owner == nullptr ? shared.size() : owner->takes_no_bytes() ? 0 : owner->readable_now();
        *buffer = uv_buf_init(shared.data(), static_cast<unsigned>(size));
      },
      [](uv_stream_t* stream, ssize_t got, const uv_buf_t* buffer) {
        StreamTransport* owner = reinterpret_cast<Box*>(stream)->owner;
        if (owner == nullptr || got == 0) return;
        Reactor& reactor = owner->reactor_;
        if (got > 0) owner->received({buffer->base, static_cast<std::size_t>(got)});
        else if (got == UV_ENOBUFS && owner->may_forward()) owner->forward();
        else if (got == UV_ENOBUFS && !owner->had_its_turn()) owner->wait_to_read();
        else if (got == UV_ENOBUFS) return;  // libuv comes back in the next turn
        else owner->read_failed(static_cast<int>(got));
        reactor.settle_if_due();  // the owner may be gone
      });
  if (status != 0) end(uv_failure(status, "reading"));
}

/// libuv goes on reading as long as each read fills the buffer, up to 32 times: for a protocol that works on what it
/// gets, that is long.
bool StreamTransport::had_its_turn() const { return full_turn_ == reactor_.turn_number(); }

void StreamTransport::received(std::string_view data) {
  owner_.stream_active(*this);
  if (rules_.rated()) spend_rate(data.size());
  const bool full = data.size() == Reactor::kReceiveBytesMax;
  if (full) full_turn_ = reactor_.turn_number();
  forward_due_ = forward_to_ != nullptr && full;
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
