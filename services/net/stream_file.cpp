// StreamTransport's files: sendfile(2), where nothing stands between the file and the socket.
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>

#include "services/net/stream.hpp"

namespace tap::net {

Result<std::size_t> StreamTransport::write_file(int file, std::uint64_t offset, std::size_t bytes) {
  if (phase_ != Phase::open || half_close_wanted_) return bytes;
  if (gate_ != nullptr && (gate_->closed() || held())) return Transport::write_file(file, offset, bytes);
  std::size_t taken = 0;
  if (send_before_file()) {
    Result<std::size_t> sent = send_file(file, offset, bytes);
    if (!sent || *sent == bytes) return sent;
    taken = *sent;
  }
  if (phase_ != Phase::open) return bytes;
  if (unsent_bytes() <= kFilePieceBytes) {
    // libuv tells when it has written something, not when it could: one piece of it is given to it.
    Result<std::size_t> piece = Transport::write_file(file, offset + taken, std::min(bytes - taken, kFilePieceBytes));
    if (!piece) return piece;
    taken += *piece;
  }
  if (taken < bytes) file_waits_ = drain_wanted_ = true;
  return taken;
}

/// Whether all that was written so far is with the kernel. More is about to follow it, and leaves with it.
bool StreamTransport::send_before_file() {
  if (writing_bytes_ != 0) return false;
  while (out_sent_ != out_.size()) {
    const ssize_t sent =
        ::send(fd_, out_.data() + out_sent_, out_.size() - out_sent_, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;  // whatever it is, flush() meets it too
    out_sent_ += static_cast<std::uint32_t>(sent);
  }
  flush_at_turn_end();
  return true;
}

/// How much of it the kernel takes now; 0 also where this file or this socket cannot be used so.
Result<std::size_t> StreamTransport::send_file(int file, std::uint64_t offset, std::size_t bytes) {
  std::size_t taken = 0;
  auto at = static_cast<off_t>(offset);
  while (taken < bytes) {
    const ssize_t sent = ::sendfile(fd_, file, &at, bytes - taken);
    if (sent > 0) {
      taken += static_cast<std::size_t>(sent);
      continue;
    }
    if (sent == 0) return Error{Fault::damaged, "the file has become shorter"};
    if (errno == EINTR) continue;
    if (errno == EIO) return errno_error(Fault::internal, "reading the file");
    if (errno == EPIPE || errno == ECONNRESET) {
      end(Error{Fault::internal, std::string("writing: ") + uv_strerror(uv_translate_sys_error(errno))});
      return bytes;
    }
    break;
  }
  if (taken != 0) owner_.stream_active(*this);
  return taken;
}

}  // namespace tap::net
