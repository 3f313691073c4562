// TokenBucket: so many a second on average, and so many at once.
//
// The classic one (Turner, "New directions in communications", 1986; tc-tbf(8)): tokens trickle in at a rate up to what
// the bucket holds, and what is let through takes them out.
// Tests: tests/services/net/token_bucket_test.cpp
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace tap::net {

/// Thread: one. Knows no clock: whoever asks says what time it is, in milliseconds that never go back.
class TokenBucket {
 public:
  /// Above this, sums in thousandths could overflow; a petabyte a second is no limit.
  static constexpr std::uint64_t kRateMax = std::uint64_t{1} << 50U;

  /// Lets everything through.
  TokenBucket() = default;
  /// Full to begin with. REQUIRES: 0 < per_second <= kRateMax, 0 < burst <= kRateMax.
  TokenBucket(std::uint64_t per_second, std::uint64_t burst)
      : per_second_(per_second), burst_(burst), level_(burst * 1000) {}

  [[nodiscard]] bool limited() const { return per_second_ != 0; }
  /// REQUIRES: limited().
  [[nodiscard]] std::uint64_t available(std::uint64_t now_ms) {
    refill(now_ms);
    return level_ / 1000;
  }
  /// Takes as much as there is, up to `amount`: what has happened already cannot be refused.
  void take(std::uint64_t amount, std::uint64_t now_ms) {
    refill(now_ms);
    level_ -= std::min(level_, std::min(amount, burst_) * 1000);
  }
  /// How long until so much is available; 0: it is. More than the bucket holds counts as what it holds.
  [[nodiscard]] std::uint64_t ms_until(std::uint64_t amount, std::uint64_t now_ms) {
    refill(now_ms);
    const std::uint64_t wanted = std::min(amount, burst_) * 1000;
    return wanted <= level_ ? 0 : (wanted - level_ + per_second_ - 1) / per_second_;
  }
  [[nodiscard]] std::uint64_t per_second() const { return per_second_; }

 private:
  void refill(std::uint64_t now_ms) {
    const std::uint64_t missing = burst_ * 1000 - level_;
    const std::uint64_t elapsed = now_ms - std::min(now_ms, std::exchange(at_ms_, now_ms));
    // A millisecond brings rate/1000 tokens: as many thousandths as the rate.
    level_ += elapsed > missing / per_second_ ? missing : elapsed * per_second_;
  }

  std::uint64_t per_second_ = 0;
  std::uint64_t burst_ = 0;
  std::uint64_t level_ = 0;  ///< in thousandths
  std::uint64_t at_ms_ = 0;  ///< when level_ was right
};

}  // namespace tap::net
