// StreamTransport's output: what is written waits for the gate and for the peer, and leaves in their order.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "services/net/stream_private.hpp"

namespace tap::net {

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

}  // namespace

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

/// What the kernel takes at once, by the shortest way: uv_try_write would come to write(2) in the end, which does more
/// than send(2) for a socket. A negative answer is libuv's error code.
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

}  // namespace tap::net
