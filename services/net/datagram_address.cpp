#include "services/net/datagram_address.hpp"

#include <arpa/inet.h>

#include <cstring>

#include "services/net/address.hpp"

namespace tap::net {

DatagramAddress::DatagramAddress(const sockaddr* address) {
  if (address->sa_family == AF_INET6) std::memcpy(&v6_, address, sizeof v6_);
  else std::memcpy(&v4_, address, sizeof v4_);
}

Result<DatagramAddress> DatagramAddress::parse(const std::string& host, std::uint16_t port) {
  sockaddr_in v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    return DatagramAddress(reinterpret_cast<const sockaddr*>(&v4));
  }
  sockaddr_in6 v6{};
  if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    return DatagramAddress(reinterpret_cast<const sockaddr*>(&v6));
  }
  return Error{Fault::config, "'" + host + "' is not a numeric address"};
}

std::uint16_t DatagramAddress::port() const {
  // The port stands in the same place in both.
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  return ntohs(v6_.sin6_port);
}

socklen_t DatagramAddress::raw_size() const { return is_v6() ? sizeof(sockaddr_in6) : sizeof(sockaddr_in); }

std::string DatagramAddress::text() const { return address_text(raw(), raw_size()); }

bool DatagramAddress::is_one_host() const {
  if (is_v6()) return IN6_IS_ADDR_MULTICAST(&v6_.sin6_addr) == 0 && IN6_IS_ADDR_UNSPECIFIED(&v6_.sin6_addr) == 0;
  if (v4_.sin_family != AF_INET) return false;
  const std::uint32_t address = ntohl(v4_.sin_addr.s_addr);
  // 0/8 is "this network" (RFC 1122, 3.2.1.3), 224/4 are groups, 240/4 is reserved and holds the limited broadcast.
  return address >> 24U != 0 && address < 0xE0000000U;
}

std::uint64_t DatagramAddress::network() const {
  if (!is_v6()) return ntohl(v4_.sin_addr.s_addr);
  std::uint64_t half = 0;
  std::memcpy(&half, &v6_.sin6_addr, sizeof half);
  return half;
}

bool DatagramAddress::operator==(const DatagramAddress& other) const {
  if (is_v6() != other.is_v6() || port() != other.port()) return false;
  if (!is_v6()) return v4_.sin_family == other.v4_.sin_family && v4_.sin_addr.s_addr == other.v4_.sin_addr.s_addr;
  return IN6_ARE_ADDR_EQUAL(&v6_.sin6_addr, &other.v6_.sin6_addr) && v6_.sin6_scope_id == other.v6_.sin6_scope_id;
}

}  // namespace tap::net
