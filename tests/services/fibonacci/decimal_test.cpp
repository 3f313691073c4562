// Decimal against GMP, which knows how to count.
#include "services/fibonacci/decimal.hpp"

#include <doctest/doctest.h>
#include <gmpxx.h>
#include <rapidcheck.h>

#include <limits>

#include "tests/state/says.hpp"

using tap::Fault;
using tap::services::Decimal;
using tap::tests::error_of;
using tap::tests::says;

namespace {

Decimal parsed(const std::string& digits) {
  auto number = Decimal::parse(digits);
  REQUIRE_MESSAGE(number.ok(), digits);
  return std::move(number).value();
}

Decimal of_limbs(std::vector<std::uint64_t> limbs) {
  auto number = Decimal::from_limbs(std::move(limbs));
  REQUIRE(number.ok());
  return std::move(number).value();
}

std::string sum(const std::string& a, const std::string& b) {
  Decimal number = parsed(a);
  number += parsed(b);
  return number.text();
}

/// Digits of a number with 0 to 20 limbs, with runs of nines and zeros more often than chance would have them.
std::string any_digits() {
  std::string digits;
  const auto limb = rc::gen::oneOf(
      rc::gen::inRange<std::uint64_t>(0, Decimal::kBase),
      rc::gen::element<std::uint64_t>(0, 1, Decimal::kBase - 1, 999'999'999, 1'000'000'000, Decimal::kBase / 10));
  for (int i = *rc::gen::inRange(0, 20); i > 0; --i) {
    const std::string piece = std::to_string(*limb);
    digits += std::string(18 - piece.size(), '0') + piece;
  }
  digits.erase(0, digits.find_first_not_of('0'));
  return digits.empty() ? "0" : digits;
}

}  // namespace

TEST_CASE("decimal: the first 3,000 Fibonacci numbers are those of GMP") {
  Decimal a(1);
  Decimal b(1);
  mpz_class gmp_a(1);
  mpz_class gmp_b(1);
  for (int i = 0; i < 3000; ++i) {
    a += b;
    a.swap(b);
    gmp_a += gmp_b;
    std::swap(gmp_a, gmp_b);
    REQUIRE_MESSAGE(b.text() == gmp_b.get_str(), i);
    REQUIRE(parsed(gmp_b.get_str()) == b);
  }
  CHECK(b.text().size() == 628);
}

TEST_CASE("decimal: random sums are those of GMP") {
  CHECK(rc::check([] {
    const std::string a = any_digits();
    const std::string b = any_digits();
    const std::string expected = mpz_class(mpz_class(a) + mpz_class(b)).get_str();
    RC_ASSERT(sum(a, b) == expected);
    RC_ASSERT(sum(b, a) == expected);
  }));
}

TEST_CASE("decimal: every number prints as it was parsed, and its limbs make it again") {
  CHECK(rc::check([] {
    const std::string digits = any_digits();
    const Decimal number = parsed(digits);
    RC_ASSERT(number.text() == digits);
    RC_ASSERT(of_limbs(number.limbs()) == number);
    std::string out = "before ";
    number.print(out);
    RC_ASSERT(out == "before " + digits);
  }));
}

TEST_CASE("decimal: a number added to itself is doubled") {
  Decimal number = parsed("999999999999999999999999999999999999");
  number += number;
  CHECK(number.text() == "1999999999999999999999999999999999998");
}

TEST_CASE("decimal: a carry runs through as many limbs as there are") {
  CHECK(sum("999999999999999999", "1") == "1000000000000000000");
  CHECK(sum("1", "999999999999999999") == "1000000000000000000");
  const std::string nines(18 * 50, '9');
  CHECK(sum(nines, "1") == "1" + std::string(18 * 50, '0'));
  CHECK(sum("1", nines) == "1" + std::string(18 * 50, '0'));
  CHECK(sum(nines, nines) == "1" + std::string(18 * 50 - 1, '9') + "8");
  CHECK(sum("999999999999999999" + std::string(18, '0'), "1") == "999999999999999999000000000000000001");
  CHECK(sum("5" + std::string(18, '9'), "1") == "6" + std::string(18, '0'));
}

TEST_CASE("decimal: zero is no limbs, prints as 0 and adds nothing") {
  CHECK(Decimal() == Decimal(0));
  CHECK(Decimal().limbs().empty());
  CHECK(Decimal().text() == "0");
  CHECK(parsed("0") == Decimal());
  CHECK(sum("0", "0") == "0");
  CHECK(sum("0", "12") == "12");
  CHECK(sum("12", "0") == "12");
}

TEST_CASE("decimal: a 64-bit number has the limbs it needs") {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  CHECK(Decimal(Decimal::kBase - 1).limbs() == std::vector<std::uint64_t>{Decimal::kBase - 1});
  CHECK(Decimal(Decimal::kBase).limbs() == std::vector<std::uint64_t>{0, 1});
  CHECK(Decimal(kMost).text() == "18446744073709551615");
  CHECK(Decimal(kMost).limbs() == std::vector<std::uint64_t>{446'744'073'709'551'615, 18});
}

TEST_CASE("decimal: limbs inside a number print with all their zeros") {
  CHECK(of_limbs({0, 0, 1}).text() == "1" + std::string(36, '0'));
  CHECK(of_limbs({7, 0, 42}).text() == "42" + std::string(35, '0') + "7");
  CHECK(of_limbs({1'000'000'000, 1}).text() == "1000000001000000000");
  CHECK(of_limbs({123'456'789'012'345'678, 9}).text() == "9123456789012345678");
}

TEST_CASE("decimal: what is not a natural number is refused and shown") {
  for (const std::string text : {"", "00", "01", "-1", "+1", " 1", "1 ", "1a", "0x1", "1.0", "1e3", "\xd9\xa1",
                                 "00000000000000000000", "99999999999999999a", "1000000000000000000,5"}) {
    const auto error = error_of(Decimal::parse(text));
    CHECK_MESSAGE(error.fault == Fault::damaged, text);
    CHECK_MESSAGE(says(error, "'" + text + "' is not a natural number"), text);
  }
  CHECK(error_of(Decimal::parse(std::string("1\0", 2))).fault == Fault::damaged);
  CHECK(error_of(Decimal::parse(std::string(1000, 'x'))).message.size() < 100);
}

TEST_CASE("decimal: limbs out of range or with a leading zero are refused") {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  const std::vector<std::vector<std::uint64_t>> bad{
      {0},      {1, 0}, {0, 0}, {Decimal::kBase}, {kMost}, {kMost, 1}, {1, Decimal::kBase}, {1, Decimal::kBase, 1},
      {5, 0, 0}};
  for (const auto& limbs : bad) {
    const auto error = error_of(Decimal::from_limbs(limbs));
    CHECK(error.fault == Fault::damaged);
    CHECK(says(error, "limbs are out of range"));
  }
  CHECK(Decimal::from_limbs({}).ok());
  CHECK(Decimal::from_limbs({Decimal::kBase - 1}).ok());
}
