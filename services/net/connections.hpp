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

#include "services/net/stream.hpp"

namespace tap::net {

/// What is counted, for the status report.
struct ConnectionCounts {
  std::uint64_t accepted = 0;
  std::uint64_t refused = 0;    ///< over connections_max
  std::uint64_t timed_out = 0;  ///< idle for too long
  std::size_t open = 0;
};

/// What a listener allows.
struct ListenerLimits {
  std::size_t connections_max = 10'000;
  std::uint64_t idle_timeout_ms = 0;  ///< no byte either way for this long ends a connection; 0: never
};

/// Thread:     the loop's.
/// Lifetime:   owns its streams; the reactor and the factory outlive it. Dropping it ends every connection at once.
/// Invariants: streams_ is ordered by last activity, the most idle first, so that one timer serves all of them.
class ConnectionSet final : private StreamOwner {
 public:
  /// `gate`: what the connections' output waits for, see gate.hpp. It outlives the set.
  ConnectionSet(Reactor& reactor, Factory& factory, std::string service, ListenerLimits limits, Gate* gate = nullptr);
  ConnectionSet(const ConnectionSet&) = delete;
  ConnectionSet& operator=(const ConnectionSet&) = delete;
  ~ConnectionSet();

  /// Takes a connection in, or refuses it when there are too many (it is closed at once: an answer, not a wait).
  void accept(uv_stream_s* listener, StreamKind kind);
  [[nodiscard]] Result<void> adopt(Fd socket, StreamKind kind);

  /// Reads no more, answers and sends what is due, ends; `empty` is called, from a later turn, when none is left.
  void drain(std::function<void()> empty);
  void abort_all();
  /// Calls `empty`, from a later turn, when the last connection is gone.
  void when_empty(std::function<void()> empty) { when_empty_ = std::move(empty); }

  [[nodiscard]] const ConnectionCounts& counts() const { return counts_; }

 private:
  void stream_active(StreamTransport& stream) override;
  void stream_ended(StreamTransport& stream) override;
  [[nodiscard]] const std::string& service() const override { return service_; }
  [[nodiscard]] Gate* gate() const override { return gate_; }

  [[nodiscard]] std::unique_ptr<StreamTransport> make_stream();
  [[nodiscard]] bool begin(std::unique_ptr<StreamTransport> stream);
  void refuse(uv_stream_s* listener, StreamKind kind);
  void bury();
  void watch_idle();
  void end_idle();

  Reactor& reactor_;
  Factory& factory_;
  std::string service_;
  ListenerLimits limits_;
  Gate* gate_;
  ConnectionCounts counts_;
  std::list<std::unique_ptr<StreamTransport>> streams_;
  std::vector<StreamTransport*> ended_;
  Timer burial_;
  Timer idle_watch_;
  std::function<void()> when_empty_;
  bool full_ = false;  ///< said in the log already
  std::uint64_t refused_before_ = 0;
};

}  // namespace tap::net
