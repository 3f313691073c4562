#include "services/fibonacci/decimal.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace tap::services {
namespace {

/// "00" to "99" in a row: two digits by one look-up.
constexpr std::array<char, 200> make_pairs() {
  std::array<char, 200> pairs{};
  for (std::size_t i = 0; i < 100; ++i) {
    pairs[2 * i] = static_cast<char>('0' + i / 10);
    pairs[2 * i + 1] = static_cast<char>('0' + i % 10);
  }
  return pairs;
}
constexpr auto kPairs = make_pairs();

/// Writes exactly 18 digits.
void put_limb(char* to, std::uint64_t limb) {
  // Two halves of nine digits: 32-bit divisions are several times faster than 64-bit ones.
  const std::array<std::uint32_t, 2> halves{static_cast<std::uint32_t>(limb / 1'000'000'000),
                                            static_cast<std::uint32_t>(limb % 1'000'000'000)};
  for (const std::uint32_t half : halves) {
    std::uint32_t rest = half;
    for (std::size_t i = 8; i > 0; i -= 2) {
      std::memcpy(to + i - 1, &kPairs[std::size_t{rest % 100} * 2], 2);
      rest /= 100;
    }
    to[0] = static_cast<char>('0' + rest);
    to += 9;
  }
}

}  // namespace

Decimal::Decimal(std::uint64_t value) {
  for (; value != 0; value /= kBase) limbs_.push_back(value % kBase);
}

Result<Decimal> Decimal::parse(std::string_view digits) {
  const bool all_digits = std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (digits.empty() || !all_digits || (digits.size() > 1 && digits.front() == '0')) {
    return Error{Fault::damaged, "'" + std::string(digits.substr(0, 40)) + "' is not a natural number"};
  }
  std::vector<std::uint64_t> limbs;
  while (!digits.empty()) {
    const std::size_t take = std::min<std::size_t>(digits.size(), kDigitsPerLimb);
    const std::string_view piece = digits.substr(digits.size() - take);
    std::uint64_t limb = 0;
    std::from_chars(piece.data(), piece.data() + piece.size(), limb);
    limbs.push_back(limb);
    digits.remove_suffix(take);
  }
  if (limbs.size() == 1 && limbs.front() == 0) limbs.clear();
  return from_limbs(std::move(limbs));
}

Result<Decimal> Decimal::from_limbs(std::vector<std::uint64_t> limbs) {
  const bool in_range = std::all_of(limbs.begin(), limbs.end(), [](std::uint64_t limb) { return limb < kBase; });
  if (!in_range || (!limbs.empty() && limbs.back() == 0)) {
    return Error{Fault::damaged, "a number's limbs are out of range"};
  }
  Decimal number;
  number.limbs_ = std::move(limbs);
  return number;
}

Decimal& Decimal::operator+=(const Decimal& other) {
  const std::size_t theirs = other.limbs_.size();
  if (limbs_.size() < theirs) limbs_.resize(theirs, 0);
  std::uint64_t carry = 0;
  for (std::size_t i = 0; i < limbs_.size(); ++i) {
    if (i >= theirs && carry == 0) break;
    const std::uint64_t sum = limbs_[i] + (i < theirs ? other.limbs_[i] : 0) + carry;
    carry = sum >= kBase ? 1 : 0;
    limbs_[i] = carry != 0 ? sum - kBase : sum;
  }
  if (carry != 0) limbs_.push_back(carry);
  return *this;
}

void Decimal::print(std::string& out) const {
  if (limbs_.empty()) {
    out += '0';
    return;
  }
  out += std::to_string(limbs_.back());
  std::size_t at = out.size();
  out.resize(at + (limbs_.size() - 1) * kDigitsPerLimb);
  for (auto limb = limbs_.rbegin() + 1; limb != limbs_.rend(); ++limb, at += kDigitsPerLimb) put_limb(&out[at], *limb);
}

std::string Decimal::text() const {
  std::string digits;
  print(digits);
  return digits;
}

}  // namespace tap::services
