#include "services/limits.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace tap;
using namespace tap::services;

namespace {

const LimitSpec& of(std::string_view name) {
  const LimitSpec* spec = find_limit(service_limits(), name);
  if (spec == nullptr) spec = find_limit(application_limits(), name);
  REQUIRE(spec != nullptr);
  return *spec;
}

std::uint64_t value_of(std::string_view name, const std::string& text) {
  const Result<std::uint64_t> value = of(name).parse(text);
  REQUIRE_MESSAGE(value.ok(), name, " ", text);
  return *value;
}

std::string refusal_of(std::string_view name, const std::string& text) {
  const Result<std::uint64_t> value = of(name).parse(text);
  REQUIRE_FALSE_MESSAGE(value.ok(), name, " ", text);
  CHECK(value.error().fault == Fault::config);
  return value.error().message;
}

}  // namespace

TEST_CASE("limits: each is read in its unit, 0 is none") {
  CHECK(value_of("connect_rate", "100") == 100);
  CHECK(value_of("read_rate", "64KiB") == 65'536);
  CHECK(value_of("read_rate", "1") == 1);
  CHECK(value_of("request_timeout", "1.5") == 1500);
  CHECK(value_of("keepalive", "2min") == 120'000);
  CHECK(value_of("memory_budget", "1GiB") == 1 << 30);
  for (const LimitSpec& spec : service_limits()) CHECK(value_of(spec.name, "0") == 0);
}

TEST_CASE("limits: what is out of bounds, or no value at all, is refused with what would be right") {
  CHECK(refusal_of("connect_rate", "fast") == "'fast' is not a whole number from 1 to 1000000, or 0 for none");
  CHECK(refusal_of("connect_rate", "1000001") == "'1000001' is not a whole number from 1 to 1000000, or 0 for none");
  CHECK(refusal_of("write_buffer", "1023") == "'1023' is not a size from 1KiB to 8MiB, or 0 for none");
  CHECK(refusal_of("write_buffer", "9MiB") == "'9MiB' is not a size from 1KiB to 8MiB, or 0 for none");
  CHECK(refusal_of("keepalive", "500ms") == "'500ms' is not a duration from 1s to 32767s, or 0 for none");
  CHECK(refusal_of("request_timeout", "0.0001") == "'0.0001' is not a duration from 1ms to 1440min, or 0 for none");
  CHECK(refusal_of("request_timeout", "2d") == "'2880min' is not a duration from 1ms to 1440min, or 0 for none");
  CHECK(refusal_of("memory_budget", "1023KiB") == "'1023KiB' is not a size from 1MiB to 1024GiB, or 0 for none");
}

TEST_CASE("limits: both bounds of each can be said as it would be printed, and what is next to them cannot") {
  std::set<std::string_view> names;
  for (const auto* specs : {&service_limits(), &application_limits()}) {
    for (const LimitSpec& spec : *specs) {
      CAPTURE(spec.name);
      CHECK(names.insert(spec.name).second);
      for (const std::uint64_t bound : {spec.min, spec.max}) CHECK(value_of(spec.name, spec.text(bound)) == bound);
      CHECK(spec.check(spec.min).ok());
      CHECK_FALSE(spec.check(spec.max + 1).ok());
      if (spec.min > 1) CHECK_FALSE(spec.check(spec.min - 1).ok());
    }
  }
}

TEST_CASE("limits: an unknown name, and a burst without its rate, are refused") {
  CHECK(check_limits(service_limits(), {{"read_rate", 1}, {"keepalive", 60'000}}).ok());
  const Result<void> unknown = check_limits(service_limits(), {{"reed_rate", 1}});
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.error().message == "this program knows no limit 'reed_rate'");
  const Result<void> wrong = check_limits(service_limits(), {{"write_buffer", 1}});
  REQUIRE_FALSE(wrong.ok());
  CHECK(wrong.error().message == "write_buffer: '1' is not a size from 1KiB to 8MiB, or 0 for none");
  CHECK(check_limits_together({{"connect_rate", 5}, {"connect_burst", 5}}).ok());
  CHECK_FALSE(check_limits_together({{"connect_burst", 5}}).ok());
}

TEST_CASE("limits: all of them reach the listener") {
  state::ServiceDefinition service;
  service.connections_max = 1;
  service.idle_timeout_ms = 2;
  service.limits = {
      {"max_connections_per_peer", 3}, {"connect_rate", 4}, {"connect_burst", 5},   {"read_rate", 6},
      {"request_timeout", 7},          {"keepalive", 8000}, {"write_buffer", 9000}, {"slow_reader_timeout", 10}};
  const net::ListenerLimits limits = listener_limits(service);
  CHECK(limits.connections_max == 1);
  CHECK(limits.idle_timeout_ms == 2);
  CHECK(limits.connections_per_peer_max == 3);
  CHECK(limits.connect_rate == 4);
  CHECK(limits.connect_burst == 5);
  CHECK(limits.read_rate == 6);
  CHECK(limits.request_timeout_ms == 7);
  CHECK(limits.keepalive_ms == 8000);
  CHECK(limits.write_buffer_bytes == 9000);
  CHECK(limits.slow_reader_timeout_ms == 10);
  CHECK(listener_limits({}).write_buffer_bytes == net::kWriteBufferBytes);
}
