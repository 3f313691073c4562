#include "services/files/sending.hpp"

#include <sys/uio.h>

#include <algorithm>

namespace tap::services::files {

std::size_t Sending::window() const { return static_cast<std::size_t>(std::min<std::uint64_t>(left_, kWindowBytes)); }

/// The kernel reads files from one end to the other, so that its ends tell of what is between; should it not be so, a
/// turn waits for the disk. Where a file system cannot tell, the pool reads first.
bool Sending::window_in_memory() const {
  char byte = 0;
  iovec into{&byte, 1};
  for (const std::uint64_t at : {at_, at_ + window() - 1}) {
    if (::preadv2(file_->fd.get(), &into, 1, static_cast<off_t>(at), RWF_NOWAIT) < 0) return false;
  }
  return true;
}

Sending::Next Sending::push(const Write& write) {
  std::size_t turn_bytes = 0;
  while (left_ != 0) {
    if (turn_bytes >= kTurnBytesMax) return Next::turn;
    if (at_ + window() > in_memory_to_) {
      if (!window_in_memory()) return Next::fetch;
      in_memory_to_ = at_ + window();
    }
    const std::size_t offered = std::min<std::size_t>(window(), static_cast<std::size_t>(in_memory_to_ - at_));
    Result<std::size_t> taken = write(file_->fd.get(), at_, offered);
    if (!taken) {
      failure_ = std::move(taken).error();
      return Next::failed;
    }
    at_ += *taken;
    left_ -= *taken;
    turn_bytes += *taken;
    if (*taken < offered) return Next::room;
  }
  return Next::done;
}

}  // namespace tap::services::files
