// Resolving: a host's addresses, asked for in libuv's pool.
//
// Tests: tests/services/net/connect_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "services/net/address.hpp"
#include "services/net/deferred.hpp"
#include "services/net/reactor.hpp"
#include "state/base/result.hpp"

namespace tap::net {

/// Thread:   the loop's. The pool's threads are four; many slow names wait for each other.
/// Lifetime: dropping it cancels: `done` is not called any more. The reactor outlives the question in any case, because
///           getaddrinfo(3) cannot be interrupted: its destructor waits for it.
class Resolving {
 public:
  using Done = std::function<void(Result<std::vector<SocketAddress>>)>;

  /// `done` is called once, from a later turn, and may drop this. The addresses are in the order of RFC 6724.
  /// Errors: unavailable; temporary, when the name may be known later.
  Resolving(Reactor& reactor, std::string host, std::uint16_t port, Done done);
  Resolving(const Resolving&) = delete;
  Resolving& operator=(const Resolving&) = delete;
  ~Resolving();

 private:
  struct Request;
  void ask();
  void answer(Result<std::vector<SocketAddress>> result);

  Reactor& reactor_;
  std::string host_;
  std::uint16_t port_;
  Done done_;
  Request* request_ = nullptr;
  Timer at_once_;
};

/// The same as a Deferred.
[[nodiscard]] inline Deferred<std::vector<SocketAddress>> resolve(Reactor& reactor, std::string host,
                                                                  std::uint16_t port) {
  return Deferred<std::vector<SocketAddress>>(
      *new deferred::OperationCore<std::vector<SocketAddress>, Resolving>(reactor, std::move(host), port));
}

}  // namespace tap::net
