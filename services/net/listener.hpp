// Listener: a listening socket on the loop and the connections that came through it.
//
// Tests: tests/services/net/listener_test.cpp
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "services/net/connections.hpp"
#include "services/net/reactor.hpp"
#include "state/base/fd.hpp"

namespace tap::net {

/// Thread:   the loop's.
/// Lifetime: the reactor and the factory outlive it. Dropping it ends its connections at once; drain() ends them well.
class Listener {
 public:
  /// After an error of accept(2) the next attempt waits so long.
  static constexpr std::uint64_t kAcceptPauseMs = 1000;

  Listener(Reactor& reactor, Factory& factory, std::string service, ListenerLimits limits, Gate* gate = nullptr);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  /// Starts listening on a bound socket. Errors: unavailable.
  [[nodiscard]] Result<void> listen(Fd bound, StreamKind kind, int backlog);

  /// Accepts no more. REQUIRES: nothing; may be repeated.
  void close();
  /// close(), then ConnectionSet::drain().
  void drain(std::function<void()> done);

  [[nodiscard]] ConnectionSet& connections() { return connections_; }

 private:
  struct Box;
  [[nodiscard]] Result<void> open(Fd bound);
  void incoming(int status);
  void try_again();
  void let_go();

  Reactor& reactor_;
  std::string service_;
  ConnectionSet connections_;
  Box* box_ = nullptr;
  Fd spare_;  ///< the listening socket, when accept(2) has failed and the handle is closed for a while
  int backlog_ = 0;
  Timer retry_;
  StreamKind kind_ = StreamKind::tcp;
  bool failing_ = false;  ///< said in the log already
};

}  // namespace tap::net
