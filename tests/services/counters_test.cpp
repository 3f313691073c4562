#include "services/sequence/counters.hpp"

#include <doctest/doctest.h>

#include <random>

using tap::services::Counters;

namespace {

using Names = std::map<std::string, std::uint64_t>;

Names all_of(const Counters& counters, std::string_view after = {}) {
  Names names;
  std::string last;
  counters.visit(after, [&](std::string_view name, std::uint64_t number) {
    CHECK(last < name);
    last = name;
    names.emplace(name, number);
    return true;
  });
  return names;
}

std::size_t bytes_of(const Names& names) {
  std::size_t bytes = 0;
  for (const auto& [name, number] : names) bytes += name.size();
  return bytes;
}

/// Names that are hard to tell apart: long beginnings in common, one the beginning of the other, bytes above 127.
std::string a_name(std::mt19937& random, unsigned different) {
  static const std::string kBeginnings[] = {"", "a", "customer", "customer/", std::string(100, 'p'), "\xff\xff"};
  return kBeginnings[random() % std::size(kBeginnings)] + std::to_string(1 + random() % different);
}

}  // namespace

TEST_CASE("counters: what was set is found, however many were set at once, and the last one counts") {
  constexpr std::size_t kMany = 3 * Counters::kMergeFrom;
  for (const std::size_t at_once :
       {std::size_t{1}, std::size_t{7}, Counters::kMergeFrom - 1, Counters::kMergeFrom, kMany}) {
    CAPTURE(at_once);
    std::mt19937 random(7);  // NOLINT: the same names each time
    Counters counters;
    Names expected;
    std::uint64_t number = 0;
    for (int round = 0; round < 12; ++round) {
      // Few and many different ones: mostly known, mostly new.
      const unsigned different = round % 2 == 0 ? 300 : 30'000;
      for (std::size_t i = 0; i < at_once; ++i) {
        const std::string name = a_name(random, different);
        counters.set(name, ++number);
        expected[name] = number;
      }
      const std::string asked = a_name(random, different);
      const std::uint64_t* const found = counters.find(asked);
      REQUIRE((found != nullptr) == expected.contains(asked));
      if (found != nullptr) CHECK(*found == expected[asked]);
    }
    CHECK(counters.size() == expected.size());
    CHECK(counters.name_bytes() == bytes_of(expected));
    CHECK(all_of(counters) == expected);
    const std::string after = std::next(expected.begin(), static_cast<std::ptrdiff_t>(expected.size() / 2))->first;
    CHECK(all_of(counters, after) == Names(expected.upper_bound(after), expected.end()));
  }
}

TEST_CASE("counters: a copy has what was set and not asked for yet") {
  Counters counters;
  for (std::size_t i = 0; i < Counters::kMergeFrom; ++i) counters.set("n" + std::to_string(i % 600), i);
  const Counters copy = counters;
  CHECK(copy.size() == 600);
  CHECK(all_of(copy) == all_of(counters));
  CHECK(*copy.find("n0") == 600);
  CHECK(*copy.find("n599") == 599);
  Counters moved = std::move(counters);
  moved.set("n0", 5);
  CHECK(*moved.find("n0") == 5);
}

TEST_CASE("counters: more than are ever noted are put in order meanwhile") {
  constexpr std::size_t kCount = 1'200'000;
  constexpr std::size_t kStride = 7919;
  Counters counters;
  for (std::size_t i = 0; i < kCount; ++i) counters.set(std::to_string(i * kStride % kCount), i);
  CHECK(counters.size() == kCount);
  for (std::size_t i = 0; i < kCount; i += 12'345) {
    const std::uint64_t* const found = counters.find(std::to_string(i * kStride % kCount));
    REQUIRE(found != nullptr);
    CHECK(*found == i);
  }
}
