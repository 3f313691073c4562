// VirtualClock: time that passes when a test says so.
#pragma once

#include <cstdint>

#include "services/net/clock.hpp"

namespace tap::testing {

class VirtualClock final : public net::Clock {
 public:
  [[nodiscard]] std::uint64_t now_ms() const override { return now_ms_; }
  [[nodiscard]] bool ticks() const override { return false; }
  /// The reactor notices in its next turn.
  void advance(std::uint64_t ms) { now_ms_ += ms; }

 private:
  std::uint64_t now_ms_ = 1'000'000;
};

}  // namespace tap::testing
