// ConnectRace: one connection to whichever of several addresses answers first.
//
// Source: RFC 8305 ("Happy Eyeballs Version 2"), sections 4 and 5.
// Tests: tests/services/net/connect_test.cpp
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "services/net/address.hpp"
#include "services/net/deferred.hpp"
#include "services/net/reactor.hpp"
#include "services/net/watch.hpp"
#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::net {

/// The addresses with their families taking turns, beginning with the first one's (RFC 8305, section 4).
[[nodiscard]] std::vector<SocketAddress> interleaved(const std::vector<SocketAddress>& addresses);

/// Tries the addresses in their order: the next one when the last has failed, or has not answered for a while. The
/// first that answers wins, the others are closed.
///
/// Thread:   the loop's.
/// Lifetime: dropping it closes what is under way; `done` is not called any more.
class ConnectRace {
 public:
  static constexpr std::uint64_t kNextAfterMs = 250;  // RFC 8305, section 8: "Connection Attempt Delay"
  /// More addresses are not tried: each takes a descriptor while it does not answer.
  static constexpr std::size_t kAddressesMax = 32;

  using Done = std::function<void(Result<Fd>)>;

  /// `from`: where the connection comes from; addresses of another family are left out then. `done` is called once,
  /// from a later turn, and may drop this. Errors: unavailable, with what each address said.
  ConnectRace(Reactor& reactor, const std::vector<SocketAddress>& addresses, std::optional<SocketAddress> from,
              Done done);
  ConnectRace(const ConnectRace&) = delete;
  ConnectRace& operator=(const ConnectRace&) = delete;
  ~ConnectRace();

 private:
  struct Attempt;
  void try_next();
  [[nodiscard]] Result<std::unique_ptr<Attempt>> begin(const SocketAddress& to);
  void look_soon();
  void look();
  void failed(const SocketAddress& to, int code);
  void finish(Result<Fd> result);

  Reactor& reactor_;
  std::vector<SocketAddress> addresses_;
  std::optional<SocketAddress> from_;
  Done done_;
  std::size_t tried_ = 0;  ///< addresses_[0, tried_) have been begun
  std::list<std::unique_ptr<Attempt>> under_way_;
  std::string failures_;
  Timer next_;
  Timer look_;
};

/// The same as a Deferred.
[[nodiscard]] inline Deferred<Fd> connect_first(Reactor& reactor, const std::vector<SocketAddress>& addresses,
                                                std::optional<SocketAddress> from = std::nullopt) {
  return Deferred<Fd>(*new deferred::OperationCore<Fd, ConnectRace>(reactor, addresses, from));
}

}  // namespace tap::net
