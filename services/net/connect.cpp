#include "services/net/connect.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tap::net {

struct ConnectRace::Attempt {
  SocketAddress to;
  Fd fd;
  std::unique_ptr<Watch> writable;  ///< declared last: it lets go of the descriptor before that is closed
};

std::vector<SocketAddress> interleaved(const std::vector<SocketAddress>& addresses) {
  std::vector<SocketAddress> first;
  std::vector<SocketAddress> second;
  for (const SocketAddress& address : addresses) {
    (address.family() == addresses.front().family() ? first : second).push_back(address);
  }
  std::vector<SocketAddress> all;
  for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
    if (i < first.size()) all.push_back(first[i]);
    if (i < second.size()) all.push_back(second[i]);
  }
  return all;
}

ConnectRace::ConnectRace(Reactor& reactor, const std::vector<SocketAddress>& addresses,
                         std::optional<SocketAddress> from, Done done)
    : reactor_(reactor), addresses_(interleaved(addresses)), from_(from), done_(std::move(done)) {
  if (from_) {
    std::erase_if(addresses_, [this](const SocketAddress& address) { return address.family() != from_->family(); });
  }
  if (addresses_.size() > kAddressesMax) addresses_.resize(kAddressesMax);
  if (addresses_.empty()) failures_ = "there is no address of the family of bindAddress";
  next_ = reactor_.call_later(0, [this] { try_next(); });
}

ConnectRace::~ConnectRace() = default;

Result<std::unique_ptr<ConnectRace::Attempt>> ConnectRace::begin(const SocketAddress& to) {
  auto attempt = std::make_unique<Attempt>();
  attempt->to = to;
  attempt->fd.reset(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!attempt->fd.open()) return errno_error(Fault::unavailable, "opening a socket");
  if (to.family() != AF_UNIX) {
    const int on = 1;
    ::setsockopt(attempt->fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  if (from_ && ::bind(attempt->fd.get(), from_->raw(), from_->length) != 0) {
    return errno_error(Fault::unavailable, "binding to " + from_->text());
  }
  if (::connect(attempt->fd.get(), to.raw(), to.length) != 0 && errno != EINPROGRESS) {
    return errno_error(Fault::unavailable, "connecting");
  }
  attempt->writable = std::make_unique<Watch>(
      reactor_, attempt->fd.get(), [this] { look_soon(); }, Watch::For::writable);
  return attempt;
}

void ConnectRace::try_next() {
  if (tried_ == addresses_.size()) {
    if (under_way_.empty()) finish(Error{Fault::unavailable, failures_});
    return;  // the last ones may still answer
  }
  const SocketAddress& to = addresses_[tried_++];
  Result<std::unique_ptr<Attempt>> attempt = begin(to);
  if (!attempt) {
    failed(to, attempt.error().os_code);
    next_ = reactor_.call_later(0, [this] { try_next(); });
    return;
  }
  under_way_.push_back(std::move(attempt).value());
  if (tried_ < addresses_.size()) next_ = reactor_.call_later(kNextAfterMs, [this] { try_next(); });
}

/// From a turn of its own: the watch that calls would be dropped here.
void ConnectRace::look_soon() {
  if (!look_.active()) look_ = reactor_.call_later(0, [this] { look(); });
}

void ConnectRace::look() {
  for (auto next = under_way_.begin(); next != under_way_.end();) {
    Attempt& attempt = **next;
    int code = 0;
    socklen_t length = sizeof code;
    if (::getsockopt(attempt.fd.get(), SOL_SOCKET, SO_ERROR, &code, &length) != 0) code = errno;
    sockaddr_storage peer{};
    length = sizeof peer;
    const bool connected = ::getpeername(attempt.fd.get(), reinterpret_cast<sockaddr*>(&peer), &length) == 0;
    if (code == 0 && connected) {
      attempt.writable.reset();
      finish(std::move(attempt.fd));
      return;
    }
    if (code == 0) {
      ++next;  // it has not answered
      continue;
    }
    failed(attempt.to, code);
    next = under_way_.erase(next);
    next_ = reactor_.call_later(0, [this] { try_next(); });
  }
}

void ConnectRace::failed(const SocketAddress& to, int code) {
  failures_ += (failures_.empty() ? "" : "; ") + to.text() + ": " + std::strerror(code);
}

void ConnectRace::finish(Result<Fd> result) {
  next_.cancel();
  look_.cancel();
  under_way_.clear();
  const Done done = std::move(done_);
  reactor_.guarded("connecting", [&] { done(std::move(result)); });
}

}  // namespace tap::net
