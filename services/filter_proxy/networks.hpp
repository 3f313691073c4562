// Networks: which addresses clients may come from, and which ones a proxy must not be led to.
//
// Source: RFC 6890 and the registries of special-purpose addresses that IANA keeps by it, RFC 4291 section 2.5.5,
// RFC 6052, RFC 3056.
// Tests: tests/services/filter_proxy/networks_test.cpp
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/net/address.hpp"

namespace tap::services {

/// An address's bytes, IPv4 as IPv4 also where it comes mapped into IPv6.
struct PlainAddress {
  std::array<std::uint8_t, 16> bytes{};
  bool v4 = false;

  /// nullopt: it is neither.
  [[nodiscard]] static std::optional<PlainAddress> of(const net::SocketAddress& address);
  /// "127.0.0.1", "::1".
  [[nodiscard]] static std::optional<PlainAddress> parse(const std::string& text);
};

/// An address and how many bits of it count.
struct Network {
  PlainAddress address;
  unsigned bits = 0;

  [[nodiscard]] bool contains(const PlainAddress& one) const;
  /// "10.0.0.0/8", "::1" (all bits), "fe80::/10". nullopt: it is none, or bits beyond the length are set.
  [[nodiscard]] static std::optional<Network> parse(std::string_view text);
};

[[nodiscard]] bool any_contains(const std::vector<Network>& networks, const PlainAddress& one);

/// The address in "127.0.0.1:40123" or "[::1]:40123", as Transport::peer() tells it; nullopt: it is no such text.
[[nodiscard]] std::optional<PlainAddress> peer_address(std::string_view peer);

/// Whether everybody may be sent there: it is neither loopback, private (RFC 1918, RFC 4193), shared (RFC 6598),
/// link-local, multicast, reserved nor for documentation, nor leads to such a one by a translation (IPv4-mapped and
/// -compatible, NAT64, 6to4; Teredo always).
[[nodiscard]] bool is_public(const PlainAddress& address);

}  // namespace tap::services
