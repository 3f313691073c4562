// Addresses as text, for messages and logs.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

namespace tap::net {

/// "127.0.0.1:8888", "[::1]:8888", "unix:/path" or "unix" for an unnamed one.
[[nodiscard]] std::string address_text(const sockaddr* address, socklen_t length);

/// The port that a socket is bound to; 0 when it has none.
[[nodiscard]] std::uint16_t local_port(int fd);

/// Of the other end of a connected socket.
[[nodiscard]] std::string peer_address_text(int fd);

}  // namespace tap::net
