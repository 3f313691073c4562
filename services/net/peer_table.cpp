#include "services/net/peer_table.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

namespace tap::net {

std::optional<PeerKey> peer_key(const sockaddr* address) {
  PeerKey key;
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    std::memcpy(key.bytes.data(), &v4->sin_addr, 4);
    return key;
  }
  if (address->sa_family != AF_INET6) return std::nullopt;
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
  if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
    std::memcpy(key.bytes.data(), v6->sin6_addr.s6_addr + 12, 4);
    return key;
  }
  key.ipv6 = true;
  std::memcpy(key.bytes.data(), v6->sin6_addr.s6_addr, key.bytes.size());
  return key;
}

std::optional<PeerKey> peer_key_of(int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return std::nullopt;
  return peer_key(reinterpret_cast<const sockaddr*>(&address));
}

bool PeerTable::enter(const PeerKey& peer, std::size_t most) {
  std::size_t& count = counts_[peer];
  if (count >= most) return false;  // `most` is above 0, so the entry was there before
  ++count;
  return true;
}

void PeerTable::leave(const PeerKey& peer) {
  const auto found = counts_.find(peer);
  if (found == counts_.end()) return;
  if (--found->second == 0) counts_.erase(found);
}

}  // namespace tap::net
