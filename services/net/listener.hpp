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
  /// While only the reserve of descriptors is left, it is looked so often whether there are more.
  static constexpr std::uint64_t kDescriptorLookMs = 100;
  /// And it is said so often at most: with clients that come and go it may be so and not so all the time.
  static constexpr std::uint64_t kShortSaidMs = 10'000;

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
  /// As accept(2) and its like said, not those that were refused.
  [[nodiscard]] std::uint64_t failed_accepts() const { return failed_accepts_; }

 private:
  struct Box;
  [[nodiscard]] Result<void> open(Fd bound);
  void incoming(int status);
  void take_next();
  [[nodiscard]] bool descriptors_left();
  void ask_keepalive(int socket) const;
  void ask_clean_end(int socket) const;
  void try_again();
  void let_go();

  Reactor& reactor_;
  std::string service_;
  ConnectionSet connections_;
  Box* box_ = nullptr;
  Fd spare_;  ///< the listening socket, when accept(2) has failed and the handle is closed for a while
  int backlog_ = 0;
  Timer retry_;
  Timer next_;  ///< active: libuv holds one accepted connection for us, and takes no more meanwhile
  TokenBucket rate_;
  std::uint64_t keepalive_ms_;
  bool clean_end_;
  std::uint64_t failed_accepts_ = 0;
  Timer short_said_;  ///< active: the log has been told not long ago that descriptors are short
  StreamKind kind_ = StreamKind::tcp;
  bool failing_ = false;  ///< said in the log already
};

}  // namespace tap::net
