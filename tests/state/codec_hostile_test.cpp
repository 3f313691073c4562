// Payloads made to hurt: lengths that lie, nesting without end. Each is refused and costs memory by its own size only.
#include <doctest/doctest.h>

#include "state/codec.hpp"
#include "tests/state/allocations.hpp"
#include "tests/state/child.hpp"
#include "tests/state/says.hpp"

using tap::Bytes;
using tap::Error;
using tap::Fault;
using tap::state::decode;
using tap::state::encode;
using tap::state::kDepthMax;
using tap::tests::AllocationWatch;
using tap::tests::error_of;
using tap::tests::in_child;
using tap::tests::says;

namespace {

struct Node {
  std::vector<Node> kids;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(kids);
  }
};

struct NamedNode {
  std::vector<NamedNode> kids;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(kids));
  }
};

struct MapNode {
  std::map<std::uint8_t, MapNode> kids;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(kids);
  }
};

/// Elements that take no byte at all.
struct Nothing {
  template <class Archive>
  void serialize(Archive& /*archive*/) {}
};

Bytes count(std::uint64_t elements) {
  Bytes raw;
  tap::put_le(raw, elements);
  return raw;
}

template <class T>
void check_bomb(const char* name) {
  for (const std::uint64_t claimed : {std::uint64_t{1}, std::uint64_t{0xffff'ffff}, std::uint64_t{1} << 32U,
                                      std::uint64_t{1} << 60U, std::uint64_t{1} << 61U, std::uint64_t{1} << 63U,
                                      ~std::uint64_t{0} / 8 + 1, ~std::uint64_t{0} / 8 + 2, ~std::uint64_t{0}}) {
    const AllocationWatch watch;
    T value{};
    const Error error = error_of(decode(count(claimed), value));
    REQUIRE_MESSAGE(error.fault == Fault::damaged, name, " of ", claimed);
    REQUIRE_MESSAGE(watch.total() < 10'000, name, " of ", claimed, " took ", watch.total(), " bytes");
  }
}

/// A length that is as large as the bytes left allow, and bytes that disappoint it.
template <class T>
void check_near_bomb(const char* name, char filling) {
  constexpr std::size_t kBytes = 1 << 20;
  const Bytes payload = count(kBytes) + Bytes(kBytes, filling);
  const AllocationWatch watch;
  T value{};
  (void)decode(payload, value).ok();
  CHECK_MESSAGE(watch.largest() <= 16 * kBytes, name, " took ", watch.largest(), " bytes at once");
}

/// `levels` vectors of one element inside each other, the innermost empty.
Bytes nested(std::size_t levels) {
  Bytes payload;
  for (std::size_t i = 1; i < levels; ++i) payload += count(1);
  return payload + count(0);
}

template <class T>
T nested_value(int levels) {
  T node;
  for (int i = 1; i < levels; ++i) {
    T outer;
    outer.kids.push_back(std::move(node));
    node = std::move(outer);
  }
  return node;
}

/// The most levels that are read back after they were written.
template <class T>
int levels_max() {
  for (int levels = 1; levels <= 2 * kDepthMax; ++levels) {
    const auto payload = encode(nested_value<T>(levels));
    if (!payload.ok()) return levels - 1;
    T back;
    if (!decode(*payload, back).ok()) return levels - 1;
  }
  return 2 * kDepthMax;
}

}  // namespace

TEST_CASE("codec: eight bytes that claim any number of elements are refused and cost nothing") {
  check_bomb<std::string>("string");
  check_bomb<std::vector<std::uint8_t>>("vector of bytes");
  check_bomb<std::vector<std::uint64_t>>("vector of numbers");
  check_bomb<std::vector<double>>("vector of doubles");
  check_bomb<std::vector<bool>>("vector of bools");
  check_bomb<std::vector<std::string>>("vector of strings");
  check_bomb<std::vector<Node>>("vector of structs");
  check_bomb<std::vector<Nothing>>("vector of nothing");
  check_bomb<std::deque<std::uint8_t>>("deque of bytes");
  check_bomb<std::deque<std::string>>("deque of strings");
  check_bomb<std::set<std::uint8_t>>("set");
  check_bomb<std::multiset<std::uint8_t>>("multiset");
  check_bomb<std::map<std::uint8_t, std::uint8_t>>("map");
  check_bomb<std::multimap<std::uint8_t, std::uint8_t>>("multimap");
  check_bomb<std::unordered_map<std::uint8_t, std::uint8_t>>("unordered map");
  check_bomb<std::unordered_map<std::string, std::string>>("unordered map of strings");
  check_bomb<std::unordered_set<std::uint8_t>>("unordered set");
  check_bomb<std::map<std::string, std::vector<std::string>>>("map of vectors");
}

TEST_CASE("codec: a length that just fits takes a small multiple of its bytes") {
  check_near_bomb<std::vector<std::string>>("vector of strings", '\0');
  check_near_bomb<std::vector<std::vector<std::uint64_t>>>("vector of vectors", '\0');
  check_near_bomb<std::vector<Nothing>>("vector of nothing", '\0');
  check_near_bomb<std::vector<bool>>("vector of bools", '\1');
  check_near_bomb<std::deque<std::string>>("deque of strings", '\0');
  check_near_bomb<std::set<std::uint8_t>>("set", '\7');
  check_near_bomb<std::map<std::uint64_t, std::string>>("map", '\0');
  check_near_bomb<std::unordered_set<std::uint8_t>>("unordered set", '\7');
  check_near_bomb<std::unordered_set<std::string>>("unordered set of strings", '\0');
  check_near_bomb<std::unordered_map<std::uint64_t, std::uint64_t>>("unordered map", '\0');
  check_near_bomb<std::vector<std::unordered_map<std::string, std::string>>>("vector of unordered maps", '\0');
}

TEST_CASE("codec: a length is checked in bytes, not in elements") {
  std::vector<std::uint64_t> numbers;
  CHECK(says(error_of(decode(count(2) + Bytes(15, '\0'), numbers)), "a length of 2 is more than the 15 bytes"));
  CHECK(decode(count(2) + Bytes(16, '\0'), numbers).ok());
}

TEST_CASE("codec: 400,000 levels of nesting are refused without running off the stack") {
  const Bytes vectors = nested(400'000);
  Bytes maps;
  for (int i = 0; i < 400'000; ++i) maps += count(1) + "k";
  const auto end = in_child([&]() -> std::string {
    Node node;
    NamedNode named;
    MapNode map;
    return error_of(decode(vectors, node)).message + ", " + error_of(decode(vectors, named)).message + ", " +
           error_of(decode(maps, map)).message;
  });
  CHECK(end.code == 0);
  const std::string words = "values are nested deeper than 256";
  CHECK(end.said == words + ", " + words + ", " + words);
}

TEST_CASE("codec: nesting costs no memory before it is refused") {
  const Bytes payload = nested(400'000);
  const AllocationWatch watch;
  Node node;
  CHECK(error_of(decode(payload, node)).fault == Fault::damaged);
  CHECK(watch.total() < 100'000);
}

TEST_CASE("codec: what is nested too deep to be read is not written") {
  const auto written = [](auto value) { return encode(value).ok(); };
  const int plain = levels_max<Node>();
  CHECK(plain >= 100);
  CHECK(plain <= kDepthMax);
  CHECK(written(nested_value<Node>(plain)));
  CHECK_FALSE(written(nested_value<Node>(plain + 1)));
  const int named = levels_max<NamedNode>();
  CHECK(written(nested_value<NamedNode>(named)));
  CHECK_FALSE(written(nested_value<NamedNode>(named + 1)));
}

TEST_CASE("codec: each container and each struct counts one level, a name none") {
  // FORMAT.md: "Values nest at most 256 deep." A level here is a struct with a vector in it.
  CHECK(levels_max<Node>() == kDepthMax / 2);
  CHECK(levels_max<NamedNode>() == kDepthMax / 2);
}
