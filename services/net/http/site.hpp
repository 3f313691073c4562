// HttpSite: what the HTTP connections of one service share.
#pragma once

#include <array>
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

#include "services/net/http/parser.hpp"
#include "services/net/reactor.hpp"

namespace tap::net {

/// Passing one of these is answered, or ends the connection; see each.
struct HttpServerLimits {
  HttpLimits message;
  /// From the connection's beginning, or a later head's first byte, to the head's last byte; bytes do not extend it.
  /// 408.
  std::uint64_t head_timeout_ms = 10'000;
  /// Without a byte of the next request; then the connection ends in order.
  std::uint64_t keep_alive_ms = 75'000;
  /// After an answer that closes, so that it arrives: what the peer still sends is read and dropped for so long, and up
  /// to so much.
  std::uint64_t linger_ms = 2'000;
  std::uint64_t linger_bytes_max = std::uint64_t{1} << 20U;
  /// What is read of a request's body that nobody wanted, so that the connection can go on.
  std::uint64_t discard_bytes_max = std::uint64_t{64} * 1024;
};

struct HttpCounts {
  std::uint64_t requests = 0;   ///< heads that were understood
  std::uint64_t refused = 0;    ///< answered by us, because of what the peer sent
  std::uint64_t timed_out = 0;  ///< heads that did not end in time
};

/// Thread: the loop's.   Lifetime: the reactor outlives it; it outlives its connections.
class HttpSite {
 public:
  explicit HttpSite(Reactor& reactor, const HttpServerLimits& limits = {}) : reactor_(reactor), limits_(limits) {}
  HttpSite(const HttpSite&) = delete;
  HttpSite& operator=(const HttpSite&) = delete;

  [[nodiscard]] Reactor& reactor() { return reactor_; }
  [[nodiscard]] const HttpServerLimits& limits() const { return limits_; }
  [[nodiscard]] HttpCounts& counts() { return counts_; }
  /// "Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n", made once a second.
  [[nodiscard]] std::string_view date_line();
  /// An empty string for putting a head together; used up before anybody else asks.
  [[nodiscard]] std::string& scratch() {
    scratch_.clear();
    return scratch_;
  }

 private:
  static constexpr std::size_t kDateLineBytes = 37;

  Reactor& reactor_;
  HttpServerLimits limits_;
  HttpCounts counts_;
  std::string scratch_;
  std::time_t date_of_ = -1;
  std::array<char, kDateLineBytes + 1> date_{};
};

/// "Tue, 15 Nov 1994 08:12:31 GMT" (RFC 9110 section 5.6.7): 29 bytes and a NUL to `out`.
void write_http_date(std::time_t when, char* out);

}  // namespace tap::net
