#include "services/durability.hpp"

#include "services/units.hpp"
#include "state/base/suggest.hpp"

namespace tap::services {

Result<Durability> parse_durability(std::string_view text) {
  constexpr std::string_view kInterval = "interval:";
  if (text == "strict") return Durability{Durability::Mode::strict, 0};
  if (text == "shutdown") return Durability{Durability::Mode::shutdown, 0};
  if (text == "reserve") return Durability{Durability::Mode::reserve, 0};
  if (text.substr(0, kInterval.size()) == kInterval) {
    const auto interval = parse_duration_ms(text.substr(kInterval.size()));
    if (interval && *interval > 0 && *interval <= kIntervalMsMax) {
      return Durability{Durability::Mode::interval, *interval};
    }
    return Error{Fault::config, "durability '" + std::string(text) +
                                    "': what follows interval: is a duration from 1ms to 1h, such as interval:500ms"};
  }
  return Error{Fault::config, "'" + std::string(text) + "' is not a durability" +
                                  did_you_mean(text, {"strict", "interval:1s", "shutdown", "reserve"}) +
                                  " (there are strict, interval:TIME, shutdown, and reserve for counters)"};
}

std::string Durability::loss() const {
  switch (mode) {
    case Mode::strict:
      return "a crash or a power cut loses nothing that a client could see";
    case Mode::interval:
      return "a crash or a power cut loses at most the changes of the last " + duration_text(interval_ms);
    case Mode::reserve:
      return "a crash or a power cut loses nothing and repeats no number; it may skip some";
    case Mode::shutdown:
      break;
  }
  return "a crash or a power cut loses what changed since the last clean stop";
}

const std::string& durability_text(const state::Definition& definition, const state::ServiceDefinition& service) {
  return service.durability.empty() ? definition.durability : service.durability;
}

Durability durability_of(const state::Definition& definition, const state::ServiceDefinition& service) {
  Result<Durability> parsed = parse_durability(durability_text(definition, service));
  return parsed ? *parsed : Durability{};
}

}  // namespace tap::services
