// DatagramAddress: who sent a datagram, and to which of our addresses; so, where an answer goes and what it comes from.
//
// Tests: tests/services/net/datagram_address_test.cpp
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "state/base/result.hpp"

namespace tap::net {

/// A value: copied and kept freely. Without one (default-constructed) it is "an unknown address", and nothing can be
/// sent there.
///
/// It remembers which of our addresses the datagram came to: on a machine with several, an answer from another one is
/// an answer the client does not know (it is dropped by connected sockets, firewalls and NATs).
class DatagramAddress {
 public:
  DatagramAddress() = default;
  /// REQUIRES: what recvmsg(2) gave for an IPv4 or IPv6 socket.
  explicit DatagramAddress(const sockaddr* address);
  /// `host` is numeric. Errors: config.
  [[nodiscard]] static Result<DatagramAddress> parse(const std::string& host, std::uint16_t port);

  [[nodiscard]] std::uint16_t port() const;
  /// "192.0.2.1:53", "[2001:db8::1]:53": for the log.
  [[nodiscard]] std::string text() const;
  /// Whether one host can have it: not a multicast group, the limited broadcast, or nobody's (0.0.0.0/8, ::).
  [[nodiscard]] bool is_one_host() const;
  /// What one person can be taken to have: the address of IPv4, the first half (/64) of IPv6. For limits per source.
  [[nodiscard]] std::uint64_t network() const;
  [[nodiscard]] bool is_v6() const { return v6_.sin6_family == AF_INET6; }

  [[nodiscard]] const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&v6_); }
  [[nodiscard]] socklen_t raw_size() const;

  /// The address of ours that answers leave from, in network order; unspecified: whichever the kernel takes.
  void set_local(const in_addr& local) { local_v4_ = local; }
  void set_local(const in6_addr& local) { local_v6_ = local; }
  [[nodiscard]] const in_addr& local_v4() const { return local_v4_; }
  [[nodiscard]] const in6_addr& local_v6() const { return local_v6_; }

  /// Whether both are one place to send to.
  [[nodiscard]] bool operator==(const DatagramAddress& other) const;

 private:
  union {
    sockaddr_in6 v6_{};  ///< the larger; its family tells which of the two this is
    sockaddr_in v4_;
  };
  in_addr local_v4_{};
  in6_addr local_v6_{};
};

}  // namespace tap::net
