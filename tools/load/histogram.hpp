// Histogram: how long the answers took, in constant memory.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace tap::load {

/// Counts of durations, each known to 1.6 %.
class Histogram {
 public:
  void add(std::uint64_t ns) {
    ++counts_[place_of(ns)];
    ++total_;
  }
  double percentile_us(double percent) const {
    const auto rank = static_cast<std::uint64_t>(static_cast<double>(total_) * percent / 100.0);
    std::uint64_t seen = 0;
    for (std::size_t place = 0; place < counts_.size(); ++place) {
      seen += counts_[place];
      if (seen > rank) {
        return static_cast<double>(value_at(place)) / 1000.0;
      }
    }
    return 0;
  }

 private:
  // Up to 127 each value has a place; above, 64 places for each power of two.
  static std::size_t place_of(std::uint64_t ns) {
    const auto shift = static_cast<std::size_t>(std::max(static_cast<int>(std::bit_width(ns)), 7) - 7);
    return shift * 64 + static_cast<std::size_t>(ns >> shift);
  }
  static std::uint64_t value_at(std::size_t place) {
    const std::size_t shift = place < 128 ? 0 : place / 64 - 1;
    return static_cast<std::uint64_t>(place - shift * 64) << shift;
  }
  std::array<std::uint64_t, 60 * 64> counts_{};
  std::uint64_t total_ = 0;
};

}  // namespace tap::load
