#include "services/net/stdio_bridge.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace tap::net {
namespace {

constexpr std::size_t kCopyBytesMax = std::size_t{16} * 1024;

bool send_all(int to, const char* bytes, std::size_t size, bool socket) {
  while (size > 0) {
    const ssize_t sent = socket ? ::send(to, bytes, size, MSG_NOSIGNAL) : ::write(to, bytes, size);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) {  // somebody else made the terminal non-blocking
      pollfd room{to, POLLOUT, 0};
      ::poll(&room, 1, -1);
      continue;
    }
    if (sent <= 0) return false;
    bytes += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

}  // namespace

StdioBridge::~StdioBridge() {
  if (reader_.joinable()) reader_.join();
  if (writer_.joinable()) writer_.join();
}

void StdioBridge::abandon() {
  if (reader_.joinable()) reader_.detach();
  if (writer_.joinable()) writer_.detach();
  (void)socket_.release();  // theirs now
}

Result<Fd> StdioBridge::open(int input, int output) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return errno_error(Fault::unavailable, "connecting standard input and output");
  }
  socket_.reset(ends[0]);
  Fd loop_end(ends[1]);
  reader_ = std::thread(copy_input, input, socket_.get());
  writer_ = std::thread(copy_output, socket_.get(), output);
  return loop_end;
}

/// Ends at the end of input, or when the loop's end of the pair is gone.
void StdioBridge::copy_input(int input, int socket) {
  std::array<char, kCopyBytesMax> buffer{};
  for (;;) {
    std::array<pollfd, 2> ready{pollfd{input, POLLIN, 0}, pollfd{socket, 0, 0}};
    if (::poll(ready.data(), ready.size(), -1) < 0 && errno == EINTR) continue;
    if ((ready[1].revents & (POLLHUP | POLLERR)) != 0) break;
    const ssize_t got = ::read(input, buffer.data(), buffer.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0 || !send_all(socket, buffer.data(), static_cast<std::size_t>(got), true)) break;
  }
  ::shutdown(socket, SHUT_WR);
}

void StdioBridge::copy_output(int socket, int output) {
  std::array<char, kCopyBytesMax> buffer{};
  for (;;) {
    const ssize_t got = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || !send_all(output, buffer.data(), static_cast<std::size_t>(got), false)) break;
  }
  ::shutdown(socket, SHUT_RD);
  // A full socket is not woken by that: only what is taken out of it lets the loop's next write learn of the end.
  while (::recv(socket, buffer.data(), buffer.size(), MSG_DONTWAIT) > 0) continue;
}

}  // namespace tap::net
