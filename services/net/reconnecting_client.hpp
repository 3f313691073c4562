// ReconnectingClient: keeps one connection to an endpoint, for as long as it runs.
//
// Source: Twisted's ClientService (application/internet.py).
// Tests: tests/services/net/reconnecting_client_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "services/net/connector.hpp"

namespace tap::net {

/// How long to wait before another attempt.
struct ReconnectPolicy {
  std::uint64_t first_ms = 1'000;
  double factor = 1.5;
  std::uint64_t most_ms = 60'000;
  /// Each wait is longer or shorter by up to this part of it, so that many clients do not come back as one.
  double jitter = 0.2;
  /// So many attempts in a row may fail; then it gives up. 0: it never does.
  std::uint64_t attempts_max = 0;
  /// A connection that lived for less counts as one more failure: a server that hangs up at once is not run at.
  std::uint64_t stable_ms = 10'000;
};

/// Thread:   the loop's.
/// Lifetime: the reactor, the factory and the gate outlive it. Dropping it ends its connection at once;
/// never from inside
///           a call of its protocol.
class ReconnectingClient {
 public:
  static constexpr std::size_t kWaitersMax = 10'000;

  using Connected = std::function<void(Result<Protocol*>)>;
  /// Gives a number in [0, 1).
  using Random = std::function<double()>;

  /// Somebody who waits for the connection. Dropping it calls that off.
  class Waiter {
   public:
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    ~Waiter();

   private:
    friend class ReconnectingClient;
    explicit Waiter(Connected told) : told_(std::move(told)) {}
    Connected told_;
    ReconnectingClient* client_ = nullptr;
    std::list<Waiter*>::iterator place_;
  };

  /// Errors: config, as Connector::create().
  [[nodiscard]] static Result<std::unique_ptr<ReconnectingClient>> create(Reactor& reactor,
                                                                          const ClientEndpoint& endpoint,
                                                                          Factory& factory, std::string service,
                                                                          ReconnectPolicy policy = {},
                                                                          Gate* gate = nullptr);
  ReconnectingClient(const ReconnectingClient&) = delete;
  ReconnectingClient& operator=(const ReconnectingClient&) = delete;
  ~ReconnectingClient();

  /// Connects, and again whenever the connection is lost. May follow stop(), or a giving up.
  void start();
  /// Tries no more, ends the connection once everything written is sent, then calls `stopped`, from a later turn. Who
  /// waits is told that there will be no connection.
  void stop(std::function<void()> stopped);

  /// Calls `connected`, once, from a later turn: with the protocol as soon as there is a connection; with an error when
  /// it has given up or was stopped. Errors: unavailable; temporary, when too many wait.
  [[nodiscard]] std::unique_ptr<Waiter> when_connected(Connected connected);

  /// The protocol of the present connection; nullptr without one.
  [[nodiscard]] Protocol* current() const;
  /// Attempts that have failed since the last stable connection.
  [[nodiscard]] std::uint64_t failures() const { return failures_; }
  [[nodiscard]] bool waiting_to_retry() const { return retry_.active(); }
  /// For tests: chance as they like it.
  void set_random(Random random) { random_ = std::move(random); }

 private:
  class Watched;
  class WatchedFactory;
  enum class State : std::uint8_t { idle, running, stopping };

  ReconnectingClient(Reactor& reactor, std::string service, ReconnectPolicy policy);
  void attempt();
  void connected(Result<Protocol*> result);
  void lost(Watched& connection);
  void retry_or_give_up(const std::string& why);
  [[nodiscard]] std::uint64_t wait_ms();
  void tell_soon();
  void tell_waiters();
  void end_stop();

  Reactor& reactor_;
  std::string service_;
  ReconnectPolicy policy_;
  Random random_;
  State state_ = State::idle;
  std::uint64_t failures_ = 0;
  std::uint64_t connected_ms_ = 0;
  std::string why_none_ = "it was not started";
  Watched* connection_ = nullptr;
  bool ending_ = false;  ///< the present connection, by a stop
  std::list<Waiter*> waiters_;
  std::function<void()> stopped_;
  Timer retry_;
  Timer telling_;
  Timer stopping_;
  std::unique_ptr<Factory> factory_;
  std::unique_ptr<Connector> connector_;
  std::unique_ptr<Connecting> connecting_;  ///< before the connector that it uses
};

}  // namespace tap::net
