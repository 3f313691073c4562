// Application: services with their sockets and states, from the first start to the last byte.
//
// Tests: tests/services/application_test.cpp
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "services/committer.hpp"
#include "services/kind.hpp"
#include "services/net/listener.hpp"
#include "services/net/stdio_bridge.hpp"
#include "services/net/tls_context.hpp"
#include "services/net/udp.hpp"
#include "state/archive.hpp"
#include "state/store.hpp"

namespace tap::services {

/// A bound socket and the service it belongs to; no descriptor means standard input and output.
struct ServiceSocket {
  std::string service;
  Fd fd;
  net::StreamKind kind = net::StreamKind::tcp;
  int backlog = 0;
  std::string text;                               ///< "tcp:127.0.0.1:8888", for messages
  bool datagram = false;                          ///< `kind` and `backlog` mean nothing then
  bool proxied = false;                           ///< each connection begins with a PROXY header
  std::unique_ptr<net::TlsServer> tls = nullptr;  ///< its keys; nullptr: plain
  std::string endpoint = {};                      ///< as it was written, "tcp:8888"
};

/// A first archive for a definition: new lineage, generation 1, every state as nothing has happened to it.
/// Errors: config, for an unknown kind.
[[nodiscard]] Result<state::Archive> initial_archive(const state::Definition& definition, const Registry& kinds);

/// Thread:   the loop's.
/// Lifetime: the reactor and the registry outlive it.
/// Order:    create -> restore -> (replay) -> settle -> (journal) -> start -> (serving) -> drain -> stop -> collect.
class Application : public state::ReplaySink {
 public:
  /// Makes the services. `directory`: where relative paths in their options begin. Errors: config, for an unknown kind
  /// or a wrong option.
  [[nodiscard]] static Result<std::unique_ptr<Application>> create(state::Definition definition, const Registry& kinds,
                                                                   net::Reactor& reactor,
                                                                   const std::string& directory = {});
  ~Application() override;

  /// Gives each service its state. Sections of services that are not defined are left alone: collect() keeps them.
  /// Errors: damaged; config, for a newer schema or a service that is of another kind now.
  [[nodiscard]] Result<void> restore(const state::Archive& archive);
  /// What the journal says since that archive. Records of services that are not defined are kept:
  /// collect() writes them.
  /// Errors: as restore().
  [[nodiscard]] Result<void> replay(const state::Introduction& of, state::RecordType type, ByteView payload) override;

  /// After the last of these: states of older schemas are brought to the present one. Errors: damaged; internal.
  [[nodiscard]] Result<void> settle();

  /// Whether a service's changes go to the journal.
  [[nodiscard]] bool journaled() const;
  /// Whether every service with a state does so: then a crash forgets nothing that the journal does not have.
  [[nodiscard]] bool all_journaled() const;
  /// Who is who in the journal: the services by number.
  [[nodiscard]] std::vector<state::Introduction> introductions() const;
  /// From here on changes are journaled, and output waits for them. `committer` outlives the connections.
  void journal(Committer& committer);

  /// Starts the services in their order, then opens the ports. On error what had started is stopped, last first.
  [[nodiscard]] Result<void> start(std::vector<ServiceSocket> sockets);

  /// Has the services that run read their files again (Service::reload()), in their order. An exception from one is
  /// logged with its name and ends nothing.
  void reload();

  /// Calls `ended` (once, from the loop) when standard input and output were all it served and they have ended.
  void when_stdio_ends(std::function<void()> ended) { stdio_ended_ = std::move(ended); }

  /// Accepts no more, reads no more, answers what was received, sends it; then winds the services down, last first, and
  /// calls `done`, from a later turn.
  void drain(std::function<void()> done);
  /// What is not sent by now is lost.
  void abort_connections();
  /// Gives up what standard output has not taken; nothing waits for it any more.
  void abandon_output();
  /// Who keeps a drain from its end: "service 'fib': 3 connections, one of them of 127.0.0.1:40123".
  [[nodiscard]] std::vector<std::string> waits_for() const;
  /// Ends the services, last first; one that takes long is named in the log.
  void stop();

  /// The archive that follows `previous` (nothing: the first), with every state as it is now: everything up to
  /// `base_lsn` of the journal is in it.
  [[nodiscard]] Result<state::Archive> collect(const std::optional<state::StoredArchive>& previous,
                                               std::uint64_t base_lsn, std::uint64_t epoch) const;

  /// A line per service: connections, exceptions, changes; then what the service itself has to say.
  [[nodiscard]] std::vector<std::string> status() const;
  [[nodiscard]] const state::Definition& definition() const { return definition_; }

 private:
  struct Running {
    std::string name;
    std::uint16_t number = 0;  // in the journal: its place in the definition
    net::Reactor::Account account = 0;
    std::unique_ptr<net::TokenBucket> read_total;  // of all its connections, where that is limited
    std::unique_ptr<Service> service;
    std::vector<std::unique_ptr<net::TlsServer>> keys;
    std::vector<std::unique_ptr<net::Factory>> layers;  // between the listeners and the service
    std::vector<std::unique_ptr<net::Listener>> listeners;
    std::vector<std::unique_ptr<net::UdpTransport>> datagrams;
    std::unique_ptr<net::StdioBridge> bridge;  // ends after the connections that use it
    std::unique_ptr<net::ConnectionSet> stdio;
  };

  Application(state::Definition definition, net::Reactor& reactor);
  [[nodiscard]] Running* find(std::string_view service);
  [[nodiscard]] Result<void> replay_pending(Running& running, const state::Archive& archive);
  [[nodiscard]] net::Gate* gate_of(const Running& running) const;
  [[nodiscard]] net::Factory& layered(Running& running, ServiceSocket& socket);
  [[nodiscard]] Result<void> open(Running& running, ServiceSocket socket);
  [[nodiscard]] Result<void> open_datagrams(Running& running, Fd bound);
  [[nodiscard]] Result<void> open_stdio(Running& running, const net::ListenerLimits& limits);
  void watch_stdio();
  void one_drained();
  void wind_down_next();
  [[nodiscard]] net::SharedLimits shared_limits(const Running& running) const;

  state::Definition definition_;
  net::Reactor& reactor_;
  std::unique_ptr<net::MemoryBudget> budget_;  // outlives the connections
  Committer* committer_ = nullptr;
  std::vector<state::Section> pending_;        // records of services that are not defined
  std::vector<std::uint16_t> datagram_ports_;  // of all services; the transports look at it
  std::vector<Running> running_;
  std::size_t started_ = 0;  ///< running_[0, started_) have been started and not stopped
  std::size_t draining_ = 0;
  std::size_t winding_ = 0;  ///< running_[winding_ - 1] is the next to wind down; while it takes its time, is_winding_
  bool is_winding_ = false;
  std::function<void()> drained_;
  std::function<void()> stdio_ended_;
  net::Timer none_to_drain_;
  net::Timer wound_down_;
};

}  // namespace tap::services
