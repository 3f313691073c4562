// Endpoint: where a service listens, in Twisted's words: "tcp:8888:interface=127.0.0.1:backlog=128".
//
// Grammar: type, then fields separated by ':'; a field is a value or key=value; "\:" and "\\" stand for themselves,
// and a value in [brackets] may hold colons. Source: Twisted's serverFromString.
//
//     tcp:PORT[:interface=ADDRESS][:backlog=N]        IPv4, all interfaces by default
//     tcp6:PORT[:interface=ADDRESS][:backlog=N]       IPv6 only
//     unix:PATH[:mode=660][:backlog=N]
//     udp:PORT[:interface=ADDRESS]                    datagrams, IPv4
//     udp6:PORT[:interface=ADDRESS]                   datagrams, IPv6 only
//     tls:PORT:privateKey=FILE[:certKey=FILE][...]    TLS over TCP; ssl: is the same; see TlsServerSettings
//     systemd:name=NAME[:index=N]                     a listening socket of systemd's (sd_listen_fds(3)), by its name
//     systemd:domain=INET:index=N                     the same, by its place; INET, INET6 or UNIX
//     haproxy:ENDPOINT                                any of the others behind a proxy that tells who the client is
//     fd:N                                            a listening socket that was inherited
//     stdio:                                          one connection: standard input and output
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "state/base/result.hpp"

namespace tap::net {

/// The parts of an endpoint string, not yet given a meaning.
struct EndpointText {
  std::string type;
  std::vector<std::string> values;
  std::map<std::string, std::string> options;
};

/// Errors: config, with a sentence that says which part is wrong.
[[nodiscard]] Result<EndpointText> split_endpoint(std::string_view text);

/// What a TLS server is made of: "tls:443:privateKey=K:certKey=C:extraCertChain=X:clientCA=A:clientVerify=optional:
/// alpn=h2,http/1.1:sni=DIR".
///
/// `sni` is a directory with a file NAME.pem for each server name: key, certificate and chain in one.
/// `_.example.org.pem` is for every name with one part before example.org. Who asks for none of them gets the
/// certificate of certKey.
struct TlsServerSettings {
  enum class ClientVerify { none, optional, require };

  std::string private_key;  ///< a file, PEM
  std::string certificate;  ///< certKey: a file, PEM; the private key's file, when it is not given
  std::string extra_chain;  ///< a file with the certificates between ours and the root, or empty
  std::string client_ca;    ///< a file with the roots of the clients' certificates, or empty
  ClientVerify client_verify = ClientVerify::none;  ///< with client_ca: require, unless it says otherwise
  std::vector<std::string> alpn;                    ///< in our order of preference
  std::string sni_directory;

  /// Relative paths are taken from `directory`.
  void resolve(const std::string& directory);
};

struct Endpoint {
  enum class Type { tcp, tcp6, unix_socket, fd, stdio, systemd, udp, udp6 };
  static constexpr int kDefaultBacklog = 511;

  Type type = Type::tcp;
  std::string text;        ///< as it was written
  std::uint16_t port = 0;  ///< 0: any free one
  std::string interface;   ///< numeric address
  std::string path;
  std::optional<unsigned> mode;  ///< of the socket file; unset: what the umask leaves of 0666
  int fd = -1;
  std::string socket_name;    ///< systemd: FileDescriptorName=; empty: by place only
  std::string socket_domain;  ///< systemd: "INET", "INET6", "UNIX"; empty: any
  unsigned socket_index = 0;  ///< systemd: among those of that name, or of all
  bool proxied = false;       ///< haproxy: each connection begins with a PROXY header
  std::optional<TlsServerSettings> tls;
  int backlog = kDefaultBacklog;

  /// Whether datagrams come there, not connections.
  [[nodiscard]] bool is_datagram() const { return type == Type::udp || type == Type::udp6; }
  /// Whether its address is one of IPv6.
  [[nodiscard]] bool is_v6() const { return type == Type::tcp6 || type == Type::udp6; }
};

/// Errors: config; unknown types name the nearest.
[[nodiscard]] Result<Endpoint> parse_endpoint(std::string_view text);

/// What stands before the address in the line that tells where a service listens: "haproxy:tls:", "tcp:"; empty for an
/// endpoint whose socket comes from elsewhere and tells its own kind.
[[nodiscard]] std::string endpoint_prefix(const Endpoint& endpoint);

/// Whether both cannot be bound at once, as far as their texts tell.
[[nodiscard]] bool conflict(const Endpoint& a, const Endpoint& b);

}  // namespace tap::net
