#include "services/filter_proxy/networks.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "services/units.hpp"

namespace tap::services {
namespace {

constexpr unsigned kV4Bits = 32;
constexpr unsigned kV6Bits = 128;

const std::vector<Network>& special_networks() {
  static const std::vector<Network> networks = [] {
    std::vector<Network> all;
    for (const char* text : {"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
                             "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
                             "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
                             // IPv6: only 2000::/3 is given to anybody; these are the exceptions inside it.
                             "2001::/23", "2001:db8::/32", "3fff::/20"}) {
      all.push_back(*Network::parse(text));
    }
    return all;
  }();
  return networks;
}

/// The IPv4 address that begins at a byte of an IPv6 one.
PlainAddress embedded(const PlainAddress& address, std::size_t at) {
  PlainAddress inside;
  inside.v4 = true;
  std::copy_n(address.bytes.begin() + static_cast<std::ptrdiff_t>(at), 4, inside.bytes.begin());
  return inside;
}

bool begins(const PlainAddress& address, const char* network) { return Network::parse(network)->contains(address); }

}  // namespace

std::optional<PlainAddress> PlainAddress::of(const net::SocketAddress& address) {
  PlainAddress plain;
  if (address.family() == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address.storage, sizeof v4);
    std::memcpy(plain.bytes.data(), &v4.sin_addr, sizeof v4.sin_addr);
    plain.v4 = true;
    return plain;
  }
  if (address.family() != AF_INET6) return std::nullopt;
  sockaddr_in6 v6{};
  std::memcpy(&v6, &address.storage, sizeof v6);
  std::memcpy(plain.bytes.data(), &v6.sin6_addr, sizeof v6.sin6_addr);
  return IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) ? embedded(plain, 12) : plain;
}

std::optional<PlainAddress> PlainAddress::parse(const std::string& text) {
  PlainAddress plain;
  if (::inet_pton(AF_INET, text.c_str(), plain.bytes.data()) == 1) {
    plain.v4 = true;
    return plain;
  }
  const std::optional<net::SocketAddress> v6 = net::SocketAddress::numeric(text, 0);
  return v6 ? of(*v6) : std::nullopt;
}

bool Network::contains(const PlainAddress& one) const {
  if (one.v4 != address.v4) return false;
  const std::size_t whole = bits / 8;
  if (!std::equal(one.bytes.begin(), one.bytes.begin() + static_cast<std::ptrdiff_t>(whole), address.bytes.begin())) {
    return false;
  }
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xFFU << (8 - bits % 8));
  return ((one.bytes[whole] ^ address.bytes[whole]) & mask) == 0;
}

std::optional<Network> Network::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::optional<PlainAddress> address = PlainAddress::parse(std::string(text.substr(0, slash)));
  if (!address) return std::nullopt;
  Network network{*address, address->v4 ? kV4Bits : kV6Bits};
  if (slash == std::string_view::npos) return network;
  const std::optional<std::uint64_t> bits = parse_count(text.substr(slash + 1));
  if (!bits || *bits > network.bits) return std::nullopt;
  network.bits = static_cast<unsigned>(*bits);
  for (unsigned bit = network.bits; bit < (address->v4 ? kV4Bits : kV6Bits); ++bit) {
    if ((address->bytes[bit / 8] >> (7 - bit % 8) & 1U) != 0) return std::nullopt;
  }
  return network;
}

bool any_contains(const std::vector<Network>& networks, const PlainAddress& one) {
  return std::any_of(networks.begin(), networks.end(), [&](const Network& network) { return network.contains(one); });
}

std::optional<PlainAddress> peer_address(std::string_view peer) {
  const std::size_t colon = peer.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = peer.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return PlainAddress::parse(std::string(host.substr(0, host.find('%'))));
}

bool is_public(const PlainAddress& address) {
  if (any_contains(special_networks(), address)) return false;
  if (address.v4) return true;
  if (begins(address, "64:ff9b::/96")) return is_public(embedded(address, 12));
  if (begins(address, "2002::/16")) return is_public(embedded(address, 2));
  return begins(address, "2000::/3");
}

}  // namespace tap::services
