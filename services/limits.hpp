// Limits: what may be asked of any service, and of the application, beyond max_connections and idle_timeout.
//
// One table says the names, the units and the bounds; the config, the command line, the check of an archive, `tap show`
// and the README follow it.
// Tests: tests/services/limits_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "services/net/connections.hpp"
#include "state/base/result.hpp"
#include "state/definition.hpp"

namespace tap::services {

/// A key of [[service]] or of [application], and a long option. The value is saved as a number of its unit.
struct LimitSpec {
  enum class Unit { count, duration, size };

  std::string_view name;
  Unit unit;
  std::uint64_t min;  ///< of values other than 0, which is always "as if it were not there"
  std::uint64_t max;
  std::string_view doc;  ///< one sentence, with what is the case without it

  /// Errors: config, a sentence without the limit's name.
  [[nodiscard]] Result<std::uint64_t> parse(const std::string& text) const;
  [[nodiscard]] Result<void> check(std::uint64_t value) const;
  /// "64KiB", "5s", "10": what parse() understands.
  [[nodiscard]] std::string text(std::uint64_t value) const;
  /// "a whole number from 1 to 1000000", for messages.
  [[nodiscard]] std::string bounds() const;
};

[[nodiscard]] const std::vector<LimitSpec>& service_limits();
[[nodiscard]] const std::vector<LimitSpec>& application_limits();
/// nullptr: there is none of that name.
[[nodiscard]] const LimitSpec* find_limit(const std::vector<LimitSpec>& specs, std::string_view name);

/// Errors: config, for a name that is not in `specs` or a value out of its bounds.
[[nodiscard]] Result<void> check_limits(const std::vector<LimitSpec>& specs, const state::Limits& limits);

/// What one limit of a service asks of another. Errors: config.
[[nodiscard]] Result<void> check_limits_together(const state::Limits& limits);

/// The value, or 0.
[[nodiscard]] std::uint64_t limit_of(const state::Limits& limits, std::string_view name);

/// What the network layer is told for each listener of a service.
[[nodiscard]] net::ListenerLimits listener_limits(const state::ServiceDefinition& service);

}  // namespace tap::services
