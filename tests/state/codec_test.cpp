#include "state/codec.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

#include "tests/state/says.hpp"

using tap::Bytes;
using tap::Error;
using tap::Fault;
using tap::state::decode;
using tap::state::encode;
using tap::tests::error_of;
using tap::tests::says;

namespace {

template <class T>
Bytes encoded(const T& value) {
  auto payload = encode(value);
  REQUIRE(payload.ok());
  return std::move(payload).value();
}

template <class T>
Error refusal(const Bytes& payload) {
  T value{};
  return error_of(decode(payload, value));
}

template <class T>
Bytes le(T value) {
  Bytes raw;
  tap::put_le(raw, value);
  return raw;
}

/// An 8-byte number of elements and what follows it.
Bytes counted(std::uint64_t count, const Bytes& rest) { return le(count) + rest; }

struct Versioned {
  static constexpr std::uint32_t kSchemaVersion = 5;
  std::uint8_t value = 0;
  std::uint32_t seen_version = 0;

  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version) {
    seen_version = version;
    archive(value);
  }
};

/// What an author's serialize() may do as well.
struct Throwing {
  template <class Archive>
  void serialize(Archive& /*archive*/) {
    throw std::runtime_error("the author's own words");
  }
};

struct BoolRow {
  std::array<bool, 2> flags{};
  template <class Archive>
  void serialize(Archive& archive) {
    archive(flags);
  }
};

struct BoolField {
  bool flags[2] = {false, false};
  template <class Archive>
  void serialize(Archive& archive) {
    archive(flags);
  }
};

template <class T>
void check_bools(const Bytes& before) {
  for (int byte = 2; byte < 256; ++byte) {
    const Error error = refusal<T>(before + static_cast<char>(static_cast<unsigned char>(byte)));
    REQUIRE_MESSAGE(error.fault == Fault::damaged, byte);
    REQUIRE(says(error, "a bool is " + std::to_string(byte)));
  }
  T value{};
  CHECK(decode(before + '\0', value).ok());
  CHECK(decode(before + '\1', value).ok());
}

}  // namespace

TEST_CASE("codec: bytes are those of FORMAT.md, section 3") {
  CHECK(encoded(std::uint16_t{0x1234}) == "\x34\x12");
  CHECK(encoded(std::int64_t{-2}) == Bytes("\xfe") + Bytes(7, '\xff'));
  CHECK(encoded(1.0) == Bytes("\0\0\0\0\0\0\xf0\x3f", 8));
  CHECK(encoded(true) == Bytes(1, '\1'));
  CHECK(encoded(std::string("ab\0", 3)) == counted(3, Bytes("ab\0", 3)));
  CHECK(encoded(std::vector<std::uint16_t>{1, 2}) == counted(2, Bytes("\1\0\2\0", 4)));
  CHECK(encoded(std::vector<bool>{true, false}) == counted(2, Bytes("\1\0", 2)));
  CHECK(encoded(std::map<std::uint8_t, bool>{{7, true}, {9, false}}) == counted(2, Bytes("\7\1\x9\0", 4)));
  CHECK(encoded(std::set<std::uint8_t>{2, 1}) == counted(2, "\1\2"));
  CHECK(encoded(std::deque<std::uint8_t>{2, 1}) == counted(2, "\2\1"));
  CHECK(encoded(std::unordered_map<std::uint8_t, std::uint8_t>{{3, 4}}) == counted(1, "\3\4"));
  CHECK(encoded(std::optional<std::uint8_t>{}) == Bytes(1, '\1'));
  CHECK(encoded(std::optional<std::uint8_t>{6}) == Bytes("\0\6", 2));
  CHECK(encoded(std::variant<std::uint8_t, bool>{true}) == Bytes("\1\0\0\0\1", 5));
  CHECK(encoded(std::tuple<std::uint8_t, std::string>{1, "x"}) == "\1" + counted(1, "x"));
  CHECK(encoded(std::array<std::uint8_t, 2>{8, 9}) == "\x8\x9");
}

TEST_CASE("codec: a versioned struct writes its version once, and serialize() is told it") {
  const Bytes two = encoded(std::vector<Versioned>{{1, 0}, {2, 0}});
  CHECK(two == counted(2, le<std::uint32_t>(5) + "\1\2"));
  std::vector<Versioned> back;
  REQUIRE(decode(two, back).ok());
  REQUIRE(back.size() == 2);
  CHECK(back[0].value == 1);
  CHECK(back[1].value == 2);
  CHECK(back[1].seen_version == 5);
  Versioned older;
  REQUIRE(decode(le<std::uint32_t>(4) + "\3", older).ok());
  CHECK(older.seen_version == 4);
}

TEST_CASE("codec: not a number, infinities and signed zero keep every bit") {
  using Limits = std::numeric_limits<double>;
  for (const double value : {Limits::quiet_NaN(), -Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity(), -0.0,
                             Limits::denorm_min(), Limits::max()}) {
    double back = 1;
    REQUIRE(decode(encoded(value), back).ok());
    CHECK(std::bit_cast<std::uint64_t>(back) == std::bit_cast<std::uint64_t>(value));
  }
}

TEST_CASE("codec: a bool of 2 to 255 is refused wherever it stands") {
  check_bools<bool>("");
  check_bools<std::vector<bool>>(counted(1, ""));
  check_bools<std::vector<bool>>(counted(3, Bytes("\1\0", 2)));
  check_bools<std::deque<bool>>(counted(1, ""));
  check_bools<std::set<bool>>(counted(1, ""));
  check_bools<std::map<std::uint8_t, bool>>(counted(1, "k"));
  check_bools<std::unordered_map<std::uint8_t, bool>>(counted(1, "k"));
  check_bools<std::optional<bool>>(Bytes(1, '\0'));
  check_bools<std::variant<std::string, bool>>(le<std::uint32_t>(1));
  check_bools<std::tuple<char, bool>>("t");
  check_bools<std::pair<char, bool>>("p");
}

TEST_CASE("codec: a bool of 2 to 255 is refused in an array too") {
  check_bools<BoolRow>(Bytes(1, '\1'));
  check_bools<BoolField>(Bytes(1, '\1'));
}

TEST_CASE("codec: an optional is either there or not") {
  CHECK(refusal<std::optional<std::uint8_t>>(Bytes("\2x", 2)).fault == Fault::damaged);
  CHECK(refusal<std::optional<std::uint8_t>>(Bytes(1, '\0')).fault == Fault::damaged);
}

TEST_CASE("codec: a variant's index is one of its own") {
  using Choice = std::variant<std::uint8_t, std::string>;
  for (const std::uint32_t index : {2U, 3U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
    CHECK_MESSAGE(refusal<Choice>(le(index) + Bytes(64, '\0')).fault == Fault::damaged, index);
  }
}

TEST_CASE("codec: a key that stands twice in an unordered map is refused") {
  using Map = std::unordered_map<std::uint8_t, std::uint8_t>;
  Map map;
  CHECK(decode(counted(2, "a1b2"), map).ok());
  CHECK(says(refusal<Map>(counted(2, "a1a2")), "a map key stands twice"));
}

TEST_CASE("codec: what a container held before is gone when it is read") {
  const Bytes none = counted(0, "");
  std::vector<std::string> texts{"old"};
  std::deque<int> queue{1};
  std::unordered_map<int, int> index{{1, 1}};
  std::map<int, int> map{{1, 1}};
  std::set<int> set{1};
  std::vector<bool> flags{true};
  std::string text = "old";
  REQUIRE(decode(none, texts).ok());
  REQUIRE(decode(none, queue).ok());
  REQUIRE(decode(none, index).ok());
  REQUIRE(decode(none, map).ok());
  REQUIRE(decode(none, set).ok());
  REQUIRE(decode(none, flags).ok());
  REQUIRE(decode(none, text).ok());
  CHECK(texts.size() + queue.size() + index.size() + map.size() + set.size() + flags.size() + text.size() == 0);
}

TEST_CASE("codec: bytes behind the value are refused and counted") {
  CHECK(says(refusal<std::uint32_t>("12345"), "1 bytes follow the end of the value"));
  CHECK(says(refusal<std::string>(counted(0, "abc")), "3 bytes follow"));
}

TEST_CASE("codec: a value that ends too early is refused") {
  CHECK(says(refusal<std::uint32_t>("123"), "the data ends in the middle of a value"));
  CHECK(refusal<std::uint32_t>("").fault == Fault::damaged);
  CHECK(says(refusal<std::string>("1234567"), "the data ends in the middle of a value"));
}

TEST_CASE("codec: an exception from serialize() is an error like any other") {
  const Error writing = error_of(encode(Throwing{}));
  CHECK(writing.fault == Fault::internal);
  CHECK(says(writing, "encoding: the author's own words"));
  const Error reading = refusal<Throwing>("");
  CHECK(reading.fault == Fault::damaged);
  CHECK(says(reading, "the author's own words"));
}
