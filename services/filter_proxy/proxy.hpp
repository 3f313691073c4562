// Proxy: what the connections of one filter-proxy share; ProxyProtocol: a client's connection.
//
// Tests: tests/services/filter_proxy/proxy_test.cpp
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "services/filter_proxy/forwarding.hpp"
#include "services/filter_proxy/networks.hpp"
#include "services/filter_proxy/rules.hpp"
#include "services/filter_proxy/state.hpp"
#include "services/filter_proxy/upstreams.hpp"
#include "services/net/http/server_protocol.hpp"

namespace tap::services {

class ProxyProtocol;

struct ProxySettings {
  std::vector<Network> allow_clients;
  std::vector<std::uint16_t> connect_ports;
  UpstreamLimits upstreams;
  std::uint64_t response_ms = 60'000;   ///< from the request's last byte to the end of the answer's head
  std::uint64_t transfer_ms = 120'000;  ///< without a byte of a body either way
  std::string pseudonym;                ///< in Via
};

struct ProxyCounts {
  std::uint64_t forwarded = 0;
  std::uint64_t tunnels = 0;
  std::uint64_t blocked = 0;
  std::uint64_t refused = 0;      ///< bad requests, clients and places that are not allowed
  std::uint64_t unreachable = 0;  ///< 502 to 504
  std::uint64_t reused = 0;       ///< requests on a connection that was there
  std::uint64_t retried = 0;
};

/// Thread: the loop's.   Lifetime: outlives its protocols.
class Proxy {
 public:
  /// Hosts whose rulings are remembered; then all are forgotten.
  static constexpr std::size_t kRememberedMax = 1'000;

  Proxy(net::Reactor& reactor, ProxySettings settings, RuleSet rules);

  /// From here on these rules hold. What was counted by the old ones is taken by take_counted() before.
  void set_rules(RuleSet rules);
  [[nodiscard]] const RuleSet& rules() const { return rules_; }
  [[nodiscard]] const Rulings& judge(const std::string& host);
  void count(const Ruling& ruling, std::uint64_t RuleCounts::*what) { ++(counted_[ruling.rule].*what); }
  /// What was counted since the last call, by rule.
  [[nodiscard]] std::vector<NamedCounts> take_counted();

  /// Once a second: ends what takes too long.
  void sweep();
  /// No new connections are made any more, and those that are there end.
  void stop();
  [[nodiscard]] bool stopped() const { return stopped_; }

  [[nodiscard]] net::Reactor& reactor() { return reactor_; }
  [[nodiscard]] net::HttpSite& site() { return site_; }
  [[nodiscard]] Upstreams& upstreams() { return upstreams_; }
  [[nodiscard]] const ProxySettings& settings() const { return settings_; }
  [[nodiscard]] ProxyCounts& counts() { return counts_; }
  [[nodiscard]] std::list<ProxyProtocol*>& clients() { return clients_; }

 private:
  net::Reactor& reactor_;
  ProxySettings settings_;
  RuleSet rules_;
  std::map<std::string, Rulings, std::less<>> remembered_;
  std::vector<RuleCounts> counted_;  ///< by the rule's place
  ProxyCounts counts_;
  net::HttpSite site_;
  Upstreams upstreams_;
  std::list<ProxyProtocol*> clients_;
  bool stopped_ = false;
};

/// One client. A request is judged, sent on over a connection of the pool or a new one, and its answer is passed back
/// as it comes: of a body no more is held than one read each way.
///
/// Lifetime: the proxy outlives it.
class ProxyProtocol final : public net::HttpServerProtocol {
 public:
  explicit ProxyProtocol(Proxy& proxy);
  ~ProxyProtocol() override;

  /// Answers 504, or resets, what has taken too long by now.
  void end_if_late(std::uint64_t now_ms);
  /// The places of rules mean others from here on: what is under way goes on as it was judged, and counts no more.
  void rules_changed() { rules_changed_ = true; }

 private:
  // From the client.
  void request_received(const net::HttpRequestHead& request, net::HttpAnswer answer) override;
  void body_received(std::string_view piece) override;
  void body_ended() override;
  void request_lost(const Error& reason) override;

  /// Hears the origin; a class of its own because both sides call a piece of a body the same.
  class Origin final : public net::HttpResponseReader {
   public:
    explicit Origin(ProxyProtocol& client) : client_(client) {}
    void response_received(const net::HttpResponseHead& head) override { client_.response_received(head); }
    void body_received(std::string_view piece) override { client_.response_body_received(piece); }
    void response_ended() override { client_.response_ended(); }
    void response_failed(const Error& reason) override { client_.response_failed(reason); }

   private:
    ProxyProtocol& client_;
  };
  void response_received(const net::HttpResponseHead& head);
  void response_body_received(std::string_view piece);
  void response_ended();
  void response_failed(const Error& reason);

  [[nodiscard]] bool client_allowed();
  [[nodiscard]] bool answered_here(const net::HttpRequestHead& request);
  void tunnel();
  void forward(const net::HttpRequestHead& request);
  void connect(const std::string& key);
  void connected(Dialled dialled);
  void tunnel_connected(Dialled dialled);
  void send(UpstreamConnection& connection);
  void refuse(const Refused& refused);
  void block(Blockable thing, const char* reason);
  void unreachable(int status, std::string_view reason);
  void give_up();
  void count_cookies();
  void await_response();
  void moved();

  Proxy& proxy_;
  std::list<ProxyProtocol*>::iterator place_;
  net::HttpAnswer answer_;
  Origin origin_{*this};
  net::HttpRequest upstream_;
  std::unique_ptr<Dial> dial_;
  Target target_;
  Rulings rulings_{};
  std::uint64_t late_ms_ = 0;  ///< when what is under way has taken too long; 0: never
  bool checked_ = false;       ///< the client's address is one of those that are allowed
  bool reused_ = false;        ///< the connection that the request was sent on had been used before
  bool may_retry_ = false;
  bool request_whole_ = false;
  bool cookies_counted_ = false;
  bool rules_changed_ = false;
};

}  // namespace tap::services
