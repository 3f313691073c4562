// HttpPeer: a small HTTP service for tests that talk to it over real sockets, and for measuring.
//
//     /hello     1,024 bytes                    /stream/N   N bytes, chunked, made as there is room
//     /echo      the request's body, streamed   /length/N   N bytes, of known length, made as there is room
//     /headers   what was asked, as text        /later      an answer from a later turn
//     CONNECT    a tunnel that echoes
#pragma once

#include <memory>

#include "services/net/http/site.hpp"
#include "services/net/protocol.hpp"

namespace tap::tests {

/// Thread: the loop's.   Lifetime: the reactor outlives it.
class HttpPeer final : public net::Factory {
 public:
  explicit HttpPeer(net::Reactor& reactor, const net::HttpServerLimits& limits = {}) : site_(reactor, limits) {}
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override;

 private:
  net::HttpSite site_;
};

}  // namespace tap::tests
