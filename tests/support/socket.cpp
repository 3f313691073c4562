#include "tests/support/socket.hpp"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace tap::tests {
namespace {

/// A peer on the same machine that takes nothing for so long is not going to.
constexpr int kStuckMs = 300;

bool wait_for(int fd, short events, int patience_ms = kPatienceMs) {
  pollfd ready{fd, events, 0};
  int count = 0;
  do count = ::poll(&ready, 1, patience_ms);
  while (count < 0 && errno == EINTR);
  return count > 0;
}

}  // namespace

Client Client::tcp(std::uint16_t port, const std::string& address) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  ::inet_pton(AF_INET, address.c_str(), &to.sin_addr);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fd.reset();
  return Client(std::move(fd));
}

Client Client::unix_socket(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::strncpy(to.sun_path, path.c_str(), sizeof to.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fd.reset();
  return Client(std::move(fd));
}

bool Client::send(const std::string& bytes) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    if (!wait_for(fd_.get(), POLLOUT)) return false;
    const ssize_t got = ::send(fd_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got < 0) {
      failed_ = true;
      return false;
    }
    sent += static_cast<std::size_t>(got);
  }
  return true;
}

void Client::finish_sending() { ::shutdown(fd_.get(), SHUT_WR); }

std::size_t Client::send_until_stuck() {
  const std::string piece(65'536, 'x');
  std::size_t sent = 0;
  while (wait_for(fd_.get(), POLLOUT, kStuckMs)) {
    const ssize_t got = ::send(fd_.get(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (got < 0 && errno != EAGAIN) break;
    if (got > 0) sent += static_cast<std::size_t>(got);
  }
  return sent;
}

std::string Client::read_some() {
  if (!pending_.empty()) return std::exchange(pending_, {});
  if (!fd_.open() || !wait_for(fd_.get(), POLLIN)) {
    failed_ = true;
    return {};
  }
  std::string bytes(65'536, '\0');
  ssize_t got = 0;
  do got = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
  while (got < 0 && errno == EINTR);
  if (got < 0) failed_ = true;
  bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return bytes;
}

std::string Client::read_line() {
  for (;;) {
    const std::size_t end = pending_.find('\n');
    if (end != std::string::npos) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return line;
    }
    std::string have = std::exchange(pending_, {});
    const std::string more = read_some();
    pending_ = have + more;
    if (more.empty()) return {};
  }
}

std::string Client::read_exactly(std::size_t bytes) {
  std::string all;
  while (all.size() < bytes) {
    const std::string more = read_some();
    if (more.empty()) return all;
    all += more;
  }
  pending_ = all.substr(bytes);
  all.resize(bytes);
  return all;
}

std::string Client::read_all() {
  std::string all;
  for (;;) {
    const std::string more = read_some();
    if (more.empty()) return all;
    all += more;
  }
}

void Client::reset() {
  const linger hard{1, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  fd_.reset();
}

}  // namespace tap::tests
