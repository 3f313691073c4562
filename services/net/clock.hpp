// Clock: monotonic milliseconds, replaceable, so that a test of a five-minute timeout takes no time.
#pragma once

#include <cstdint>

namespace tap::net {

class Clock {
 public:
  Clock() = default;
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  virtual ~Clock() = default;

  /// Never goes back. The origin means nothing.
  [[nodiscard]] virtual std::uint64_t now_ms() const = 0;
  /// Whether time passes by itself, so that the loop may sleep until a deadline.
  [[nodiscard]] virtual bool ticks() const = 0;
};

/// CLOCK_MONOTONIC. Lifetime: the whole program.
[[nodiscard]] const Clock& system_clock();

}  // namespace tap::net
