#include "services/net/listener.hpp"

#include <fcntl.h>
#include <uv.h>

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
    : reactor_(reactor), service_(service), connections_(reactor, factory, std::move(service), limits, gate) {}

Listener::~Listener() { close(); }

Result<void> Listener::listen(Fd bound, StreamKind kind, int backlog) {
  kind_ = kind;
  backlog_ = backlog;
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
    connections_.accept(&box_->stream, kind_);
    return;
  }
  if (!failing_) {
    reactor_.log().write(LogLevel::error, service_, std::string("cannot accept a connection: ") + uv_strerror(status));
  }
  failing_ = true;
  // libuv tries again without end, from inside this turn, until the handle is closed.
  let_go();
  retry_ = reactor_.call_later(kAcceptPauseMs, [this] { try_again(); });
}

void Listener::try_again() {
  Fd again(::fcntl(spare_.get(), F_DUPFD_CLOEXEC, 3));
  if (again.open() && open(std::move(again)).ok()) return;
  retry_ = reactor_.call_later(kAcceptPauseMs, [this] { try_again(); });
}

void Listener::close() {
  retry_.cancel();
  spare_.reset();
  let_go();
}

void Listener::let_go() {
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
