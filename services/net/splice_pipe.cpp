#include "services/net/splice_pipe.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "state/base/assert.hpp"

namespace tap::net {

bool SplicePipe::open() {
  if (read_.open()) return true;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return false;
  read_.reset(ends[0]);
  write_.reset(ends[1]);
  (void)::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(kBytesMax));  // or as it is: pipe(7), pipe-user-pages-soft
  return true;
}

ssize_t SplicePipe::fill(int socket) const {
  for (;;) {
    const ssize_t got = ::splice(socket, nullptr, write_.get(), nullptr, kBytesMax, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (got >= 0 || errno != EINTR) return got;
  }
}

std::size_t SplicePipe::drain_to(int socket, std::size_t bytes) const {
  std::size_t taken = 0;
  while (taken < bytes) {
    const ssize_t sent =
        ::splice(read_.get(), nullptr, socket, nullptr, bytes - taken, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (sent > 0) taken += static_cast<std::size_t>(sent);
    else if (sent == 0 || errno != EINTR) break;
  }
  return taken;
}

std::string SplicePipe::empty(std::size_t bytes) const {
  std::string rest(bytes, '\0');
  for (std::size_t got = 0; got < bytes;) {
    const ssize_t more = ::read(read_.get(), rest.data() + got, bytes - got);
    if (more < 0 && errno == EINTR) continue;
    TAP_ASSERT(more > 0);  // it is all in the kernel's memory
    got += static_cast<std::size_t>(more);
  }
  return rest;
}

}  // namespace tap::net
