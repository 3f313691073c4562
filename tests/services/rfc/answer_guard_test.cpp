#include "services/rfc/answer_guard.hpp"

#include <doctest/doctest.h>

#include <string>

#include "services/testing/string_datagrams.hpp"

using namespace tap;
using namespace tap::services;

namespace {

net::DatagramAddress from(const std::string& host, std::uint16_t port = 40'000) {
  Result<net::DatagramAddress> address = net::DatagramAddress::parse(host, port);
  REQUIRE(address.ok());
  return *address;
}

/// A guard with its transport and a clock.
struct Guarded {
  testing::StringDatagrams transport;
  AnswerGuard guard;
  std::uint64_t now_ms = 5'000'000;

  explicit Guarded(AnswerGuard::Limits limits = {}) : guard(limits) {}
  std::string refusal(const net::DatagramAddress& address) {
    const char* why = guard.refusal(address, transport, now_ms);
    return why == nullptr ? "" : why;
  }
  int answered(const net::DatagramAddress& address, int asked) {
    int count = 0;
    for (int i = 0; i < asked; ++i) count += refusal(address).empty() ? 1 : 0;
    return count;
  }
};

}  // namespace

TEST_CASE("answer guard: no port below 1024 is answered, nor one of this process") {
  Guarded guarded;
  guarded.transport.add_port(8007);
  for (const int number : {0, 1, 7, 9, 13, 17, 19, 37, 53, 123, 161, 1023}) {
    const auto port = static_cast<std::uint16_t>(number);
    CAPTURE(port);
    CHECK(guarded.refusal(from("192.0.2.1", port)) == AnswerGuard::kReservedPort);
    CHECK(guarded.refusal(from("2001:db8::1", port)) == AnswerGuard::kReservedPort);
  }
  CHECK(guarded.refusal(from("192.0.2.1", 8007)) == AnswerGuard::kOwnPort);
  CHECK(guarded.refusal(from("192.0.2.1", 1024)).empty());
  CHECK(guarded.refusal(from("192.0.2.1", 65'535)).empty());
}

TEST_CASE("answer guard: an address that is no single host's is not answered") {
  Guarded guarded;
  for (const char* host : {"0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1"}) {
    CAPTURE(host);
    CHECK(guarded.refusal(from(host)) == AnswerGuard::kNoHost);
  }
  CHECK(guarded.refusal(net::DatagramAddress()) == AnswerGuard::kNoHost);
}

TEST_CASE("answer guard: one address is answered so often a second, whatever ports it asks from") {
  Guarded guarded({5, 1000});
  CHECK(guarded.answered(from("192.0.2.1", 2000), 3) == 3);
  CHECK(guarded.answered(from("192.0.2.1", 3000), 10) == 2);
  CHECK(guarded.refusal(from("192.0.2.1")) == AnswerGuard::kSourceLimit);
  guarded.now_ms += 199;
  CHECK(guarded.answered(from("192.0.2.1"), 10) == 0);
  guarded.now_ms += 1;
  CHECK(guarded.answered(from("192.0.2.1"), 10) == 1);
  guarded.now_ms += 3'600'000;
  CHECK(guarded.answered(from("192.0.2.1"), 100) == 5);  // what was not used does not pile up
}

TEST_CASE("answer guard: the addresses of one IPv6 network share a limit") {
  Guarded guarded({5, 1000});
  int answered = 0;
  for (int i = 1; i <= 50; ++i) answered += guarded.answered(from("2001:db8::" + std::to_string(i)), 1);
  CHECK(answered == 5);
}

TEST_CASE("answer guard: all together are answered so often, however many there are") {
  Guarded guarded({5, 20});
  int answered = 0;
  for (int i = 1; i < 250; ++i) answered += guarded.answered(from("192.0.2." + std::to_string(i)), 5);
  CHECK(answered == 20);
  CHECK(guarded.refusal(from("198.51.100.1")) == AnswerGuard::kTotalLimit);
  guarded.now_ms += 1000;
  CHECK(guarded.answered(from("198.51.100.1"), 10) == 5);
}

TEST_CASE("answer guard: who is refused takes nothing from the others") {
  Guarded guarded({5, 20});
  CHECK(guarded.answered(from("192.0.2.1"), 10'000) == 5);
  CHECK(guarded.answered(from("192.0.2.1", 7), 10'000) == 0);
  CHECK(guarded.answered(from("198.51.100.1"), 5) == 5);
}

TEST_CASE("answer guard: a clock that stands still or goes back gives nothing away") {
  Guarded guarded({5, 1000});
  CHECK(guarded.answered(from("192.0.2.1"), 10) == 5);
  guarded.now_ms -= 1000;
  CHECK(guarded.answered(from("192.0.2.1"), 10) == 0);
}

TEST_CASE("answer guard: a limit of 0 answers nobody") {
  Guarded nobody({0, 1000});
  CHECK(nobody.refusal(from("192.0.2.1")) == AnswerGuard::kSourceLimit);
  Guarded none({10, 0});
  CHECK(none.refusal(from("192.0.2.1")) == AnswerGuard::kTotalLimit);
}

TEST_CASE("answer guard: a million sources need no more memory, and most of them are told apart") {
  Guarded guarded({1, 100'000'000});
  int answered = 0;
  for (int i = 0; i < 1000; ++i) {
    answered += guarded.answered(from("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250)), 1);
  }
  // 1,000 sources in 4,096 places: 113 are expected to fall on another.
  CHECK(answered > 800);
  for (int i = 0; i < 1'000'000; i += 997) {
    (void)guarded.answered(from("11." + std::to_string(i >> 16) + "." + std::to_string(i >> 8 & 255) + ".1"), 1);
  }
  static_assert(sizeof(RateLimit) * AnswerGuard::kSourcesMax <= 65'536);
}
