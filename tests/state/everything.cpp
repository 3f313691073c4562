#include "tests/state/everything.hpp"

#include <limits>

#include "state/text_codec.hpp"

namespace tap::tests {

template <class Archive>
void Leaf::serialize(Archive& archive) {
  archive(CEREAL_NVP(name), CEREAL_NVP(count));
}

template <class Archive>
void Numbers::serialize(Archive& archive, std::uint32_t /*version*/) {
  archive(CEREAL_NVP(i8), CEREAL_NVP(i16), CEREAL_NVP(i32), CEREAL_NVP(i64));
  archive(CEREAL_NVP(u8), CEREAL_NVP(u16), CEREAL_NVP(u32), CEREAL_NVP(u64), CEREAL_NVP(ll), CEREAL_NVP(ull));
  archive(CEREAL_NVP(letter), CEREAL_NVP(flag), CEREAL_NVP(f32), CEREAL_NVP(f64), CEREAL_NVP(colour));
}

template <class Archive>
void Everything::serialize(Archive& archive, std::uint32_t /*version*/) {
  archive(CEREAL_NVP(numbers), CEREAL_NVP(text), CEREAL_NVP(bytes), CEREAL_NVP(flags), CEREAL_NVP(doubles));
  archive(CEREAL_NVP(texts), CEREAL_NVP(leaves), CEREAL_NVP(rows), CEREAL_NVP(queue), CEREAL_NVP(text_queue));
  archive(CEREAL_NVP(names), CEREAL_NVP(balances), CEREAL_NVP(lists), CEREAL_NVP(index), CEREAL_NVP(seen));
  archive(CEREAL_NVP(maybe_text), CEREAL_NVP(maybe_leaf), CEREAL_NVP(choice), CEREAL_NVP(triple), CEREAL_NVP(pair));
  archive(CEREAL_NVP(quad), CEREAL_NVP(two_texts), CEREAL_NVP(more_numbers));
}

const state::StateCodec<Everything>& everything_codec() { return state::cereal_codec<Everything>(); }

Everything sample_everything() {
  Everything value;
  value.numbers = {-128,
                   -32768,
                   std::numeric_limits<std::int32_t>::min(),
                   std::numeric_limits<std::int64_t>::min(),
                   255,
                   65535,
                   std::numeric_limits<std::uint32_t>::max(),
                   std::numeric_limits<std::uint64_t>::max(),
                   -1,
                   1,
                   'x',
                   true,
                   1.5F,
                   -0.1,
                   Colour::green};
  value.text = std::string("a\0b", 3);
  value.bytes = {0, 1, 255};
  value.flags = {true, false, true};
  value.doubles = {0.1, -0.0, 1e300, 5e-324};
  value.texts = {"", "x", "base64:", " y "};
  value.leaves = {{"one", 1}, {"two", 2}};
  value.rows = {{}, {1}, {-2, 3}};
  value.queue = {1, -1};
  value.text_queue = {"front", "back"};
  value.names = {"a", "b"};
  value.balances = {{"", -5}, {"z", 6}};
  value.lists = {{7, {"seven", "sept"}}, {8, {}}};
  value.index = {{"k", {"v", 9}}};
  value.seen = {-4};
  value.maybe_text = "there";
  value.choice = Leaf{"chosen", 3};
  value.triple = {1, "\x01", true};
  value.pair = {"\xff", 2.25};
  value.quad = {1, 2, 3, 65535};
  value.two_texts = {"<&>", "]]>"};
  value.more_numbers.resize(2);
  return value;
}

}  // namespace tap::tests
