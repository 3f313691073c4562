// Addresses as text, for messages and logs.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>

namespace tap::net {

/// Where a socket connects to, or from.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  [[nodiscard]] int family() const { return storage.ss_family; }
  [[nodiscard]] const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] std::string text() const;
  /// nullopt: `address` is not numeric.
  [[nodiscard]] static std::optional<SocketAddress> numeric(const std::string& address, std::uint16_t port);
  /// REQUIRES: the path fits.
  [[nodiscard]] static SocketAddress unix_socket(const std::string& path);
};

/// "127.0.0.1:8888", "[::1]:8888", "unix:/path" or "unix" for an unnamed one.
[[nodiscard]] std::string address_text(const sockaddr* address, socklen_t length);

/// The port that a socket is bound to; 0 when it has none.
[[nodiscard]] std::uint16_t local_port(int fd);

/// Of the other end of a connected socket.
[[nodiscard]] std::string peer_address_text(int fd);

}  // namespace tap::net
