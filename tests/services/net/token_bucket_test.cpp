#include "services/net/token_bucket.hpp"

#include <doctest/doctest.h>

using tap::net::TokenBucket;

TEST_CASE("token bucket: it is full to begin with, and trickles at its rate up to its burst") {
  TokenBucket bucket(100, 10);
  CHECK(bucket.available(0) == 10);
  bucket.take(10, 0);
  CHECK(bucket.available(0) == 0);
  CHECK(bucket.available(9) == 0);
  CHECK(bucket.available(10) == 1);
  CHECK(bucket.available(50) == 5);
  CHECK(bucket.available(1'000'000) == 10);
}

TEST_CASE("token bucket: what trickles between two looks adds up, however often is looked") {
  TokenBucket bucket(3, 100);
  bucket.take(100, 0);
  for (std::uint64_t now = 1; now <= 10'000; ++now) (void)bucket.available(now);
  CHECK(bucket.available(10'000) == 30);
}

TEST_CASE("token bucket: ms_until is the first millisecond at which so much is there") {
  for (const std::uint64_t rate : {1U, 3U, 7U, 1000U, 123'457U}) {
    TokenBucket bucket(rate, 1000);
    bucket.take(1000, 50);
    for (const std::uint64_t amount : {1U, 2U, 999U, 1000U}) {
      CAPTURE(rate);
      CAPTURE(amount);
      const std::uint64_t wait = bucket.ms_until(amount, 50);
      REQUIRE(wait > 0);
      TokenBucket early = bucket;
      CHECK(early.available(50 + wait - 1) < amount);
      TokenBucket due = bucket;
      CHECK(due.available(50 + wait) >= amount);
    }
  }
}

TEST_CASE("token bucket: more than it holds counts as what it holds, and taking more empties it") {
  TokenBucket bucket(10, 5);
  CHECK(bucket.ms_until(1'000'000, 0) == 0);
  bucket.take(1'000'000, 0);
  CHECK(bucket.available(0) == 0);
  CHECK(bucket.ms_until(1'000'000, 0) == 500);
}

TEST_CASE("token bucket: the largest rate and the longest time do not overflow") {
  TokenBucket bucket(TokenBucket::kRateMax, TokenBucket::kRateMax);
  bucket.take(TokenBucket::kRateMax, 1);
  CHECK(bucket.available(~std::uint64_t{0}) == TokenBucket::kRateMax);
  TokenBucket slow(1, TokenBucket::kRateMax);
  slow.take(TokenBucket::kRateMax, 1);
  CHECK(slow.available(1001) == 1);
}

TEST_CASE("token bucket: without a rate it limits nothing") { CHECK_FALSE(TokenBucket().limited()); }
