#include "services/limits.hpp"

#include <algorithm>

#include "services/units.hpp"

namespace tap::services {
namespace {

using Unit = LimitSpec::Unit;

constexpr std::uint64_t kDayMs = 86'400'000;
constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kTiB = kMiB * kMiB;
constexpr std::uint64_t kCountMax = 1'000'000;
/// TCP_KEEPIDLE takes no more (MAX_TCP_KEEPIDLE of Linux).
constexpr std::uint64_t kKeepaliveMsMax = 32'767'000;

}  // namespace

const std::vector<LimitSpec>& service_limits() {
  static const std::vector<LimitSpec> specs{
      {"max_connections_per_peer", Unit::count, 1, kCountMax,
       "connections at once from one address, or from one IPv6 network of 64 bits, per endpoint (any number)"},
      {"connect_rate", Unit::count, 1, kCountMax,
       "new connections a second per endpoint; the others wait in the backlog (as they come)"},
      {"connect_burst", Unit::count, 1, kCountMax, "new connections at once, with connect_rate (as many as that)"},
      {"read_rate", Unit::size, 1, kTiB, "bytes a second read from each connection (as they come)"},
      {"read_rate_total", Unit::size, 1, kTiB,
       "bytes a second read from all connections of the service (as they come)"},
      {"request_timeout", Unit::duration, 1, kDayMs,
       "end a connection whose request is not complete so long after its first byte (never)"},
      {"keepalive", Unit::duration, 1000, kKeepaliveMsMax,
       "ask a silent TCP peer after so long whether it is still there; after twice the time it is gone (never)"},
      {"write_buffer", Unit::size, kKiB, 8 * kMiB,
       "above so many unsent bytes a connection is not read until a quarter is left (64KiB)"},
      {"slow_reader_timeout", Unit::duration, 1, kDayMs,
       "end a connection that has taken nothing for so long while more than write_buffer waits for it (never)"},
  };
  return specs;
}

const std::vector<LimitSpec>& application_limits() {
  static const std::vector<LimitSpec> specs{
      {"memory_budget", Unit::size, kMiB, kTiB,
       "bytes that all connections may hold in buffers: those that hold most are read no more, then new ones are "
       "refused, "
       "then those that hold most are ended (no limit)"},
  };
  return specs;
}

const LimitSpec* find_limit(const std::vector<LimitSpec>& specs, std::string_view name) {
  const auto found =
      std::find_if(specs.begin(), specs.end(), [name](const LimitSpec& spec) { return spec.name == name; });
  return found == specs.end() ? nullptr : &*found;
}

std::string LimitSpec::bounds() const {
  std::string range = " from " + text(min) + " to " + text(max) + ", or 0 for none";
  switch (unit) {
    case Unit::count:
      return "a whole number" + range;
    case Unit::duration:
      return "a duration" + range;
    case Unit::size:
      return "a size" + range;
  }
  return range;
}

Result<std::uint64_t> LimitSpec::parse(const std::string& given) const {
  const std::optional<std::uint64_t> value = unit == Unit::count      ? parse_count(given)
                                             : unit == Unit::duration ? parse_duration_ms(given)
                                                                      : parse_size_bytes(given);
  if (!value) return Error{Fault::config, "'" + given + "' is not " + bounds()};
  // Half a millisecond is not "none": what rounds to nothing was not meant to be nothing.
  if (*value == 0 && given.find_first_of("123456789") != std::string::npos) {
    return Error{Fault::config, "'" + given + "' is not " + bounds()};
  }
  if (Result<void> checked = check(*value); !checked) return std::move(checked).error();
  return *value;
}

Result<void> LimitSpec::check(std::uint64_t value) const {
  if (value == 0 || (value >= min && value <= max)) return {};
  return Error{Fault::config, "'" + text(value) + "' is not " + bounds()};
}

std::string LimitSpec::text(std::uint64_t value) const {
  switch (unit) {
    case Unit::count:
      return std::to_string(value);
    case Unit::duration:
      return duration_text(value);
    case Unit::size:
      return size_text(value);
  }
  return std::to_string(value);
}

Result<void> check_limits(const std::vector<LimitSpec>& specs, const state::Limits& limits) {
  for (const auto& [name, value] : limits) {
    const LimitSpec* spec = find_limit(specs, name);
    if (spec == nullptr) return Error{Fault::config, "this program knows no limit '" + name + "'"};
    if (Result<void> checked = spec->check(value); !checked) return std::move(checked.error()).with(name);
  }
  return {};
}

Result<void> check_limits_together(const state::Limits& limits) {
  if (limit_of(limits, "connect_burst") == 0 || limit_of(limits, "connect_rate") != 0) return {};
  return Error{Fault::config,
               "'connect_burst' says how many may come at once above 'connect_rate', which is not given"};
}

std::uint64_t limit_of(const state::Limits& limits, std::string_view name) {
  const auto found = limits.find(std::string(name));
  return found == limits.end() ? 0 : found->second;
}

net::ListenerLimits listener_limits(const state::ServiceDefinition& service) {
  const auto of = [&service](std::string_view name) { return limit_of(service.limits, name); };
  net::ListenerLimits limits;
  limits.connections_max = static_cast<std::size_t>(service.connections_max);
  limits.idle_timeout_ms = service.idle_timeout_ms;
  limits.connections_per_peer_max = static_cast<std::size_t>(of("max_connections_per_peer"));
  limits.connect_rate = of("connect_rate");
  limits.connect_burst = of("connect_burst");
  limits.read_rate = of("read_rate");
  limits.request_timeout_ms = of("request_timeout");
  limits.keepalive_ms = of("keepalive");
  if (const std::uint64_t bytes = of("write_buffer"); bytes != 0) limits.write_buffer_bytes = bytes;
  limits.slow_reader_timeout_ms = of("slow_reader_timeout");
  return limits;
}

}  // namespace tap::services
