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

struct Endpoint {
  enum class Type { tcp, tcp6, unix_socket, fd, stdio, udp, udp6 };
  static constexpr int kDefaultBacklog = 511;

  Type type = Type::tcp;
  std::string text;        ///< as it was written
  std::uint16_t port = 0;  ///< 0: any free one
  std::string interface;   ///< numeric address
  std::string path;
  std::optional<unsigned> mode;  ///< of the socket file; unset: what the umask leaves of 0666
  int fd = -1;
  int backlog = kDefaultBacklog;

  /// Whether datagrams come there, not connections.
  [[nodiscard]] bool is_datagram() const { return type == Type::udp || type == Type::udp6; }
  /// Whether its address is one of IPv6.
  [[nodiscard]] bool is_v6() const { return type == Type::tcp6 || type == Type::udp6; }
};

/// Errors: config; endpoint types that are planned say so, unknown ones name the nearest.
[[nodiscard]] Result<Endpoint> parse_endpoint(std::string_view text);

/// Whether both cannot be bound at once, as far as their texts tell.
[[nodiscard]] bool conflict(const Endpoint& a, const Endpoint& b);

}  // namespace tap::net
