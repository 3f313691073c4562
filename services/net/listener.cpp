#include "services/net/listener.hpp"

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

Listener::Listener(Reactor& reactor, Factory& factory, std::string service, ListenerLimits limits)
    : reactor_(reactor), service_(service), connections_(reactor, factory, std::move(service), limits) {}

Listener::~Listener() { close(); }

Result<void> Listener::listen(Fd bound, StreamKind kind, int backlog) {
  TAP_ASSERT(box_ == nullptr);
  kind_ = kind;
  box_ = new Box;
  box_->owner = this;
  const bool tcp = kind == StreamKind::tcp;
  int status = tcp ? uv_tcp_init(reactor_.loop(), &box_->tcp) : uv_pipe_init(reactor_.loop(), &box_->pipe, 0);
  TAP_ASSERT(status == 0);
  status = tcp ? uv_tcp_open(&box_->tcp, bound.get()) : uv_pipe_open(&box_->pipe, bound.get());
  if (status == 0) {
    (void)bound.release();
    status = uv_listen(&box_->stream, backlog, [](uv_stream_t* stream, int result) {
      Listener* owner = reinterpret_cast<Box*>(stream)->owner;
      if (owner != nullptr) owner->incoming(result);
    });
  }
  if (status != 0) {
    close();
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
  if (failing_) return;
  failing_ = true;
  reactor_.log().write(LogLevel::error, service_, std::string("cannot accept a connection: ") + uv_strerror(status));
}

void Listener::close() {
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
