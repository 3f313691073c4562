// ClientEndpoint: where a client connects to, in Twisted's words: "tcp:example.org:80:timeout=10".
//
// Grammar: as endpoint.hpp's. Source: Twisted's clientFromString.
//
//     tcp:HOST:PORT[:timeout=SECONDS][:bindAddress=ADDRESS]
//     unix:PATH[:timeout=SECONDS]
//     tls:HOST:PORT[:trustRoots=FILE][:certificate=FILE][:privateKey=FILE][:serverName=NAME][:alpn=a,b][:verify=no]
//         and what tcp takes; ssl: is the same
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "state/base/result.hpp"

namespace tap::net {

/// What a TLS client believes in and shows.
struct TlsClientSettings {
  std::string trust_roots;  ///< a file with roots, PEM; empty: the system's
  std::string certificate;  ///< a file, with its chain; empty: none is shown
  std::string private_key;  ///< a file; empty: in the certificate's
  std::string server_name;  ///< asked for (SNI) and checked against the certificate; a numeric address is checked only
  std::vector<std::string> alpn;
  bool verify = true;

  void resolve(const std::string& directory);
};

struct ClientEndpoint {
  enum class Type { tcp, unix_socket };
  static constexpr std::uint64_t kDefaultTimeoutMs = 30'000;
  static constexpr unsigned kTimeoutSecondsMax = 3'600;
  static constexpr std::size_t kHostBytesMax = 253;  ///< RFC 1035, 2.3.4, as text

  Type type = Type::tcp;
  std::string text;  ///< as it was written
  std::string host;  ///< a name, or a numeric address of either family
  std::uint16_t port = 0;
  std::string path;
  std::string bind_address;                      ///< numeric: where connections come from; empty: as the system likes
  std::uint64_t timeout_ms = kDefaultTimeoutMs;  ///< for all of it: the name, the connection, the handshake
  std::optional<TlsClientSettings> tls;
};

/// Errors: config; unknown types name the nearest.
[[nodiscard]] Result<ClientEndpoint> parse_client_endpoint(std::string_view text);

}  // namespace tap::net
