#include "services/net/bind.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "services/net/address.hpp"

namespace tap::net {
namespace {

Error failed(const Endpoint& endpoint, const char* what) {
  const int code = errno;
  const Fault fault = code == EACCES || code == EPERM ? Fault::permission : Fault::unavailable;
  std::string message = std::string("cannot ") + what + " " + endpoint.text;
  if (code == EADDRINUSE) {
    message += std::string(" (another program uses it; `ss ") + (endpoint.is_datagram() ? "-lnup" : "-lntpx") +
               "` tells which)";
  }
  if (code == EACCES && endpoint.port != 0 && endpoint.port < 1024) {
    message += " (ports below 1024 need root or CAP_NET_BIND_SERVICE)";
  }
  return errno_error(fault, message, code);
}

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  [[nodiscard]] sockaddr* raw() { return reinterpret_cast<sockaddr*>(&storage); }
};

Address address_of(const Endpoint& endpoint) {
  Address address;
  if (endpoint.type == Endpoint::Type::tcp || endpoint.type == Endpoint::Type::udp) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(endpoint.port);
    TAP_ASSERT(::inet_pton(AF_INET, endpoint.interface.c_str(), &v4->sin_addr) == 1);
    address.length = sizeof *v4;
  } else if (endpoint.is_v6()) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(endpoint.port);
    TAP_ASSERT(::inet_pton(AF_INET6, endpoint.interface.c_str(), &v6->sin6_addr) == 1);
    address.length = sizeof *v6;
  } else {
    auto* local = reinterpret_cast<sockaddr_un*>(&address.storage);
    local->sun_family = AF_UNIX;
    TAP_ASSERT(endpoint.path.size() < sizeof local->sun_path);
    std::memcpy(local->sun_path, endpoint.path.c_str(), endpoint.path.size() + 1);
    address.length = sizeof *local;
  }
  return address;
}

std::string bound_text(const Endpoint& endpoint, int fd) {
  if (endpoint.type == Endpoint::Type::unix_socket) return endpoint_prefix(endpoint) + "unix:" + endpoint.path;
  Address address;
  address.length = sizeof address.storage;
  if (::getsockname(fd, address.raw(), &address.length) != 0) return endpoint.text;
  const std::string text = address_text(address.raw(), address.length);
  const std::string prefix = endpoint_prefix(endpoint);
  if (address.raw()->sa_family == AF_UNIX) return prefix + text;
  if (endpoint.type == Endpoint::Type::tcp || endpoint.type == Endpoint::Type::tcp6) return prefix + text;
  if (endpoint.is_datagram()) return (address.raw()->sa_family == AF_INET6 ? "udp6:" : "udp:") + text;
  return prefix + (address.raw()->sa_family == AF_INET6 ? "tcp6:" : "tcp:") + text;
}

Result<BoundEndpoint> bind_tcp(const Endpoint& endpoint) {
  Address address = address_of(endpoint);
  Fd fd(::socket(address.raw()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.open()) return failed(endpoint, "open a socket for");
  const int on = 1;
  // Connections of a stopped daemon in TIME_WAIT must not keep the next one from its port.
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (endpoint.type == Endpoint::Type::tcp6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(fd.get(), address.raw(), address.length) != 0) return failed(endpoint, "bind");
  std::string text = bound_text(endpoint, fd.get());
  return BoundEndpoint{endpoint, std::move(fd), std::move(text), 0, 0, {}};
}

/// Without SO_REUSEADDR: for datagrams it would let another program of the same mind take this port too.
Result<BoundEndpoint> bind_udp(const Endpoint& endpoint) {
  Address address = address_of(endpoint);
  Fd fd(::socket(address.raw()->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.open()) return failed(endpoint, "open a socket for");
  const int on = 1;
  // Before the first datagram can come: of each the transport has to know where it was sent to.
  const bool told = endpoint.is_v6() ? ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0 &&
                                           ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) == 0
                                     : ::setsockopt(fd.get(), IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0;
  if (!told) return failed(endpoint, "set the options of");
  if (::bind(fd.get(), address.raw(), address.length) != 0) return failed(endpoint, "bind");
  std::string text = bound_text(endpoint, fd.get());
  return BoundEndpoint{endpoint, std::move(fd), std::move(text), 0, 0, {}};
}

/// Removes the socket file of a daemon that is gone. Errors: unavailable, when it is not that.
Result<void> clear_stale_socket(const Endpoint& endpoint, Address& address) {
  struct stat found {};
  if (::lstat(endpoint.path.c_str(), &found) != 0) {
    if (errno == ENOENT) return {};
    return failed(endpoint, "look at the socket file of");
  }
  if (!S_ISSOCK(found.st_mode)) {
    return Error{Fault::unavailable,
                 "cannot bind " + endpoint.text + ": " + endpoint.path + " is there and not a socket"};
  }
  // A datagram socket: it is told EPROTOTYPE by any living stream socket, also one that does not listen yet.
  const Fd probe(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.open()) return failed(endpoint, "open a socket for");
  if (::connect(probe.get(), address.raw(), address.length) == 0 || errno != ECONNREFUSED) {
    errno = EADDRINUSE;
    return failed(endpoint, "bind");
  }
  if (::unlink(endpoint.path.c_str()) != 0 && errno != ENOENT)
    return failed(endpoint, "replace the left-over socket of");
  return {};
}

Result<BoundEndpoint> bind_unix(const Endpoint& endpoint, const std::optional<SocketOwner>& owner) {
  if (endpoint.path.size() >= sizeof(sockaddr_un::sun_path)) {
    return Error{Fault::unavailable, "cannot bind " + endpoint.text + ": the path " + endpoint.path +
                                         " is longer than the system takes for a socket"};
  }
  Address address = address_of(endpoint);
  if (Result<void> cleared = clear_stale_socket(endpoint, address); !cleared) return std::move(cleared).error();
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.open()) return failed(endpoint, "open a socket for");
  if (::bind(fd.get(), address.raw(), address.length) != 0) return failed(endpoint, "bind");
  const bool given = !owner || ::lchown(endpoint.path.c_str(), owner->uid, owner->gid) == 0;
  if (!given || (endpoint.mode && ::chmod(endpoint.path.c_str(), *endpoint.mode) != 0)) {
    Error error = failed(endpoint, "set owner and mode of");
    ::unlink(endpoint.path.c_str());
    return error;
  }
  struct stat made {};
  if (::lstat(endpoint.path.c_str(), &made) != 0) return failed(endpoint, "look at the socket file of");
  return BoundEndpoint{endpoint, std::move(fd), bound_text(endpoint, -1), made.st_dev, made.st_ino, made.st_mtim};
}

Result<BoundEndpoint> take_fd(const Endpoint& endpoint) {
  int listening = 0;
  socklen_t length = sizeof listening;
  if (::getsockopt(endpoint.fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) != 0) {
    return failed(endpoint, "use the descriptor of");
  }
  if (listening == 0) {
    return Error{Fault::unavailable, "cannot use the descriptor of " + endpoint.text + ": it does not listen"};
  }
  Fd fd(::fcntl(endpoint.fd, F_DUPFD_CLOEXEC, 3));
  if (!fd.open()) return failed(endpoint, "use the descriptor of");
  ::fcntl(endpoint.fd, F_SETFD, FD_CLOEXEC);  // whoever keeps it closes both; workers get the copy
  std::string text = bound_text(endpoint, fd.get());
  return BoundEndpoint{endpoint, std::move(fd), std::move(text), 0, 0, {}};
}

}  // namespace

Result<BoundEndpoint> bind_endpoint(const Endpoint& endpoint, const std::optional<SocketOwner>& owner,
                                    const InheritedSockets& inherited) {
  switch (endpoint.type) {
    case Endpoint::Type::tcp:
    case Endpoint::Type::tcp6:
      return bind_tcp(endpoint);
    case Endpoint::Type::udp:
    case Endpoint::Type::udp6:
      return bind_udp(endpoint);
    case Endpoint::Type::unix_socket:
      return bind_unix(endpoint, owner);
    case Endpoint::Type::fd:
      return take_fd(endpoint);
    case Endpoint::Type::systemd: {
      Result<int> fd = inherited.find(endpoint);
      if (!fd) return std::move(fd).error();
      Endpoint found = endpoint;
      found.fd = *fd;
      return take_fd(found);
    }
    case Endpoint::Type::stdio:
      return BoundEndpoint{endpoint, Fd(), "stdio:", 0, 0, {}};
  }
  return Error{Fault::internal, "an endpoint of no type"};
}

bool BoundEndpoint::is_local() const {
  int domain = 0;
  socklen_t length = sizeof domain;
  return ::getsockopt(fd.get(), SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX;
}

void unlink_endpoint(const BoundEndpoint& bound) {
  if (bound.endpoint.type != Endpoint::Type::unix_socket) return;
  struct stat found {};
  if (::lstat(bound.endpoint.path.c_str(), &found) != 0) return;
  // Another daemon may have replaced the file since; then it is that one's.
  const bool ours = found.st_dev == bound.file_device && found.st_ino == bound.file_inode &&
                    found.st_mtim.tv_sec == bound.file_made.tv_sec && found.st_mtim.tv_nsec == bound.file_made.tv_nsec;
  if (ours) ::unlink(bound.endpoint.path.c_str());
}

}  // namespace tap::net
