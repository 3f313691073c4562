// PeerTable: how many connections each address has.
//
// Tests: tests/services/net/peer_table_test.cpp
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <unordered_map>

struct sockaddr;

namespace tap::net {

/// One who connects: an IPv4 address, or the first 64 bits of an IPv6 address (a customer's network is at least that
/// large, RFC 6177, so one of its addresses means nothing). IPv4 inside IPv6 (RFC 4291, section 2.5.5.2) is IPv4.
struct PeerKey {
  std::array<std::uint8_t, 8> bytes{};
  bool ipv6 = false;

  bool operator==(const PeerKey&) const = default;
};

/// nullopt: it has no address (a UNIX socket).
[[nodiscard]] std::optional<PeerKey> peer_key(const sockaddr* address);
/// Of the other end of a connected socket.
[[nodiscard]] std::optional<PeerKey> peer_key_of(int fd);

/// Thread: one.
class PeerTable {
 public:
  /// Counts one more of `peer`, unless it has `most` already: then false.
  [[nodiscard]] bool enter(const PeerKey& peer, std::size_t most);
  void leave(const PeerKey& peer);
  /// Addresses that have a connection.
  [[nodiscard]] std::size_t size() const { return counts_.size(); }

 private:
  struct Hash {
    std::size_t operator()(const PeerKey& key) const {
      std::uint64_t bits = 0;
      std::memcpy(&bits, key.bytes.data(), sizeof bits);
      return static_cast<std::size_t>((bits + (key.ipv6 ? 1U : 0U)) * 0x9e3779b97f4a7c15ULL);
    }
  };
  std::unordered_map<PeerKey, std::size_t, Hash> counts_;
};

}  // namespace tap::net
