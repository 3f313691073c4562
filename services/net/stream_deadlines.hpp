// StreamDeadlines: ends connections whose request does not come to an end, and those whose peer does not read.
//
// Tests: tests/services/net/stream_policy_test.cpp
#pragma once

#include <cstdint>
#include <list>

#include "services/net/reactor.hpp"

namespace tap::net {

class StreamTransport;

/// Thread:   the loop's.
/// Lifetime: of the ConnectionSet that owns it; a stream that ends is forgotten before it goes.
/// One timer for each of the two, whatever the number of connections; only those concerned are in a list.
class StreamDeadlines {
 public:
  struct Limits {
    std::uint64_t request_timeout_ms = 0;      ///< 0: none
    std::uint64_t slow_reader_timeout_ms = 0;  ///< 0: none
  };

  /// `timed_out` is counted up for each connection that is ended.
  StreamDeadlines(Reactor& reactor, Limits limits, std::uint64_t& timed_out)
      : reactor_(reactor), limits_(limits), timed_out_(timed_out) {}
  StreamDeadlines(const StreamDeadlines&) = delete;
  StreamDeadlines& operator=(const StreamDeadlines&) = delete;

  /// The first byte of a request is there. While one is open, another begin means nothing: the deadline is absolute.
  void request_begins(StreamTransport& stream);
  void request_ends(StreamTransport& stream);
  /// The kernel did not take all of the output.
  void output_waits(StreamTransport& stream);
  void forget(StreamTransport& stream);

 private:
  void watch_requests();
  void end_late_requests();
  void watch_readers();
  void look_at_readers();

  Reactor& reactor_;
  Limits limits_;
  std::uint64_t& timed_out_;
  std::list<StreamTransport*> requests_;  ///< by their beginning
  std::list<StreamTransport*> readers_;
  Timer requests_watch_;
  Timer readers_watch_;
};

}  // namespace tap::net
