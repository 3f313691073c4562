// Everything: a state with one member of each type that a state may have. For round trips and fuzzing.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "state/state_codec.hpp"

namespace tap::tests {

enum class Colour : std::uint16_t { red = 1, green = 500 };

/// A struct inside others, without a version of its own.
struct Leaf {
  std::string name;
  std::uint32_t count = 0;

  bool operator==(const Leaf&) const = default;
  template <class Archive>
  void serialize(Archive& archive);
};

struct Numbers {
  static constexpr std::uint32_t kSchemaVersion = 3;

  std::int8_t i8 = 0;
  std::int16_t i16 = 0;
  std::int32_t i32 = 0;
  std::int64_t i64 = 0;
  std::uint8_t u8 = 0;
  std::uint16_t u16 = 0;
  std::uint32_t u32 = 0;
  std::uint64_t u64 = 0;
  long long ll = 0;
  unsigned long long ull = 0;
  char letter = 'a';
  bool flag = false;
  float f32 = 0;
  double f64 = 0;
  Colour colour = Colour::red;

  bool operator==(const Numbers&) const = default;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version);
};

struct Everything {
  static constexpr std::uint32_t kSchemaVersion = 2;

  Numbers numbers;
  std::string text;
  std::vector<std::uint8_t> bytes;
  std::vector<bool> flags;
  std::vector<double> doubles;
  std::vector<std::string> texts;
  std::vector<Leaf> leaves;
  std::vector<std::vector<std::int32_t>> rows;
  std::deque<std::int16_t> queue;
  std::deque<std::string> text_queue;
  std::set<std::string> names;
  std::map<std::string, std::int64_t> balances;
  std::map<std::uint32_t, std::vector<std::string>> lists;
  std::unordered_map<std::string, Leaf> index;
  std::unordered_set<std::int32_t> seen;
  std::optional<std::string> maybe_text;
  std::optional<Leaf> maybe_leaf;
  std::variant<std::monostate, std::int32_t, std::string, Leaf> choice;
  std::tuple<std::int32_t, std::string, bool> triple{0, "", false};
  std::pair<std::string, double> pair{"", 0};
  std::array<std::uint16_t, 4> quad{};
  std::array<std::string, 2> two_texts;
  std::vector<Numbers> more_numbers;

  bool operator==(const Everything&) const = default;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version);
};

/// Two members of Everything in containers that have no order: their bytes may differ where their values are equal.
[[nodiscard]] inline bool has_unordered(const Everything& value) { return value.index.size() + value.seen.size() > 1; }

[[nodiscard]] const state::StateCodec<Everything>& everything_codec();

/// A value with something in each member, the same for each call.
[[nodiscard]] Everything sample_everything();

}  // namespace tap::tests
