// Connector: makes connections to one client endpoint, with or without TLS, and owns them.
//
// Tests: tests/services/net/connector_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "services/net/client_endpoint.hpp"
#include "services/net/connect.hpp"
#include "services/net/connections.hpp"
#include "services/net/deferred.hpp"
#include "services/net/resolve.hpp"
#include "services/net/tls_context.hpp"
#include "services/net/tls_layer.hpp"

namespace tap::net {

class Connector;

/// An attempt under way. Dropping it cancels: nobody is told, nothing stays open. Once it has told its end, dropping it
/// does nothing more. Lifetime: the connector outlives it.
class Connecting {
 public:
  Connecting(const Connecting&) = delete;
  Connecting& operator=(const Connecting&) = delete;
  ~Connecting();

  using Done = std::function<void(Result<Protocol*>)>;

 private:
  friend class Connector;
  Connecting(Connector& connector, std::uint64_t number, Done done);
  void begin();
  void race(Result<std::vector<SocketAddress>> addresses);
  void start(Result<Fd> connected);
  void finish(Result<Protocol*> result);
  void abandon();

  Connector& connector_;
  std::uint64_t number_;
  Done done_;
  std::optional<Resolving> resolving_;
  std::optional<ConnectRace> race_;
  TlsLayer* shaking_hands_ = nullptr;
  Timer deadline_;
};

/// Thread:   the loop's.
/// Lifetime: the reactor, the factory and the gate outlive it. Dropping it ends its connections at once; never from
///           inside a call of one of its protocols or of a `done`.
class Connector {
 public:
  using Done = Connecting::Done;

  /// `gate`: what the output waits for, see gate.hpp. Errors: config: a file of the endpoint cannot be used.
  [[nodiscard]] static Result<std::unique_ptr<Connector>> create(Reactor& reactor, const ClientEndpoint& endpoint,
                                                                 Factory& factory, std::string service,
                                                                 Gate* gate = nullptr);
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;
  ~Connector();

  /// Connects; the factory's protocol is started when the connection is made, with TLS when the handshake is over. Then
  /// `done` is called, once, never from inside this call; it may drop the handle. The protocol it gets lives until its
  /// connection_lost(). Errors: unavailable, temporary; internal.
  [[nodiscard]] std::unique_ptr<Connecting> connect(Done done);
  /// The same as a Deferred.
  [[nodiscard]] Deferred<Protocol*> connect();

  /// The connections that were made, for drain() and counts.
  [[nodiscard]] ConnectionSet& connections() { return connections_; }
  [[nodiscard]] const ClientEndpoint& endpoint() const { return endpoint_; }

 private:
  friend class Connecting;
  /// What the set asks for a protocol: the layer of TLS, or the protocol itself.
  class Layers final : public Factory {
   public:
    explicit Layers(Connector& connector) : connector_(connector) {}
    [[nodiscard]] std::unique_ptr<Protocol> build_protocol() override;

   private:
    Connector& connector_;
  };

  Connector(Reactor& reactor, ClientEndpoint endpoint, Factory& factory, std::string service, Gate* gate);
  void settle(std::uint64_t number, Result<Protocol*> result);

  Reactor& reactor_;
  ClientEndpoint endpoint_;
  LayerPlace place_;
  std::unique_ptr<TlsClient> tls_;  ///< nullptr: plain
  Layers layers_;
  std::map<std::uint64_t, Connecting*> under_way_;
  Connecting* starting_ = nullptr;  ///< while the set asks for its protocol
  std::uint64_t attempts_ = 0;
  Protocol* built_ = nullptr;  ///< what a plain connection got
  ConnectionSet connections_;  ///< last: its protocols call back
};

}  // namespace tap::net
