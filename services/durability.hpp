// Durability: what a service wants of its state, as configs and command lines say it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "state/base/result.hpp"
#include "state/definition.hpp"

namespace tap::services {

inline constexpr char kDefaultDurability[] = "strict";
inline constexpr std::uint64_t kIntervalMsMax = 3'600'000;

struct Durability {
  enum class Mode : std::uint8_t {
    strict,    ///< every reply waits until what it may reveal is durable
    interval,  ///< replies leave at once; what changed is made durable every interval_ms
    shutdown,  ///< saved at a clean stop only
    reserve,   ///< for counters: durable ahead of use; never repeats, may skip
  };
  Mode mode = Mode::strict;
  std::uint64_t interval_ms = 0;

  /// Whether changes go to the journal as they happen.
  [[nodiscard]] bool journaled() const { return mode != Mode::shutdown; }
  /// Whether output waits for the journal.
  [[nodiscard]] bool gated() const { return mode == Mode::strict || mode == Mode::reserve; }
  /// "what a crash loses": a clause for people.
  [[nodiscard]] std::string loss() const;
};

/// "strict", "interval:500ms", "shutdown", "reserve". Errors: config, a sentence.
[[nodiscard]] Result<Durability> parse_durability(std::string_view text);

/// A service's own, or the application's. REQUIRES: both have been checked.
[[nodiscard]] Durability durability_of(const state::Definition& definition, const state::ServiceDefinition& service);

/// The same as it was written.
[[nodiscard]] const std::string& durability_text(const state::Definition& definition,
                                                 const state::ServiceDefinition& service);

}  // namespace tap::services
