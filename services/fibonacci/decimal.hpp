// Decimal: a natural number of any length, made for adding and printing.
//
// Limbs in base 10^18, least significant first, so that both are linear in the number of digits. (A binary number adds
// faster but prints in far more than linear time; this service prints every number it adds.)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "state/base/result.hpp"

namespace tap::services {

class Decimal {
 public:
  static constexpr std::uint64_t kBase = 1'000'000'000'000'000'000;  // 10^18: the sum of two limbs fits in 64 bits
  static constexpr int kDigitsPerLimb = 18;

  /// Zero.
  Decimal() = default;
  explicit Decimal(std::uint64_t value);

  /// Errors: damaged, when `digits` is not one or more digits without leading zeros.
  [[nodiscard]] static Result<Decimal> parse(std::string_view digits);
  /// Errors: damaged, when a limb is not below kBase or the highest one is zero.
  [[nodiscard]] static Result<Decimal> from_limbs(std::vector<std::uint64_t> limbs);

  bool operator==(const Decimal&) const = default;
  Decimal& operator+=(const Decimal& other);
  void swap(Decimal& other) noexcept { limbs_.swap(other.limbs_); }

  /// Appends the digits to `out`.
  void print(std::string& out) const;
  [[nodiscard]] std::string text() const;
  [[nodiscard]] const std::vector<std::uint64_t>& limbs() const { return limbs_; }

 private:
  std::vector<std::uint64_t> limbs_;  // no leading zero limb; empty is zero
};

}  // namespace tap::services
