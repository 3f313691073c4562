// What holds for every state, tried with random ones: it survives the codec and both texts, and its bytes survive
// nothing that is done to them. (RC_PARAMS="seed=..." repeats a run; a failure prints it.)
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cmath>
#include <limits>

#include "state/text.hpp"
#include "tests/state/allocations.hpp"
#include "tests/state/archive_samples.hpp"
#include "tests/state/everything.hpp"

using tap::Bytes;
using tap::ByteView;
using tap::state::Archive;
using tap::state::StateType;
using tap::state::TextFormat;
using tap::tests::Everything;
using tap::tests::everything_codec;
using tap::tests::Leaf;
using tap::tests::Numbers;

namespace {

/// Any number, and its extremes far more often than chance would have them.
template <class T>
T any_number() {
  using Limits = std::numeric_limits<T>;
  return *rc::gen::oneOf(rc::gen::arbitrary<T>(),
                         rc::gen::element<T>(Limits::min(), Limits::max(), T{0}, Limits::lowest()));
}

double any_double() {
  using Limits = std::numeric_limits<double>;
  return *rc::gen::oneOf(
      rc::gen::arbitrary<double>(),
      rc::gen::element(0.1, -0.0, 1e-5, 123456789.125, 1e22, Limits::min(), Limits::max(), Limits::lowest(),
                       Limits::denorm_min(), Limits::epsilon(), Limits::infinity(), -Limits::infinity()));
}

/// Bytes of all values, among them those that text formats stumble over.
std::string any_text() {
  return *rc::gen::oneOf(
      rc::gen::container<std::string>(rc::gen::arbitrary<char>()), rc::gen::string<std::string>(),
      rc::gen::element<std::string>("base64:", "base64:eHg=", " ", " x", "x ", "\n", "]]>", "<a>&amp;</a>", "\"\\\"",
                                    "\xef\xbf\xbe", "\xef\xbf\xbf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc2\x80",
                                    "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\x7f", std::string(1, '\0'), ""));
}

template <class Make>
auto any_vector(Make make) {
  std::vector<decltype(make())> values(static_cast<std::size_t>(*rc::gen::inRange(0, 5)));
  for (auto& value : values) value = make();
  return values;
}

Leaf any_leaf() { return {any_text(), any_number<std::uint32_t>()}; }

Numbers any_numbers() {
  Numbers n;
  n.i8 = any_number<std::int8_t>();
  n.i16 = any_number<std::int16_t>();
  n.i32 = any_number<std::int32_t>();
  n.i64 = any_number<std::int64_t>();
  n.u8 = any_number<std::uint8_t>();
  n.u16 = any_number<std::uint16_t>();
  n.u32 = any_number<std::uint32_t>();
  n.u64 = any_number<std::uint64_t>();
  n.ll = any_number<long long>();
  n.ull = any_number<unsigned long long>();
  n.letter = *rc::gen::arbitrary<char>();
  n.flag = *rc::gen::arbitrary<bool>();
  n.f64 = any_double();
  const double narrow = n.f64;
  n.f32 = std::abs(narrow) < 1e30 ? static_cast<float>(narrow) : std::numeric_limits<float>::denorm_min();
  n.colour = *rc::gen::element(tap::tests::Colour::red, tap::tests::Colour::green);
  return n;
}

void fill_containers(Everything& e) {
  e.bytes = *rc::gen::arbitrary<std::vector<std::uint8_t>>();
  e.flags = *rc::gen::arbitrary<std::vector<bool>>();
  e.doubles = any_vector(any_double);
  e.texts = any_vector(any_text);
  e.leaves = any_vector(any_leaf);
  e.rows = *rc::gen::arbitrary<std::vector<std::vector<std::int32_t>>>();
  e.queue = *rc::gen::arbitrary<std::deque<std::int16_t>>();
  for (auto& text : any_vector(any_text)) e.text_queue.push_back(text);
  for (auto& text : any_vector(any_text)) e.names.insert(text);
  for (auto& text : any_vector(any_text)) e.balances[text] = any_number<std::int64_t>();
  for (auto& text : any_vector(any_text)) e.lists[any_number<std::uint32_t>()] = {text, text};
  for (auto& text : any_vector(any_text)) e.index[text] = any_leaf();
  e.seen = *rc::gen::arbitrary<std::unordered_set<std::int32_t>>();
  e.more_numbers = any_vector(any_numbers);
}

Everything any_everything() {
  Everything e;
  e.numbers = any_numbers();
  e.text = any_text();
  fill_containers(e);
  if (*rc::gen::arbitrary<bool>()) e.maybe_text = any_text();
  if (*rc::gen::arbitrary<bool>()) e.maybe_leaf = any_leaf();
  switch (*rc::gen::inRange(0, 4)) {
    case 1:
      e.choice = any_number<std::int32_t>();
      break;
    case 2:
      e.choice = any_text();
      break;
    case 3:
      e.choice = any_leaf();
      break;
    default:
      break;
  }
  e.triple = {any_number<std::int32_t>(), any_text(), *rc::gen::arbitrary<bool>()};
  e.pair = {any_text(), any_double()};
  e.quad = *rc::gen::arbitrary<std::array<std::uint16_t, 4>>();
  e.two_texts = {any_text(), any_text()};
  return e;
}

Bytes encoded(const Everything& value) {
  auto payload = everything_codec().encode(value);
  RC_ASSERT(payload.ok());
  return std::move(payload).value();
}

void check_same(ByteView payload, const Everything& expected) {
  Everything back;
  const auto decoded = everything_codec().decode(payload, Everything::kSchemaVersion, back);
  if (!decoded.ok()) RC_FAIL(decoded.error().message);
  RC_ASSERT(back == expected);
  if (!has_unordered(expected)) RC_ASSERT(encoded(back) == payload);
}

const StateType* types(std::string_view kind) { return kind == "everything" ? &everything_codec() : nullptr; }

void check_text(const Everything& value, TextFormat format) {
  Archive archive = tap::tests::sample_archive();
  archive.writer = any_text().substr(0, 32);
  archive.writer.erase(std::min(archive.writer.size(), archive.writer.find('\0')));
  archive.definition.name = any_text();
  archive.definition.services[0].options[any_text()] = any_text();
  archive.sections[0] = {any_text().substr(0, 255), "everything", Everything::kSchemaVersion,
                         tap::state::PayloadCodec::cereal, encoded(value)};
  archive.sections[1].service += archive.sections[0].service;
  archive.sections[1].payload = any_text();
  const auto text = to_text(archive, format, types);
  if (!text.ok()) RC_FAIL(text.error().message);
  const auto back = from_text(*text, format, types);
  if (!back.ok()) RC_FAIL(back.error().message);
  RC_ASSERT(back->sections.size() == 2U);
  check_same(back->sections[0].payload, value);
  if (!has_unordered(value)) RC_ASSERT(encode_archive(*back) == encode_archive(archive));
}

}  // namespace

TEST_CASE("codec: every state reads back as it was written") {
  CHECK(rc::check([] {
    const Everything value = any_everything();
    check_same(encoded(value), value);
  }));
}

TEST_CASE("codec: every state with a piece cut off or added is refused") {
  CHECK(rc::check([] {
    const Bytes payload = encoded(any_everything());
    const auto cut = static_cast<std::size_t>(*rc::gen::inRange<std::uint64_t>(0, payload.size()));
    RC_ASSERT(!everything_codec().check(ByteView(payload).substr(0, cut), 2).ok());
    RC_ASSERT(!everything_codec().check(payload + any_text() + "x", 2).ok());
  }));
}

TEST_CASE("codec: a state with changed bytes is refused or read as another, at bounded cost") {
  CHECK(rc::check([] {
    Bytes payload = encoded(any_everything());
    for (int i = *rc::gen::inRange(1, 4); i > 0; --i) {
      const auto at = static_cast<std::size_t>(*rc::gen::inRange<std::uint64_t>(0, payload.size()));
      payload[at] = *rc::gen::element('\0', '\1', '\x7f', '\x80', '\xff', *rc::gen::arbitrary<char>());
    }
    const tap::tests::AllocationWatch watch;
    Everything value;
    const bool taken = everything_codec().decode(payload, 2, value).ok();
    RC_ASSERT(watch.largest() <= 1000 + 16 * payload.size());
    if (taken) RC_ASSERT(everything_codec().check(encoded(value), 2).ok());
  }));
}

TEST_CASE("codec: random bytes are refused or read, at bounded cost") {
  CHECK(rc::check([] {
    const Bytes payload = *rc::gen::container<std::string>(rc::gen::arbitrary<char>());
    const tap::tests::AllocationWatch watch;
    (void)everything_codec().check(payload, 2).ok();
    RC_ASSERT(watch.largest() <= 1000 + 16 * payload.size());
  }));
}

TEST_CASE("text: every archive reads back from JSON as it was") {
  CHECK(rc::check([] { check_text(any_everything(), TextFormat::json); }));
}

TEST_CASE("text: every archive reads back from XML as it was") {
  CHECK(rc::check([] { check_text(any_everything(), TextFormat::xml); }));
}
