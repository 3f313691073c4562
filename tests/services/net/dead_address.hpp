// DeadAddress: a place that neither accepts nor refuses a connection, like a host behind a silent firewall.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <vector>

#include "services/net/address.hpp"
#include "state/base/assert.hpp"
#include "state/base/fd.hpp"

namespace tap::tests {

/// A listening socket whose queue is full: the kernel drops what comes then, and the peer goes on trying.
class DeadAddress {
 public:
  DeadAddress() : listening_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const std::optional<net::SocketAddress> any = net::SocketAddress::numeric("127.0.0.1", 0);
    TAP_ASSERT(::bind(listening_.get(), any->raw(), any->length) == 0 && ::listen(listening_.get(), 0) == 0);
    address.length = sizeof address.storage;
    TAP_ASSERT(::getsockname(listening_.get(), reinterpret_cast<sockaddr*>(&address.storage), &address.length) == 0);
    for (int i = 0; i < 8; ++i) {
      filling_.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      (void)!::connect(filling_.back().get(), address.raw(), address.length);
    }
  }
  [[nodiscard]] std::uint16_t port() const {
    return ntohs(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
  }

  net::SocketAddress address;

 private:
  Fd listening_;
  std::vector<Fd> filling_;
};

/// A port of 127.0.0.1 on which nobody listens; it is kept from being given to anybody else.
class RefusingAddress {
 public:
  RefusingAddress() : bound_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const std::optional<net::SocketAddress> any = net::SocketAddress::numeric("127.0.0.1", 0);
    TAP_ASSERT(::bind(bound_.get(), any->raw(), any->length) == 0);
    address.length = sizeof address.storage;
    TAP_ASSERT(::getsockname(bound_.get(), reinterpret_cast<sockaddr*>(&address.storage), &address.length) == 0);
  }
  [[nodiscard]] std::uint16_t port() const {
    return ntohs(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
  }

  net::SocketAddress address;

 private:
  Fd bound_;
};

}  // namespace tap::tests
