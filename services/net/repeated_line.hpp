// RepeatedLine: something that may happen a thousand times a second, said in the log once, and then how often.
//
// Tests: tests/services/net/udp_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "services/net/reactor.hpp"

namespace tap::net {

/// The first time is said with its details. What follows within kQuietMs is only counted, and said as a number after
/// that; so on for each further kQuietMs in which there was some.
/// Thread: the loop's. Lifetime: the reactor outlives it. What is counted and not said when it ends is not said.
class RepeatedLine {
 public:
  static constexpr std::uint64_t kQuietMs = 60'000;

  /// `about` begins every line: "datagrams that the protocol threw at".
  RepeatedLine(Reactor& reactor, LogLevel level, std::string who, std::string about)
      : reactor_(reactor), level_(level), who_(std::move(who)), about_(std::move(about)) {}

  /// Whether details given now would not be said.
  [[nodiscard]] bool quiet() const { return quiet_time_.active(); }
  void say(std::string_view details) {
    if (quiet()) {
      count();
      return;
    }
    reactor_.log().write(level_, who_, about_ + ": " + std::string(details));
    begin_quiet_time();
  }
  /// One more, without details. REQUIRES: quiet().
  void count() { ++unsaid_; }
  [[nodiscard]] const std::string& about() const { return about_; }

 private:
  void begin_quiet_time() {
    quiet_time_ = reactor_.call_later(kQuietMs, [this] {
      if (unsaid_ == 0) return;
      reactor_.log().write(level_, who_,
                           about_ + ": " + std::to_string(std::exchange(unsaid_, 0)) + " more within a minute");
      begin_quiet_time();
    });
  }

  Reactor& reactor_;
  LogLevel level_;
  std::string who_;
  std::string about_;
  std::uint64_t unsaid_ = 0;
  Timer quiet_time_;
};

}  // namespace tap::net
