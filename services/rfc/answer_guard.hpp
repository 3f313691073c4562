// AnswerGuard: whom a service that answers datagrams answers, and how often, so that nobody can use it against others.
//
// A datagram's sender is whatever was written there. Who forges it makes the service send to a victim; who forges the
// address of a second such service makes the two answer each other for ever (CERT CA-1996-01). So:
//
//   - a source port below 1024 is not answered: clients have none (IANA gives them 49152 and up, systems 1024 and up),
//     the services of inetd all do: 7, 9, 13, 17, 19, 37. BSD's inetd and its descendants draw the same line;
//   - nor is a port that this process serves itself, wherever the datagram says it comes from;
//   - nor an address that is no single host's (0/8, groups, broadcasts; DatagramAddress::is_one_host());
//   - each source has a bucket of answers, and all of them together have one. A single datagram that two services with
//     unusual ports throw to each other runs into this after a moment; it is not answered once, and the loop is over.
//
// Tests: tests/services/rfc/answer_guard_test.cpp
#pragma once

#include <cstdint>
#include <vector>

#include "services/net/datagram.hpp"

namespace tap::services {

/// Lets through so many per second on average, and the same number at once.
class RateLimit {
 public:
  /// Whether one more may pass. `per_second` 0: none ever.
  [[nodiscard]] bool has_room(std::uint64_t per_second, std::uint64_t now_ms);
  /// REQUIRES: has_room() at this time.
  void take() { taken_ += 1; }

 private:
  double taken_ = 0;  ///< flows off with the time
  std::uint64_t at_ms_ = 0;
};

/// Thread: the loop's.
class AnswerGuard {
 public:
  /// Ports that no client has (IPPORT_RESERVED).
  static constexpr std::uint16_t kReservedPorts = 1024;
  /// The table of sources does not grow: those that fall into one place share its limit. Which do, nobody can know.
  static constexpr std::size_t kSourcesMax = 4096;

  // Why not; each is a line in the log.
  static constexpr char kReservedPort[] = "not answered, the source port is below 1024: a server's, or forged";
  static constexpr char kOwnPort[] = "not answered, the source port is one that this tapd serves: a loop, or forged";
  static constexpr char kNoHost[] = "not answered, the source address is no single host's";
  static constexpr char kSourceLimit[] = "not answered, one address asks more often than udp_answers allows";
  static constexpr char kTotalLimit[] = "not answered, all together ask more often than udp_answers_in_all allows";

  /// Answers per second.
  struct Limits {
    std::uint64_t per_source = 10;
    std::uint64_t in_all = 1000;
  };

  explicit AnswerGuard(Limits limits);

  /// nullptr: it may be answered, and this counts as the answer. Otherwise one of the texts above.
  [[nodiscard]] const char* refusal(const net::DatagramAddress& from, const net::DatagramTransport& transport,
                                    std::uint64_t now_ms);

 private:
  [[nodiscard]] RateLimit& source(const net::DatagramAddress& from);

  Limits limits_;
  std::uint64_t seed_;
  RateLimit all_;
  std::vector<RateLimit> sources_;
};

}  // namespace tap::services
