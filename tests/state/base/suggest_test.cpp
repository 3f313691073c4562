#include "state/base/suggest.hpp"

#include <doctest/doctest.h>

using tap::did_you_mean;

namespace {

const std::vector<std::string> kKeys{"framing", "listen", "durability", "name", "max_connections"};

}  // namespace

TEST_CASE("suggest: one wrong letter, a missing one, one too many and two swapped are recognised") {
  CHECK(did_you_mean("fraiming", kKeys) == "; did you mean 'framing'?");
  CHECK(did_you_mean("frming", kKeys) == "; did you mean 'framing'?");
  CHECK(did_you_mean("fraMing", kKeys) == "; did you mean 'framing'?");
  CHECK(did_you_mean("frmaing", kKeys) == "; did you mean 'framing'?");
  CHECK(did_you_mean("nmae", kKeys) == "; did you mean 'name'?");
}

TEST_CASE("suggest: of several near words the nearest is taken") {
  CHECK(did_you_mean("lists", {"listener", "lists_", "list_s"}) == "; did you mean 'lists_'?");
  CHECK(did_you_mean("lists", {"listener", "losxs", "lists_"}) == "; did you mean 'lists_'?");
}

TEST_CASE("suggest: a word that resembles none gets no suggestion") {
  CHECK(did_you_mean("colour", kKeys).empty());
  CHECK(did_you_mean("nm", kKeys).empty());
  CHECK(did_you_mean("x", kKeys).empty());
  CHECK(did_you_mean("", kKeys).empty());
  CHECK(did_you_mean("framing", {}).empty());
}

TEST_CASE("suggest: two swapped letters count as one change, two wrong ones as two") {
  CHECK(did_you_mean("ab", {"ba"}) == "; did you mean 'ba'?");
  CHECK(did_you_mean("ab", {"cd"}).empty());
}

TEST_CASE("suggest: a very long word is not compared at all") {
  const std::string word(65, 'a');
  CHECK(did_you_mean(word, {word}).empty());
  CHECK(did_you_mean(std::string(64, 'a'), {std::string(63, 'a')}) == "; did you mean '" + std::string(63, 'a') + "'?");
}
