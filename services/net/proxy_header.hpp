// The PROXY protocol's header: what a load balancer says of the client before the client's own bytes.
//
// Source: "The PROXY protocol, versions 1 & 2", Willy Tarreau (proxy-protocol.txt of HAProxy).
// Tests: tests/services/net/proxy_header_test.cpp, tests/fuzz/proxy_header_fuzz.cpp
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "state/base/result.hpp"

namespace tap::net {

struct ProxyHeader {
  static constexpr std::size_t kVersion1BytesMax = 107;  ///< the line with its CR LF
  static constexpr std::size_t kVersion2BytesMax = 4'096;

  std::size_t size = 0;  ///< bytes that it takes
  /// "192.0.2.1:40123", "[2001:db8::1]:40123", "unix"; empty: the proxy speaks for itself, or does not know.
  std::string source;
};

/// The header at the beginning of `bytes`; nullopt: there is more to come. Whatever is no header is so with its first
/// wrong byte. Errors: damaged, with what is wrong.
[[nodiscard]] Result<std::optional<ProxyHeader>> parse_proxy_header(std::string_view bytes);

}  // namespace tap::net
