// Upstreams: the proxy's outgoing connections, those in use and those kept for the next request.
//
// Tests: tests/services/filter_proxy/proxy_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "services/net/connect.hpp"
#include "services/net/connections.hpp"
#include "services/net/http/client_protocol.hpp"
#include "services/net/resolve.hpp"

namespace tap::services {

class Upstreams;
class TunnelEnd;

struct UpstreamLimits {
  std::size_t in_all_max = 1'000;  ///< connections, with those that are being made
  std::size_t per_host_max = 256;
  std::size_t idle_in_all_max = 256;  ///< kept; the longest unused goes first
  std::size_t idle_per_host_max = 64;
  std::uint64_t idle_ms = 30'000;
  std::uint64_t connect_ms = 10'000;
  std::uint64_t tunnel_ms = 600'000;  ///< without a byte either way
  bool allow_private = false;
};

/// A connection's right to be there. Lifetime: the Upstreams that gave it outlives it.
class UpstreamSlot {
 public:
  UpstreamSlot() = default;
  UpstreamSlot(UpstreamSlot&& other) noexcept;
  UpstreamSlot& operator=(UpstreamSlot&& other) noexcept;
  UpstreamSlot(const UpstreamSlot&) = delete;
  UpstreamSlot& operator=(const UpstreamSlot&) = delete;
  ~UpstreamSlot() { give_back(); }

  [[nodiscard]] const std::string& key() const { return key_; }

 private:
  friend class Upstreams;
  UpstreamSlot(Upstreams& upstreams, std::string key) : upstreams_(&upstreams), key_(std::move(key)) {}
  void give_back();

  Upstreams* upstreams_ = nullptr;
  std::string key_;
};

/// What became of an attempt to connect: a socket, or what the client is to be answered, and why.
struct Dialled {
  Fd socket;
  UpstreamSlot slot;
  int status = 0;  ///< 0: connected
  std::string reason;
};

/// An attempt under way. Dropping it cancels. The addresses that a name has are looked at here, and what is connected
/// to is one of those that passed: a name that means another place at the next look gains nothing.
class Dial {
 public:
  using Done = std::function<void(Dialled)>;

  /// `done` is called once, from a later turn, and may drop this.
  Dial(net::Reactor& reactor, const std::string& host, std::uint16_t port, UpstreamSlot slot,
       const UpstreamLimits& limits, Done done);

 private:
  void resolved(Result<std::vector<net::SocketAddress>> addresses);
  void finish(int status, std::string reason, Fd socket = Fd());

  net::Reactor& reactor_;
  UpstreamSlot slot_;
  bool allow_private_;
  Done done_;
  std::optional<net::Resolving> resolving_;
  std::optional<net::ConnectRace> race_;
  net::Timer deadline_;
};

/// One HTTP connection to an origin; the pool's while it is idle.
class UpstreamConnection final : public net::HttpClientProtocol {
 public:
  UpstreamConnection(net::Reactor& reactor, Upstreams& upstreams, UpstreamSlot slot);
  ~UpstreamConnection() override;

  /// Whether it has answered before: then its end may only mean that it was idle for too long.
  [[nodiscard]] bool used() const { return used_; }
  /// Ends it; nothing is under way.
  void let_go() { transport().lose_connection(); }

 private:
  friend class Upstreams;
  void became_idle() override;
  void ended(const Error& reason) override;

  Upstreams& upstreams_;
  UpstreamSlot slot_;
  std::list<UpstreamConnection*>::iterator place_;
  std::uint64_t idle_since_ms_ = 0;
  bool pooled_ = false;
  bool used_ = false;
  bool begun_ = false;
};

/// Thread:   the loop's.
/// Lifetime: the reactor outlives it; it outlives whoever has a slot, a dial or a connection of it.
class Upstreams final : private net::Factory {
 public:
  Upstreams(net::Reactor& reactor, std::string service, const UpstreamLimits& limits);
  ~Upstreams() override;

  /// Room for one more connection to a place; nullopt: there is none. An idle one elsewhere is ended for it.
  [[nodiscard]] std::optional<UpstreamSlot> take_slot(const std::string& key);
  /// An idle connection to that place, the one used last; nullptr: there is none.
  [[nodiscard]] UpstreamConnection* take_idle(const std::string& key);
  [[nodiscard]] std::unique_ptr<Dial> dial(const std::string& host, std::uint16_t port, UpstreamSlot slot,
                                           Dial::Done done);
  /// A connection that was dialled begins to be one for requests. Errors: internal.
  [[nodiscard]] Result<UpstreamConnection*> begin(Dialled dialled);
  /// The same with a protocol of the caller's.
  [[nodiscard]] Result<void> begin(Fd socket, std::unique_ptr<net::Protocol> protocol);

  /// Once a second: ends what was idle for too long.
  void sweep();
  void abort_all();

  void add(TunnelEnd& tunnel) { tunnels_.push_back(&tunnel); }
  void remove(TunnelEnd& tunnel) { tunnels_.remove(&tunnel); }

  [[nodiscard]] const UpstreamLimits& limits() const { return limits_; }
  [[nodiscard]] std::size_t open() const { return open_; }
  [[nodiscard]] std::size_t idle() const { return idle_.size(); }

 private:
  friend class UpstreamSlot;
  friend class UpstreamConnection;
  struct Place {
    std::size_t open = 0;
    std::vector<UpstreamConnection*> idle;  ///< the one used last is the last
  };

  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override { return std::move(next_); }
  void keep(UpstreamConnection& connection);
  void unpool(UpstreamConnection& connection);
  void release(const std::string& key);

  net::Reactor& reactor_;
  UpstreamLimits limits_;
  std::map<std::string, Place, std::less<>> places_;  ///< a tree: the names come from outside
  std::list<UpstreamConnection*> idle_;               ///< the longest unused first
  std::list<TunnelEnd*> tunnels_;
  std::size_t open_ = 0;
  std::unique_ptr<net::Protocol> next_;
  net::ConnectionSet connections_;  ///< last: its protocols call back
};

}  // namespace tap::services
