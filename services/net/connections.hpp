// ConnectionSet: the connections of one listener, with an end for each of them.
//
// Tests: tests/services/net/listener_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "services/net/memory_budget.hpp"
#include "services/net/peer_table.hpp"
#include "services/net/stream.hpp"
#include "services/net/stream_deadlines.hpp"

namespace tap::net {

/// What is counted, for the status report.
struct ConnectionCounts {
  std::uint64_t accepted = 0;
  std::uint64_t refused = 0;    ///< over connections_max, over connections_per_peer_max, or there was no memory
  std::uint64_t timed_out = 0;  ///< idle for too long, a request that did not end, a peer that did not read
  std::size_t open = 0;
};

/// What a listener allows.
struct ListenerLimits {
  std::size_t connections_max = 10'000;
  std::uint64_t idle_timeout_ms = 0;         ///< no byte either way for this long ends a connection; 0: never
  std::size_t connections_per_peer_max = 0;  ///< see PeerKey; 0: as many as there may be
  std::uint64_t connect_rate = 0;            ///< new ones a second; 0: as they come. The rest waits in the backlog
  std::uint64_t connect_burst = 0;           ///< so many at once; 0: as many as connect_rate
  std::uint64_t read_rate = 0;               ///< bytes a second of each; 0: as they come
  std::uint64_t request_timeout_ms = 0;      ///< from a request's first byte to its last; 0: none
  std::uint64_t keepalive_ms = 0;            ///< silent for so long, TCP asks whether the peer lives (tcp(7)); 0: never
  std::size_t write_buffer_bytes = kWriteBufferBytes;
  bool clean_end = false;                    ///< Transport::require_clean_end() from accept(2) on
  std::uint64_t slow_reader_timeout_ms = 0;  ///< above write_buffer_bytes without progress; 0: for ever
};

/// What a listener shares with others. Lifetime: outlives it.
struct SharedLimits {
  Reactor::Account account = 0;       ///< the service
  TokenBucket* read_total = nullptr;  ///< of the service
  MemoryBudget* budget = nullptr;     ///< of the process
};

/// Thread:     the loop's.
/// Lifetime:   owns its streams; the reactor and the factory outlive it. Dropping it ends every connection at once.
/// Invariants: streams_ is ordered by last activity, the most idle first, so that one timer serves all of them.
class ConnectionSet final : private StreamOwner, private BudgetMember {
 public:
  /// Refusals by address are said at most so often, with their number: an address costs an attacker nothing.
  static constexpr std::uint64_t kRefusalsSaidMs = 10'000;

  /// `gate`: what the connections' output waits for, see gate.hpp. It outlives the set.
  ConnectionSet(Reactor& reactor, Factory& factory, std::string service, ListenerLimits limits, Gate* gate = nullptr);
  ConnectionSet(const ConnectionSet&) = delete;
  ConnectionSet& operator=(const ConnectionSet&) = delete;
  ~ConnectionSet();

  /// REQUIRES: before the first connection.
  void share(const SharedLimits& shared);

  /// Takes a connection in, or refuses it when there are too many (it is closed at once: an answer, not a wait).
  void accept(uv_stream_s* listener, StreamKind kind);
  [[nodiscard]] Result<void> adopt(Fd socket, StreamKind kind);

  /// Reads no more, answers and sends what is due, ends; `empty` is called, from a later turn, when none is left.
  void drain(std::function<void()> empty);
  void abort_all();
  /// Calls `empty`, from a later turn, when the last connection is gone.
  void when_empty(std::function<void()> empty) { when_empty_ = std::move(empty); }

  [[nodiscard]] const ConnectionCounts& counts() const { return counts_; }
  /// The peer that has been here longest without a byte; empty: there is none.
  [[nodiscard]] std::string some_peer() const { return streams_.empty() ? std::string() : streams_.front()->peer(); }

 private:
  void stream_active(StreamTransport& stream) override;
  void stream_ended(StreamTransport& stream) override;
  [[nodiscard]] const std::string& service() const override { return service_; }
  [[nodiscard]] Gate* gate() const override { return gate_; }
  [[nodiscard]] const StreamRules& rules() const override { return rules_; }
  void request_begins(StreamTransport& stream) override { deadlines_.request_begins(stream); }
  void request_ends(StreamTransport& stream) override { deadlines_.request_ends(stream); }
  void output_waits(StreamTransport& stream) override { deadlines_.output_waits(stream); }
  void each_stream(const std::function<void(StreamTransport&)>& use) override;

  [[nodiscard]] std::unique_ptr<StreamTransport> make_stream();
  [[nodiscard]] bool begin(std::unique_ptr<StreamTransport> stream);
  void refuse(uv_stream_s* listener, StreamKind kind);
  void say_full();
  [[nodiscard]] bool admit(StreamTransport& stream);
  void say_peer_refused(const std::string& peer);
  void forget_peer(StreamTransport& stream);
  void bury();
  void watch_idle();
  void end_idle();

  Reactor& reactor_;
  Factory& factory_;
  std::string service_;
  ListenerLimits limits_;
  Gate* gate_;
  StreamRules rules_;
  ConnectionCounts counts_;
  StreamDeadlines deadlines_;
  PeerTable peers_;
  std::list<std::unique_ptr<StreamTransport>> streams_;
  std::vector<StreamTransport*> ended_;
  Timer burial_;
  Timer idle_watch_;
  std::function<void()> when_empty_;
  bool full_ = false;  ///< said in the log already
  std::uint64_t refused_before_ = 0;
  std::uint64_t peer_refusals_ = 0;  ///< not said in the log yet
  Timer peer_refusals_said_;         ///< active: a line of these was written not long ago
};

}  // namespace tap::net
