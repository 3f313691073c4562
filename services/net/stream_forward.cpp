// StreamTransport's forwarding: from socket to socket inside the kernel, through a pipe (splice(2)).
//
// The pipe is the loop's, and empty again after each time: what the other socket does not take is read out of it and
// written like everything else, so that one pipe serves all connections and there is one way to be congested.
#include <uv.h>

#include "services/net/memory_budget.hpp"
#include "services/net/stream_private.hpp"

namespace tap::net {

void StreamTransport::forward_to(Transport* to) {
  forward_to_ = to == nullptr ? nullptr : to->plain_stream();
  forward_due_ = false;
}

/// Whether the next bytes take the short way. With a rate, or while memory is short, what is read is measured before.
bool StreamTransport::may_forward() const {
  return forward_due_ && phase_ == Phase::open && !rules_.rated() &&
         (rules_.budget == nullptr || !rules_.budget->stopping()) && forward_to_->takes_forwarded();
}

/// Whether nothing has to leave before them.
bool StreamTransport::takes_forwarded() const {
  return phase_ == Phase::open && !half_close_wanted_ && unsent_bytes() == 0 && marks_.empty() &&
         (gate_ == nullptr || !gate_->closed());
}

void StreamTransport::forward() {
  SplicePipe* pipe = reactor_.splice_pipe();
  const ssize_t got = pipe == nullptr ? -1 : pipe->fill(fd_);
  if (got == 0) {
    read_failed(UV_EOF);
    return;
  }
  if (got < 0) {
    forward_due_ = false;  // whatever it is, read(2) meets it too
    return;
  }
  owner_.stream_active(*this);
  const auto bytes = static_cast<std::size_t>(got);
  forward_due_ = bytes >= kForwardBytesMin;
  const std::size_t taken = forward_to_->take_forwarded(*pipe, bytes);
  if (taken != 0) call_protocol([&] { protocol_->data_forwarded(taken); });
  if (taken == bytes) return;
  const std::string rest = pipe->empty(bytes - taken);
  if (phase_ != Phase::ended) call_protocol([&] { protocol_->data_received(rest); });
  account_buffers();
}

/// How many of the bytes in the pipe this socket takes now.
std::size_t StreamTransport::take_forwarded(SplicePipe& pipe, std::size_t bytes) {
  const std::size_t taken = pipe.drain_to(fd_, bytes);
  out_end_ += taken;
  if (taken != 0) owner_.stream_active(*this);
  return taken;
}

}  // namespace tap::net
