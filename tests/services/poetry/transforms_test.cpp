// The transforms alone. All letters of Unicode are compared with Python's in tests/end_to_end/poetry_test.cpp.
#include "services/poetry/transforms.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>

using namespace tap::services;

TEST_CASE("transforms: cummingsify is lower case, in ASCII and beyond") {
  CHECK(cummingsify("HERE IS MY POEM") == "here is my poem");
  CHECK(cummingsify("").empty());
  CHECK(cummingsify("Ä ÀÉÎ Ñ Ω Ж Ⅷ Ⓐ ẞ Ǆ ǅ") == "ä àéî ñ ω ж ⅷ ⓐ ß ǆ ǆ");
  CHECK(cummingsify("Ⱥ 𐐀") == "ⱥ 𐐨");  // one that gets longer, and one beyond 16 bits
  CHECK(cummingsify("日本 1 \n\t") == "日本 1 \n\t");
}

TEST_CASE("transforms: a sigma at the end of a word is final, and the dotted I becomes two") {
  CHECK(cummingsify("ΟΔΥΣΣΕΥΣ") == "οδυσσευς");
  CHECK(cummingsify("ΟΔΥΣΣΕΥΣ ΗΡΩΣ.") == "οδυσσευς ηρως.");
  CHECK(cummingsify("Σ") == "σ");
  CHECK(cummingsify("ΑΣ'Α ΑΣ'") == "ασ'α ας'");              // an apostrophe stands inside words
  CHECK(cummingsify("Α\u0301Σ\u0301") == "α\u0301ς\u0301");  // marks do not count
  CHECK(cummingsify("'Σ 1Σ") == "'σ 1σ");
  CHECK(cummingsify("\u0130") == "i\u0307");
}

TEST_CASE("transforms: what is no UTF-8 stays as it is") {
  CHECK(cummingsify("A\xFF\xC3 B\xE2\x82") == "a\xFF\xC3 b\xE2\x82");
  CHECK(cummingsify("\xC0\x81X") == "\xC0\x81x");          // an overlong form
  CHECK(cummingsify("\xED\xA0\x80X") == "\xED\xA0\x80x");  // a surrogate
  CHECK(cummingsify(std::string("A\0B", 3)) == std::string("a\0b", 3));
  CHECK(backwards("a\xFF"
                  "b") ==
        "b\xFF"
        "a");
}

TEST_CASE("transforms: backwards keeps together what a reader sees as one") {
  CHECK(backwards("").empty());
  CHECK(backwards("abc") == "cba");
  CHECK(backwards("añ\u0301b") == "bñ\u0301a");
  CHECK(backwards("a\r\nb") == "b\r\na");
  CHECK(backwards("1👩‍👧2🇩🇪🇫🇷") == "🇫🇷🇩🇪2👩‍👧1");
}

TEST_CASE("transforms: rot13 twice is nothing") {
  CHECK(rot13("Hello, Zebra 13 é") == "Uryyb, Mroen 13 é");
  CHECK(rot13(rot13("The Quick Brown Fox")) == "The Quick Brown Fox");
}

TEST_CASE("transforms: each has a name of its own, and only these are found") {
  for (const PoemTransform& transform : poem_transforms()) {
    CHECK(find_poem_transform(transform.name) == &transform);
    CHECK(transform.name.find('.') == std::string_view::npos);
  }
  CHECK(find_poem_transform("cummingsify ") == nullptr);
  CHECK(find_poem_transform("") == nullptr);
}

TEST_CASE("transforms: twice the poem takes twice the time, whatever stands in it") {
  using Clock = std::chrono::steady_clock;
  const auto best_s = [](const PoemTransform& transform, const std::string& poem) {
    double best = 1e9;
    for (int i = 0; i < 5; ++i) {
      const auto began = Clock::now();
      (void)transform.apply(poem);
      best = std::min(best, std::chrono::duration<double>(Clock::now() - began).count());
    }
    return best;
  };
  for (const char* unit : {"A", "Ä", "Σ'", "Σ\u0301\u0301\u0301", "\xFF", "👩‍👧", "🇩", "\u0301"}) {
    CAPTURE(unit);
    std::string poem;
    while (poem.size() < 20'000) poem += unit;
    std::string longer;
    for (int i = 0; i < 16; ++i) longer += poem;
    const std::string marks = "ΑΣ" + std::string(poem.size(), '\'');  // one long look ahead
    for (const PoemTransform& transform : poem_transforms()) {
      CAPTURE(transform.name);
      CHECK(best_s(transform, longer) < 16 * 8 * best_s(transform, poem) + 0.001);
      CHECK(best_s(transform, marks) < 0.1);
    }
  }
}
