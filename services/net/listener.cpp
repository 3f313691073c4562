#include "services/net/listener.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <uv.h>

#include <algorithm>

namespace tap::net {

/// As in stream.cpp: the loop frees it.
struct Listener::Box {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  Listener* owner = nullptr;
};

Listener::Listener(Reactor& reactor, Factory& factory, std::string service, ListenerLimits limits, Gate* gate)
    : reactor_(reactor),
      service_(service),
      connections_(reactor, factory, std::move(service), limits, gate),
      keepalive_ms_(limits.keepalive_ms),
      clean_end_(limits.clean_end) {
  if (limits.connect_rate == 0) return;
  rate_ = TokenBucket(limits.connect_rate, limits.connect_burst == 0 ? limits.connect_rate : limits.connect_burst);
}

Listener::~Listener() { close(); }

Result<void> Listener::listen(Fd bound, StreamKind kind, int backlog) {
  kind_ = kind;
  backlog_ = backlog;
  if (kind == StreamKind::tcp && keepalive_ms_ != 0) ask_keepalive(bound.get());
  if (kind == StreamKind::tcp) ask_clean_end(bound.get());
  spare_.reset(::fcntl(bound.get(), F_DUPFD_CLOEXEC, 3));
  Result<void> opened = open(std::move(bound));
  if (!opened) spare_.reset();
  return opened;
}

Result<void> Listener::open(Fd bound) {
  TAP_ASSERT(box_ == nullptr);
  box_ = new Box;
  box_->owner = this;
  const bool tcp = kind_ == StreamKind::tcp;
  int status = tcp ? uv_tcp_init(reactor_.loop(), &box_->tcp) : uv_pipe_init(reactor_.loop(), &box_->pipe, 0);
  TAP_ASSERT(status == 0);
  status = tcp ? uv_tcp_open(&box_->tcp, bound.get()) : uv_pipe_open(&box_->pipe, bound.get());
  if (status == 0) {
    (void)bound.release();
    status = uv_listen(&box_->stream, backlog_, [](uv_stream_t* stream, int result) {
      Listener* owner = reinterpret_cast<Box*>(stream)->owner;
      if (owner != nullptr) owner->incoming(result);
    });
  }
  if (status != 0) {
    let_go();
    return Error{Fault::unavailable, std::string("cannot listen: ") + uv_strerror(status)};
  }
  return {};
}

void Listener::incoming(int status) {
  if (status == 0) {
    failing_ = false;
    take_next();
    return;
  }
  ++failed_accepts_;
  if (!failing_) {
    reactor_.log().write(LogLevel::error, service_, std::string("cannot accept a connection: ") + uv_strerror(status));
  }
  failing_ = true;
  // libuv tries again without end, from inside this turn, until the handle is closed.
  let_go();
  retry_ = reactor_.call_later(kAcceptPauseMs, [this] { try_again(); });
}

/// What the listening socket is asked for, the connections that come through it have too (tcp(7)). A peer that does not
/// answer three probes is gone, after twice the time.
void Listener::ask_keepalive(int socket) const {
  const int on = 1;
  const int probes = 3;
  const int idle_s = static_cast<int>(std::max<std::uint64_t>(keepalive_ms_ / 1000, 1));
  const int interval_s = std::max(idle_s / probes, 1);
  ::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

/// The same way a connection has its linger before anybody can say so: between accept(2) and the first call of its
/// protocol this process may die. Said either way, because the socket may have had another owner.
void Listener::ask_clean_end(int socket) const {
  const linger zero{clean_end_ ? 1 : 0, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &zero, sizeof zero);
}

bool Listener::descriptors_left() {
  DescriptorReserve& reserve = reactor_.descriptors();
  if (reserve.enough()) return true;
  if (short_said_.active()) return false;
  reactor_.log().write(LogLevel::warning, service_,
                       "new connections wait: " + std::to_string(reserve.reserve()) + " of " +
                           std::to_string(reserve.limit()) +
                           " descriptors are left, and are kept for the journal and the logs (RLIMIT_NOFILE)");
  short_said_ = reactor_.call_later(kShortSaidMs, [this] {
    if (!reactor_.descriptors().enough()) return;
    reactor_.log().write(LogLevel::info, service_, "accepting connections again: there are descriptors");
  });
  return false;
}

/// libuv has accepted one; while we leave it there, it polls no more, and the rest waits in the backlog.
void Listener::take_next() {
  if (!descriptors_left()) {
    next_ = reactor_.call_later(kDescriptorLookMs, [this] { take_next(); });
    return;
  }
  if (rate_.limited()) {
    const std::uint64_t now = reactor_.now_ms();
    if (const std::uint64_t wait_ms = rate_.ms_until(1, now); wait_ms != 0) {
      next_ = reactor_.call_later(wait_ms, [this] { take_next(); });
      return;
    }
    rate_.take(1, now);
  }
  connections_.accept(&box_->stream, kind_);
}

void Listener::try_again() {
  Fd again(::fcntl(spare_.get(), F_DUPFD_CLOEXEC, 3));
  if (again.open() && open(std::move(again)).ok()) return;
  retry_ = reactor_.call_later(kAcceptPauseMs, [this] { try_again(); });
}

void Listener::close() {
  retry_.cancel();
  short_said_.cancel();
  spare_.reset();
  let_go();
}

void Listener::let_go() {
  next_.cancel();
  if (box_ == nullptr) return;
  box_->owner = nullptr;
  uv_close(&box_->handle, [](uv_handle_t* handle) { delete reinterpret_cast<Box*>(handle); });
  box_ = nullptr;
}

void Listener::drain(std::function<void()> done) {
  close();
  connections_.drain(std::move(done));
}

}  // namespace tap::net
